"""Points that rounding has put beside a region: the points of it that are nearest stand in their places."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.regions.placed import PlacedRegion
from lipreg.regions.spheres import ROUNDINGS, relative_rounding


def brought_in(region: PlacedRegion, x: Tensor) -> Tensor:
    """The points x ``(batch, k, *shape)``, those that rounding has put beside a ball or a box as points of it; others as
    they are, further outside or about a polytope.

    A point x0 + r u with |u| = 1, computed in floats, lies outside of the ball of radius r as often as not. It is no point
    of the region, so it proves nothing, and the point of the region beside it proves as much.
    """
    if region.halfspaces is not None or bool((inside := region.contains(x)).all()):
        return x
    nearest = region.project(x)
    moved = (nearest - x).abs().flatten(2).amax(-1)
    step = (x - region.center.unsqueeze(1)).abs().flatten(2).amax(-1)
    least = relative_rounding(x.flatten(2)) * step + ROUNDINGS * torch.finfo(x.dtype).eps * x.abs().flatten(2).amax(-1)
    beside = ~inside & (moved <= least)
    return torch.where(beside.reshape(*beside.shape, *(1,) * (x.dim() - 2)), nearest, x)
