"""The regional affine-ReLU bound and absolute chain of dense networks in closed form, with hand-written gradients.

They are what ``affine_relu`` and ``abs_chain`` are, at a fraction of the operations: in regional scope slopes are masks
without gradient; for p = inf a largest row sum needs one product |W| d and its gradient is sign(W) on one row; for p = 2
a warm-started step of power iteration has u v^T for its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear as linear_map

from lipreg.bounds.chain import ChainMasks, chain_masks, place_flat
from lipreg.graph import DenseChain
from lipreg.linalg.power import PowerIteration
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Output
from lipreg.problem import LocalLipschitz

Pull = Callable[[Tensor], list[Tensor]]
"""Gradients ``(batch,)`` with respect to the bounds -> gradients of every W_k."""

_BY_LABEL = (Logit, AllLogits, AllMargins, AllPairs, Combination)


def closed_form(
    chain: DenseChain,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None,
    bound: str,
    methods: Sequence[str] | None,
    power: PowerIteration | None = None,
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

    Returns:
        ``(batch,)``. With p = 2 an estimate from below.
    """
    dtype = chain.weights[0].dtype
    if not _covers(problem, bound, methods, power) or dtype not in (torch.float32, torch.float64):
        return None
    x = x.detach().to(dtype)
    with torch.no_grad():
        rows = _rows(problem, chain.weights[-1], x, y)
        if rows is None:
            return None
        assert methods is not None
        placed = place_flat(problem, x)
        if placed is None:
            return None
        masks = chain_masks(chain, *placed, tuple(methods), row_sums=problem.p == math.inf)
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
        ctx.save_for_backward(*weights)
        return bounds

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        _ = ctx.saved_tensors  # raises when a weight has changed in between
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


def _rows(problem: LocalLipschitz, last: Tensor, x: Tensor, y: Tensor | None) -> _Rows | None:
    """None where labels are missing or wrong, which the problem refuses, or too many."""
    outputs = last.shape[0]
    if not problem.output.needs_labels:
        table, count = _table(problem.output, 1, outputs, last.dtype, last.device)
        return _Rows(table, count, torch.zeros(len(x), dtype=torch.int64, device=x.device))
    if y is None or y.shape != x.shape[:1] or y.is_floating_point() or outputs > len(x):
        return None
    low, high = torch.aminmax(y)
    if int(low) < 0 or int(high) >= outputs:
        return None
    return _Rows(*_table(problem.output, outputs, outputs, last.dtype, last.device), y)


@lru_cache(maxsize=16)
def _table(output: Output, labels: int, outputs: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, int]:
    """The rows do not depend on the outputs' values, so they are the same at every step."""
    given = torch.arange(labels, device=device) if output.needs_labels else None
    rows = output.rows(torch.zeros(labels, outputs, dtype=dtype, device=device), given)
    return rows.flatten(0, 1), rows.shape[1]


@lru_cache(maxsize=16)
def _starts(batch: int, labels: int, device: torch.device) -> Tensor:
    return torch.arange(0, batch * labels, labels, device=device)


def _largest_row(folded: Tensor, entries: Tensor, rows: _Rows) -> tuple[Tensor, Tensor]:
    """max over the rows of a point's label of (row . entries), and which row of the table attains it.

    Args:
        folded: non-negative rows of the table, ``(labels * count, n)``.
        entries: ``(batch or 1, n)``.
    """
    batch, labels = len(rows.labels), len(folded) // rows.count
    found = linear_map(entries, folded).reshape(-1, rows.count)  # (batch or 1) * labels rows
    if len(found) != batch:
        shared = len(entries) == 1
        found = found.index_select(0, rows.labels if shared else rows.labels + _starts(batch, labels, folded.device))
    largest, row = found.max(1)
    return largest, torch.add(row, rows.labels, alpha=rows.count)


def _output_gradient(rows: _Rows, chosen: Tensor, parts: Tensor) -> Tensor:
    """sum over points of (row of C) (x) (gradient of the folded row): that of W_K."""
    return rows.table.index_select(0, chosen).T @ parts


def _product(chain: DenseChain, masks: ChainMasks, rows: _Rows) -> tuple[Tensor, Pull]:
    """|C W_K D_K|_inf prod_k max_i s_i (|W_k| d)_i."""
    weights = chain.weights
    assert masks.row_sums is not None
    folded = rows.table @ weights[-1]
    top, chosen = _largest_row(folded.abs(), masks.moves[-1], rows)
    picked = [(s * r).max(1) for s, r in zip(masks.active, masks.row_sums, strict=True)]
    factors = torch.stack([*(values for values, _ in picked), top])
    bounds = factors.prod(0)

    def pull(gradient: Tensor) -> list[Tensor]:
        *shares, share = _shares(gradient, bounds, factors)
        parts = folded.index_select(0, chosen).sign_().mul_(masks.moves[-1]).mul_(share)
        found = []
        for k, (weight, (_, index)) in enumerate(zip(weights[:-1], picked, strict=True)):
            moves, share = masks.moves[k], shares[k]
            if 4 * len(share) < len(weight):  # few points: their rows alone
                part = weight.index_select(0, index).sign_().mul_(moves).mul_(share)
                found.append(torch.zeros_like(weight).index_add_(0, index, part))
            elif k == 0 and masks.full:  # the same inputs for all points: shares add up row by row
                total = torch.zeros_like(weight[:, :1]).index_add_(0, index, share)
                found.append(weight.sign().mul_(total))
            else:
                found.append(torch.zeros_like(weight).index_add_(0, index, share * moves).mul_(weight.sign()))
        return [*found, _output_gradient(rows, chosen, parts)]

    return bounds, pull


def _chain(chain: DenseChain, masks: ChainMasks, rows: _Rows) -> tuple[Tensor, Pull]:
    """max over rows of |C W_K| S |W_{K-1}| ... S |W_1| d: for p = inf a chain of vectors, not of matrices."""
    weights = chain.weights
    assert masks.row_sums is not None
    flowing = [masks.moves[0]]  # what reaches the inputs of every layer, ``(batch or 1, in)``
    for k, active in enumerate(masks.active):
        through = masks.row_sums[0] if k == 0 else linear_map(flowing[-1], chain.magnitude(k))
        flowing.append(active * through)
    folded = rows.table @ weights[-1]
    top, chosen = _largest_row(folded.abs(), flowing[-1], rows)

    def pull(gradient: Tensor) -> list[Tensor]:
        row, share = folded.index_select(0, chosen), gradient.unsqueeze(1)
        found = [_output_gradient(rows, chosen, row.sign() * flowing[-1] * share)]
        back = row.abs_().mul_(share)
        for k in range(len(weights) - 2, -1, -1):
            back = back.mul_(masks.active[k])
            if k == 0 and masks.full:
                found.append(weights[k].sign().mul_(back.sum(0).unsqueeze(1)))
            else:
                found.append((back.T @ flowing[k]).mul_(weights[k].sign()))
            if k:
                back = back @ chain.magnitude(k)
        return found[::-1]

    return top, pull


def _spectral(chain: DenseChain, masks: ChainMasks, rows: _Rows, power: PowerIteration) -> tuple[Tensor, Pull]:
    """|C W_K D_K|_2 prod_k |diag(s) W_k D_k|_2, the norms by a step of power iteration."""
    weights, moves = chain.weights, masks.moves[-1]
    folded = rows.table @ weights[-1]
    squared, chosen = _largest_row(folded.square(), moves, rows)
    top = squared.sqrt()
    sides, factors = [], []
    for k, weight in enumerate(weights[:-1]):
        s, d = masks.active[k], masks.moves[k]
        sigma, u, v = power.iterate(str(k), s, d, lambda x, a=weight: linear_map(x, a), lambda x, a=weight: x @ a)
        sides.append((u, v))
        factors.append(sigma)
    factors = torch.stack([*factors, top])
    bounds = factors.prod(0)

    def pull(gradient: Tensor) -> list[Tensor]:
        *shares, share = _shares(gradient, bounds, factors)
        found = [(share * u).T @ v for share, (u, v) in zip(shares, sides, strict=True)]
        scale = share / top.clamp(min=torch.finfo(top.dtype).tiny).unsqueeze(1)
        return [*found, _output_gradient(rows, chosen, folded.index_select(0, chosen).mul_(moves).mul_(scale))]

    return bounds, pull


def _shares(gradient: Tensor, product: Tensor, factors: Tensor) -> tuple[Tensor, ...]:
    """The gradient of every factor, ``(batch, 1)`` each.

    Where the product is 0 they all are 0, that of a factor 0 too: no unit of its layer is active, so no entry counts.
    """
    shares = (gradient * product) / factors.clamp(min=torch.finfo(factors.dtype).tiny)
    return shares.unsqueeze(2).unbind()
