"""Units whose interval ends at the kink up to rounding: whether it ends there.

Outward rounding leaves a unit undecided that only touches its kink: a row of weights >= 0 without a bias over features >= 0,
or a face of the region that lies on the kink. Its other side would be a cell without a point, and what looks attained there
could neither be proved nor refuted. The first kind is told by the signs of all terms; of the second, in the first layer,
there are few, so their ends are added up in rationals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from lipreg.bounds.reach import Reach
from lipreg.graph import Affine
from lipreg.linalg.rationals import below
from lipreg.regions import PlacedRegion

NEAR = 4
"""How many times its rounding an end may lie beyond the kink to be looked at."""


def settle_touching(
    node: Affine, found: Reach, rounding: Tensor, reach: Mapping[int, Reach], region: PlacedRegion
) -> Reach:
    """The reach of an Affine node that a Relu reads, with ends at 0 that lie beyond it by no more than rounding.

    Args:
        found: the node's reach.
        rounding: of one evaluation of the node.
        reach: of its sources.
    """
    if node.rounded:
        return found  # its rows are rounded themselves
    low = found.moves & (found.lower < 0) & (found.lower >= -NEAR * rounding)
    high = found.moves & (found.upper > 0) & (found.upper <= NEAR * rounding)
    if not bool((low | high).any()):
        return found
    lower, upper = found.lower.clone(), found.upper.clone()
    for wanted, ends, side in ((low, lower, 1), (high, upper, -1)):
        settled = wanted & _one_signed(node, side, reach, found)
        ends[settled] = 0.0
        if node.sources == (0,):
            for point, *at in (wanted & ~settled).nonzero().tolist():
                end = side * _end(node, tuple(at), point, side, reach, region)
                if end >= 0:
                    ends[(point, *at)] = side * below(end)
    value = torch.minimum(torch.maximum(found.value, lower), upper)
    return replace(found, value=value, lower=lower, upper=upper)


def _one_signed(node: Affine, side: int, reach: Mapping[int, Reach], found: Reach) -> Tensor:
    """Whether no term of an entry's least value (side 1) is below 0, or none of its largest (-1) above."""
    against = side * node.bias < 0
    for source, map in node.terms():
        up, down = (map.with_entries(lambda own, s=s: (side * s * own > 0).to(own)) for s in (1.0, -1.0))
        ends = reach[source].lower < 0, reach[source].upper > 0
        against = against | (up(ends[0].to(node.bias)) + down(ends[1].to(node.bias)) > 0)
    return ~against.expand_as(found.value)


def _end(
    node: Affine, at: tuple[int, ...], point: int, side: int, reach: Mapping[int, Reach], region: PlacedRegion
) -> Fraction:
    """The least (side 1) or largest (-1) value of an entry over what is known of the node's sources."""
    total = Fraction(float(node.bias[at]))
    for source, map in node.terms():
        unit = torch.zeros(map.out_shape, dtype=node.bias.dtype)
        unit[at] = 1.0
        row = map.transpose(unit).flatten()
        used = row.nonzero().flatten()
        if source == 0:
            anchor, down, up = region.center[point].flatten(), *(end[point] for end in region.room)
        else:
            anchor, down, up = None, reach[source].lower[point].flatten(), reach[source].upper[point].flatten()
        for j in used.tolist():
            entry = Fraction(float(row[j]))
            if anchor is not None:
                total += entry * Fraction(float(anchor[j]))
            total += entry * Fraction(float((down if (entry > 0) == (side > 0) else up)[j]))
    return total
