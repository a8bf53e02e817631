"""Which reference points a region can be put around."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.linalg.floats import spacing
from lipreg.linalg.layouts import check_plain_tensor

MIN_FLOATS = 4
"""Numbers of float64 on either side of a coordinate that a radius has to hold."""
ROOM = 1e3
"""Times that a radius is below the largest number of its dtype: what sums over a layer take of it."""


def check_reference_points(x0: Tensor, where: str) -> None:
    """Refuses reference points that no region can be put around.

    Raises:
        InvalidInput: they are not floating, have no batch axis, or are not finite.
    """
    check_plain_tensor(x0, where, "reference points")
    if not x0.is_floating_point():
        raise InvalidInput(f"reference points of dtype {x0.dtype}", where=where, accepted="a floating point tensor")
    if x0.dim() < 2 or len(x0) == 0:
        raise InvalidInput(
            f"reference points of shape {tuple(x0.shape)}",
            where=where,
            accepted="(batch, *input shape) with at least one point",
            todo="For one point use x.unsqueeze(0)",
        )
    if not torch.isfinite(x0).all():
        bad = int((~torch.isfinite(x0)).flatten(1).any(-1).nonzero()[0])
        raise InvalidInput(
            f"reference point {bad} holds NaN or infinity", where=where, todo="Clean the data or the transform"
        )


def rounding_slack(x0: Tensor, *ends: float) -> float:
    """How far outside of a range rounding may put a point of it: data were float32 once, if not coarser."""
    return 4 * max(torch.finfo(x0.dtype).eps, torch.finfo(torch.float32).eps) * max(1.0, *ends)


def largest_radius(dtype: torch.dtype) -> float:
    """The largest radius whose balls have ends, and sums of them, among a dtype's numbers."""
    return torch.finfo(dtype).max / ROOM


def check_resolved(x0: Tensor, radius: float, where: str) -> None:
    """Refuses a radius beyond x0's dtype, or of fewer than ``MIN_FLOATS`` of its numbers at some coordinate.

    Beyond the dtype bounds are inf - inf; among few numbers hardly any points lie inside. In float64, where regions are
    certified, these are four; in coarser dtypes, where a bound reads displacements alone, one.

    Args:
        x0: reference points, ``(batch, *shape)``.
        radius: of the ball around each.
        where: the region's name, for the message.

    Raises:
        InvalidInput: the message has the coordinate, and the radius that would do.
    """
    if radius > largest_radius(x0.dtype):
        kind = str(x0.dtype).removeprefix("torch.")
        raise InvalidInput(
            f"radius {radius:g}, near the largest {kind} number or beyond it",
            where=where,
            accepted=f"a radius up to {largest_radius(x0.dtype):.3g} in {kind}, or WholeSpace() for all of R^n",
        )
    apart = spacing(x0)
    least = MIN_FLOATS if x0.dtype == torch.float64 else 1
    lost = radius < least * apart
    if lost.any():
        i, j = lost.flatten(1).nonzero()[0].tolist()
        kind, gap = str(x0.dtype).removeprefix("torch."), float(apart[i].flatten()[j])
        finer = "" if x0.dtype == torch.float64 else ", or work in float64"
        raise InvalidInput(
            f"radius {radius:g} is lost in rounding: coordinate {j} of reference point {i} is "
            f"{float(x0[i].flatten()[j]):.17g}, where {kind} numbers lie {gap:.3g} apart",
            where=where,
            accepted=f"a radius of at least {least * gap:.3g} there",
            todo=f"Shift or scale the inputs, and the network's first layer with them, raise the radius{finer}",
        )
