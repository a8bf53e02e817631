"""Regions as variables and rows: the displacements d of the inputs that can move, the faces of a polytope, an l1 ball."""

from __future__ import annotations

import math

import numpy as np

from lipreg.folding import Displacements
from lipreg.milp.assembly import Assembly


def displacement(program: Assembly, domain: Displacements) -> None:
    """Adds the variables d and the rows that hold x0 + d in the region of a single point; l2 balls are refused before."""
    program.variables("d", domain.lower.numpy(), domain.upper.numpy())
    program.at_most({"d": domain.faces.numpy()}, domain.room.numpy())
    if domain.region.radius < math.inf:  # an l1 ball
        magnitudes(program, domain)
        program.at_most({"e": np.ones((1, len(domain)))}, domain.region.radius)


def magnitudes(program: Assembly, domain: Displacements) -> None:
    """Adds variables e >= |d|, once."""
    if "e" in program:
        return
    program.variables("e", np.zeros(len(domain)), domain.size.numpy())
    for sign in (1.0, -1.0):
        program.at_most({"d": sign, "e": -1.0}, 0.0)
