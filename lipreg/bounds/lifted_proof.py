"""The bound that multipliers prove of a network of switches, wherever they are from: the least rho, certified in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.switches import Switches
from lipreg.linalg.floats import EPS, SPARE

SPARED, WIDE = 1e-8, 128
"""Relative widening of a bound for the rounding of its proof; with more than so many switches or columns it is more."""
FLOOR = 1e-9
"""Smallest weight, multiplier and vector, relative to the largest."""

Weights = tuple[Tensor | None, Tensor | None]


def proved(
    network: Switches, weights: Weights, multipliers: Tensor, exclusive: Tensor, factors: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The bounds that multiples of multipliers prove, ``(N,)``, infinite where none does, and the multiples, ``(N, u)``.

    Args:
        network: in units in which its numbers are of size 1.
        weights: of rows, ``(N, m)``, and columns, ``(N, k)``: None for |x|_2 and |c|_2.
        multipliers: of the switches, ``(N, u)``, at least 0.
        exclusive: multipliers of the sides that exclude each other, ``(N, e)``.
        factors: on the multipliers, of which the best is used.
    """
    weighed = weighed_by(network, weights)
    u = weighed.out_unit.shape[-1]
    parts = _Parts.of(weighed, exclusive)
    gram = parts.form
    multipliers = floored(multipliers)
    best, kept = gram.new_full((len(gram),), torch.inf), multipliers
    for factor in factors:
        rho = _least(weighed, gram, factor * multipliers)
        better = rho < best
        best = torch.where(better, rho, best)
        kept = torch.where(better.unsqueeze(-1), factor * multipliers, kept)
    best = best * (1.0 + SPARED * max(1.0, weighed.out_free.shape[-1] / WIDE, u / WIDE) ** 2)
    holds = _holds(weighed, parts, kept, best)
    return torch.where(holds, best, torch.inf).sqrt() * (1.0 + SPARED), kept


def weighed_by(network: Switches, weights: Weights) -> Switches:
    """The network whose |x|_2 over |c|_2 <= 1 bounds the norms that weights of rows and columns are for."""
    rows, columns = (
        None if part is None else (part.sum(-1, keepdim=True) / part).sqrt() * (1.0 + 4 * EPS) for part in weights
    )
    return network.rescaled(rows, columns)


@dataclass(frozen=True)
class _Parts:
    """|x|^2 and the products that are 0 as one form over w and c, ``(N, u + k, u + k)``, with the diagonal of |x|^2 and, of
    the products, the sums of magnitudes that their entries are made of."""

    form: Tensor
    diagonal: Tensor
    sizes: Tensor | None

    @classmethod
    def of(cls, network: Switches, exclusive: Tensor) -> _Parts:
        both = torch.cat([network.out_unit, network.out_free], -1)
        gram = both.mT @ both
        diagonal = gram.diagonal(dim1=1, dim2=2)
        if network.exclusive is None:
            return cls(gram, diagonal, None)
        over = network.unit_unit, network.unit_free
        return cls(
            gram + network.exclusive.form(exclusive, *over), diagonal, network.exclusive.form_of_sizes(exclusive, *over)
        )


def _blocks(network: Switches, gram: Tensor, multipliers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The form's blocks without rho: of w, of w and c, of c."""
    u = multipliers.shape[-1]
    coupled = multipliers.unsqueeze(-1) * network.unit_unit / 2
    units = torch.diag_embed(multipliers) - coupled - coupled.mT - gram[:, :u, :u]
    return units, gram[:, :u, u:] + multipliers.unsqueeze(-1) * network.unit_free / 2, gram[:, u:, u:]


def _least(network: Switches, gram: Tensor, multipliers: Tensor) -> Tensor:
    """The smallest rho for the multipliers, infinite where there is none, ``(N,)``; it is not rounded to a side."""
    units, cross, free = _blocks(network, gram, multipliers)
    factor, wrong = torch.linalg.cholesky_ex(units)
    half = torch.linalg.solve_triangular(factor, cross, upper=False)
    reduced = free + half.mT @ half
    wrong = (wrong > 0) | ~torch.isfinite(reduced).all(-1).all(-1)
    rho = torch.linalg.eigvalsh(torch.where(wrong.reshape(-1, 1, 1), torch.zeros_like(reduced), reduced))[:, -1]
    return torch.where(wrong, torch.inf, rho)


def _holds(network: Switches, parts: _Parts, multipliers: Tensor, rho: Tensor) -> Tensor:
    """Whether the form is proved positive semidefinite, ``(N,)``: a Cholesky factor of it with rounding's part taken off."""
    form, spare, _ = _scaled(network, parts, multipliers, rho)
    _, wrong = torch.linalg.cholesky_ex(form - torch.diag_embed(spare))
    return torch.isfinite(rho) & (rho > 0) & (wrong == 0)


def scaled_form(
    network: Switches, exclusive: Tensor, multipliers: Tensor, rho: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The form over w and c that multipliers make positive semidefinite, ``(N, u + k, u + k)``, and what rounding does.

    Args:
        network, exclusive, multipliers: as for ``proved``.
        rho: squares of bounds, ``(N,)``.

    Returns:
        The form in units in which no entry exceeds its multiplier or rho; ``(N, u + k)``, each several times as much as both
        the form's entries and a Cholesky factor of it may be off by, in the spectral norm; and the units, ``(N, u + k)``.
    """
    return _scaled(network, _Parts.of(network, exclusive), multipliers, rho)


def _scaled(network: Switches, parts: _Parts, multipliers: Tensor, rho: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same from the parts.

    In units in which no entry exceeds its multiplier or rho, an entry is off by no more than a few ``share``, and so is the
    factorisation; together less than ``share`` times the size of the form times a constant.
    """
    units, cross, free = _blocks(network, parts.form, multipliers)
    u, (m, k) = units.shape[-1], network.out_free.shape[1:]
    share = EPS * (u + k + m + SPARE)
    whole = torch.cat([torch.cat([units, -cross], -1), torch.cat([-cross.mT, -free], -1)], 1)
    fine = torch.isfinite(rho) & (rho > 0)
    level = torch.where(fine, rho, torch.ones_like(rho)).unsqueeze(-1).expand(-1, k)
    scale = torch.cat([multipliers, level], -1).rsqrt()
    whole = torch.where(fine.reshape(-1, 1, 1), whole, torch.zeros_like(whole))
    whole[:, -k:, -k:] += torch.diag_embed(level)
    whole = whole * scale.unsqueeze(1) * scale.unsqueeze(2)
    # what the entries are made of, term by term: of the diagonal 1, of products of rows what these make in those units
    terms = 2.0 + 2.0 * (parts.diagonal * scale.square()).sum(-1)
    couplings = torch.cat([network.unit_unit, network.unit_free], -1).abs() * multipliers.unsqueeze(-1)
    sized = couplings * scale[:, : multipliers.shape[-1]].unsqueeze(-1) * scale.unsqueeze(1)
    terms = terms + 2.0 * sized.square().sum((1, 2)).sqrt()
    if parts.sizes is not None:  # of products of three matrices, over twice as many sides
        terms = terms + 8.0 * (parts.sizes * scale.unsqueeze(1) * scale.unsqueeze(2)).square().sum((1, 2)).sqrt()
    spare = (share * whole.shape[-1] * terms).unsqueeze(-1).expand(-1, whole.shape[-1])
    return whole, spare, scale


def floored(sizes: Tensor) -> Tensor:
    """Sizes ``(N, k)`` raised to at least ``FLOOR`` times the largest, and above 0."""
    if not sizes.shape[-1]:
        return sizes
    return torch.maximum(sizes, FLOOR * sizes.amax(-1, keepdim=True)).clamp(min=1e-300)
