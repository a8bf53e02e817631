"""Regions around reference points: what they are called, and what bounds ask of them."""

from lipreg.regions.balls import Box, L1Ball, L2Ball, LinfBall, Region
from lipreg.regions.placed import PlacedRegion

__all__ = ["Box", "L1Ball", "L2Ball", "LinfBall", "PlacedRegion", "Region"]
