"""What is known of every node over all of R^n: which entries move, and what of their ends the signs of weights give.

Almost every unit has no end on either side. Sums of infinite ends are no numbers, so the ends that are infinite are
followed by themselves, and no bound but this one is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipreg.bounds.preactivations import Preactivations
from lipreg.bounds.reach import Reach, curved_reach
from lipreg.graph import Affine, Curved, Forward, Graph, MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.regions import PlacedRegion


def unbounded_reach(graph: Graph, region: PlacedRegion) -> Preactivations:
    """The reach of every node of a graph over all of R^n around each reference point; there are no anchors."""
    center, far = region.center, torch.full_like(region.center, torch.inf)
    start = Reach(center, -far, far, region.moves, error=torch.zeros_like(center))
    return Preactivations(tuple(graph.forward({0: start}, _Unbounded(region.batch)).values()), {})


class _Unbounded(Forward[Reach]):
    def __init__(self, batch: int) -> None:
        self.batch = batch

    def affine(self, index: int, node: Affine, values: Mapping[int, Reach]) -> Reach:
        value = node.bias.expand(self.batch, *node.shape)
        size, off, flow, least, most, below, above = value.abs(), *(torch.zeros_like(value) for _ in range(6))
        length = SPARE
        for source, map in node.terms():
            own, length = values[source], length + map.lengths
            assert own.error is not None
            value, spread = value + map(own.value), map.sizes()
            size, off = size + spread(own.value.abs()), off + spread(own.error)
            flow = flow + spread(own.moves.to(value.dtype))
            low, high = _finite(own.lower), _finite(own.upper)
            ends = _signed(map, (low, high), (_infinite(own.lower), _infinite(own.upper)))
            least, most, below, above = (a + b for a, b in zip((least, most, below, above), ends, strict=True))
            size = size + spread(torch.maximum(low.abs(), high.abs()))
        rounding = length * (EPS * size + TINY) + node.bias_rounding()
        error, moves = off + rounding, flow > 0
        lower = torch.where(below > 0, -torch.inf, torch.minimum(least + node.bias - rounding, value))
        upper = torch.where(above > 0, torch.inf, torch.maximum(most + node.bias + rounding, value))
        lower, upper = torch.where(moves, lower, value - error), torch.where(moves, upper, value + error)
        return Reach(value, lower, upper, moves, error=error)

    def relu(self, index: int, node: Relu, value: Reach) -> Reach:
        moves = value.moves & (value.upper > 0) if node.slope == 0 else value.moves
        at, lower, upper = (
            z.clamp(min=0.0) if node.slope == 0 else node(z) for z in (value.value, value.lower, value.upper)
        )
        return Reach(at, lower, upper, moves, error=value.error)

    def max_pool(self, index: int, node: MaxPool, value: Reach) -> Reach:
        assert value.error is not None
        at, lower, upper = (node(part) for part in (value.value, value.lower, value.upper))
        return Reach(at, lower, upper, node(value.moves.to(at.dtype)) > 0, error=node(value.error))

    def curved(self, index: int, node: Curved, value: Reach) -> Reach:
        return curved_reach(node, value)


def _signed(map: LinearMap, ends: tuple[Tensor, Tensor], open_: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """What a map makes of finite ends, lower and upper, and of how many infinite ones each of its own is made."""
    if map.rounded:  # their entries have no signs that could be read off
        unknown = map.sizes()(open_[0] + open_[1] + (ends[1] > ends[0]))
        return (*(map(end) for end in ends), unknown, unknown)
    up, down = (map.with_entries(lambda own, s=s: (s * own).clamp(min=0.0)) for s in (1.0, -1.0))
    if not any((own < 0).any() for own in map.entries if own.is_floating_point()):
        return *(up(end) for end in ends), *(up(end) for end in open_)
    lower, upper = up(ends[0]) - down(ends[1]), up(ends[1]) - down(ends[0])
    return lower, upper, up(open_[0]) + down(open_[1]), up(open_[1]) + down(open_[0])


def _finite(end: Tensor) -> Tensor:
    return torch.where(torch.isinf(end), 0.0, end)


def _infinite(end: Tensor) -> Tensor:
    return torch.isinf(end).to(end.dtype)
