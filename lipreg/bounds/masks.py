"""Which units of any network can move over a region, and their slopes in regional scope, without gradient.

The regional slopes are constant almost everywhere, so interval pre-activations behind them are gone through once, from the
input on, as middles and widths, and forgotten as soon as nobody reads them. What a bound in training then reads, and
nothing else, is kept: no values at the reference points, no ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce

import torch
from torch import Tensor

from lipreg.bounds.pooling import PoolWeights, pool_shares
from lipreg.bounds.slopes import Slopes
from lipreg.bounds.value_bounds import allowance
from lipreg.graph import Affine, Forward, Graph, MaxPool, Relu, WithoutCurves, read_nodes
from lipreg.regions import PlacedRegion


@dataclass(frozen=True)
class Masks:
    """The masks of a pass over a batch of regions.

    Attributes:
        graph: without curves.
        movable: 0/1, which entries of the Input, every Relu and every MaxPool can move, ``(batch, *shape)``.
        upper: the largest slopes of every Relu, ``(batch, *shape)``; 0 for what cannot move.
        sure: whether the units of every Relu are on the side of slope 1 over all of the region.
        pooled: of what every MaxPool reads: lower and upper ends, and which entries can move; until ``shares`` is read.
    """

    graph: Graph
    movable: dict[int, Tensor] = field(default_factory=dict)
    upper: dict[int, Tensor] = field(default_factory=dict)
    sure: dict[int, Tensor] = field(default_factory=dict)
    pooled: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    @cached_property
    def slopes(self) -> dict[int, Slopes]:
        """Both ends of the slopes of every Relu."""
        negative_slopes = {i: node.slope for i, node in self.graph.relus()}
        return {
            i: Slopes(torch.where(self.sure[i], up, negative_slopes[i] * up.sign()), up) for i, up in self.upper.items()
        }

    @cached_property
    def shares(self) -> dict[int, PoolWeights]:
        """The weights that the members of every MaxPool's windows can have; ``pooled``, their source, is emptied."""
        return {i: pool_shares(node, *self.pooled.pop(i)) for i, node in self.graph.pools()}


def regional_masks(graph: Graph, region: PlacedRegion) -> Masks:
    """The masks of interval pre-activation bounds: those of ``analyse`` with "interval" in regional scope, up to rounding.

    Args:
        graph: live or not, without curves, whose slopes do have a gradient; none reaches it.
        region: in the graph's dtype and on its device.
    """
    rules = _Masking(graph, region)
    with torch.no_grad():
        graph.forward({0: 0}, rules, until=len(graph.nodes) - 2)  # nothing reads the output's
    return rules.masks


class _Masking(WithoutCurves, Forward[int]):
    """The pass: a node's value is its index, under which its middle and width, ``(batch, *shape)``, lie until read."""

    def __init__(self, graph: Graph, region: PlacedRegion) -> None:
        self.masks, self.batch = Masks(graph), region.batch
        down, up = (end.reshape(region.center.shape) for end in region.displacement_ends)
        width = (up - down).add_(allowance(region), alpha=2.0)
        self.intervals = {0: (torch.add(region.center, down + up, alpha=0.5), width)}
        self.masks.movable[0] = region.movable.to(width.dtype)
        # the last one of each node
        self.readers = {i: index for index, node in enumerate(graph.nodes) for i in read_nodes(node)}

    def affine(self, index: int, node: Affine, values: Mapping[int, int]) -> int:
        middle = node.bias.expand(self.batch, *node.shape)
        width = None
        for source, map in node.terms():
            center, source_width = self._take(index, source)
            middle, through = middle + map(center), map.abs()(source_width)
            width = through if width is None else width + through
        self.intervals[index] = middle, torch.zeros_like(middle) if width is None else width
        return index

    def relu(self, index: int, node: Relu, value: int) -> int:
        middle, width_before = self._take(index, value)
        high = torch.add(middle, width_before, alpha=0.5)
        if node.slope == 0:
            upper = high.relu_()
            self.masks.sure[index] = (width_before <= upper) & (width_before > 0)
            width = torch.minimum(upper, width_before)  # relu makes of [high - width_before, high]
            movable = slopes = width.sign()
        else:
            low, movable = high - width_before, width_before.sign()
            self.masks.sure[index] = (low >= 0) & (movable > 0)
            slopes = torch.where(high > 0, movable, node.slope * movable)
            upper = node(high)
            width = torch.maximum(upper - node(low), node.slope * width_before)
        self.masks.movable[index], self.masks.upper[index] = movable, slopes
        self.intervals[index] = upper.sub_(width, alpha=0.5), width
        return index

    def max_pool(self, index: int, node: MaxPool, value: int) -> int:
        middle, width_before = self._take(index, value)
        high = torch.add(middle, width_before, alpha=0.5)
        low, moving = high - width_before, width_before > 0
        self.masks.pooled[index] = low, high, moving
        upper, lower, movable = (_largest(node, part) for part in (high, low, moving.to(high.dtype)))
        # a window with a member that can move has a width above 0, whatever rounding makes of it
        info = torch.finfo(upper.dtype)
        least = torch.add(upper.abs(), info.tiny / info.eps).mul_(movable).mul_(info.eps)
        width = torch.maximum(upper - lower, least)
        self.masks.movable[index] = movable
        self.intervals[index] = upper.sub_(width, alpha=0.5), width
        return index

    def _take(self, reader: int, index: int) -> tuple[Tensor, Tensor]:
        return self.intervals.pop(index) if self.readers[index] == reader else self.intervals[index]


def _largest(node: MaxPool, z: Tensor) -> Tensor:
    """What the pool makes of z ``(batch, *in_shape)``, member by member: no copy of all windows."""
    flat = z.flatten(1)
    members = (flat.index_select(1, window) for window in node.windows.T.contiguous())
    return reduce(torch.maximum, members).reshape(-1, *node.shape)
