"""Entries of a node bounded one by one, in parts: rows that read one entry each are carried to where they can be bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lipreg.bounds.pass_cost import slots
from lipreg.budget import Budget
from lipreg.linalg import Rows, WholeRows, unit_windows
from lipreg.words import size

PASS_NUMBERS = 2**19
"""Numbers that the rows of one pass take at most, within the budget's memory; more do not stay in a processor's cache."""
LINES = 2
"""How many times a row's numbers are kept beside those of an ordinary pass: with the lines that it reads, and offsets."""
SMALL = 2**16
"""Numbers up to which rows are carried whole: there calls cost more than numbers."""
IMAGE = 2**10
"""Entries of the largest node on the way up to which a window is most of it, or no slower whole."""
SHARED = 1.25
"""How many times as many rows may be carried where these share their windows, and what is read there."""

UnitBounder = Callable[[Rows], tuple[Tensor, int]]


def unit_bounds(
    wanted: Tensor, like: Tensor, largest: int, bound: UnitBounder, budget: Budget
) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Lower and upper bounds on the entries of a node that are worth most.

    Args:
        wanted: what bounding each is worth, ``(batch, *shape)``: the largest first. Entries that are worth nothing fill up
            points with fewer than the busiest has.
        like: a tensor of the rows' dtype and device.
        largest: entries of the largest node on the way.
        bound: upper bounds on 2 k rows, ``(batch, 2 k)``, and the most numbers that these took on the way.
        budget: started; entries are left out from its end on. Its memory is what the rows of a pass may take.

    Returns:
        The entries' flat positions, their lower and their upper bounds, ``(batch, bounded)`` each, and whether there was
        time for all.
    """
    batch, shape, n = len(wanted), wanted.shape[1:], math.prod(wanted.shape[2:])
    most_wanted = slots(wanted)
    units = _first(wanted.detach().flatten(1), most_wanted)
    most = min(PASS_NUMBERS, budget.rows(LINES))
    small = len(shape) == 1 or largest <= IMAGE or 2 * batch * most_wanted * largest <= SMALL
    if small:
        places, channels = units.unsqueeze(-1), None
    else:
        rank = torch.arange(most_wanted, 0, -1, device=units.device).expand_as(units)
        wanted = torch.zeros(batch, math.prod(shape), dtype=rank.dtype, device=units.device).scatter_(1, units, rank)
        places, channels = _windows(wanted.unflatten(1, (-1, n)).mT, most_wanted, max(1, most // (2 * batch * largest)))
    rows_each = 1 if channels is None else channels.shape[2]
    done, at_once, ends = 0, max(1, most // (2 * batch * largest * rows_each)), []

    def parts() -> Iterator[slice]:
        while done < places.shape[1]:
            yield slice(done, min(done + at_once, places.shape[1]))

    for some in budget.paced(parts(), lambda part: part.stop - part.start):
        if channels is None:
            hot = like.new_zeros(batch, places[:, some].shape[1], math.prod(shape)).scatter_(2, places[:, some], 1.0)
            rows = WholeRows(hot.reshape(batch, -1, *shape))
        else:
            rows = unit_windows(places[:, some], channels[:, some], tuple(shape), like)
        bounds, numbers = bound(rows.mirrored())
        count = bounds.shape[1] // (2 * rows_each)
        ends.append(
            bounds.reshape(batch, 2, count) if channels is None else _sorted(bounds.reshape(batch, count, 2, -1))
        )
        done += count
        at_once = max(1, most * count // numbers)
    upper, lower = torch.cat(ends, 2).unbind(1) if ends else (like.new_zeros(batch, 0),) * 2
    if channels is not None:
        units = channels * n + places.unsqueeze(-1)
        requested = wanted.gather(1, units[:, :done].flatten(1)) > 0  # others share a window with some that are
        upper, lower = (end.masked_fill(~requested, torch.inf) for end in (upper, lower))
    return units[:, :done].flatten(1), -lower, upper, done == places.shape[1]


def in_parts(budget: Budget) -> str:
    """The part of "no time" in the details of results that names the memory; empty where more of it would be no faster."""
    return f", in parts that fit into {size(budget.memory)}," if budget.rows(LINES) < PASS_NUMBERS else ""


def _sorted(bounds: Tensor) -> Tensor:
    """Bounds of windows' rows and of their negatives, ``(batch, windows, 2, rows)``, as ``(batch, 2, windows * rows)``."""
    return bounds.transpose(1, 2).flatten(2)


def _first(wanted: Tensor, count: int) -> Tensor:
    """The positions along the second dimension that are wanted most, ``count`` of each point."""
    return wanted.argsort(dim=1, descending=True, stable=True)[:, :count]


def _windows(wanted: Tensor, count: int, most: int) -> tuple[Tensor, Tensor]:
    """The places of windows, ``(batch, windows)``, and the channels to read there, ``(batch, windows, rows of each)``.

    Args:
        wanted: ranks, the most wanted highest, 0 for what is not, ``(batch, places, channels)``.
        count: how many the busiest point wants.
        most: rows of a window.
    """
    at_place = (wanted > 0).sum(2)
    windows, rows = int((at_place > 0).sum(1).amax()), int(at_place.amax())
    if windows * rows <= SHARED * count:
        places = _first(wanted.amax(2), windows)
        there = wanted.gather(1, places.unsqueeze(-1).expand(-1, -1, wanted.shape[2]))
        channels = _first(there.transpose(1, 2), rows).transpose(1, 2)
        parts = next(n for n in range(1, rows + 1) if rows % n == 0 and rows // n <= most)
        return places.repeat_interleave(parts, 1), channels.reshape(len(places), windows * parts, -1)
    units = _first(wanted.flatten(1), count)
    return units // wanted.shape[2], (units % wanted.shape[2]).unsqueeze(-1)
