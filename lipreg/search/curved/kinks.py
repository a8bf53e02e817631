"""Curves whose derivatives jump, written out as smooth ones and ReLUs, whose phases the search can decide.

A part of the region with a jump inside has slopes on both of its sides however small it is. Of SELU, of ELU with another
alpha than 1 and of Hardswish what jumps is a ReLU (``lipreg.curves.kinks``): where its phase is decided the mean value form
holds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis, analyse
from lipreg.curves import Ramp, Unkinked, unkinked
from lipreg.graph import Copying, Curved, Symbol, WithoutPools
from lipreg.linalg import gather


def without_jumps(local: Analysis) -> Analysis:
    """The analysis of the same function over a single point's region with derivatives that jump at ReLUs alone.

    Its graph equals the network inside the region, and carries the network's fingerprint: what is proved of it is about the
    network. Units that have no kink within their pre-activation bounds stay as they are; the analysis itself where none has.

    Args:
        local: of a single point, without max pools.
    """
    nodes = [(node, unkinked(node.curve)) for _, node in local.graph.curves()]
    if not any(
        decomposition is not None and bool(_kinked(decomposition, *_ends(local, node)).any())
        for node, decomposition in nodes
    ):
        return local
    with torch.no_grad():
        return analyse(_Writer(local).copied(), local.placed)


def _ends(local: Analysis, node: Curved) -> tuple[Tensor, Tensor]:
    bounds = local.value_bounds[node.source]
    return bounds.lower[0].flatten(), bounds.upper[0].flatten()


def _kinked(decomposition: Unkinked, lower: Tensor, upper: Tensor) -> Tensor:
    """Which units may have a kink inside."""
    inside = [(lower < ramp.at) & (upper > ramp.at) for ramp in decomposition.ramps]
    return torch.stack(inside).any(0)


class _Writer(WithoutPools, Copying):
    """Copies a graph node by node, curves without their kinks."""

    def __init__(self, local: Analysis) -> None:
        super().__init__(local.graph)
        self.local = local

    def curved(self, index: int, node: Curved, value: Symbol) -> Symbol:
        decomposition, (lower, upper) = unkinked(node.curve), _ends(self.local, node)
        kinked = None if decomposition is None else _kinked(decomposition, lower, upper)
        if decomposition is None or kinked is None or not bool(kinked.any()):
            return super().curved(index, node, value)
        self.context.call = node.name
        smooth, factor = self._some(value, kinked), self.context.tensor(decomposition.factor)
        total = self._back(self.context.curved(smooth, decomposition.smooth).scaled(factor), kinked, node)
        if not bool(kinked.all()):
            total = total.plus(self._back(self.context.curved(self._some(value, ~kinked), node.curve), ~kinked, node))
        for ramp in decomposition.ramps:
            total = total.plus(self._ramp(value, ramp, kinked & _begun(ramp, lower, upper), node))
        return total

    def _ramp(self, value: Symbol, ramp: Ramp, mask: Tensor, node: Curved) -> Symbol:
        """A ramp of some units, 0 at the others."""
        if not bool(mask.any()):
            return Symbol({}, torch.zeros_like(value.bias))
        side, at = (self.context.tensor(number) for number in (ramp.side, -ramp.side * ramp.at))
        ahead = self._some(value, mask)
        ahead = ahead if ramp.side == 1.0 else ahead.scaled(side)
        up = self.context.relu(ahead if ramp.at == 0.0 else ahead.shifted(at))
        parts = [self._back(up.scaled(self.context.tensor(weight)), mask, node) for weight in ramp.weights]
        total = parts[0]
        for part in parts[1:]:
            total = total.plus(part)
        return total

    def _some(self, value: Symbol, mask: Tensor) -> Symbol:
        """Those units in a row; all of them as they are."""
        if bool(mask.all()):
            return value
        places = mask.nonzero().flatten()
        return value.then(gather(places, value.shape, (len(places),), self.context.like))

    def _back(self, some: Symbol, mask: Tensor, node: Curved) -> Symbol:
        """Those units at their places, 0 at the others."""
        if bool(mask.all()):
            return some
        places = torch.where(mask, mask.cumsum(0) - 1, -1)
        return some.then(gather(places, some.shape, node.shape, self.context.like))


def _begun(ramp: Ramp, lower: Tensor, upper: Tensor) -> Tensor:
    """Where a ramp may be above 0."""
    return upper > ramp.at if ramp.side > 0 else lower < ramp.at
