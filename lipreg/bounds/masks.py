"""What the regional scope leaves of any network over a region, without gradient: which units can move, and their slopes.

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

from lipreg.bounds.pooling import Shares, pool_shares
from lipreg.bounds.reach import allowance
from lipreg.bounds.slopes import Slopes
from lipreg.graph import Affine, Forward, Graph, MaxPool, Relu, WithoutCurves, read_nodes
from lipreg.regions import PlacedRegion


@dataclass(frozen=True)
class Masks:
    """What is kept of a pass.

    Attributes:
        moves: 0/1, which entries of the Input, every Relu and every MaxPool can move, ``(batch, *shape)``.
        upper: the largest slopes of every Relu, ``(batch, *shape)``; 0 for what cannot move.
        sure: whether the units of every Relu are on the side of slope 1 over all of the region.
        pooled: of what every MaxPool reads: lower and upper ends, and which entries can move; until ``shares`` is read.
    """

    graph: Graph
    moves: dict[int, Tensor] = field(default_factory=dict)
    upper: dict[int, Tensor] = field(default_factory=dict)
    sure: dict[int, Tensor] = field(default_factory=dict)
    pooled: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    @cached_property
    def slopes(self) -> dict[int, Slopes]:
        """Both ends of the slopes of every Relu."""
        leaks = {i: node.slope for i, node in self.graph.relus()}
        return {i: Slopes(torch.where(self.sure[i], up, leaks[i] * up.sign()), up) for i, up in self.upper.items()}

    @cached_property
    def shares(self) -> dict[int, Shares]:
        """The weights that the members of every MaxPool's windows can have; the ends that they are read from are let go."""
        return {i: pool_shares(node, *self.pooled.pop(i)) for i, node in self.graph.pools()}


def regional_masks(graph: Graph, region: PlacedRegion) -> Masks:
    """The masks of interval pre-activation bounds: those of ``analyse`` with "interval" in regional scope, up to rounding.

    Args:
        graph: live or not, without curves, whose slopes do have a gradient; none reaches it.
        region: in the graph's dtype and on its device.
    """
    rules = _Masking(graph, region)
    with torch.no_grad():
        graph.forward({0: 0}, rules, until=len(graph.nodes) - 2)  # nobody asks for the output
    return rules.found


class _Masking(WithoutCurves, Forward[int]):
    """The pass: a node's value is its index, under which its middle and width, ``(batch, *shape)``, lie until read."""

    def __init__(self, graph: Graph, region: PlacedRegion) -> None:
        self.found, self.batch = Masks(graph), region.batch
        down, up = (end.reshape(region.center.shape) for end in region.room)
        width = (up - down).add_(allowance(region), alpha=2.0)
        self.held = {0: (torch.add(region.center, down + up, alpha=0.5), width)}
        self.found.moves[0] = region.moves.to(width.dtype)
        # the last one of each node
        self.readers = {i: index for index, node in enumerate(graph.nodes) for i in read_nodes(node)}

    def affine(self, index: int, node: Affine, values: Mapping[int, int]) -> int:
        middle = node.bias.expand(self.batch, *node.shape)
        width = None
        for source, map in node.terms():
            center, spread = self._take(index, source)
            middle, through = middle + map(center), map.abs()(spread)
            width = through if width is None else width + through
        self.held[index] = middle, torch.zeros_like(middle) if width is None else width
        return index

    def relu(self, index: int, node: Relu, value: int) -> int:
        middle, room = self._take(index, value)
        high = torch.add(middle, room, alpha=0.5)
        if node.slope == 0:
            upper = high.relu_()
            self.found.sure[index] = (room <= upper) & (room > 0)
            width = torch.minimum(upper, room)  # what relu leaves of [high - room, high]
            moves = slopes = width.sign()
        else:
            low, moves = high - room, room.sign()
            self.found.sure[index] = (low >= 0) & (moves > 0)
            slopes = torch.where(high > 0, moves, node.slope * moves)
            upper = node(high)
            width = torch.maximum(upper - node(low), node.slope * room)
        self.found.moves[index], self.found.upper[index] = moves, slopes
        self.held[index] = upper.sub_(width, alpha=0.5), width
        return index

    def max_pool(self, index: int, node: MaxPool, value: int) -> int:
        middle, room = self._take(index, value)
        high = torch.add(middle, room, alpha=0.5)
        low, moving = high - room, room > 0
        self.found.pooled[index] = low, high, moving
        upper, lower, moves = (_largest(node, part) for part in (high, low, moving.to(high.dtype)))
        # whatever a member can do, what reads the pool must not take it for known
        info = torch.finfo(upper.dtype)
        least = torch.add(upper.abs(), info.tiny / info.eps).mul_(moves).mul_(info.eps)
        width = torch.maximum(upper - lower, least)
        self.found.moves[index] = moves
        self.held[index] = upper.sub_(width, alpha=0.5), width
        return index

    def _take(self, reader: int, index: int) -> tuple[Tensor, Tensor]:
        return self.held.pop(index) if self.readers[index] == reader else self.held[index]


def _largest(node: MaxPool, z: Tensor) -> Tensor:
    """What the pool makes of z ``(batch, *in_shape)``, member by member: no copy of all windows."""
    flat = z.flatten(1)
    members = (flat.index_select(1, window) for window in node.windows.T.contiguous())
    return reduce(torch.maximum, members).reshape(-1, *node.shape)
