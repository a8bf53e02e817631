"""Activation patterns at points: the slopes of all units there, and the units whose slope is unresolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.graph import Affine, Curved, Forward, MaxPool, Relu
from lipreg.linalg import Numbers


@dataclass(frozen=True)
class Pattern:
    """The slopes of all units at points ``(batch, k)``, as far as the values of the nodes decide them.

    Attributes:
        slopes: for ``Graph.differentiate``, of every Relu, MaxPool and Curved; of curves in the values' arithmetic.
        unresolved: of every Relu and Curved, ``(batch, k, *shape)``, the units that can move and are not proved to be off
            their kink; of every MaxPool, ``(batch, k, outputs, window)``, the members that are neither proved to be smaller
            than the largest nor to be the same function near the point.
        smooth: whether none is unresolved, so that the network is proved to be differentiable there, ``(batch, k)``.
    """

    slopes: dict[int, Tensor | Numbers]
    unresolved: dict[int, Tensor]
    smooth: Tensor


def pattern(analysis: Analysis, numbers: Sequence[Numbers]) -> Pattern:
    """The pattern where the nodes have these values, ``(batch, k, *shape)`` each."""
    graph = analysis.graph
    values = [number.rounded() for number in numbers]
    slopes = graph.patterns([value for value, _ in values])
    kinks: dict[int, Tensor] = {}
    curved: dict[int, Numbers] = {}
    for i, node in graph.relus():
        value, error = values[node.source]
        kinks[i] = (value.abs() <= error) & analysis.value_bounds[node.source].movable.unsqueeze(1)
    for i, node in graph.curves():
        value, error = values[node.source]
        alike = -1 - len(node.shape)  # one dimension more for rows
        curved[i] = numbers[node.source].applied(node.curve.derivative).reindexed(lambda t, at=alike: t.unsqueeze(at))
        kinks[i] = ~node.curve.smooth(value, error) & analysis.value_bounds[node.source].movable.unsqueeze(1)
    if graph.pools():
        rules = _PoolTies(numbers, slopes)
        movable = analysis.value_bounds[0].movable.unsqueeze(1).expand_as(values[0][0])
        graph.forward({0: (movable, rules.fresh(movable))}, rules)
        kinks |= rules.unresolved
    smooth = torch.ones(values[0][0].shape[:2], dtype=torch.bool)
    for units in kinks.values():
        smooth &= ~units.flatten(2).any(-1)
    return Pattern({i: part.unsqueeze(2) for i, part in slopes.items()} | curved, kinks, smooth)


class _PoolTies(Forward[tuple[Tensor, Tensor]]):
    """Enters the largest member of every pooling window into ``slopes``, and which members may tie with it.

    The value of a node is whether each entry changes near x at all, as an inactive unit does not, whatever its input does;
    and a label of the function that it is near x: entries of one label are one function there, such as entries that a layer
    has moved or repeated, an active unit and its input, and a window and its largest member. A tie of such entries does not
    matter.

    Attributes:
        unresolved: for each pool, ``(batch, k, outputs, window)``: members whose tie with the largest matters, or may do so.
    """

    def __init__(self, numbers: Sequence[Numbers], slopes: dict[int, Tensor]) -> None:
        self.numbers, self.slopes = numbers, slopes
        self.unresolved: dict[int, Tensor] = {}
        self.last_label = 0

    def fresh(self, like: Tensor) -> Tensor:
        """New labels, one for each entry, ``(*like.shape)``; 0 is the label of entries that do not change near x."""
        first, self.last_label = self.last_label, self.last_label + like.shape[2:].numel()
        labels = torch.arange(first + 1, self.last_label + 1, dtype=torch.float64)
        return labels.reshape(like.shape[2:]).expand(like.shape)

    def affine(self, index: int, node: Affine, values: Mapping[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        value, _ = self.numbers[index].rounded()
        flow = sum((map.abs()(values[i][0].to(value.dtype)) for i, map in node.terms()), torch.zeros_like(value))
        labels = self.fresh(value)
        if len(node.maps) == 1 and node.maps[0].single_rows and not node.bias_of:
            (source,), (map,) = node.sources, node.maps
            moved = (map(torch.ones_like(values[source][1])) == 1) & (node.bias == 0)
            labels = torch.where(moved, map(values[source][1]), labels)
        return flow > 0, labels

    def relu(self, index: int, node: Relu, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        (changing, labels), slope = value, self.slopes[index]
        scaled = self.fresh(labels) if node.slope else torch.zeros_like(labels)
        return changing & (slope > 0), torch.where(slope == 1, labels, scaled)

    def curved(self, index: int, node: Curved, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return value[0], self.fresh(value[1])

    def max_pool(self, index: int, node: MaxPool, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        changing, labels = value
        best, apart = _largest(self.numbers[node.source].reindexed(node.members))
        dtype = self.slopes[index].dtype
        self.slopes[index] = torch.zeros(apart.shape, dtype=dtype).scatter_(-1, best, 1.0)
        changes, which = node.members(changing), node.members(labels)
        same = which == which.gather(-1, best)
        still = ~changes & ~changes.gather(-1, best)
        self.unresolved[index] = ~(apart | still | same)
        passing = node(changing.to(dtype)) > 0
        return passing, which.gather(-1, best).reshape(passing.shape)


def _largest(members: Numbers) -> tuple[Tensor, Tensor]:
    """Where the largest of the last dimension is, ``(..., 1)``, and which others are proved to be smaller, ``(..., n)``."""
    value, error = members.rounded()
    best, apart = value.argmax(-1, keepdim=True), torch.zeros_like(value, dtype=torch.bool)
    for last in (False, True):  # differences have digits that the values' roundings have not
        top = members.reindexed(lambda t, at=best: t.gather(-1, at.expand(*t.shape[:-1], 1)))
        value, error = (top + -members).rounded()
        apart = value > error
        if last or not bool((value < 0).any()):
            break
        best = value.argmin(-1, keepdim=True)
    return best, apart
