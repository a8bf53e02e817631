"""Max pools written out as ReLUs, for methods without max pools: max(a, b) = b + relu(a - b), round by round.

Over one point's region only members that can be the largest take part, so a window that is decided costs nothing. A pool of
ReLUs is taken as the ReLU of a pool, which is the same because a ReLU never decreases: members that are off together would
tie at 0 on whole cells, and ties are kinks out of general position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from lipreg.bounds.analysing import analyse
from lipreg.bounds.analysis import Analysis
from lipreg.bounds.pooling import pool_shares
from lipreg.budget import Budget
from lipreg.graph import Affine, Copying, Curved, Graph, MaxPool, Relu, Symbol
from lipreg.linalg import Diagonal, gather
from lipreg.linalg.floats import add_above, add_below


def without_pools(local: Analysis, budget: Budget | None = None) -> Analysis:
    """The analysis of the same function over a single point's region as a network without MaxPool nodes.

    Its graph equals the network inside the region alone, and carries the network's fingerprint: what is proved of it is
    about the network. Witnesses are to be evaluated on the network. It is kept for as long as the analysis lives, or until
    there is more time for pre-activation bounds that were cut short. It is the analysis itself where there is nothing to
    write out.

    Args:
        local: of a single point.
        budget: started; half of its remaining time is for pre-activation bounds, once they are read. None for that of the
            analysis.
    """
    if not local.graph.pools():
        return local
    return local.within(budget).memoised(_written_out, is_cut=lambda plain: not plain.whole)


def _written_out(local: Analysis) -> Analysis:
    with torch.no_grad():
        graph, prior_bounds = _Writer(local).write()
        return analyse(graph, local.placed, prior_bounds=prior_bounds, budget=partial(local.budget.share, 0.5))


class _Writer(Copying):
    """Copies a graph node by node; what was proved of pre-activations goes along."""

    def __init__(self, local: Analysis) -> None:
        super().__init__(local.graph)
        self.local = local
        self.prior_bounds: dict[int, tuple[Tensor, Tensor]] = {}
        self.affines: dict[int, Symbol] = {}
        self.swapped = self._pools_of_relus()
        others = (node.sources for at, node in self.graph.affines() if at not in self.swapped)
        self.elsewhere = {i for sources in others for i in sources}

    def write(self) -> tuple[Graph, dict[int, tuple[Tensor, Tensor]]]:
        """The graph, and bounds on its Affine nodes by index."""
        return self.copied(), self.prior_bounds

    def affine(self, index: int, node: Affine, values: Mapping[int, Symbol]) -> Symbol:
        self.affines[index] = super().affine(index, node, values)
        return self.affines[index]

    def relu(self, index: int, node: Relu, value: Symbol) -> Symbol:
        if index not in self.elsewhere:  # what a swapped pool alone reads is written with the pool
            return value
        bounds = self.local.value_bounds[node.source]
        return self._relu(value, node.slope, node.name, bounds.lower, bounds.upper)

    def curved(self, index: int, node: Curved, value: Symbol) -> Symbol:
        bounds = self.local.value_bounds[node.source]
        out = super().curved(index, node, value)
        self._add_bounds(out, bounds.lower, bounds.upper)
        return out

    def max_pool(self, index: int, node: MaxPool, value: Symbol) -> Symbol:
        alone = node.windows[node.partners < 0]
        if len(alone) < len(node.windows) and bool((alone[:, 0] == alone[:, 1]).all()):
            return self._pairs(index, node, value)
        relu = self.swapped.get(node.source)
        return self._pool(index, node, value if relu is None else self.affines[relu.source], relu)

    def _pools_of_relus(self) -> dict[int, Relu]:
        """The Affine nodes that do nothing but hand a ReLU on to a MaxPool, with that ReLU."""
        relus = {}
        for _, pool in self.graph.pools():
            affine = self.graph.affine(pool.source)
            relu = self.graph.nodes[affine.sources[0]] if len(affine.sources) == 1 else None
            plain = isinstance(affine.maps[0], Diagonal) and affine.maps[0].unit if affine.maps else False
            if isinstance(relu, Relu) and plain and not affine.bias.any():
                relus[pool.source] = relu
        return relus

    def _pool(self, index: int, node: MaxPool, symbol: Symbol, relu: Relu | None) -> Symbol:
        bounds = self.local.value_bounds[node.source if relu is None else relu.source]
        # a ReLU may have another shape than the pool's input: a reshape is no node
        lower, upper, movable = (end.reshape(1, *node.in_shape) for end in (bounds.lower, bounds.upper, bounds.movable))
        contending = pool_shares(node, lower, upper, movable).candidates[0]
        if relu is not None and relu.slope == 0:
            contending = contending & (node.members(upper)[0] > 0)  # below 0 the ReLU makes them all the same
        windows = _contested(node.windows, contending)
        lower, upper = lower.flatten(1)[:, windows], upper.flatten(1)[:, windows]
        members = self._read(symbol, windows)
        name = f"max pool {node.name or index}" if relu is None else f"max pool of {relu.name}"
        columns, among = _places(windows), windows.unsqueeze(-1) == windows.unsqueeze(1)
        while members.shape[1] > 1:
            half = members.shape[1] // 2
            # the largest of some members is not compared with that of fewer of them: what cancels there leaves rounding
            ends, sets = columns[:, : 2 * half].unflatten(1, (2, half)), among[:, : 2 * half].unflatten(1, (2, half))
            fewer, more = (sets[:, 0] <= sets[:, 1]).all(-1), (sets[:, 1] <= sets[:, 0]).all(-1)
            ends = torch.where((more & ~fewer).unsqueeze(1), ends.flip(1), ends)
            nested = fewer | more
            first, second = (self._read(members, ends[:, i].masked_fill(nested, -1)) for i in range(2))
            minus = self.context.like.new_tensor(-1.0)
            ahead = self._relu(
                first.plus(second.scaled(minus)),
                0.0,
                name,
                add_below(lower[..., :half], -upper[..., half : 2 * half]),
                add_above(upper[..., :half], -lower[..., half : 2 * half]),
            )
            width = members.shape[1] - half  # the winners, then the member without an opponent
            padded = torch.nn.functional.pad(_places(nested), (0, width - half), value=-1)
            members = self._read(members, torch.cat([ends[:, 1], columns[:, 2 * half :]], 1)).plus(
                self._read(ahead, padded)
            )
            lower, upper = (
                torch.cat([torch.maximum(e[..., :half], e[..., half : 2 * half]), e[..., 2 * half :]], -1)
                for e in (lower, upper)
            )
            columns, among = _places(padded), torch.cat([sets[:, 0] | sets[:, 1], among[:, 2 * half :]], 1)
        largest = members.reshape(node.shape)
        return largest if relu is None else self._relu(largest, relu.slope, relu.name, lower, upper)

    def _pairs(self, index: int, node: MaxPool, symbol: Symbol) -> Symbol:
        """Both outputs of partners with one ReLU: max(a, b) = b + relu(a - b), max(-a, -b) = -a + relu(a - b)."""
        half, bounds = math.prod(node.in_shape) // 2, self.local.value_bounds[node.source]
        lower, upper = bounds.lower.flatten(), bounds.upper.flatten()
        lower, upper = torch.maximum(lower, -upper.roll(half)), torch.minimum(upper, -lower.roll(half))
        first, partners = node.partners > _places(node.partners), node.partners
        a, b = node.windows[first].T
        above, below = lower[a] > upper[b], lower[b] > upper[a]
        base = node.windows[:, 0].clone()  # of a window of one entry
        base[first], base[partners[first]] = torch.where(above, a, b), (torch.where(above, b, a) + half) % (2 * half)
        outputs, undecided = self._read(symbol, base), ~(above | below)
        if bool(undecided.any()):
            rise = torch.full_like(base, -1)
            rise[first] = torch.where(undecided, undecided.cumsum(0) - 1, -1)
            rise[partners[first]] = rise[first]
            a, b = a[undecided], b[undecided]
            minus = self.context.like.new_tensor(-1.0)
            ahead = self._relu(
                self._read(symbol, a).plus(self._read(symbol, b).scaled(minus)),
                0.0,
                f"sorting {index}",
                add_below(lower[a], -upper[b]),
                add_above(upper[a], -lower[b]),
            )
            outputs = outputs.plus(self._read(ahead, rise))
        return outputs.reshape(node.shape)

    def _read(self, symbol: Symbol, index: Tensor) -> Symbol:
        """The entries of a symbol at flat positions, 0 at -1; in the shape of ``index``."""
        return symbol.then(gather(index, symbol.shape, tuple(index.shape), self.context.like))

    def _relu(self, symbol: Symbol, slope: float, name: str, lower: Tensor, upper: Tensor) -> Symbol:
        self.context.call = name
        out = self.context.relu(symbol, slope)
        self._add_bounds(out, lower, upper)
        return out

    def _add_bounds(self, unit: Symbol, lower: Tensor, upper: Tensor) -> None:
        """Notes bounds on a unit's pre-activation, at the Affine node that the unit reads."""
        (index,) = unit.terms
        node = self.context.nodes[index]
        assert isinstance(node, Relu | Curved)
        least, most = lower.reshape(1, *unit.shape), upper.reshape(1, *unit.shape)
        if node.source in self.prior_bounds:  # written already, by an expression that has turned out the same
            below, above = self.prior_bounds[node.source]
            least, most = torch.maximum(least, below), torch.minimum(most, above)
        self.prior_bounds[node.source] = least, most


def _places(like: Tensor) -> Tensor:
    """The flat positions of a tensor's entries, in its shape."""
    return torch.arange(like.numel(), device=like.device).reshape(like.shape)


def _contested(windows: Tensor, contending: Tensor) -> Tensor:
    """The contending members of each window, filled up by repeating the first; ``(outputs, most of a window)``."""
    order = contending.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    windows, contending = windows.gather(1, order), contending.gather(1, order)
    most = max(1, int(contending.sum(1).max()))
    return torch.where(contending, windows, windows[:, :1])[:, :most]
