"""Operator norms |M|_{p -> q} = max of s . M y over |y|_p <= 1 and |s|_{q*} <= 1, of batches of small matrices.

Six of the nine have a formula. The other three, p = inf with q = 1 or 2 and p = 2 with q = 1, are a largest value over
signs, of the columns or of the rows (s -> -s changes nothing): up to ``SIGNS`` of these every combination is tried.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.errors import UnsupportedRequest
from lipreg.linalg.norms import dual_norm, norm_name, safe_sqrt, squared_norm, vector_norm

SIGNS = 16
"""Rows or columns up to which all their signs are tried: 2^15 vectors."""
NUMBERS = 2**18
"""Numbers in memory at once while signs are tried, about: two MiB, which stay in a processor's cache."""
TOGETHER = 32
"""Signs that are tried at once, at least, unless a matrix has more columns than that leaves room for."""
TURNS = 8
"""Turns of the alternation that looks for a good vector where signs are too many."""


def sign_vectors(count: int, like: Tensor) -> Tensor:
    """All sign vectors whose first sign is +, ``(2^(count - 1), count)``: s and -s have the same norm."""
    codes = torch.arange(2 ** (count - 1), device=like.device)
    bits = (codes.unsqueeze(1) >> torch.arange(count - 1, device=like.device)) & 1
    return torch.cat([torch.ones_like(codes).unsqueeze(1), 1 - 2 * bits], 1).to(like.dtype)


def signed_side(p: float, q: float) -> int | None:
    """Over whose signs the norm is a largest value, -2 for the rows and -1 for the columns; None where it has a formula."""
    if p == 1.0 or q == math.inf or (p, q) == (2.0, 2.0):
        return None
    return -2 if q == 1.0 else -1


def has_formula(p: float, q: float, shape: torch.Size | tuple[int, ...]) -> bool:
    """Whether ``operator_norm`` is exact for matrices of that shape.

    Args:
        p, q: the norms of inputs and outputs.
        shape: ``(..., rows, columns)``.
    """
    side = signed_side(p, q)
    return side is None or shape[side] <= SIGNS


def operator_norm(matrix: Tensor, p: float, q: float) -> Tensor:
    """|M|_{p -> q}; beyond ``SIGNS`` signs the lower bound of ``attained_norm``.

    Of matrices without negative entries that is the norm too, whatever their size: at the vector of ones.

    Args:
        matrix: M, ``(..., rows, columns)``.
        p, q: the norms of inputs and outputs.

    Returns:
        ``(...)``.
    """
    side = signed_side(p, q)
    if side is None or matrix.shape[side] > SIGNS:
        return attained_norm(matrix, p, q)
    if bool((matrix >= 0).all()):  # magnitudes, as of bounds: the signs are all the same
        return vector_norm(matrix.sum(-2), dual_norm(p)) if side == -2 else vector_norm(matrix.sum(-1), q)
    return best_signs(matrix, dual_norm(p))[0] if side == -2 else best_signs(matrix.mT, q)[0]


def best_signs(matrix: Tensor, norm: float) -> tuple[Tensor, Tensor]:
    """The largest |s M|_norm over signs s of the rows, all tried, ``(...)``, and an s that has it, ``(..., rows)``."""
    signs = sign_vectors(matrix.shape[-2], matrix)
    matrices = matrix.reshape(math.prod(matrix.shape[:-2]), *matrix.shape[-2:])
    # in parts, of the matrices too: there may be many of them beside many signs, and a matrix is read once for each part
    together = max(1, NUMBERS // (min(len(signs), TOGETHER) * max(1, matrix.shape[-1])))
    parts = [_best_of(signs, some, norm) for some in matrices.split(together)]
    norms, at = (torch.cat(part).reshape(matrix.shape[:-2]) for part in zip(*parts, strict=True))
    return norms, signs[at]


def _best_of(signs: Tensor, matrices: Tensor, norm: float) -> tuple[Tensor, Tensor]:
    """The largest |s M|_norm of so few matrices that many signs are tried at once, and which of the signs have it."""
    part = max(1, NUMBERS // max(1, matrices[:, 0].numel()))
    return torch.cat([vector_norm(some @ matrices, norm) for some in signs.split(part)], -1).max(-1)


def attained_norm(matrix: Tensor, p: float, q: float) -> Tensor:
    """|M y|_q / |y|_p at a good y, a lower bound on |M|_{p -> q}: the norm itself where it has a formula.

    Args:
        matrix: M, ``(..., rows, columns)``.
        p, q: the norms of inputs and outputs.

    Returns:
        ``(...)``.
    """
    if q == math.inf:
        return vector_norm(matrix, dual_norm(p)).amax(-1)
    if p == 1.0:
        return vector_norm(matrix.mT, q).amax(-1)
    if (p, q) == (2.0, 2.0):
        return safe_sqrt(squared_norm(matrix))
    return vector_norm((matrix @ best_direction(matrix, p, q).unsqueeze(-1)).squeeze(-1), q)


def best_direction(matrix: Tensor, p: float, q: float) -> Tensor:
    """A y with |y|_p <= 1 and large |M y|_q, for p = inf or q = 1, ``(..., columns)``, by alternation.

    In s . M y the s and the y are maximised in turn, from the vector of ones and from every row of M.

    Args:
        matrix: M, ``(..., rows, columns)``.
        p, q: the norms of inputs and outputs.
    """
    starts = _aligned(torch.cat([torch.ones_like(matrix[..., :1, :]), matrix], -2), p)
    y = starts
    for _ in range(TURNS):
        s = _aligned(y @ matrix.mT, dual_norm(q))
        y = _aligned(s @ matrix, p)
    y = torch.cat([starts, y], -2)
    best = vector_norm(y @ matrix.mT, q).argmax(-1, keepdim=True)
    return y.gather(-2, best.unsqueeze(-1).expand(*best.shape, y.shape[-1])).squeeze(-2)


def _aligned(gradient: Tensor, p: float) -> Tensor:
    """The y with |y|_p <= 1 and the largest gradient . y, for p = 2 and inf."""
    if p == math.inf:
        return torch.where(gradient >= 0, 1.0, -1.0).to(gradient.dtype)
    return gradient / vector_norm(gradient, 2.0).clamp(min=1e-300).unsqueeze(-1)


def refuse_many_signs(p: float, q: float | None, outputs: int, where: str) -> None:
    """Refuses operator norms into l1 that need the signs of more than SIGNS outputs.

    Args:
        p, q: the norms of inputs and outputs.
        outputs: how many there are.
        where: what needs the norm, for the message.

    Raises:
        UnsupportedRequest: there are more.
    """
    if q == 1.0 and p != 1.0 and outputs > SIGNS:
        raise UnsupportedRequest(
            f"the operator norm from l{norm_name(p)} to l1 of {outputs} outputs",
            where=where,
            accepted=f"up to {SIGNS} outputs: every combination of their signs is tried",
            todo="Ask for q = inf, AllLogits() or AllPairs(), or add a layer that picks the outputs that matter",
        )
