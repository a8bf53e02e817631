"""The largest singular value of a weighted map: certified from above, without writing the map out where it is large.

Small maps: an SVD, or the eigenvalues of the smaller Gram matrix. Large maps: Lanczos on G = M^T M (or M M^T) from random
unit vectors b. In floating point the basis q_1 = b, q_2, ... and the coefficients fulfil, whatever has become of
orthogonality,

    beta_{j+1} q_{j+1} = G q_j - alpha_j q_j - beta_j q_{j-1} + f_j,      |f_j| <= eta,

with eta a bound on the rounding of one application of G. Let v be the top eigenvector, lambda its eigenvalue, T the
tridiagonal matrix of k steps. Multiplied by v^T this is a tridiagonal system for the v . q_j, and for lambda > t >
largest eigenvalue of T its inverse R = (t - T)^{-1} is entrywise non-negative and decreases with t, so

    |v . b| <= beta_{k+1} |q_{k+1}| R_1k(t) + eta sum_j R_1j(t).

If the right side is at most x, then lambda > t needs a start with |v . b| <= x. For b uniform on the unit sphere of R^n
that has probability at most x sqrt(2 n / pi). Several independent starts must all fail. So sqrt(t) is an upper bound with
a stated failure probability over the starts, at any step, rounding included. Starts are drawn from a hash of the map and
128 bits of the system's entropy, so that no network can have been made for them; bounds of two runs differ by up to
``width``.

Sources: van Dorsselaer, Hochstenbach & van der Vorst 2000 (probabilistic bounds by the Lanczos polynomial); Kuczynski &
Wozniakowski 1992. The treatment of rounding is ours.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from lipreg.linalg.broadcasting import broadcast
from lipreg.linalg.lanczos import lanczos_bound, top_vector
from lipreg.linalg.maps import LinearMap
from lipreg.linalg.norms import vector_norm

WIDTH = 1e-5
"""Relative width at which the certified interval of a norm is narrow enough."""
FAILURE = 1e-9
"""Probability over the random starts that a bound by Lanczos fails."""
SVD_ENTRIES = 2**16
"""Entries of a written-out batch up to which a full SVD is the quickest way."""
GRAM_SIDE = 512
"""Smaller side up to which the eigenvalues of the Gram matrix are computed."""
CUBES = 4
"""Multiplications for the eigenvalues of a symmetric matrix, as a multiple of the third power of its side."""
QUICK = 2**28
"""Multiplications up to which a decomposition is done whatever the time."""
FIRST_STEPS = 8
"""Steps of Lanczos that are taken whatever the time, or as many as take ``QUICK`` multiplications. The bound of the first is
no better than the largest row and column sums, some ten times the norm of a layer; that of the eighth is near it."""
GRAM_ENTRIES = 2**24
"""Entries of a written-out batch beyond which nothing is written out."""


@dataclass(frozen=True)
class SpectralNorm:
    """|diag(rows) A diag(columns)|_2 of each point of a batch, ``(batch,)``.

    Attributes:
        upper: an upper bound, if ``certified``; else the differentiable estimate.
        lower: a lower bound that the method has attained.
        certified: whether ``upper`` is proved: in float64 and without gradients.
        failure: probability over the random starts that ``upper`` is too small; 0 for the direct methods.
        steps: of Lanczos; 0 for the direct methods.
        entropy: what its starts were drawn from beside the map; empty for the direct methods.
        cut: whether the interval is wider than requested, because there was no time for more steps.
    """

    upper: Tensor
    lower: Tensor
    certified: bool
    failure: float = 0.0
    steps: int = 0
    entropy: str = ""
    cut: bool = False


def spectral_norm(
    map: LinearMap,
    rows: Tensor,
    columns: Tensor,
    width: float = WIDTH,
    failure: float = FAILURE,
    entropy: str | None = None,
    is_over: Callable[[], object] = lambda: None,
) -> SpectralNorm:
    """The largest singular value of diag(rows) A diag(columns).

    In float64 without gradients: an upper bound, of relative width at most ``width`` unless Lanczos ends at its step
    limit, or with its time, first. With gradients, or in single precision: an SVD where the map is a matrix or small, else
    the Rayleigh quotient at the Ritz vector of a short Lanczos run, an estimate from below that is differentiable in A,
    rows and columns.

    Args:
        map: A.
        rows: weights >= 0 of the outputs, ``(batch, *out_shape)``.
        columns: weights >= 0 of the inputs, ``(batch, *in_shape)``.
        width: relative width to stop at.
        failure: probability over the random starts that the bound may fail with.
        entropy: to repeat a run; None draws it afresh, which the stated probability takes for granted.
        is_over: whether there is no time for a large decomposition, or for another step of Lanczos.
    """
    batch = broadcast(rows.shape[:1], columns.shape[:1])[0]
    rows, columns = rows.expand(batch, *map.out_shape), columns.expand(batch, *map.in_shape)
    if map.single_rows and map.single_columns:  # a scaled permutation: its singular values are its entries
        norm = (rows * map.abs()(columns)).flatten(1).amax(-1)
        return SpectralNorm(norm, norm, columns.dtype == torch.float64)
    size = batch * map.in_size * map.out_size
    live = torch.is_grad_enabled() and any(t.requires_grad for t in (rows, columns, *map.entries))
    certified = columns.dtype == torch.float64 and not live
    if size <= SVD_ENTRIES or (not certified and (map.is_matrix or size <= GRAM_ENTRIES // 16)):
        matrix = _written_out(map, rows, columns)
        dtype = torch.promote_types(matrix.dtype, torch.float32)  # LAPACK has no narrower numbers
        norm = torch.linalg.matrix_norm(matrix.to(dtype), ord=2).to(matrix.dtype)
        return SpectralNorm(norm, norm, certified)
    if not certified:
        estimate = _rayleigh(map, rows, columns)
        return SpectralNorm(estimate, estimate, False)
    direct = direct_work(map)
    if direct and (direct <= QUICK or not is_over()):
        ends = [_gram(map, rows[i : i + 1], columns[i : i + 1]) for i in range(batch)]
        return SpectralNorm(torch.cat([high for _, high in ends]), torch.cat([low for low, _ in ends]), True)
    return _lanczos(map, rows, columns, width, failure, fresh_entropy() if entropy is None else entropy, is_over)


def induced_norm(map: LinearMap, p: float, rows: Tensor, columns: Tensor) -> Tensor:
    """|diag(rows) A diag(columns)|_{p->p} for each point of a batch, ``(batch,)``.

    For p = 2 it is the largest singular value: see ``spectral_norm`` for what is certified and when.

    Args:
        map: A.
        p: 1, 2 or inf.
        rows: weights >= 0 of the outputs, ``(batch, *out_shape)``.
        columns: weights >= 0 of the inputs, ``(batch, *in_shape)``.
    """
    return spectral_norm(map, rows, columns).upper if p == 2.0 else map.largest_sum(p, rows, columns)


def direct_work(map: LinearMap) -> float:
    """Multiplications that the decomposition for a norm takes; 0 for one by Lanczos, which stops when its time is over."""
    if map.single_rows and map.single_columns:
        return 0.0
    short, long = sorted((map.in_size, map.out_size))
    if short * long > SVD_ENTRIES and (short > GRAM_SIDE or short * long > GRAM_ENTRIES):
        return 0.0
    return float(short * short * (long + CUBES * short))


def fresh_entropy() -> str:
    """128 bits from the operating system; no generator of anybody's is touched."""
    return os.urandom(16).hex()


def _written_out(map: LinearMap, rows: Tensor, columns: Tensor) -> Tensor:
    return rows.flatten(1).unsqueeze(2) * map.dense() * columns.flatten(1).unsqueeze(1)


def _gram(map: LinearMap, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Both bounds, from the eigenvalues of the smaller Gram matrix, widened by the product's and the solver's rounding."""
    matrix = _written_out(map, rows, columns)
    if map.in_size < map.out_size:
        matrix = matrix.transpose(1, 2)
    gram = matrix @ matrix.transpose(1, 2)
    top = torch.linalg.eigvalsh(gram)[:, -1].clamp(min=0.0)
    # |fl(M M^T) - M M^T| <= n u |M| |M|^T, whose norm is at most the trace; the solver's backward error likewise
    error = (matrix.shape[2] + 10 * matrix.shape[1]) * torch.finfo(gram.dtype).eps
    slack = error * gram.diagonal(dim1=1, dim2=2).sum(-1)
    return (top - slack).clamp(min=0.0).sqrt(), (top + slack).sqrt()


def _magnitude(map: LinearMap, rows: Tensor, columns: Tensor) -> Tensor:
    """|M|_1 |M|_inf, which is at least the square of the spectral norm of the magnitudes of M's entries."""
    size = map.abs()
    most = (rows * size(columns)).flatten(1).amax(-1) * (columns * size.transpose(rows)).flatten(1).amax(-1)
    return most * (1.0 + 1e-9)


def _lanczos(
    map: LinearMap,
    rows: Tensor,
    columns: Tensor,
    width: float,
    failure: float,
    entropy: str,
    is_over: Callable[[], object],
) -> SpectralNorm:
    digest = hashlib.sha256(entropy.encode())
    map.feed(digest)
    seed = int.from_bytes(digest.digest(), "big")
    ceiling = _magnitude(map, rows, columns)
    eta = ceiling * (map.roundings + 16) * torch.finfo(torch.float64).eps
    weights, apply = _gram_operator(map, rows, columns)
    least = min(FIRST_STEPS, QUICK // max(1, 2 * len(rows) * map.out_size * map.roundings))
    taken = count(1)
    ends = weights > 0, eta, ceiling, 2.0 * width, failure, seed
    low, high, steps = lanczos_bound(apply, *ends, lambda: next(taken) >= least and is_over())
    cut = bool((high > low * (1.0 + 2.0 * width)).any()) and bool(is_over())
    return SpectralNorm(high.sqrt(), low.sqrt(), True, failure, steps, entropy, cut)


def _gram_operator(map: LinearMap, rows: Tensor, columns: Tensor):
    """The weights of the smaller side, and x -> G x on vectors ``(batch, k, *shape of that side)``."""
    squared_rows, squared_columns = rows.square().unsqueeze(1), columns.square().unsqueeze(1)
    r, c = rows.unsqueeze(1), columns.unsqueeze(1)
    if map.in_size <= map.out_size:
        return columns, lambda x: c * map.transpose(squared_rows * map(c * x))
    return rows, lambda y: r * map(squared_columns * map.transpose(r * y))


def _rayleigh(map: LinearMap, rows: Tensor, columns: Tensor) -> Tensor:
    """|M v| at a detached approximation v of the top singular vector: its gradient is the norm's own."""
    with torch.no_grad():
        weights, apply = _gram_operator(map, rows.detach(), columns.detach())
        vector = top_vector(apply, weights)
    if map.in_size <= map.out_size:
        image = rows * map(columns * vector)
    else:
        image = columns * map.transpose(rows * vector)
    return vector_norm(image.flatten(1), 2.0)
