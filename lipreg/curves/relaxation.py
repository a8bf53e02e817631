"""Lines above and below a curve over [l, u]: chords and tangents (Zhang et al. 2018), of any curve.

Whatever the slope a of a line, what f(z) - a z is at most over [l, u] makes it one above the curve. On a convex piece that
is attained at an end; on a concave one, for any p on it,

    f(z) - a z <= f(p) - a p + (f'(p) - a) (z - p),

with the least loss where f'(p) = a. So slopes are chosen for tightness alone: over a single piece the chord and the
tangent at the middle; over several that line, of the chord, the tangent at the middle and those from either end that touch
the curve, which is least in the middle, where it takes up the least area.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.curves.curve import Curve, Ends
from lipreg.curves.secants import secants
from lipreg.curves.tangents import crossing


@dataclass(frozen=True)
class Relaxation:
    """lower_slope z + lower_offset <= f(z) <= upper_slope z + upper_offset for z in [l, u], rounded outward.

    Attributes:
        lower_slope, upper_slope: slopes of the lines, in the shape of l and u.
        lower_offset, upper_offset: their values at 0, likewise.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    lower_offset: Tensor
    upper_offset: Tensor


def relaxed(curve: Curve, lower: Tensor, upper: Tensor) -> Relaxation:
    """A line below and a line above a curve over [lower, upper], differentiable in both ends.

    Args:
        curve: f.
        lower: finite lower ends, of any shape.
        upper: finite upper ends, at least the lower ones.

    Returns:
        The lines, of that shape, rounded outward.
    """
    convex, concave = (torch.zeros_like(lower, dtype=torch.bool) for _ in range(2))
    for kind, start, end in curve.pieces():
        inside = (lower >= start) & (upper <= end)
        convex, concave = convex | (inside & (kind != "concave")), concave | (inside & (kind == "concave"))
    chord, tangent = _chord(curve, lower, upper), curve.slope((lower + upper) / 2)
    above, below = torch.where(concave, tangent, chord), torch.where(concave, chord, tangent)
    top, bottom = _offsets(curve, lower, upper, above)[1], _offsets(curve, lower, upper, below)[0]
    mixed = ~(convex | concave)
    if bool(mixed.any()):
        lines = _across(curve, lower[mixed], upper[mixed], chord[mixed], tangent[mixed])
        below, above, bottom, top = (
            part.masked_scatter(mixed, line) for part, line in zip((below, above, bottom, top), lines, strict=True)
        )
    return Relaxation(below, above, bottom, top)


def _chord(curve: Curve, lower: Tensor, upper: Tensor) -> Tensor:
    """The slope of the chord, cut to the range of the derivative, which rounding may have left."""
    step = upper - lower
    slope = (curve.value(upper) - curve.value(lower)) / torch.where(step > 0, step, torch.ones_like(step))
    least, most = curve.slopes(lower, upper)
    return torch.minimum(torch.maximum(slope, least), most)


def _across(curve: Curve, lower: Tensor, upper: Tensor, chord: Tensor, tangent: Tensor) -> tuple[Tensor, ...]:
    """Lines over several pieces, each the tightest of four candidates in the middle of the interval.

    Returns:
        Lower and upper slopes, lower and upper offsets.
    """
    from_low, from_high = secants(curve, lower, None, lower, upper), secants(curve, upper, None, lower, upper)
    middle = (lower + upper) / 2
    below = torch.stack([chord, tangent, from_low[0], from_high[1]])
    above = torch.stack([chord, tangent, from_low[1], from_high[0]])
    shape = below.shape
    bottom = _offsets(curve, lower.expand(shape), upper.expand(shape), below)[0]
    top = _offsets(curve, lower.expand(shape), upper.expand(shape), above)[1]
    least = (below * middle + bottom).argmax(0, keepdim=True)
    most = (above * middle + top).argmin(0, keepdim=True)
    parts = ((below, least), (above, most), (bottom, least), (top, most))
    return tuple(part.gather(0, at).squeeze(0) for part, at in parts)


def _offsets(curve: Curve, lower: Tensor, upper: Tensor, slope: Tensor) -> Ends:
    """The range of f(z) - slope z over [lower, upper], rounded outward."""
    ends = [_offset(curve, z, slope) for z in (lower, upper)]
    low, high = torch.minimum(ends[0][0], ends[1][0]), torch.maximum(ends[0][1], ends[1][1])
    for place in curve.places:
        inside = (lower < place) & (upper > place)
        if bool(inside.any()):
            least, most = _offset(curve, torch.full_like(slope, place), slope)
            low, high = (
                torch.where(inside, torch.minimum(low, least), low),
                torch.where(inside, torch.maximum(high, most), high),
            )
    for kind, start, end in curve.pieces():
        touching = (lower < end) & (upper > start) & (upper > lower)
        if kind == "straight" or not bool(touching.any()):
            continue
        a, b = lower[touching].clamp(min=start), upper[touching].clamp(max=end)
        bound = _beyond(curve, a, b, slope[touching], 1.0 if kind == "concave" else -1.0)
        if kind == "concave":
            high = high.masked_scatter(touching, torch.maximum(high[touching], bound))
        else:
            low = low.masked_scatter(touching, torch.minimum(low[touching], bound))
    return low, high


def _offset(curve: Curve, z: Tensor, slope: Tensor) -> Ends:
    """Bounds on f(z) - slope z at z itself."""
    value, product = curve.value(z), slope * z
    difference, off = value - product, curve.value_rounding(z, value) + _rounding(value, product)
    return difference - off, difference + off


def _beyond(curve: Curve, a: Tensor, b: Tensor, slope: Tensor, sign: float) -> Tensor:
    """An upper bound on f(z) - slope z over [a, b] on a concave piece (sign 1), a lower one on a convex piece (-1)."""
    p = crossing(lambda z: curve.slope(z) - slope.detach(), a, b, torch.full_like(a, sign) > 0)
    value, product = curve.value(p), slope * p
    with torch.no_grad():  # no gradient through p: the bound is stationary where p is best
        tangent = curve.slope(p)
        loss = torch.maximum(*(sign * (tangent - slope) * (z - p) for z in (a, b))).clamp(min=0.0)
        off = (
            curve.value_rounding(p, value)
            + _rounding(value, product)
            + curve.slope_rounding(p, tangent) * (b - a)
            + loss
        )
    return value - product + sign * off


def _rounding(value: Tensor, product: Tensor) -> Tensor:
    return 8 * torch.finfo(value.dtype).eps * (value.abs() + product.abs())
