"""The range of secants: what (f(z) - f(y)) / (z - y) can be for z in [l, u].

As z moves on one piece of a curve, N(z) = f'(z) (z - y) - (f(z) - f(y)), which has the sign of the secant's derivative, is
monotone, for N' = f'' (z - y). So a secant is least and largest at the ends of the piece, or once inside, where the line
from (y, f(y)) touches the curve. For p on a concave piece and z > y

    s(z) <= f'(p) + (s(p) - f'(p)) (p - y) / (z - y),

the tangent at p being above the curve: for any p, and with the least loss where it touches. For z < y, and on convex pieces,
the inequality is turned round.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.curves.curve import Curve, Ends
from lipreg.curves.tangents import crossing


def secants(curve: Curve, y: Tensor, error: Tensor | None, lower: Tensor, upper: Tensor) -> Ends:
    """The least and the largest secant (f(z) - f(y)) / (z - y) over z in [lower, upper], rounded outward; f'(y) for z = y.

    Args:
        curve: f.
        y: the reference value, in [lower, upper] or not.
        error: a bound on the error of y; None where y is exact.
        lower: lower ends; where one is infinite, the range is that of the derivative.
        upper: upper ends, likewise.
    """
    least_y, most_y = (y, y) if error is None else (y - error, y + error)
    # every secant is a mean of derivatives
    least, most = curve.slopes(torch.minimum(lower, least_y), torch.maximum(upper, most_y))
    endless = torch.isinf(lower) | torch.isinf(upper)
    lower, upper = torch.where(endless, y, lower), torch.where(endless, y, upper)
    from_y = _From(curve, y, error, most - least)
    low, high = _hull(from_y.at(lower), from_y.at(upper))
    for kind, start, end in curve.pieces():
        for place in (start, end):
            inside = (lower < place) & (upper > place)
            if bool(inside.any()):
                secant = from_y.at(torch.full_like(y, place))
                low = torch.where(inside, torch.minimum(low, secant[0]), low)
                high = torch.where(inside, torch.maximum(high, secant[1]), high)
        if kind == "straight":
            continue
        # with y on the piece itself, secants are monotone there
        touching = (lower < end) & (upper > start) & (upper > lower) & ((y < start) | (y > end)) & ~endless
        if not bool(touching.any()):
            continue
        part = _From(curve, y[touching], None if error is None else error[touching], (most - least)[touching])
        a, b = lower[touching].clamp(min=start), upper[touching].clamp(max=end)
        above = (part.y < a) == (kind == "concave")
        bound, off = part.touching(a, b, above)
        high = high.masked_scatter(
            touching, torch.where(above, torch.maximum(high[touching], bound + off), high[touching])
        )
        low = low.masked_scatter(touching, torch.where(above, low[touching], torch.minimum(low[touching], bound - off)))
    low, high = torch.where(endless, least, low), torch.where(endless, most, high)
    return torch.minimum(torch.maximum(low, least), most), torch.maximum(torch.minimum(high, most), least)


ROUGH, NEWTON = 9, 3
"""Evaluations that bring a touching point near, and Newton steps from there."""


class _From:
    """Secants from a reference value y, with bounds on their rounding.

    Attributes:
        value: f(y).
        value_error: a bound on its rounding.
        slope_range: how far two derivatives, and so two secants, may lie apart.
    """

    def __init__(self, curve: Curve, y: Tensor, error: Tensor | None, slope_range: Tensor) -> None:
        self.curve, self.y, self.error, self.slope_range = curve, y, error, slope_range
        self.value = curve.value(y)
        self.value_error = curve.value_rounding(y, self.value)

    def at(self, z: Tensor) -> Ends:
        """Bounds on the secant to z, cut to the range of the derivative between y and z."""
        middle, off = self._secant(z)
        about = 0.0 if self.error is None else self.error
        slope = self.curve.slopes(torch.minimum(z, self.y) - about, torch.maximum(z, self.y) + about)
        low = torch.minimum(torch.maximum(middle - off, slope[0]), slope[1])
        return low, torch.maximum(torch.minimum(middle + off, slope[1]), slope[0])

    def _secant(self, z: Tensor) -> Ends:
        """The secant to z, and a bound on its error."""
        step = z - self.y
        same = step == 0
        step = torch.where(same, torch.ones_like(step), step)
        value = self.curve.value(z)
        secant = torch.where(same, self.curve.slope(self.y), (value - self.value) / step)
        off = self.curve.value_rounding(z, value) + self.value_error
        distance = step.abs()
        if self.error is not None:  # ds / dy = (s - f') / (z - y)
            off = off + 2.0 * self.error * self.slope_range
            distance = (distance - self.error).clamp(min=torch.finfo(z.dtype).tiny)
        eps = torch.finfo(z.dtype).eps
        return secant, torch.where(same, self.curve.slope_rounding(z, secant), off / distance + 4 * eps * secant.abs())

    def touching(self, a: Tensor, b: Tensor, above: Tensor) -> Ends:
        """A bound on the secants to all z in [a, b], a part of one piece on which y does not lie.

        Args:
            a: lower ends.
            b: upper ends.
            above: where the bound is an upper one; elsewhere it is a lower one.

        Returns:
            The secant near the touching point, and what the bound exceeds it by.
        """
        curve, y = self.curve, self.y

        def turning(z: Tensor) -> Tensor:  # N / |z - y|, nearly linear next to y
            step = z - y.detach()
            step = torch.where(step == 0, torch.ones_like(step), step)
            return (curve.slope(z) - (curve.value(z) - self.value.detach()) / step) * step.sign()

        p = self._sharper(crossing(turning, a, b, above, y.detach(), ROUGH), turning, a.detach(), b.detach())
        secant, off = self._secant(p)
        slope = curve.slope(p)
        with torch.no_grad():  # at the touching point the bound is the secant, and as flat in p as the secant is
            tiny = torch.finfo(y.dtype).tiny
            ratio = [(p - y) / torch.where(z == y, tiny, z - y) - 1.0 for z in (a, b)]
            excess = [((secant - slope) * part).nan_to_num(nan=torch.inf) for part in ratio]
            over = torch.maximum(*(torch.where(above, part, -part) for part in excess)).clamp(min=0.0)
            off = off + over + curve.slope_rounding(p, slope) * torch.maximum(*(part.abs() for part in ratio))
        return secant, off

    def _sharper(self, p: Tensor, turning: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
        """Places inside [a, b] nearer to the touching point, by Newton steps with N' = f'' (z - y)."""
        with torch.no_grad():
            y, place, least = self.y.detach(), p.detach(), turning(p.detach())
            inside = (place > a) & (place < b)
            for _ in range(NEWTON):
                rate = self.curve.curvature(place) * (place - y)
                step = least * (place - y).abs() / torch.where(rate == 0, torch.ones_like(rate), rate)
                further = torch.minimum(torch.maximum(place - step, a), b)
                residual = turning(further)
                better = inside & (residual.abs() < least.abs())
                place, least = torch.where(better, further, place), torch.where(better, residual, least)
        return torch.where(inside, place, p)


def _hull(one: Ends, other: Ends) -> Ends:
    return torch.minimum(one[0], other[0]), torch.maximum(one[1], other[1])
