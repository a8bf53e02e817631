"""The Jacobian around its centre, with unstable units as deviations: tight where few units are unstable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.deviation import Deviations, deviation_count, deviations, deviations_memory, deviations_work
from lipreg.bounds.joint_deviation import joint_count, joint_deviations
from lipreg.bounds.pass_cost import NUMBER_BYTES
from lipreg.budget import UNLIMITED, Budget, OutOfBudget
from lipreg.estimators.base import Estimator, EstimatorTask, register, upper_interval
from lipreg.estimators.cheap_bounds import cheap_intervals, least_form, one_by_one
from lipreg.estimators.jacobians.jacobian_crown import JacobianCrown
from lipreg.estimators.rounding import rounded_up
from lipreg.graph import Affine, Curved, MaxPool, Relu
from lipreg.linalg import vector_norm
from lipreg.problem import PlacedProblem
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.words import counted, sentences, size

SHORT, SHARE = 1.0, 0.5
"""Seconds of work up to which linear bounds on the Jacobian, which take longer, are not computed beside deviations; and the
share of the time that they have."""
CLOSER = 0.999
"""The factor below which one bound is smaller than another: else both are of the same deviations in another order."""


@register("deviation")
class Deviation(Estimator):
    """L <= norm of c C + sum_u g_u e_u M_u over |g_u| <= b_u, |e_u| <= 1 (see ``bounds/deviation.py``).

    For gradients in l1 and l_inf (p = inf and 1) the norm of |c C| + b |M|. In l2 the smaller of that and, with the centre
    as one more row of M and 1 as its bound,

        |sum_u e_u b_u M_u|^2 = sum_uv e_u e_v b_u b_v M_u . M_v <= b |M M^T| b,

    which keeps the signs that rows of different units have in common. Costs a backward pass with a row for each unstable
    unit, and holds a number for each pair of them. The result is never above ``affine_relu`` and ``fastlip``, which take a
    few passes, nor, where the work is long or these numbers do not fit into the budget's memory, above ``jacobian_crown`` in
    half of the time: it has the name of the least, and says where there was no memory or time for the deviations.
    """

    certificate = Certificate.UPPER
    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    source = "centre and deviations of the chain rule over unstable units"

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return one_by_one(work, self._point)

    def _point(self, local: Analysis, budget: Budget) -> CertifiedInterval:
        forms = deviation_forms(local, budget)
        return forms.others if forms.own is None else least_form(forms.own, forms.others)


@dataclass(frozen=True)
class DeviationForms:
    """What deviations prove at a single point, and what others prove there.

    Attributes:
        terms, own: the deviations and their interval; None where they are too many for the memory or the time.
        others: the least bound of other closed forms; where there are no deviations it says so.
    """

    terms: Deviations | None
    own: CertifiedInterval | None
    others: CertifiedInterval


@torch.no_grad()
def deviation_forms(local: Analysis, budget: Budget, further: Callable[[int], float] = lambda _: 0.0) -> DeviationForms:
    """The deviations of a single point, beside the least of other closed forms.

    Which are computed depends on the question alone, and each has its share of the time: more of it never makes the least
    of them larger.

    Args:
        local: the analysis of the point.
        budget: started.
        further: the number of deviations, to the multiplications that the method takes beside writing them down, in units
            of a convolution's.
    """
    (others,) = cheap_intervals(local, budget)
    in_memory, work = _fits(local, budget.memory), deviations_work(local) + further(deviation_count(local))
    if not in_memory or work > SHORT * UNLIMITED.pace:
        time = replace(budget.share(SHARE if in_memory else 1.0), nodes=None)
        (crown,) = JacobianCrown().intervals(local, time)
        others = min(crown, others, key=lambda interval: interval.upper)
    terms, detail, status = written_down(local, budget)
    if terms is None:
        words = sentences(f"{detail}: the bound of {others.proof!r}", others.detail)
        return DeviationForms(None, None, replace(others, status=status, detail=words))
    upper = rounded_up(local, deviation_bound(local.placed, terms))[0]
    return DeviationForms(terms, upper_interval(local, 0, upper, Deviation().named(local), status, detail), others)


def written_down(local: Analysis, budget: Budget) -> tuple[Deviations | None, str, Status]:
    """The deviations of a single-point analysis, None where memory or time is short; how many they are, in words; and what
    was short, or BOUNDED."""
    units, count_of_both = deviation_count(local), joint_count(local)
    pooled = " and members of pooling windows" if local.graph.pools() else ""
    detail = f"{counted(units, 'unstable unit')}{pooled}"
    if not _fits(local, budget.memory):
        return None, f"{detail}, too many to write down in {size(budget.memory)}", Status.MEMORY_LIMIT
    try:
        terms = deviations(local, budget)
    except OutOfBudget as over:
        return None, f"{detail}, no time to write them down", over.status
    if count_of_both:  # smaller where networks nearly agree, larger where they do not
        try:
            joint = joint_deviations(local, budget)
        except OutOfBudget as over:
            return terms, f"{detail}, no time for those of both networks together", over.status
        bounds = [float(deviation_bound(local.placed, each)) for each in (terms, joint)]
        terms = joint if bounds[1] < CLOSER * bounds[0] else terms
    return terms, detail, Status.BOUNDED


def _fits(local: Analysis, memory: int) -> bool:
    """Whether the deviations of a single-point analysis, and those of two networks together, can be written down."""
    units, inputs, rows = deviation_count(local), local.placed.region.center.numel(), local.placed.rows.shape[1]
    count_of_both = joint_count(local)
    joint = NUMBER_BYTES * 2 * count_of_both * (units + count_of_both + inputs + rows)
    return max(deviations_memory(units, inputs, rows), joint) <= memory


def deviation_bound(placed: PlacedProblem, terms: Deviations) -> Tensor:
    """The bound of a single-point problem from its deviations, rounding of their computation included."""
    return _norm(placed, terms) + terms.loss


def row_bounds(placed: PlacedProblem, terms: Deviations) -> Tensor:
    """Bounds on the norm of each row's gradient, ``(rows,)``, without the rounding of the deviations, ``terms.loss``."""
    each = vector_norm(terms.centre.abs() + terms.bounds @ terms.rows.abs(), placed.problem.dual)
    if placed.problem.p != 2.0:
        return each
    gram = (terms.rows @ terms.rows.T).abs()
    crossed = 2 * (terms.bounds * (terms.centre @ terms.rows.T).abs()).sum(-1)
    squares = terms.centre.square().sum(-1) + crossed + ((terms.bounds @ gram) * terms.bounds).sum(-1)
    return torch.minimum(each, squares.sqrt())


def _norm(placed: PlacedProblem, terms: Deviations) -> Tensor:
    if placed.problem.q in (None, math.inf):
        return row_bounds(placed, terms).amax()
    by_entry = placed.combine_flat(terms.centre.abs() + terms.bounds @ terms.rows.abs())
    if placed.problem.p != 2.0 or placed.problem.q == 1.0:
        return by_entry
    # |s J|^2 for a unit vector s, term by term: centre, centre against deviations, deviations
    gram = (terms.rows @ terms.rows.T).abs()
    cross = (terms.centre @ terms.rows.T).abs() @ terms.bounds.T
    spread = terms.bounds @ gram @ terms.bounds.T
    parts = (terms.centre @ terms.centre.T, cross + cross.T, spread)
    squares = sum((torch.linalg.eigvalsh(part)[-1].clamp(min=0.0) for part in parts), torch.zeros_like(by_entry))
    apart = torch.linalg.matrix_norm(terms.centre, ord=2) + torch.linalg.eigvalsh(spread)[-1].clamp(min=0.0).sqrt()
    return torch.minimum(by_entry, torch.minimum(squares.sqrt(), apart))
