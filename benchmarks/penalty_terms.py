"""What is added to the loss in ``benchmarks.penalty``: one table, of lipreg's bounds and of what is used in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from lipreg import LipschitzPenalty, LocalLipschitz
from lipreg.graph import Affine, Curved, Forward, MaxPool, Relu, capture

WEIGHT = 1e-3
Points = Literal["all"] | int
Value = Callable[[Tensor, Tensor], Tensor]
"""Inputs and labels -> what is to be small."""


class Term(Protocol):
    """A term of the loss, evaluated at the first of every so many batches."""

    every: int

    def __call__(self, x: Tensor, y: Tensor, /) -> Tensor: ...

    def stored_tensors(self) -> list[Tensor]:
        """What it keeps in memory between steps."""
        ...


@dataclass(frozen=True)
class Named:
    """A row of the table.

    Attributes:
        name: of the row.
        make: from a network and a question, for so many points of every so many batches.
        p: the norm of the question.
        bounds: whether it says how large the constant may be.
    """

    name: str
    make: Callable[[nn.Module, LocalLipschitz, Points, int], Term]
    p: float = math.inf
    bounds: bool = True


def penalised(bound: str, p: float = math.inf) -> Named:
    """The row of a name that ``LipschitzPenalty`` takes."""

    def make(net: nn.Module, problem: LocalLipschitz, points: Points, every: int) -> Term:
        return LipschitzPenalty(net, problem, bound=bound, weight=WEIGHT, points=points, every=every)

    return Named(bound, make, p)


def estimated(quantity: str) -> Named:
    """The row of a quantity of ``lipreg.quantities`` that is no bound."""

    def make(net: nn.Module, problem: LocalLipschitz, points: Points, every: int) -> Term:
        return LipschitzPenalty(net, problem, quantity=quantity, weight=WEIGHT, points=points, every=every)

    return Named(quantity, make, bounds=False)


class Alternative:
    """A term without lipreg's penalty around it; like that one, it evaluates the network on its own."""

    def __init__(self, value: Value, points: Points, every: int) -> None:
        self.value, self.points, self.every = value, points, every
        self.batch = -1

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self.batch += 1
        if self.batch % self.every:
            return x.new_zeros(())
        some = slice(None if self.points == "all" else self.points)
        return WEIGHT * self.every * self.value(x[some], y[some])

    def stored_tensors(self) -> list[Tensor]:
        return []


def projected_jacobian(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """|J|_F^2 by one random projection: outputs E |v^T J|^2, |v| = 1 (Hoffman, Roberts & Yaida 2019)."""
    x = x.detach().requires_grad_()
    outputs = net(x)
    v = torch.randn_like(outputs)
    (found,) = torch.autograd.grad(outputs, x, v / v.norm(dim=1, keepdim=True), create_graph=True)
    return outputs.shape[1] * found.square().sum() / len(x)


def gradient_penalty(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The squared l2 norm of the loss's gradient at the inputs, by double backward (Drucker & Le Cun 1992)."""
    x = x.detach().requires_grad_()
    loss = nn.functional.cross_entropy(net(x), y, reduction="sum")
    (found,) = torch.autograd.grad(loss, x, create_graph=True)
    return found.square().sum() / len(x)


class IntervalMargins(Forward[tuple[Tensor, Tensor]]):
    """The loss of the margins' lower interval bounds, the last layer folded into them (Gowal et al. 2018; CROWN-IBP)."""

    def __init__(self, net: nn.Module, problem: LocalLipschitz) -> None:
        self.net, self.problem, self.captured = net, problem, None

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if self.captured is None:
            self.captured = capture(self.net, x, running_statistics=True)
        graph = self.captured.live()
        placed = self.problem.place(x, x.new_zeros(len(x), *graph.output.shape), y)
        region, rows = placed.region, placed.rows
        ends = (region.lower + region.upper) / 2, (region.upper - region.lower) / 2
        found = graph.forward({0: ends}, self, until=len(graph.nodes) - 2)
        least = rows @ graph.output.bias
        for source, map in graph.output.terms():
            folded, (middle, room) = map.transpose(rows).flatten(2), found[source]
            moved = folded @ middle.flatten(1).unsqueeze(2) - folded.abs() @ room.flatten(1).unsqueeze(2)
            least = least + moved.squeeze(2)
        logits = torch.cat(
            [least.new_zeros(len(x), 1), -least], 1
        )  # of the true class, and of its rivals at their best
        return nn.functional.cross_entropy(logits, torch.zeros_like(y))

    def affine(self, index: int, node: Affine, values: Mapping[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        middles, rooms = zip(*((map(values[i][0]), map.abs()(values[i][1])) for i, map in node.terms()), strict=True)
        return sum(middles, start=node.bias), sum(rooms[1:], start=rooms[0])

    def relu(self, index: int, node: Relu, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self._monotone(node, value)

    def max_pool(self, index: int, node: MaxPool, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self._monotone(node, value)

    def curved(self, index: int, node: Curved, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        low, high = node.curve.range(value[0] - value[1], value[0] + value[1])
        return (high + low) / 2, (high - low) / 2

    def _monotone(self, node: Relu | MaxPool, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        low, high = node(value[0] - value[1]), node(value[0] + value[1])
        return (high + low) / 2, (high - low) / 2


def beside(name: str, value: Callable[[nn.Module, LocalLipschitz], Value]) -> Named:
    """The row of an alternative."""

    def make(net: nn.Module, problem: LocalLipschitz, points: Points, every: int) -> Term:
        return Alternative(value(net, problem), points, every)

    return Named(name, make, bounds=False)


TERMS = [
    penalised("affine_relu"),
    penalised("abs_chain"),
    penalised("fastlip"),
    penalised("affine_relu", p=2.0),
    penalised("spectral", p=2.0),
    estimated("jacobian"),
    estimated("jacobian_frobenius"),
    estimated("gradient"),
    estimated("pgd"),
    beside("projected Jacobian", lambda net, problem: partial(projected_jacobian, net)),
    beside("gradient penalty", lambda net, problem: partial(gradient_penalty, net)),
    beside("IBP", IntervalMargins),
]
"""The rows of the table, in its order. What else a penalty can be made of is one line here: ``penalised(name)``, or
``estimated(name)`` for what is no bound."""
