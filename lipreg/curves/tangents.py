"""The zero of a function that changes its sign once in an interval."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROUNDS = 12
"""Evaluations. A bound that is made at any place is true; what it loses grows with the square of the distance."""


def crossing(
    function: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    falling: Tensor,
    beside: Tensor | None = None,
    rounds: int = ROUNDS,
) -> Tensor:
    """A place in [low, high] near the zero of a function; the end that is nearer to the zero where it lies outside.

    An end keeps its gradient, a place inside has none. The method is regula falsi in which an end that stays counts half
    (Dowell & Jarratt 1971, the Illinois algorithm), and every third step halves the interval instead: by the geometric mean
    of the distances from ``beside``, if one is given, for the zero may lie much nearer to it than the interval is long.

    Args:
        function: acts entry by entry, and changes its sign at most once in each interval.
        low: lower ends, of any shape.
        high: upper ends.
        falling: whether the function goes from above 0 to below, entry by entry.
        beside: a point outside of each interval; None for none.
        rounds: evaluations inside the intervals.
    """
    a, b = low, high
    with torch.no_grad():
        low, high = low.detach(), high.detach()
        at_low, at_high = function(low), function(high)
        outside = at_low * at_high >= 0
        beyond_high = (at_low + at_high > 0) == falling  # whether the zero lies beyond the upper end
        best, least = low, torch.full_like(low, torch.inf)
        for turn in range(rounds):
            span = at_high - at_low
            place = (low * at_high - high * at_low) / torch.where(span == 0, torch.ones_like(span), span)
            place = _halfway(low, high, beside) if turn % 3 == 2 else torch.minimum(torch.maximum(place, low), high)
            value = function(place)
            better = value.abs() < least
            best, least = torch.where(better, place, best), torch.where(better, value.abs(), least)
            to_the_right = (value > 0) == (at_low > 0)
            at_high = torch.where(to_the_right, at_high / 2, value)
            at_low = torch.where(to_the_right, value, at_low / 2)
            low, high = torch.where(to_the_right, place, low), torch.where(to_the_right, high, place)
    return torch.where(outside, torch.where(beyond_high, b, a), best)


def _halfway(low: Tensor, high: Tensor, beside: Tensor | None) -> Tensor:
    """The middle of an interval: the geometric one of the distances from a point beside it, if one is given."""
    if beside is None:
        return (low + high) / 2
    one, other = low - beside, high - beside
    middle = beside + (one * other).clamp(min=0.0).sqrt() * other.sign()
    return torch.where(one * other > 0, torch.minimum(torch.maximum(middle, low), high), (low + high) / 2)
