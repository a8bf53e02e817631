"""The Jacobian around its centre, with undecided units as deviations: tight where few units are undecided."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.deviation import Deviations, deviations, undecided_units
from lipreg.estimators.base import Estimator, Work, register, rounded_up, upper_interval
from lipreg.estimators.products.affine_relu import AffineRelu
from lipreg.estimators.unreached import one_by_one
from lipreg.graph import Affine, MaxPool, Relu
from lipreg.linalg import vector_norm
from lipreg.problem import PlacedProblem
from lipreg.results import Certificate, CertifiedInterval

UNITS, NUMBERS = 4096, 2**24
"""Undecided units, and those times inputs, up to which deviations are written down."""


@register("deviation")
class Deviation(Estimator):
    """L <= norm of c C + sum_u g_u e_u M_u over |g_u| <= b_u, |e_u| <= 1 (see ``bounds/deviation.py``).

    For gradients in l1 and l_inf (p = inf and 1) the norm of |c C| + b |M|. In l2 the smaller of that and, with the centre
    as one more row of M and 1 as its bound,

        |sum_u e_u b_u M_u|^2 = sum_uv e_u e_v b_u b_v M_u . M_v <= b |M M^T| b,

    which keeps what rows of different units have in common. Costs a backward pass with a row for each undecided unit, so it
    is for the regions, or the networks, that leave some thousands of them undecided at most; beyond ``UNITS`` it is the
    bound of ``affine_relu``, and the result says so.
    """

    certificate = Certificate.UPPER
    weighed = True
    kinds = (Affine, Relu, MaxPool)
    branches = True
    everywhere = True
    source = "centre and deviations of the chain rule over undecided units"

    def answer(self, work: Work) -> list[CertifiedInterval]:
        return one_by_one(work, self._point)

    @torch.no_grad()
    def _point(self, local: Analysis) -> CertifiedInterval:
        _, upper, detail = deviation_end(local)
        return upper_interval(local, 0, rounded_up(local, upper)[0], self.name, detail=detail)


def deviation_end(local: Analysis) -> tuple[Deviations | None, float, str]:
    """The deviations of a single-point analysis, None if they are too many; the bound that they give, and in words."""
    found, detail = written_down(local)
    return found, float(AffineRelu().bound(local) if found is None else deviation_bound(local.placed, found)), detail


def written_down(local: Analysis) -> tuple[Deviations | None, str]:
    """The deviations of a single-point analysis unless they are too many, and how many in words."""
    units = undecided_units(local)
    detail = f"{units} undecided units and members of pooling windows"
    if units > UNITS or units * local.placed.region.center.numel() > NUMBERS:
        return None, f"{detail}, too many to write down: the bound of 'affine_relu'"
    return deviations(local), detail


def deviation_bound(placed: PlacedProblem, found: Deviations) -> Tensor:
    """The bound of a single-point problem from its deviations."""
    return _norm(placed, found) + found.loss


def _norm(placed: PlacedProblem, found: Deviations) -> Tensor:
    by_entry = placed.combine_flat(found.centre.abs() + found.bounds @ found.rows.abs())
    if placed.problem.p != 2.0:
        return by_entry
    gram = (found.rows @ found.rows.T).abs()
    if placed.problem.q == 1.0:
        return by_entry
    if placed.problem.q == 2.0:
        # |s J|^2 for a unit vector s, term by term: centre, centre against deviations, deviations
        cross = (found.centre @ found.rows.T).abs() @ found.bounds.T
        spread = found.bounds @ gram @ found.bounds.T
        parts = (found.centre @ found.centre.T, cross + cross.T, spread)
        squares = sum((torch.linalg.eigvalsh(part)[-1].clamp(min=0.0) for part in parts), torch.zeros_like(by_entry))
        apart = torch.linalg.matrix_norm(found.centre, ord=2) + torch.linalg.eigvalsh(spread)[-1].clamp(min=0.0).sqrt()
        return torch.minimum(by_entry, torch.minimum(squares.sqrt(), apart))
    crossed = 2 * (found.bounds * (found.centre @ found.rows.T).abs()).sum(-1)
    squares = found.centre.square().sum(-1) + crossed + ((found.bounds @ gram) * found.bounds).sum(-1)
    each = torch.minimum(vector_norm(found.centre.abs() + found.bounds @ found.rows.abs(), 2.0), squares.sqrt())
    return each.amax()
