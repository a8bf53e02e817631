"""Weight schedules: the factor on a penalty's weight as training goes on.

A schedule is a small frozen class with its options as fields, and keeps no state: what it may look at, the last factor
among it, is handed in. Adding one takes a decorator:

    @register("halving")
    @dataclass(frozen=True)
    class Halving(Schedule):
        every: int

        def factor(self, now):
            return 0.5 ** (now.batch // self.every)

``schedule=Halving(every=100)`` and ``schedule={"kind": "halving", "every": 100}`` are then the same.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lipreg.errors import InvalidInput
from lipreg.options import Optioned, Registry, check_count, check_number

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Linear",
    "Moment",
    "Schedule",
    "Target",
    "get_schedule",
    "register",
]


@dataclass(frozen=True)
class Moment:
    """Where training stands when a batch begins.

    Attributes:
        batch: how many training batches came before.
        batches: how many there will be in all; None where nobody knows.
        factor: the factor of the batch before; 1 at the first.
        bound: mean of what is penalised, a bound or another quantity, at the batch before, over all processes; None at the
            first, and for schedules that do not follow it.
    """

    batch: int
    batches: int | None = None
    factor: float = 1.0
    bound: float | None = None


class Schedule(Optioned):
    """A way to change the weight of a penalty: weight at a batch = ``weight`` * factor.

    Attributes:
        follows_bound: whether it looks at the bound, which then has to be averaged over processes.
    """

    follows_bound: ClassVar[bool] = False

    @staticmethod
    def registry() -> Registry[Any]:
        return SCHEDULES

    @abstractmethod
    def factor(self, now: Moment) -> float:
        """The factor, >= 0, for the batch that begins."""


SCHEDULES: Registry[Schedule] = Registry("schedule", base=Schedule)
"""The schedules by name."""
register = SCHEDULES.register


def get_schedule(schedule: str | Schedule | Mapping[str, Any]) -> Schedule:
    """The schedule that a user means by any of its three forms, which are equal.

    Args:
        schedule: an object, such as ``Cosine(batches=500)``; plain data, ``{"kind": "cosine", "batches": 500}``; or the name
            of one that needs no options: "constant", "linear", "cosine", or one of your own.

    Raises:
        InvalidInput: no such schedule, an unknown or missing option, or a value out of range.
    """
    return SCHEDULES.of(schedule, Schedule)


@register("constant")
@dataclass(frozen=True)
class Constant(Schedule):
    """The same weight throughout: the factor is 1."""

    def factor(self, now: Moment) -> float:
        return 1.0


@register("linear")
@dataclass(frozen=True)
class Linear(Schedule):
    """Warm-up: from ``start`` to 1 over the first batches in equal steps, then 1.

    Args:
        batches: how long; None for all of training.
        start: the factor of the first batch.
    """

    batches: int | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        _check_length(self.batches, "schedule 'linear'")
        check_number(self.start, "start", "schedule 'linear'", low=0.0)

    def factor(self, now: Moment) -> float:
        return self.start + (1.0 - self.start) * _progress(now, self.batches, "linear")


@register("cosine")
@dataclass(frozen=True)
class Cosine(Schedule):
    """From ``start`` to ``end`` along half a cosine, flat at both ends, then ``end``.

    Args:
        batches: how long; None for all of training.
        start, end: the factors before and after.
    """

    batches: int | None = None
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _check_length(self.batches, "schedule 'cosine'")
        check_number(self.start, "start", "schedule 'cosine'", low=0.0)
        check_number(self.end, "end", "schedule 'cosine'", low=0.0)

    def factor(self, now: Moment) -> float:
        turned = (1.0 - math.cos(math.pi * _progress(now, self.batches, "cosine"))) / 2.0
        return self.start + (self.end - self.start) * turned


@register("target")
@dataclass(frozen=True)
class Target(Schedule):
    """Holds a wanted bound: factor <- factor * (mean bound / target)^rate, kept within [low, high].

    Above the target the weight grows, below it shrinks; at the target it stays. In logarithms this is an integral
    controller, and the rate is how fast it answers.

    Args:
        target: the mean bound that is wanted, > 0, in the units of the bound.
        rate: > 0; small rates answer slowly and do not swing.
        low, high: limits of the factor, 0 < low <= high.

    Attributes:
        follows_bound: True.
    """

    target: float
    rate: float = 0.01
    low: float = 1e-3
    high: float = 1e3
    follows_bound: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for option in ("target", "rate", "low", "high"):
            check_number(getattr(self, option), option, "schedule 'target'", above=0.0)
        if self.low > self.high:
            raise InvalidInput(f"low={self.low} above high={self.high}", where="schedule 'target'")

    def factor(self, now: Moment) -> float:
        if now.bound is None or not math.isfinite(now.bound):
            return now.factor
        # a bound of 0 (a network that is off) lets go of the weight at once
        controlled = now.factor * (now.bound / self.target) ** self.rate
        return min(max(controlled, self.low), self.high)


def _progress(now: Moment, batches: int | None, name: str) -> float:
    """How much of the schedule is over: 0 at its first batch, 1 from its last on."""
    length = now.batches if batches is None else batches
    if length is None:
        raise InvalidInput(
            "how many batches there will be is not known",
            where=f"schedule {name!r}",
            accepted="the option batches, in a loop of your own and in a Trainer without a limit",
        )
    return 1.0 if length == 1 else min(1.0, now.batch / (length - 1))


def _check_length(batches: Any, where: str) -> None:
    if batches is not None:
        check_count(batches, "batches", where)
