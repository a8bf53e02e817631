"""SeqLip: the norms of neighbouring layers with the units between them, as a product."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis, norm_rounding
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, Work, register, rounded_up, upper_interval
from lipreg.estimators.products.spectral import Spectral
from lipreg.estimators.sdp.pieces import Chain, chain
from lipreg.estimators.yardsticks.vertices import greedy_norm, largest_norm
from lipreg.results import Certificate, CertifiedInterval, Status

UNITS = 14
"""Undecided units of a layer whose phases are enumerated beside matrices."""
ROW_UNITS = 18
"""The same in the last layer, where each functional has a vector in place of a matrix."""


@dataclass
class _Course:
    """How one point's product came about."""

    budget: Budget
    status: Status = Status.BOUNDED
    notes: list[str] = field(default_factory=list)

    def ended(self) -> bool:
        self.status = self.budget.ended() or self.status
        return self.status is not Status.BOUNDED


class LayerPairs(Estimator):
    """Both forms of SeqLip: a product of max |B_{k+1} S_k A_k|_2 over the diagonal S_k that the region leaves possible.

    Every map between two hidden layers is split in half, W_k = A_k B_k (see ``pieces.py``); the first and the last stay
    whole. A network that branches, or with maps too large to decompose, is answered by the product of norms.
    """

    norms = (2.0,)
    output_norms = (2.0, float("inf"))
    weighed = True
    branches = True  # by the product of norms
    everywhere = True
    searches = True
    source = "Virmaux & Scaman 2018 (SeqLip)"

    def answer(self, work: Work) -> list[CertifiedInterval]:
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
        placed = local.placed.apart()
        rows, joint = placed.rows[0].to(local.graph.dtype), placed.problem.output.joint
        folded = layers.with_last(rows).folded()
        course = _Course(budget)
        if not folded.lower:
            return self.conclude(local, float(placed.combine_flat(folded.maps[0])), Status.BOUNDED, "no open layer")
        pieces, value = folded.cut(0), 1.0
        for k, piece in enumerate(pieces):
            together = joint or k < len(pieces) - 1
            left, right = piece.maps[1], piece.maps[0]
            parts = left.unsqueeze(0) if together else left.unsqueeze(1)  # (functionals, rows, units)
            value *= self.factor(parts, right, piece, course, f"open layer {k + 1}")
        value += product * sum(piece.slack for piece in pieces)
        return self.conclude(local, value, course.status, "; ".join(course.notes))

    def factor(self, left: Tensor, right: Tensor, piece: Chain, course: _Course, name: str) -> float:
        """The factor of one hidden layer: over its functionals ``(functionals, rows, units)`` and ``(units, columns)``."""
        raise NotImplementedError

    def conclude(self, local: Analysis, value: float, status: Status, detail: str) -> CertifiedInterval:
        """The result from the product."""
        raise NotImplementedError


@register("seqlip")
class SeqLip(LayerPairs):
    """The factors by enumeration: a norm is convex in S_k, so it is largest at a vertex of the box of slopes.

    Exact for layers with at most ``UNITS`` undecided units (``ROW_UNITS`` for the last, with scalar functionals). A layer
    with more has the product of the two norms for its factor, and the detail says which. Decided units are not
    enumerated and layers without open ones are folded away, so with the slopes of a region or of a reference point this
    is a local bound; the published one has all slopes open.

    Source: Virmaux & Scaman 2018, section 5.
    """

    certificate = Certificate.UPPER

    def factor(self, left: Tensor, right: Tensor, piece: Chain, course: _Course, name: str) -> float:
        (lower,), (upper,) = piece.lower, piece.upper
        opened, limit = piece.open_units[0], ROW_UNITS if left.shape[1] == 1 else UNITS
        if opened > limit:
            course.notes.append(f"{name}: {opened} undecided units, product of norms")
        elif not course.ended():
            found = largest_norm(left, right, lower, upper, course.ended)
            if found is not None:
                course.notes.append(f"{name}: {opened} undecided units enumerated")
                return found
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
class GreedySeqLip(LayerPairs):
    """The factors by ascent over the phases: close to SeqLip's bound, from below, so it proves nothing.

    From all slopes at their upper ends, the vertex that the top singular vectors ask for, then the best change of a single
    unit, until neither helps. For layers too wide to enumerate.

    Source: Virmaux & Scaman 2018, section 5 (greedy SeqLip).
    """

    certificate = Certificate.ESTIMATE

    def factor(self, left: Tensor, right: Tensor, piece: Chain, course: _Course, name: str) -> float:
        return greedy_norm(left, right, piece.lower[0], piece.upper[0], course.ended)

    def conclude(self, local: Analysis, value: float, status: Status, detail: str) -> CertifiedInterval:
        status = Status.ESTIMATED if status is Status.BOUNDED else status  # nothing is bounded here
        empty = upper_interval(
            local, 0, float("inf"), "", status, detail or "an estimate of SeqLip's bound, from below"
        )
        return replace(empty, estimate=value)
