"""The frame of closed forms: bounds of unbranched networks with hand-written gradients; each form belongs to its estimator.

Their values are those of the estimators' bounds, at a fraction of the operations: in regional scope slopes are masks without
gradient; for p = inf a largest row sum needs one product |W| d and its gradient is sign(W) on one row; for p = 2 a
warm-started step of power iteration has u v^T for its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear as linear_map

from lipreg.bounds.chain import ChainMasks, chain_masks, place_batch
from lipreg.graph import ReluChain
from lipreg.graph.layers import flat
from lipreg.labels import are_classes
from lipreg.linalg import PowerIteration
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Output
from lipreg.problem import LocalLipschitz

T = TypeVar("T")
Pull = Callable[[Tensor], list[Tensor]]
"""Gradients ``(batch,)`` with respect to the bounds -> gradients with respect to every W_k."""
Rule = Callable[[ReluChain, ChainMasks, "LabelRows"], tuple[Tensor, Pull]]
"""A chain, the masks of its region, the functional's rows -> a bound at each point ``(batch,)``, and its gradient."""

BY_LABEL = (Logit, AllLogits, AllMargins, AllPairs, Combination)
"""Functionals whose rows the labels decide."""


@dataclass(frozen=True)
class PenaltyQuestion:
    """The question of a penalty to a closed form at a training step.

    Attributes:
        chain: the network, in its own weights.
        problem: the question, which the method covers.
        x: reference points ``(batch, *shape)``.
        y: labels ``(batch,)``, where the functional needs them.
        methods: pre-activation methods; None for all that fit.
        power: the power iteration that estimates spectral norms; None where they are to be exact.
        constants: tensors kept from step to step; None makes them anew.
    """

    chain: ReluChain
    problem: LocalLipschitz
    x: Tensor
    y: Tensor | None
    methods: Sequence[str] | None
    power: PowerIteration | None = None
    constants: Constants | None = None


def by_hand(step: PenaltyQuestion, rule: Rule, sure: bool = False) -> Tensor | None:
    """A bound at each point by a rule with its own gradient; None outside of the questions that rules are made for.

    These are regional, of functionals whose rows the labels decide, of chains in float32 or float64; of pre-activation
    methods they take "interval", and in l_inf "ball".

    Args:
        step: the question, whose norm the rule covers.
        rule: the bound; called without autograd.
        sure: whether the rule reads which units are active over all of the region.

    Returns:
        ``(batch,)``, differentiable in the chain's weights.
    """
    chain, problem, methods = step.chain, step.problem, step.methods
    dtype = chain.dtype
    if methods is None or not _covers(problem, methods) or dtype not in (torch.float32, torch.float64):
        return None
    x = step.x.detach().to(dtype)
    with torch.no_grad():
        rows = rows_of(problem, chain.weights[-1], x, step.y, step.constants or Constants())
        if rows is None:
            return None
        placed = place_batch(problem, x)
        if placed is None:
            return None
        for layer in chain.layers[:-1]:
            layer.measure()
        masks = chain_masks(chain, placed, tuple(methods), row_sums=problem.p == math.inf, sure=sure)
        bounds_and_pull = rule(chain, masks, rows)
    return PrecomputedGradient.apply(bounds_and_pull, *chain.weights)  # type: ignore[return-value]


def _covers(problem: LocalLipschitz, methods: Sequence[str]) -> bool:
    if problem.scope != "regional" or type(problem.output) not in BY_LABEL:
        return False
    return set(methods) <= ({"interval", "ball"} if problem.region.norm == math.inf else {"interval"})


class PrecomputedGradient(torch.autograd.Function):
    """Values and their gradients, computed elsewhere."""

    @staticmethod
    def forward(ctx: Any, bounds_and_pull: tuple[Tensor, Pull], *weights: Tensor) -> Tensor:
        bounds, ctx.pull = bounds_and_pull
        ctx.read = [
            (weight, weight._version) for weight in weights if not weight.is_inference()
        ]  # what save_for_backward does, at a third of its cost
        return bounds

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if any(weight._version != version for weight, version in ctx.read):
            raise RuntimeError("a weight that the bounds were computed from has been modified by an inplace operation")
        return None, *ctx.pull(gradients[0])


@dataclass(frozen=True)
class LabelRows:
    """The functional's rows c of every label, and the label of each point.

    Attributes:
        table: the rows, ``(labels * count, outputs)``.
        count: the number of rows for each label.
        labels: the label of each point, ``(batch,)``; its rows are those from ``label * count`` on.
        constants: tensors kept from step to step.
    """

    table: Tensor
    count: int
    labels: Tensor
    constants: Constants


def rows_of(
    problem: LocalLipschitz, last: Tensor, x: Tensor, y: Tensor | None, constants: Constants
) -> LabelRows | None:
    """The rows at points, as labels decide them; None where labels are missing or wrong, which the problem refuses.

    Args:
        problem: the question, whose functional is one of ``BY_LABEL``.
        last: W_K, ``(outputs, n)``, for its dtype and device.
        x: reference points ``(batch, *shape)``.
        y: labels ``(batch,)``, where the functional needs them.
        constants: tensors kept from step to step.
    """
    outputs = last.shape[0]
    if not problem.output.needs_labels:
        table, count = constants.table(problem.output, 1, outputs, last.dtype, last.device)
        return LabelRows(table, count, torch.zeros(len(x), dtype=torch.int64, device=x.device), constants)
    if y is None or not are_classes(y, x.shape[0]):
        return None
    y = y.long()
    low, high = torch.aminmax(y)
    if int(low) < 0 or int(high) >= outputs:
        return None
    if outputs > x.shape[0]:  # the rows of the labels that there are
        present, labels = torch.unique(y, return_inverse=True)
        rows = problem.output.rows(last.new_zeros(len(present), outputs), present)
        return LabelRows(rows.flatten(0, 1), rows.shape[1], labels, constants)
    return LabelRows(*constants.table(problem.output, outputs, outputs, last.dtype, last.device), y, constants)


class Constants:
    """Tensors that are the same at every step of a training, made once; a training keeps one object of them.

    They are the rows of every label, and where each point's begin among those of all points. A pickled copy begins empty.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_made": {}}

    def table(
        self, output: Output, labels: int, outputs: int, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, int]:
        """The functional's rows of so many labels, ``(labels * count, outputs)``, and how many there are for each label.

        Args:
            output: the functional.
            labels: the number of labels; 1 where the functional needs none.
            outputs: the number of outputs.
            dtype, device: those of the rows.
        """

        def make() -> tuple[Tensor, int]:
            every_label = torch.arange(labels, device=device) if output.needs_labels else None
            rows = output.rows(torch.zeros(labels, outputs, dtype=dtype, device=device), every_label)
            return rows.flatten(0, 1), rows.shape[1]

        return self._once((output, labels, outputs, dtype, device), make)

    def starts(self, batch: int, labels: int, device: torch.device) -> Tensor:
        """0, labels, 2 labels, ..., ``(batch,)``.

        Args:
            batch: the number of points.
            labels: the number of labels.
            device: that of the tensor.
        """
        return self._once((batch, labels, device), lambda: torch.arange(0, batch * labels, labels, device=device))

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def largest_row(folded: Tensor, entries: Tensor | None, rows: LabelRows) -> tuple[Tensor, Tensor]:
    """max over the rows of a point's label of (row . entries), ``(batch,)``, and which row of the table attains it.

    Args:
        folded: the table's rows with a map folded in, non-negative, ``(labels * count, n)``.
        entries: ``(batch or 1, n)``; None for ones.
        rows: the table and the labels of the points.
    """
    if entries is None:
        entries = folded.new_ones(1, folded.shape[1])
    batch, labels = rows.labels.shape[0], folded.shape[0] // rows.count
    products = linear_map(entries, folded).reshape(-1, rows.count)  # (batch or 1) * labels rows
    if products.shape[0] != batch:
        shared = entries.shape[0] == 1
        products = products.index_select(
            0, rows.labels if shared else rows.labels + rows.constants.starts(batch, labels, folded.device)
        )
    largest, row = products.max(1)
    return largest, torch.add(row, rows.labels, alpha=rows.count)


def output_gradient(rows: LabelRows, index: Tensor, parts: Tensor) -> Tensor:
    """The gradient of W_K, ``(outputs, n)``: the sum over points of (row of C) (x) (gradient of the folded row).

    Args:
        rows: the table of rows.
        index: the row of the table that counts at each point, ``(batch,)``.
        parts: the gradient of that row with W_K folded in, ``(batch, n)``.
    """
    return rows.table.index_select(0, index).T @ parts


def flattened(entries: Tensor | None) -> Tensor | None:
    """Entries of every input as vectors; None stays None, for ones."""
    return None if entries is None else flat(entries)
