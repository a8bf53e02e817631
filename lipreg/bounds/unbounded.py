"""Bounds on every node over all of R^n: which entries can move, and the finite ends that the signs of weights give.

Almost every unit is unbounded on either side. Sums of infinite ends are no numbers, so infinite ends are followed apart from
finite ones, and no other method is run.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipreg.bounds.preactivations import Preactivations
from lipreg.bounds.value_bounds import ValueBounds, curve_bounds
from lipreg.graph import Affine, Curved, Forward, Graph, MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.regions import PlacedRegion


def whole_space_bounds(graph: Graph, region: PlacedRegion) -> Preactivations:
    """Bounds on every node of a graph over all of R^n around each reference point; there are no anchors."""
    center, far = region.center, torch.full_like(region.center, torch.inf)
    start = ValueBounds(center, -far, far, region.movable, error=torch.zeros_like(center))
    return Preactivations(tuple(graph.forward({0: start}, _Unbounded(region.batch)).values()), {})


class _Unbounded(Forward[ValueBounds]):
    def __init__(self, batch: int) -> None:
        self.batch = batch

    def affine(self, index: int, node: Affine, values: Mapping[int, ValueBounds]) -> ValueBounds:
        value = node.bias.expand(self.batch, *node.shape)
        size, off, flow, least, most, below, above = value.abs(), *(torch.zeros_like(value) for _ in range(6))
        length = SPARE
        for source, map in node.terms():
            bounds, length = values[source], length + map.lengths
            assert bounds.error is not None
            value, magnitudes = value + map(bounds.value), map.sizes()
            size, off = size + magnitudes(bounds.value.abs()), off + magnitudes(bounds.error)
            flow = flow + magnitudes(bounds.movable.to(value.dtype))
            low, high = _finite(bounds.lower), _finite(bounds.upper)
            ends = _signed(map, (low, high), (_infinite(bounds.lower), _infinite(bounds.upper)))
            least, most, below, above = (a + b for a, b in zip((least, most, below, above), ends, strict=True))
            size = size + magnitudes(torch.maximum(low.abs(), high.abs()))
        rounding = length * (EPS * size + TINY) + node.bias_rounding()
        error, movable = off + rounding, flow > 0
        lower = torch.where(below > 0, -torch.inf, torch.minimum(least + node.bias - rounding, value))
        upper = torch.where(above > 0, torch.inf, torch.maximum(most + node.bias + rounding, value))
        lower, upper = torch.where(movable, lower, value - error), torch.where(movable, upper, value + error)
        return ValueBounds(value, lower, upper, movable, error=error)

    def relu(self, index: int, node: Relu, value: ValueBounds) -> ValueBounds:
        movable = value.movable & (value.upper > 0) if node.slope == 0 else value.movable
        at, lower, upper = (
            z.clamp(min=0.0) if node.slope == 0 else node(z) for z in (value.value, value.lower, value.upper)
        )
        return ValueBounds(at, lower, upper, movable, error=value.error)

    def max_pool(self, index: int, node: MaxPool, value: ValueBounds) -> ValueBounds:
        assert value.error is not None
        at, lower, upper = (node(part) for part in (value.value, value.lower, value.upper))
        return ValueBounds(at, lower, upper, node(value.movable.to(at.dtype)) > 0, error=node(value.error))

    def curved(self, index: int, node: Curved, value: ValueBounds) -> ValueBounds:
        return curve_bounds(node, value)


def _signed(map: LinearMap, ends: tuple[Tensor, Tensor], infinite: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """The finite ends of a map's image, lower and upper, and how many infinite ones each of them is made of."""
    if map.rounded:  # their entries have no signs that could be read off
        unknown = map.sizes()(infinite[0] + infinite[1] + (ends[1] > ends[0]))
        return (*(map(end) for end in ends), unknown, unknown)
    up, down = (map.with_entries(lambda entries, s=s: (s * entries).clamp(min=0.0)) for s in (1.0, -1.0))
    if not any((entries < 0).any() for entries in map.entries if entries.is_floating_point()):
        return *(up(end) for end in ends), *(up(end) for end in infinite)
    lower, upper = up(ends[0]) - down(ends[1]), up(ends[1]) - down(ends[0])
    return lower, upper, up(infinite[0]) + down(infinite[1]), up(infinite[1]) + down(infinite[0])


def _finite(end: Tensor) -> Tensor:
    return torch.where(torch.isinf(end), 0.0, end)


def _infinite(end: Tensor) -> Tensor:
    return torch.isinf(end).to(end.dtype)
