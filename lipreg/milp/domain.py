"""Regions as variables and rows: the displacement d = x - x0, its box, the faces of a polytope, an l1 ball."""

from __future__ import annotations

import math

import numpy as np

from lipreg.milp.assembly import Assembly
from lipreg.regions import PlacedRegion


def displacement(program: Assembly, region: PlacedRegion) -> None:
    """Adds the variables d and the rows that hold x0 + d in the region of a single point; l2 balls are refused before."""
    program.variables("d", *room(region))
    faces = halfspace_rows(region)
    if faces is not None:
        program.at_most({"d": faces[0]}, faces[1])
    if region.radius < math.inf:  # an l1 ball
        magnitudes(program, region)
        program.at_most({"e": np.ones((1, program.size("d")))}, region.radius)


def magnitudes(program: Assembly, region: PlacedRegion) -> None:
    """Adds variables e >= |d|, once."""
    if "e" in program:
        return
    down, up = room(region)
    program.variables("e", np.zeros(len(up)), np.maximum(up, -down))
    for sign in (1.0, -1.0):
        program.at_most({"d": sign, "e": -1.0}, 0.0)


def room(region: PlacedRegion) -> tuple[np.ndarray, np.ndarray]:
    """How far each coordinate can go down and up from the reference point of a single-point region, ``(inputs,)``."""
    down, up = region.room
    return down[0].numpy(), up[0].numpy()


def halfspace_rows(region: PlacedRegion) -> tuple[np.ndarray, np.ndarray] | None:
    """(A, levels - A x0) of a polytope at a single point, the right-hand side rounded outwards; None for other regions."""
    if region.halfspaces is None:
        return None
    center = region.center.flatten(1).unsqueeze(1)
    slack = region.halfspaces.room(center) + region.halfspaces.rounding(center)
    return region.halfspaces.matrix.numpy(), slack[0, 0].numpy()
