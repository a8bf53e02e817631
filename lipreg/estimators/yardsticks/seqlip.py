"""SeqLip: the norms of neighbouring layers with the units between them, as a product."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis, norm_rounding
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, EstimatorTask, register, upper_interval
from lipreg.estimators.products.spectral import Spectral
from lipreg.estimators.rounding import rounded_up
from lipreg.estimators.sdp.layer_chain import Chain, chain
from lipreg.estimators.yardsticks.vertices import greedy_norm, largest_norm
from lipreg.results import Certificate, CertifiedInterval, Status

UNITS = 14
"""Unstable units of a layer whose phases are enumerated beside matrices."""
ROW_UNITS = 18
"""Unstable units of the last layer up to which they are enumerated: each functional has a vector in place of a matrix."""


@dataclass
class _ProductRun:
    """The course of one point's product: its budget, what ended it, and notes on its factors."""

    budget: Budget
    status: Status = Status.BOUNDED
    notes: list[str] = field(default_factory=list)

    def is_over(self) -> bool:
        self.status = self.budget.stop_reason() or self.status
        return self.status is not Status.BOUNDED


class _LayerPairs(Estimator):
    """Both forms of SeqLip: a product of max |B_{k+1} S_k A_k|_2 over the diagonal S_k that the region leaves possible.

    Every map between two hidden layers is split in half, W_k = A_k B_k (see ``lipreg.estimators.sdp.layer_chain``); the
    first and the last stay whole. A network that branches, or with maps too large to decompose, has the product of norms.
    """

    norms = (2.0,)
    output_norms = (2.0, float("inf"))
    weighted = True
    branches = True  # by the product of norms
    unbounded_regions = True
    searches = True
    source = "Virmaux & Scaman 2018 (SeqLip)"

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        batch, results = work.analysis.placed.batch, []
        for i in range(batch):
            with torch.no_grad():
                results.append(self._point(work.analysis[i : i + 1], work.budget.share(1 / (batch - i))))
        return results

    def _point(self, local: Analysis, budget: Budget) -> CertifiedInterval:
        product = Spectral().intervals(local, budget)[0].upper
        layers = chain(local, local.slopes)
        if layers is None:
            words = "the network branches, or has maps too large to decompose"
            return self.conclude(local, product, Status.BOUNDED, f"{words}: product of norms")
        placed = local.placed.scalarised()
        rows, joint = placed.rows[0].to(local.graph.dtype), placed.problem.output.joint
        folded = layers.with_last(rows).folded()
        run = _ProductRun(budget)
        if not folded.lower:
            return self.conclude(local, float(placed.combine_flat(folded.maps[0])), Status.BOUNDED, "no unstable unit")
        blocks, value = folded.cut(0), 1.0
        for k, block in enumerate(blocks):
            together = joint or k < len(blocks) - 1
            left, right = block.maps[1], block.maps[0]
            parts = left.unsqueeze(0) if together else left.unsqueeze(1)  # (functionals, rows, units)
            value *= self.factor(parts, right, block, run, f"unstable layer {k + 1}")
        value += product * sum(block.slack for block in blocks)
        return self.conclude(local, value, run.status, "; ".join(run.notes))

    def factor(self, left: Tensor, right: Tensor, block: Chain, run: _ProductRun, name: str) -> float:
        """The factor of one hidden layer: max |B_r diag(s) A|_2 over functionals r and slopes s.

        Args:
            left: B, ``(functionals, rows, units)``.
            right: A, ``(units, columns)``.
            block: the layer with its neighbours as a chain, for the slopes of its units.
            run: the course of the product, in which the factor notes how it came about.
            name: the layer in words, for notes.
        """
        raise NotImplementedError

    def conclude(self, local: Analysis, value: float, status: Status, detail: str) -> CertifiedInterval:
        """The result from the product.

        Args:
            local: the analysis of the single point.
            value: the product.
            status: how the work ended.
            detail: notes on its factors, in words.
        """
        raise NotImplementedError


@register("seqlip")
class SeqLip(_LayerPairs):
    """The factors by enumeration: a norm is convex in S_k, so it is largest at a vertex of the box of slopes.

    Exact for layers with at most ``UNITS`` unstable units (``ROW_UNITS`` for the last, with scalar functionals). A layer
    with more has the product of the two norms for its factor, and the detail says which. Stable units are not
    enumerated and layers without unstable ones are folded away, so with the slopes of a region or of a reference point
    this is a local bound; the published one has all units unstable.

    Source: Virmaux & Scaman 2018, section 5.
    """

    certificate = Certificate.UPPER

    def factor(self, left: Tensor, right: Tensor, block: Chain, run: _ProductRun, name: str) -> float:
        (lower,), (upper,) = block.lower, block.upper
        unstable, limit = block.unstable_counts[0], ROW_UNITS if left.shape[1] == 1 else UNITS
        if unstable > limit:
            run.notes.append(f"{name}: {unstable} unstable units, product of norms")
        elif not run.is_over():
            largest = largest_norm(left, right, lower, upper, run.is_over)
            if largest is not None:
                run.notes.append(f"{name}: {unstable} unstable units enumerated")
                return largest
        norms = torch.linalg.matrix_norm(left, ord=2).amax(), torch.linalg.matrix_norm(right, ord=2)
        scaled = (
            torch.linalg.matrix_norm(left * upper, ord=2).amax(),
            torch.linalg.matrix_norm(upper[:, None] * right, ord=2),
        )
        return float(torch.minimum(scaled[0] * norms[1], norms[0] * scaled[1]))

    def conclude(self, local: Analysis, value: float, status: Status, detail: str) -> CertifiedInterval:
        upper = rounded_up(local, value + float(norm_rounding(local)))[0]
        return upper_interval(local, 0, upper, self.name, status, detail)


@register("seqlip_greedy")
class GreedySeqLip(_LayerPairs):
    """The factors by ascent over the phases: close to SeqLip's bound, from below, so it proves nothing.

    From all slopes at their upper ends, the vertex that the top singular vectors ask for, then the best change of a single
    unit, until neither helps. For layers too wide to enumerate.

    Source: Virmaux & Scaman 2018, section 5 (greedy SeqLip).
    """

    certificate = Certificate.ESTIMATE

    def factor(self, left: Tensor, right: Tensor, block: Chain, run: _ProductRun, name: str) -> float:
        return greedy_norm(left, right, block.lower[0], block.upper[0], run.is_over)

    def conclude(self, local: Analysis, value: float, status: Status, detail: str) -> CertifiedInterval:
        status = Status.ESTIMATED if status is Status.BOUNDED else status  # nothing is bounded here
        empty = upper_interval(
            local, 0, float("inf"), "", status, detail or "an estimate of SeqLip's bound, from below"
        )
        return replace(empty, estimate=value)
