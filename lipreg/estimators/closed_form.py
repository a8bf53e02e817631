"""The regional affine-ReLU bound and absolute chain of unbranched networks in closed form, with hand-written gradients.

They are what ``affine_relu`` and ``abs_chain`` are, at a fraction of the operations: in regional scope slopes are masks
without gradient; for p = inf a largest row sum needs one product |W| d and its gradient is sign(W) on one row; for p = 2
a warm-started step of power iteration has u v^T for its gradient.
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
from lipreg.linalg.power import PowerIteration
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Output
from lipreg.problem import LocalLipschitz

T = TypeVar("T")
Pull = Callable[[Tensor], list[Tensor]]
"""Gradients ``(batch,)`` with respect to the bounds -> gradients of every W_k."""

_BY_LABEL = (Logit, AllLogits, AllMargins, AllPairs, Combination)


def closed_form(
    chain: ReluChain,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None,
    bound: str,
    methods: Sequence[str] | None,
    power: PowerIteration | None = None,
    constants: Constants | None = None,
) -> Tensor | None:
    """The bound at each point, differentiable in the chain's weights; None where no closed form is written down.

    Args:
        chain: in float32 or float64.
        problem: the question; regional, with p = inf, or for affine_relu p = 2.
        x: reference points ``(batch, *shape)``.
        y: labels ``(batch,)``, where the functional needs them.
        bound: "affine_relu" or "abs_chain".
        methods: pre-activation methods; "ball" in l_inf alone.
        power: for p = 2, where an estimate is wanted in place of the norm.
        constants: kept from step to step; None makes them anew.

    Returns:
        ``(batch,)``. With p = 2 an estimate from below.
    """
    dtype = chain.dtype
    if not _covers(problem, bound, methods, power) or dtype not in (torch.float32, torch.float64):
        return None
    x = x.detach().to(dtype)
    with torch.no_grad():
        rows = _rows(problem, chain.weights[-1], x, y, constants or Constants())
        if rows is None:
            return None
        assert methods is not None
        placed = place_batch(problem, x)
        if placed is None:
            return None
        for layer in chain.layers[:-1]:
            layer.measure()
        masks = chain_masks(chain, placed, tuple(methods), row_sums=problem.p == math.inf)
        if problem.p == 2.0:
            assert power is not None
            bounds, pull = _spectral(chain, masks, rows, power)
        else:
            bounds, pull = (_product if bound == "affine_relu" else _chain)(chain, masks, rows)
    return _Attached.apply((bounds, pull), *chain.weights)  # type: ignore[return-value]


def _covers(problem: LocalLipschitz, bound: str, methods: Sequence[str] | None, power: PowerIteration | None) -> bool:
    if problem.scope != "regional" or type(problem.output) not in _BY_LABEL or methods is None:
        return False
    if not set(methods) <= ({"interval", "ball"} if problem.region.norm == math.inf else {"interval"}):
        return False
    if problem.p == math.inf:
        return bound in ("affine_relu", "abs_chain")
    return problem.p == 2.0 and bound == "affine_relu" and power is not None


class _Attached(torch.autograd.Function):
    """Values and their gradients, computed elsewhere."""

    @staticmethod
    def forward(ctx: Any, found: tuple[Tensor, Pull], *weights: Tensor) -> Tensor:
        bounds, ctx.pull = found
        ctx.read = [
            (weight, weight._version) for weight in weights
        ]  # what save_for_backward does, at a third of its cost
        return bounds

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if any(weight._version != version for weight, version in ctx.read):
            raise RuntimeError("a weight that the bounds were computed from has been modified by an inplace operation")
        return None, *ctx.pull(gradients[0])


@dataclass(frozen=True)
class _Rows:
    """The functional's rows c of every label, and which are each point's.

    Attributes:
        table: ``(labels * count, outputs)``, ``count`` rows a label.
        labels: of each point; its rows are those from ``labels * count`` on.
    """

    table: Tensor
    count: int
    labels: Tensor
    constants: Constants


def _rows(problem: LocalLipschitz, last: Tensor, x: Tensor, y: Tensor | None, constants: Constants) -> _Rows | None:
    """None where labels are missing or wrong, which the problem refuses."""
    outputs = last.shape[0]
    if not problem.output.needs_labels:
        table, count = constants.table(problem.output, 1, outputs, last.dtype, last.device)
        return _Rows(table, count, torch.zeros(len(x), dtype=torch.int64, device=x.device), constants)
    if y is None or not are_classes(y, x.shape[0]):
        return None
    y = y.long()
    low, high = torch.aminmax(y)
    if int(low) < 0 or int(high) >= outputs:
        return None
    if outputs > x.shape[0]:  # the rows of the labels that there are
        own, labels = torch.unique(y, return_inverse=True)
        rows = problem.output.rows(last.new_zeros(len(own), outputs), own)
        return _Rows(rows.flatten(0, 1), rows.shape[1], labels, constants)
    return _Rows(*constants.table(problem.output, outputs, outputs, last.dtype, last.device), y, constants)


class Constants:
    """Tensors that are the same at every step of a training, made once: whoever takes steps keeps them.

    They are the rows of every label, and where each point's begin among those of all points. A copy makes its own.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_made": {}}

    def table(
        self, output: Output, labels: int, outputs: int, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, int]:
        """The functional's rows of so many labels, ``(labels * count, outputs)``, and their count."""

        def make() -> tuple[Tensor, int]:
            given = torch.arange(labels, device=device) if output.needs_labels else None
            rows = output.rows(torch.zeros(labels, outputs, dtype=dtype, device=device), given)
            return rows.flatten(0, 1), rows.shape[1]

        return self._once((output, labels, outputs, dtype, device), make)

    def starts(self, batch: int, labels: int, device: torch.device) -> Tensor:
        """0, labels, 2 labels, ..."""
        return self._once((batch, labels, device), lambda: torch.arange(0, batch * labels, labels, device=device))

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _largest_row(folded: Tensor, entries: Tensor | None, rows: _Rows) -> tuple[Tensor, Tensor]:
    """max over the rows of a point's label of (row . entries), and which row of the table attains it.

    Args:
        folded: non-negative rows of the table, ``(labels * count, n)``.
        entries: ``(batch or 1, n)``; None for ones.
    """
    if entries is None:
        entries = folded.new_ones(1, folded.shape[1])
    batch, labels = rows.labels.shape[0], folded.shape[0] // rows.count
    found = linear_map(entries, folded).reshape(-1, rows.count)  # (batch or 1) * labels rows
    if found.shape[0] != batch:
        shared = entries.shape[0] == 1
        found = found.index_select(
            0, rows.labels if shared else rows.labels + rows.constants.starts(batch, labels, folded.device)
        )
    largest, row = found.max(1)
    return largest, torch.add(row, rows.labels, alpha=rows.count)


def _output_gradient(rows: _Rows, chosen: Tensor, parts: Tensor) -> Tensor:
    """sum over points of (row of C) (x) (gradient of the folded row): that of W_K."""
    return rows.table.index_select(0, chosen).T @ parts


def _product(chain: ReluChain, masks: ChainMasks, rows: _Rows) -> tuple[Tensor, Pull]:
    """max over rows of |C W_K D_K| times prod_k max over rows of |diag(s) W_k D_k|, for p = inf."""
    assert masks.row_sums is not None
    folded, entries = rows.table @ chain.weights[-1], _flat(masks.moves[-1])
    top, chosen = _largest_row(folded.abs(), entries, rows)
    picked = [flat(s * r).max(1) for s, r in zip(masks.active, masks.row_sums, strict=True)]
    factors = [*(values for values, _ in picked), top]
    bounds = math.prod(factors[1:], start=factors[0])

    def pull(gradient: Tensor) -> list[Tensor]:
        *shares, share = _shares(gradient, bounds, factors)
        found = [
            layer.rows(index, moves, share)
            for layer, moves, (_, index), share in zip(chain.layers[:-1], masks.moves, picked, shares, strict=False)
        ]
        row = folded.index_select(0, chosen).sign_().mul_(share.unsqueeze(1))
        return [*found, _output_gradient(rows, chosen, row if entries is None else row.mul_(entries))]

    return bounds, pull


def _chain(chain: ReluChain, masks: ChainMasks, rows: _Rows) -> tuple[Tensor, Pull]:
    """max over rows of |C W_K| S |W_{K-1}| ... S |W_1| d: for p = inf a chain of vectors, not of matrices."""
    hidden = chain.layers[:-1]
    assert masks.row_sums is not None
    flowing = [masks.moves[0]]  # what reaches the inputs of every layer; None for ones
    for k, (layer, active) in enumerate(zip(hidden, masks.active, strict=True)):
        before = flowing[-1]
        through = masks.row_sums[0] if k == 0 or before is None else layer.forward(before, absolute=True)
        flowing.append(active * through)
    folded, entries = rows.table @ chain.weights[-1], _flat(flowing[-1])
    top, chosen = _largest_row(folded.abs(), entries, rows)

    def pull(gradient: Tensor) -> list[Tensor]:
        row, share = folded.index_select(0, chosen), gradient.unsqueeze(1)
        signed = row.sign().mul_(share)
        found = [_output_gradient(rows, chosen, signed if entries is None else signed.mul_(entries))]
        back = row.abs_().mul_(share)
        for layer, active, before in list(zip(hidden, masks.active, flowing, strict=False))[::-1]:
            back = back.reshape(active.shape).mul_(active)
            reached = layer.weight.new_ones(1, *layer.in_shape) if before is None else before
            found.append(layer.outer(back, reached).mul_(layer.weight.sign()))
            if layer is not hidden[0]:
                back = layer.back(back, absolute=True)
        return found[::-1]

    return top, pull


def _spectral(chain: ReluChain, masks: ChainMasks, rows: _Rows, power: PowerIteration) -> tuple[Tensor, Pull]:
    """|C W_K D_K|_2 prod_k |diag(s) W_k D_k|_2, the norms by a step of power iteration."""
    folded, entries = rows.table @ chain.weights[-1], _flat(masks.moves[-1])
    squared, chosen = _largest_row(folded.square(), entries, rows)
    top = squared.sqrt()
    sides, factors = [], []
    for k, (layer, s) in enumerate(zip(chain.layers[:-1], masks.active, strict=True)):
        moves = masks.moves[k]
        moves = s.new_ones(()).expand(1, *layer.in_shape) if moves is None else moves
        sigma, u, v = power.iterate(str(k), s, moves, layer.forward, layer.back)
        sides.append((u, v))
        factors.append(sigma)
    factors = [*factors, top]
    bounds = math.prod(factors[1:], start=factors[0])

    def pull(gradient: Tensor) -> list[Tensor]:
        *shares, share = _shares(gradient, bounds, factors)
        found = [
            layer.outer(share.reshape(-1, *(1,) * (u.dim() - 1)) * u, v)
            for layer, share, (u, v) in zip(chain.layers[:-1], shares, sides, strict=True)
        ]
        row = folded.index_select(0, chosen)
        row.mul_((share / top.clamp(min=torch.finfo(top.dtype).tiny)).unsqueeze(1))
        return [*found, _output_gradient(rows, chosen, row if entries is None else row.mul_(entries))]

    return bounds, pull


def _flat(entries: Tensor | None) -> Tensor | None:
    return None if entries is None else flat(entries)


def _shares(gradient: Tensor, product: Tensor, factors: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradient of every factor, ``(batch,)`` each.

    Where the product is 0 they all are 0, that of a factor 0 too: no unit of its layer is active, so no entry counts.
    """
    return ((gradient * product) / torch.stack(factors).clamp_(min=torch.finfo(product.dtype).tiny)).unbind()
