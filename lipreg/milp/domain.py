"""Regions as variables and rows: the displacements d of the movable inputs, faces of a polytope, an l1 or l2 ball.

An l2 ball is no polytope. Programs take a set around it, {d : sum_j e_j <= radius, e_j >= tangents of d_j^2 / radius}
(Vielma, Dunning, Huchette & Lubin 2017): bounds over it are bounds over the ball, and where a solver's point leaves the
ball tangents at its coordinates are added. Coordinate by coordinate a few of them are as tight as many half-spaces.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from lipreg.folding import Displacements
from lipreg.linalg.floats import EPS
from lipreg.milp.assembly import Assembly
from lipreg.milp.program import Program

TANGENTS = (0.5, 1.0, 2.0)
"""Where every coordinate's first tangents are, on both sides, in units of radius / sqrt(inputs)."""
OUTSIDE = 1e-6
"""How far outside of an l2 ball, relative to its radius, a point is accepted."""


def displacement(program: Assembly, domain: Displacements) -> None:
    """Adds the variables d and the rows that hold x0 + d in the region of a single point, or in a set around an l2 ball."""
    program.variables("d", domain.lower.numpy(), domain.upper.numpy())
    program.at_most({"d": domain.faces.numpy()}, domain.slack.numpy())
    if domain.ball < math.inf:
        _first_tangents(program, domain)
    elif domain.region.radius < math.inf:  # an l1 ball
        magnitudes(program, domain)
        program.at_most({"e": np.ones((1, len(domain)))}, domain.region.radius)


def magnitudes(program: Assembly, domain: Displacements) -> None:
    """Adds variables e >= |d|, once."""
    if "e" in program:
        return
    program.variables("e", np.zeros(len(domain)), domain.size.numpy())
    for sign in (1.0, -1.0):
        program.at_most({"d": sign, "e": -1.0}, 0.0)


def _first_tangents(program: Assembly, domain: Displacements) -> None:
    """Adds variables e >= d^2 / radius, one a coordinate, and the rows of the set around an l2 ball."""
    ball, size = domain.ball, domain.size.numpy()
    program.variables("square", np.zeros(len(domain)), size / ball * size * (1 + 4 * EPS))
    program.at_most({"square": np.ones((1, len(domain)))}, ball)
    for share in TANGENTS:
        at = share / math.sqrt(len(domain))
        if at > 1.0:
            continue
        for slope in (2.0 * at, -2.0 * at):
            program.at_most({"d": slope, "square": -1.0}, np.full(len(domain), _below(slope, ball)))


def _below(slope: np.ndarray | float, ball: float) -> np.ndarray | float:
    """How far the tangent of d^2 / radius with this slope lies below slope * d, rounded up: slope^2 radius / 4."""
    return slope * (slope * ball / 4.0) * (1 + 4 * EPS)


def leaves(program: Program, ball: float, point: np.ndarray, outside: float = OUTSIDE) -> bool:
    """Whether a point of the program lies outside of the l2 ball.

    Args:
        program: with the variables "d".
        ball: the radius, inf where the region is no l2 ball.
        point: values of all variables, ``(columns,)``.
        outside: how far outside, relative to the radius, still counts as inside.
    """
    return ball < math.inf and bool(np.linalg.norm(point[program.columns["d"]]) > ball * (1 + outside))


def cut_off(program: Program, ball: float, point: np.ndarray) -> Program:
    """The program with tangents at the coordinates of a point outside of the l2 ball, which then excludes the point.

    Args:
        program: with the variables "d" and "square".
        ball: the radius.
        point: values of all variables, ``(columns,)``.
    """
    d, columns = point[program.columns["d"]], program.columns
    # each on both sides: a maximum is often as good at the mirrored point
    slope = 2.0 * np.concatenate([d, -d]) / ball
    short = np.tile(point[columns["square"]] < d * d / ball, 2) & (slope != 0.0)
    slope, at = slope[short], np.tile(np.arange(len(d)), 2)[short]
    count, row = len(slope), np.arange(len(slope))
    entries = np.concatenate([slope, -np.ones(count)])
    place = np.concatenate([row, row]), np.concatenate([columns["d"].start + at, columns["square"].start + at])
    rows = scipy.sparse.csc_array((entries, place), shape=(count, len(program.cost)))
    return program.with_rows(rows, np.asarray(_below(slope, ball)))
