"""Where a function of one sign on the left and another on the right of a place crosses 0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROUNDS = 12
"""Evaluations. What is made of the place holds for any, and loses the square of its distance from the right one."""


def crossing(
    function: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    falling: Tensor,
    beside: Tensor | None = None,
    rounds: int = ROUNDS,
) -> Tensor:
    """A place in [low, high] near that where a function changes its sign, or the end that is nearer to it.

    An end has its gradient, a place inside has none.

    By regula falsi, in which an end that stays counts half (Illinois), and every third step halves the interval: beside a
    point, where the place may be as near to it as the nearer end is, in proportion.

    Args:
        function: changes its sign at most once.
        low, high: the ends.
        falling: whether it goes from above 0 to below.
        beside: a point outside of the interval.
        rounds: evaluations.
    """
    a, b = low, high
    with torch.no_grad():
        low, high = low.detach(), high.detach()
        at_low, at_high = function(low), function(high)
        outside = at_low * at_high >= 0
        last = (at_low + at_high > 0) == falling  # of the two ends
        best, least = low, torch.full_like(low, torch.inf)
        for turn in range(rounds):
            span = at_high - at_low
            place = (low * at_high - high * at_low) / torch.where(span == 0, torch.ones_like(span), span)
            place = _halfway(low, high, beside) if turn % 3 == 2 else torch.minimum(torch.maximum(place, low), high)
            found = function(place)
            better = found.abs() < least
            best, least = torch.where(better, place, best), torch.where(better, found.abs(), least)
            left = (found > 0) == (at_low > 0)  # the change lies to the right of the place
            at_high = torch.where(left, at_high / 2, found)
            at_low = torch.where(left, found, at_low / 2)
            low, high = torch.where(left, place, low), torch.where(left, high, place)
    return torch.where(outside, torch.where(last, b, a), best)


def _halfway(low: Tensor, high: Tensor, beside: Tensor | None) -> Tensor:
    """The middle of an interval, or where the distance from a point beside it has the ratio to both ends that it has."""
    if beside is None:
        return (low + high) / 2
    one, other = low - beside, high - beside
    middle = beside + (one * other).clamp(min=0.0).sqrt() * other.sign()
    return torch.where(one * other > 0, torch.minimum(torch.maximum(middle, low), high), (low + high) / 2)
