"""A bound in closed form: an upper bound of a whole batch, which can be a penalty."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.estimators.base import Estimator, Work, rounded_up, upper_interval
from lipreg.results import Certificate, CertifiedInterval

if TYPE_CHECKING:
    from lipreg.estimators.closed_form import Step


class BoundEstimator(Estimator):
    """A closed-form upper bound, batched over points and differentiable in the network's parameters.

    Attributes:
        layered: whether it is a product over layers, with ``factors``.
        masked: whether it sees the pre-activations only through ``slopes``, ``shares`` and ``moves`` of the analysis. In
            regional scope these are constant almost everywhere, so what is behind them needs no gradient, and nothing else
            of it is kept.
        layer_norms: whether for p = 2 it reads norms of whole layers, which training estimates where nothing else is said.
    """

    certificate = Certificate.UPPER
    differentiable = True
    preactivations = ("interval",)
    layered: ClassVar[bool] = False
    masked: ClassVar[bool] = False
    layer_norms: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bound, closed = (
            next(i for i, kind in enumerate(cls.__mro__) if name in vars(kind)) for name in ("bound", "closed_form")
        )
        if bound < closed:  # of a class or a mixin: the closed form is of the bound that it replaces
            cls.closed_form = BoundEstimator.closed_form

    @abstractmethod
    def bound(self, analysis: Analysis) -> Tensor:
        """The upper bound at each point, ``(batch,)``, in the graph's dtype."""

    def factors(self, analysis: Analysis) -> Tensor:
        """The factors of a product bound, ``(batch, layers)``: one for each linear map, the output's last."""
        raise NotImplementedError

    def closed_form(self, step: Step) -> Tensor | None:
        """What ``bound`` is of a chain of layers, at less cost: penalties take it where there is one.

        Returns:
            The bound at each point ``(batch,)``, differentiable in the chain's weights, with whatever ``problem.place``
            refuses refused; None where none is written down, and ``bound`` is taken.
        """
        return None

    def answer(self, work: Work) -> list[CertifiedInterval]:
        analysis = work.analysis
        with torch.no_grad(), analysis.norms.within(work.budget):
            bounds = rounded_up(analysis, self.bound(analysis))
        detail = analysis.norms.certificate()
        return [
            upper_interval(analysis, i, value, self.named(analysis), detail=detail) for i, value in enumerate(bounds)
        ]
