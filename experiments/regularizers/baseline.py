"""What regularisers that are no penalty have in common, and the one that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.penalties import Mean, Penalty, get_penalty
from lipreg.problem import LocalLipschitz
from lipreg.schedules import Constant, Schedule, get_schedule


class Baseline(pl.Callback):
    """A regulariser that a configuration can put in the place of a ``LipschitzRegularizer``: it takes the same arguments.

    With weight 0 it does nothing, so training is bit for bit that of a run without it.

    Args:
        problem: the question that the audit asks; not used in training.
        weight: the strength, >= 0; what it measures is the subclass's to say.
        bound: the bound beside which the run is compared with its twin, for records; not used in training.
        penalty, schedule: of Lipschitz penalties, in any of their forms; a baseline has none, so only the mean and the
            constant pass.

    Raises:
        InvalidInput: a weight out of range.
        UnsupportedRequest: another penalty or schedule.
    """

    greatest = float("inf")
    """The weights are below it."""

    def __init__(
        self,
        problem: LocalLipschitz,
        weight: float = 0.0,
        bound: str = "affine_relu",
        penalty: str | Penalty | Mapping[str, Any] = "mean",
        schedule: str | Schedule | Mapping[str, Any] = "constant",
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < self.greatest:
            accepted = f"a number of at least 0, below {self.greatest:g}"
            raise InvalidInput(f"weight={weight!r}", where=where, accepted=accepted)
        penalty, schedule = get_penalty(penalty), get_schedule(schedule)
        if not isinstance(penalty, Mean) or not isinstance(schedule, Constant):
            raise UnsupportedRequest(
                f"penalty={penalty.name} with schedule={schedule.name}, which are ways to penalise Lipschitz bounds",
                where=where,
                accepted="penalty=mean schedule=constant",
            )
        self.problem, self.weight, self.bound = problem, float(weight), bound


class Unregularised(Baseline):
    """Nothing: training as it is, the twin of every other regulariser. Its weight is 0."""

    greatest = 1e-300
