"""Units whose interval ends at the kink up to rounding: whether it ends there.

Outward rounding leaves a unit unstable that only touches its kink: a row of weights >= 0 without a bias over features >= 0,
or a face of the region that lies on the kink. Its other side would be a cell without a point, whose value could neither be
proved nor refuted. The first kind shows in the signs of all terms; of the second, in the first layer, there are few, so
their ends are added up in rationals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from lipreg.bounds.value_bounds import ValueBounds
from lipreg.graph import Affine
from lipreg.linalg.rationals import below
from lipreg.regions import PlacedRegion

NEAR = 4
"""How many times its rounding an end may lie beyond the kink to be looked at."""


def settle_touching(
    node: Affine, bounds: ValueBounds, rounding: Tensor, source_bounds: Mapping[int, ValueBounds], region: PlacedRegion
) -> ValueBounds:
    """The bounds of an Affine node that a Relu reads, with ends moved to 0 that lie beyond it by no more than rounding.

    Args:
        node: the Affine node.
        bounds: its pre-activation bounds.
        rounding: bound on the rounding of one evaluation of the node, ``(batch, *shape)``.
        source_bounds: of the nodes that it reads.
        region: the regions of the batch.
    """
    if node.rounded:
        return bounds  # its rows are rounded themselves
    low = bounds.movable & (bounds.lower < 0) & (bounds.lower >= -NEAR * rounding)
    high = bounds.movable & (bounds.upper > 0) & (bounds.upper <= NEAR * rounding)
    if not bool((low | high).any()):
        return bounds
    lower, upper = bounds.lower.clone(), bounds.upper.clone()
    for wanted, ends, side in ((low, lower, 1), (high, upper, -1)):
        settled = wanted & _one_signed(node, side, source_bounds, bounds)
        ends[settled] = 0.0
        if node.sources == (0,):
            for point, *at in (wanted & ~settled).nonzero().tolist():
                end = side * _end(node, tuple(at), point, side, source_bounds, region)
                if end >= 0:
                    ends[(point, *at)] = side * below(end)
    value = torch.minimum(torch.maximum(bounds.value, lower), upper)
    return replace(bounds, value=value, lower=lower, upper=upper)


def _one_signed(node: Affine, side: int, source_bounds: Mapping[int, ValueBounds], bounds: ValueBounds) -> Tensor:
    """Whether no term of an entry's least value (side 1) is below 0, or none of its largest (-1) above."""
    against = side * node.bias < 0
    for source, map in node.terms():
        up, down = (map.with_entries(lambda entries, s=s: (side * s * entries > 0).to(entries)) for s in (1.0, -1.0))
        ends = source_bounds[source].lower < 0, source_bounds[source].upper > 0
        against = against | (up(ends[0].to(node.bias)) + down(ends[1].to(node.bias)) > 0)
    return ~against.expand_as(bounds.value)


def _end(
    node: Affine,
    at: tuple[int, ...],
    point: int,
    side: int,
    source_bounds: Mapping[int, ValueBounds],
    region: PlacedRegion,
) -> Fraction:
    """The least (side 1) or largest (-1) value of an entry over the bounds of the node's sources."""
    total = Fraction(float(node.bias[at]))
    for source, map in node.terms():
        unit = torch.zeros(map.out_shape, dtype=node.bias.dtype)
        unit[at] = 1.0
        row = map.transpose(unit).flatten()
        used = row.nonzero().flatten()
        if source == 0:
            anchor, down, up = region.center[point].flatten(), *(end[point] for end in region.displacement_ends)
        else:
            anchor, down, up = (
                None,
                source_bounds[source].lower[point].flatten(),
                source_bounds[source].upper[point].flatten(),
            )
        for j in used.tolist():
            entry = Fraction(float(row[j]))
            if anchor is not None:
                total += entry * Fraction(float(anchor[j]))
            total += entry * Fraction(float((down if (entry > 0) == (side > 0) else up)[j]))
    return total
