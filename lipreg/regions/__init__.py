"""Regions around reference points: what users name, and what bounds read of them."""

from lipreg.regions.balls import Box, L1Ball, L2Ball, LinfBall, Region, UnitCube
from lipreg.regions.halfspaces import Halfspaces
from lipreg.regions.placed import PlacedRegion
from lipreg.regions.polytope import Polytope
from lipreg.regions.whole import Cone, WholeSpace

__all__ = [
    "Box",
    "Cone",
    "Halfspaces",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "PlacedRegion",
    "Polytope",
    "Region",
    "UnitCube",
    "WholeSpace",
]
