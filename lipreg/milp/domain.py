"""Polytopes as rows on the displacement d = x - x0, beside the box in d's own bounds."""

from __future__ import annotations

import numpy as np

from lipreg.milp.assembly import Assembly
from lipreg.regions import PlacedRegion


def hold_in_halfspaces(program: Assembly, region: PlacedRegion) -> None:
    """Adds the rows of a polytope; nothing for other regions."""
    faces = halfspace_rows(region)
    if faces is not None:
        program.at_most({"d": faces[0]}, faces[1])


def halfspace_rows(region: PlacedRegion) -> tuple[np.ndarray, np.ndarray] | None:
    """(A, levels - A x0) of a polytope at a single point, the right-hand side rounded outwards; None for other regions."""
    if region.halfspaces is None:
        return None
    center = region.center.flatten(1).unsqueeze(1)
    room = region.halfspaces.room(center) + region.halfspaces.rounding(center)
    return region.halfspaces.matrix.numpy(), room[0, 0].numpy()
