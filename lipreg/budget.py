"""Budget: what a search may spend before it must answer, counted on one clock."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from lipreg.arguments import form_to_write, spelled_arguments
from lipreg.errors import InvalidInput
from lipreg.numbers import LONGEST, number, shown, whole_number
from lipreg.results import Status

MEMORY = 2**28
"""Bytes of what is worked on at once, by default."""
BYTES_PER_NUMBER = 64
"""Bytes that a pass uses for each number of the rows that it carries: eight tensors, of rows, slopes and products."""
RATE = 4e9
"""Multiplications a second by which work is judged before any of it is done: those of convolutions on one core."""
MIN_TIMED_SECONDS = 0.02
"""Least number of seconds of work from which its rate is measured."""
T = TypeVar("T")


class Stop(Protocol):
    """What can end a search from outside; a ``threading.Event`` is one."""

    def is_set(self) -> bool:
        """Whether the search is to end now."""
        ...


class OutOfBudget(Exception):
    """Work of which nothing is kept ended with its budget. Engines turn it into the status of what is proved so far.

    Attributes:
        status: of what is proved so far.
        judged: seconds that the work was judged to take, where it was not begun for that; None where the budget ended.
        remaining: seconds of the budget that were left at that moment.
    """

    def __init__(self, status: Status, judged: float | None = None, remaining: float = 0.0) -> None:
        super().__init__(status.value)
        self.status, self.judged, self.remaining = status, judged, remaining

    @property
    def lacking(self) -> float:
        """Seconds that were too few; 0 where that is not known."""
        return 0.0 if self.judged is None else max(0.0, self.judged - self.remaining)


@dataclass(frozen=True)
class AnyOf(Stop):
    """A stop that is set as soon as one of several is.

    Attributes:
        stops: these several.
    """

    stops: tuple[Stop, ...]

    def is_set(self) -> bool:
        return any(stop.is_set() for stop in self.stops)


@spelled_arguments
@dataclass(frozen=True)
class Budget:
    """What a search, or whatever else takes its time, may spend. What is proved by its end is a result like any other.

    A budget is a plain value until it is started; from then on its time runs. Parts of a started budget end with it at the
    latest. A copy in another process has the time that is left, a stop of its own and the system's clock. Numbers may be
    of any type, a ``Decimal``, numpy's or a tensor of one number too; whole ones may be written with a point, as
    ``memory=1e9``.

    Attributes:
        seconds: wall-clock time, at least 0, for everything that is done under it; ``math.inf`` for no limit.
        nodes: branch and bound nodes at each reference point, in all of its programs, at least 1; None for no limit.
        memory: bytes of what is worked on at once, beside the network and the results: open nodes from which a search
            goes depth-first, rows that a pass carries through the network. What needs more is done in parts. Never a
            reason to end; what can be written down only as a whole, and is larger, is left out, and the result says so.
        gap: (upper - lower) / upper at which a search may end, 0 <= gap < 1; 0 to go on until the ends meet.
        stop: set from outside to end the search, a ``threading.Event``; None for one of its own.
        clock: seconds on a clock that never goes back.
        deadline: on that clock; None before the start.
        rate: multiplications a second by which work is judged before it is done; None for ``RATE``.

    Raises:
        InvalidInput: a limit that is no number or out of range.
    """

    seconds: float = 60.0
    nodes: int | None = None
    memory: int = MEMORY
    gap: float = 0.0
    stop: Any = field(
        default=None, compare=False, repr=False
    )  # a Stop: command lines copy defaults and know no protocols
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)
    deadline: float | None = field(default=None, compare=False, repr=False)
    rate: float | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        seconds, gap = number(self.seconds), number(self.gap)
        if seconds is None or not seconds >= 0:
            raise InvalidInput(f"seconds={shown(self.seconds)}", where="Budget", accepted="a number of at least 0")
        if gap is None or not 0 <= gap < 1:
            raise InvalidInput(f"gap={shown(self.gap)}", where="Budget", accepted="a number with 0 <= gap < 1")
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "gap", gap)
        if self.stop is None:
            object.__setattr__(self, "stop", threading.Event())
        if not callable(getattr(self.stop, "is_set", None)):
            raise InvalidInput(
                f"stop={self.stop!r}", where="Budget", accepted="a threading.Event, or what has is_set()"
            )
        if not callable(self.clock):
            raise InvalidInput(f"clock={self.clock!r}", where="Budget", accepted="a function that gives seconds")
        # of a budget that is running, nothing may be left
        least = 1 if self.deadline is None else 0
        for name, unit, none in (("nodes", "", ", or None for no limit"), ("memory", " of bytes", "")):
            limit: Any = getattr(self, name)
            if limit is None and none:
                continue
            whole = whole_number(limit)
            if whole is None or whole < least:
                accepted = f"a whole number{unit} of at least 1, such as 2**28 or 1e9{none}"
                raise InvalidInput(f"{name}={shown(limit)}", where="Budget", accepted=accepted)
            endless = None if none else LONGEST
            object.__setattr__(self, name, endless if whole >= LONGEST else whole)

    def __copy__(self) -> Budget:
        return self  # nothing of it changes

    def __deepcopy__(self, memo: object) -> Budget:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"seconds": self.seconds_left, "nodes": self.nodes, "memory": self.memory, "gap": self.gap}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        whole = {**state, "stop": threading.Event(), "clock": time.monotonic, "deadline": None, "rate": None}
        for name, value in whole.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls, user_value: Budget | float | None, where: str, gap: float | None = None, nodes: int | None = None
    ) -> Budget:
        """The budget that a user means by a budget, by a number of seconds, or by None: the defaults.

        Args:
            user_value: what the user passed.
            where: named in errors.
            gap, nodes: limits that were passed beside the seconds.

        Raises:
            InvalidInput: anything else, or limits beside a budget, which has its own.
        """
        if isinstance(user_value, cls):
            if gap is None and nodes is None:
                return user_value
            beside = f"gap={shown(gap)}, nodes={shown(nodes)} beside {user_value!r}"
            raise InvalidInput(beside, where=where, accepted="budget=Budget(seconds=..., gap=..., nodes=...)")
        seconds = number(cls.seconds if user_value is None else user_value)
        if seconds is None or not seconds >= 0:
            accepted = "seconds, a number of at least 0, or a Budget"
            todo = form_to_write(user_value, cls, "budget", "Budget(seconds=60.0)", "from lipreg import Budget")
            raise InvalidInput(f"budget={shown(user_value)}", where=where, accepted=accepted, todo=todo)
        return cls(seconds, nodes, gap=0.0 if gap is None else gap)

    def started(self) -> Budget:
        """The budget with its time running: from now, if it was not."""
        return self if self.deadline is not None else replace(self, deadline=self.clock() + self.seconds)

    @property
    def seconds_left(self) -> float:
        """The seconds that remain, at least 0; all of them before the start."""
        return self.seconds if self.deadline is None else max(0.0, self.deadline - self.clock())

    def stop_reason(self) -> Status | None:
        """Why work must stop here: INTERRUPTED, TIME_LIMIT or NODE_LIMIT; None while it may go on."""
        if self.stop.is_set():
            return Status.INTERRUPTED
        if self.seconds_left <= 0:
            return Status.TIME_LIMIT
        return Status.NODE_LIMIT if self.nodes is not None and self.nodes <= 0 else None

    def check(self) -> None:
        """Ends work that is worth nothing when it is half done.

        Raises:
            OutOfBudget: work must stop here.
        """
        status = self.stop_reason()
        if status is not None:
            raise OutOfBudget(status)

    def has_more_than(self, seconds: float) -> bool:
        """Whether work that had so many seconds, and was cut short, has more of them now."""
        return self.seconds_left > seconds and self.stop_reason() is None

    def rows(self, numbers: int) -> int:
        """How many rows of so many numbers each a pass carries at once in this memory, at least 1."""
        return max(1, self.memory // (BYTES_PER_NUMBER * max(1, numbers)))

    def paced(self, parts: Iterable[T], cost: Callable[[T], float] = lambda part: 1.0, least: int = 0) -> Iterator[T]:
        """The parts of some work, one after the other, while there is time for the next one, going by the slowest yet.

        Args:
            parts: what the work consists of.
            cost: the seconds of a part relative to those of others; the same for all by default.
            least: how many are done in any case.
        """
        slowest = 0.0
        for done, part in enumerate(parts):
            began = self.clock()
            if done >= least and (self.stop_reason() is not None or slowest * cost(part) > self.seconds_left):
                return
            yield part
            slowest = max(slowest, (self.clock() - began) / cost(part))

    @property
    def pace(self) -> float:
        """Multiplications a second by which work is judged."""
        return RATE if self.rate is None else self.rate

    def with_measured_rate(self, multiplications: float, began: float) -> Budget:
        """The budget whose rate is the one measured since ``began``, on its clock, where that is the slower one."""
        took = self.clock() - began
        slow = took >= MIN_TIMED_SECONDS and 0 < multiplications < self.pace * took
        return replace(self, rate=multiplications / took) if slow else self

    def affords(self, multiplications: float, share: float = 1.0) -> bool:
        """Whether so much work should be done within a share of the time that is left, going by ``pace``."""
        return self.stop_reason() is None and multiplications <= self.pace * share * self.seconds_left

    def times(self, multiplications: float) -> float:
        """How many times so much work is done in the time that is left, going by ``pace``."""
        return self.pace * self.seconds_left / max(1.0, multiplications)

    def require(self, multiplications: float) -> None:
        """Ends work that is worth nothing when it is half done before it begins, where there is no time for so much of it.

        Raises:
            OutOfBudget: work must stop here, or would before it is done.
        """
        if not self.affords(multiplications):
            remaining = self.seconds_left
            raise OutOfBudget(self.stop_reason() or Status.TIME_LIMIT, multiplications / self.pace, remaining)

    def within(self, seconds: float) -> Budget:
        """A started part: at most so many seconds from now."""
        now = self.clock()
        end = now + max(0.0, seconds)
        return replace(self, deadline=end if self.deadline is None else min(self.deadline, end))

    def share(self, part: float) -> Budget:
        """A started part: so much of the time that is left."""
        return self.started() if part >= 1 else self.within(part * self.seconds_left)

    def after(self, nodes: int) -> Budget:
        """The budget with fewer nodes left, when so many are spent."""
        return self if self.nodes is None else replace(self.started(), nodes=max(0, self.nodes - nodes))


UNLIMITED = Budget(math.inf)
"""No limit."""
