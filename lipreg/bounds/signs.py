"""Which signs the gradients can have, by the signs of weights alone: a proof in which nothing is rounded.

A gradient is a sum over paths of products of weights and slopes, slopes at least 0 but those of some curves. Where no path
has a product below 0 the gradient is at least 0, exactly: of a network that is monotone by its weights intervals prove it
only up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.intervals import Ends
from lipreg.graph import Backward, Curved, MaxPool, Relu
from lipreg.linalg import LinearMap


@dataclass(frozen=True)
class Signs:
    """Where a gradient may be below 0, and where above, ``(batch, rows, *shape)`` each.

    Attributes:
        below, above: numbers above 0 where it may be, and 0 where it is not.
    """

    below: Tensor
    above: Tensor

    def __add__(self, other: Signs) -> Signs:
        return Signs(self.below + other.below, self.above + other.above)


def gradient_signs(analysis: Analysis, bounds: Mapping[int, Ends]) -> tuple[Tensor, Tensor]:
    """Where the gradients at the Input may be below 0, and where above 0, ``(batch, rows, *input_shape)`` bool.

    Args:
        analysis: whose slopes, shares and functionals these are.
        bounds: of the gradients at every node of units that the output depends on, as of ``interval_jacobian``; a sign
            that they prove is kept.
    """
    rows, graph = analysis.placed.rows, analysis.graph
    start = Signs((rows < 0).to(graph.dtype), (rows > 0).to(graph.dtype))
    at_input = graph.backward([(len(graph.nodes) - 1, start)], _BySigns(analysis, bounds))
    if at_input is None:
        none = torch.zeros(*rows.shape[:2], *graph.input_shape, dtype=torch.bool, device=graph.device)
        return none, none
    low, high = bounds[0]
    return (at_input.below > 0) & (low < 0), (at_input.above > 0) & (high > 0)


class _BySigns(Backward[Signs]):
    def __init__(self, analysis: Analysis, bounds: Mapping[int, Ends]) -> None:
        self.analysis, self.bounds = analysis, bounds

    def back(self, map: LinearMap, value: Signs) -> Signs:
        return map.exact_form.back(value, _act)

    def relu(self, index: int, node: Relu, value: Signs) -> Signs:
        passed = (self.analysis.upper_slopes[index] > 0).unsqueeze(1)
        return self._bounded(index, value, passed)

    def curved(self, index: int, node: Curved, value: Signs) -> Signs:
        slopes, every = self.analysis.slopes[index], torch.ones_like(value.below, dtype=torch.bool)
        signs = self._bounded(index, value, every)
        rising, falling = ((part > 0).to(value.below).unsqueeze(1) for part in (slopes.upper, -slopes.lower))
        below = signs.below * rising + signs.above * falling
        return Signs(below, signs.above * rising + signs.below * falling)

    def max_pool(self, index: int, node: MaxPool, value: Signs) -> Signs:
        signs = self._bounded(index, value, torch.ones_like(value.below, dtype=torch.bool))
        passed = (self.analysis.shares[index].upper > 0).to(value.below).unsqueeze(1)
        return Signs(*(node.scatter(part.flatten(2).unsqueeze(-1) * passed) for part in (signs.below, signs.above)))

    def _bounded(self, index: int, value: Signs, passed: Tensor) -> Signs:
        """Signs without those that bounds exclude; as 0 and 1, so that no layer makes them large."""
        low, high = self.bounds[index]
        below, above = (value.below > 0) & (low < 0) & passed, (value.above > 0) & (high > 0) & passed
        return Signs(below.to(value.below), above.to(value.above))


def _act(map: LinearMap, value: Signs, back: bool) -> Signs:
    """The signs behind a map that is not composed of others, or behind its transpose."""

    def taken(sign: float) -> LinearMap:
        return map.with_entries(lambda entries: (sign * entries > 0).to(entries))

    def acted(part: LinearMap, x: Tensor) -> Tensor:
        return (part.transpose(x) if back else part(x)).clamp(max=1.0)

    plus = taken(1.0)
    below, above = acted(plus, value.below), acted(plus, value.above)
    # a map that only moves numbers about has no entries to change, and none below 0
    if any(bool((entries < 0).any()) for entries in map.entries if entries.is_floating_point()):
        minus = taken(-1.0)
        below, above = below + acted(minus, value.above), above + acted(minus, value.below)
    return Signs(below, above)
