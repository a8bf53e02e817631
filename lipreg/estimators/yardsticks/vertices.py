"""The largest norm of B S A over a box of diagonal matrices S: at a vertex, because norms are convex."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.linalg import squared_norm

NUMBERS = 2**22
"""Numbers of the matrices that are computed at once."""
ROUNDS = 100
"""The most changes of a vertex."""


def largest_norm(
    left: Tensor, right: Tensor, lower: Tensor, upper: Tensor, is_over: Callable[[], bool] = lambda: False
) -> float | None:
    """max |B_r diag(s) A|_2 over functionals r and lower <= s <= upper, by all vertices; None where the time was over.

    Args:
        left: B, ``(functionals, rows, units)``.
        right: A, ``(units, columns)``.
        lower, upper: the ends of the slopes, ``(units,)``; units where they are equal are not enumerated.
        is_over: whether the time is over; called between batches of vertices.
    """
    at = (upper > lower).nonzero().flatten()
    base = (left * lower) @ right
    steps = left[..., at] * (upper - lower)[at]
    codes = torch.arange(2 ** len(at))
    part = max(1, NUMBERS // max(1, base.numel() + steps.numel()))
    largest = 0.0
    for some in codes.split(part):
        if is_over():
            return None
        bits = ((some.unsqueeze(1) >> torch.arange(len(at))) & 1).to(base.dtype)
        changed = base + (steps * bits[:, None, None, :]) @ right[at]  # (vertices, functionals, rows, columns)
        largest = max(largest, float(_norms(changed).amax()))
    return largest


def greedy_norm(
    left: Tensor, right: Tensor, lower: Tensor, upper: Tensor, is_over: Callable[[], bool] = lambda: False
) -> float:
    """The norm at a vertex that no single change improves, the largest of all functionals: at most ``largest_norm``'s.

    Args:
        left, right, lower, upper: as for ``largest_norm``.
        is_over: whether the time is over; called before each change, and ends the ascent early.
    """
    s = upper.expand(len(left), -1).clone()  # a vertex for each functional
    best = _norms((left * s.unsqueeze(1)) @ right)
    for _ in range(ROUNDS):
        if is_over():
            break
        tried = _vertex(left, right, lower, upper, s)
        value = _norms((left * tried.unsqueeze(1)) @ right)
        if not (value > best * (1 + 1e-12)).any():
            tried, value = _best_change(left, right, lower, upper, s)
        better = value > best * (1 + 1e-12)
        if not better.any():
            break
        s[better], best = tried[better], torch.maximum(best, value)
    return float(best.amax())


def _vertex(left: Tensor, right: Tensor, lower: Tensor, upper: Tensor, s: Tensor) -> Tensor:
    """The vertex at which the top singular vectors u, v of B diag(s) A see the most: by the signs of (u.b_i)(a_i.v)."""
    u, _, v = torch.linalg.svd((left * s.unsqueeze(1)) @ right, full_matrices=False)
    gain = (u[..., :1].mT @ left).squeeze(1) * (v[:, :1] @ right.T).squeeze(1)
    return torch.where(gain > 0, upper, lower)


def _best_change(left: Tensor, right: Tensor, lower: Tensor, upper: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """For each functional the vertex next to s with the largest norm, and that norm."""
    at = (upper > lower).nonzero().flatten()
    if len(at) == 0:
        return s, _norms((left * s.unsqueeze(1)) @ right)
    values = []
    size = left.shape[0] * left.shape[1] * right.shape[1]
    current = (left * s.unsqueeze(1)) @ right
    change = lower + upper - 2 * s
    for some in at.split(max(1, NUMBERS // max(1, size))):
        moved = (left[..., some] * change[:, None, some]).permute(2, 0, 1).unsqueeze(-1) * right[some][:, None, None, :]
        values.append(_norms(current + moved))
    value, which = torch.cat(values).max(0)
    tried = s.clone()
    tried.scatter_add_(1, at[which].unsqueeze(1), change.gather(1, at[which].unsqueeze(1)))
    return tried, value


def _norms(matrices: Tensor) -> Tensor:
    """|M|_2 over the last two dimensions."""
    return squared_norm(matrices).sqrt()
