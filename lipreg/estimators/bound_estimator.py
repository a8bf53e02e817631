"""Bounds in closed form: upper bounds of a whole batch, which can be penalties."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lipreg.bounds import Analysis, row_parts
from lipreg.bounds.pass_cost import rows_at_once
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, EstimatorTask, upper_interval
from lipreg.estimators.cheap_bounds import by_parts
from lipreg.estimators.naming import cut_name
from lipreg.estimators.rounding import rounded_up
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.words import sentences

if TYPE_CHECKING:
    from lipreg.estimators.closed_form import PenaltyQuestion


class BoundEstimator(Estimator):
    """A closed-form upper bound, batched over points and differentiable in the network's parameters.

    Attributes:
        layered: whether it is a product over layers, with ``factors``: those of ``layer_product``, which account for the
            rounding of layers that were multiplied out.
        reads_masks_only: whether it sees the pre-activations only through ``slopes``, ``shares`` and what is ``movable``.
            In regional scope these are constant almost everywhere, so what is behind them needs no gradient, and nothing
            else of it is kept.
        layer_norms: whether for p = 2 it reads norms of whole layers, which training estimates by default.
        by_rows: whether it carries the functional's rows through the whole network, each by itself unless the question
            combines them; then as many are carried at once as there is memory for.
        few_passes: whether it costs a few passes: the least of such bounds that cover question and network stands at points
            for which a dearer method had no time.
        of_layers_alone: whether it looks at no region and no reference point, so that it is found once for all points, and
            stands at those for which there was no time at all.
    """

    certificate = Certificate.UPPER
    differentiable = True
    preactivations = ("interval",)
    layered: ClassVar[bool] = False
    reads_masks_only: ClassVar[bool] = False
    layer_norms: ClassVar[bool] = True
    by_rows: ClassVar[bool] = False
    few_passes: ClassVar[bool] = False
    of_layers_alone: ClassVar[bool] = False

    @abstractmethod
    def bound(self, analysis: Analysis) -> Tensor:
        """The upper bound at each point, ``(batch,)``, in the graph's dtype."""

    def factors(self, analysis: Analysis) -> Tensor:
        """The factors of a product bound, ``(batch, layers)``: one for each linear map, the output's last."""
        raise NotImplementedError

    def closed_form(self, step: PenaltyQuestion) -> Tensor | None:
        """The value of ``bound`` for a chain of layers, at less cost: penalties take it where there is one.

        Args:
            step: the chain, the question and the points.

        Returns:
            The bound at each point ``(batch,)``, differentiable in the chain's weights; None where there is no closed form
            of the question, and ``bound`` is taken. Points that ``problem.place`` refuses are refused.
        """
        return None

    def own_closed_form(self, step: PenaltyQuestion) -> Tensor | None:
        """``closed_form`` of this bound; None where that is inherited, and of another bound than that of the class."""
        lines = type(self).__mro__
        bound, closed = (
            next(i for i, kind in enumerate(lines) if name in vars(kind)) for name in ("bound", "closed_form")
        )
        return self.closed_form(step) if closed <= bound else None

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return by_parts(work.analysis, work.budget, self.of_part)

    def of_part(self, part: Analysis, budget: Budget) -> list[CertifiedInterval]:
        """The intervals of points that are bounded together.

        Args:
            part: the analysis of these points.
            budget: the budget of these points, started.
        """
        uppers, left_out = list[list[float]](), list[str]()
        for block, share in self._rows_in_parts(part, budget):
            block = block.within(share)
            with torch.no_grad():
                uppers.append(rounded_up(block, self.bound(block), self.layered and part.placed.without_rows))
                left_out += [self.left_out(block), block.norms.left_out]
        words, detail = sentences(*left_out), part.certificate()
        status, name = (Status.TIME_LIMIT if words else Status.BOUNDED), self.named(part)
        detail = sentences(detail, words)
        name = cut_name(name) if words else name
        return [
            upper_interval(part, i, max(each), name, status, detail) for i, each in enumerate(zip(*uppers, strict=True))
        ]

    def left_out(self, analysis: Analysis) -> str:
        """What ``bound`` left out in the budget of the analysis, in words; norms that were cut short say so themselves."""
        return ""

    def _rows_in_parts(self, part: Analysis, budget: Budget) -> Iterator[tuple[Analysis, Budget]]:
        """The same points with as many rows as fit into the memory, one part after the other, each with its share of the
        time; with all of them where rows are combined, or few."""
        placed = part.placed
        apart = self.by_rows and placed.problem.q in (None, math.inf) and not placed.without_rows
        at_once = rows_at_once(part.graph, placed, budget.memory) if apart else placed.count
        return row_parts(part, budget, at_once)
