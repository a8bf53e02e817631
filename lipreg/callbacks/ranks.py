"""Audits under several training processes: each takes a part of the points, all get all results, and fail as one.

What one process does alone it does inside ``together``, ``gathered``, ``by_first`` or ``hold``: an error of one is then
raised in all, where it would leave the others waiting for it, for half an hour or for ever.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch.distributed as dist

T = TypeVar("T")

SLACK = timedelta(minutes=30)
"""How much longer than the budget one process may take for its part than another."""


class Ranks:
    """The training processes of a trainer.

    They communicate in a group of their own: the trainer's may be bound to GPUs, and ends the program when one process waits
    for another longer than it waits for a gradient.

    Args:
        trainer: the trainer, whose processes have met.
        budget: seconds of an audit's searches.

    Attributes:
        rank: the number of this process.
        count: how many there are.
    """

    def __init__(self, trainer: pl.Trainer, budget: float) -> None:
        self.rank, self.count = trainer.global_rank, trainer.world_size
        self._pending_error: Exception | None = None
        self._group: Any = None
        if self.count > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=min(budget, 1e7)) + SLACK)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_group": None, "_pending_error": None}  # a copy of the callback sets up its own

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and logs."""
        return self.rank == 0

    def share(self, points: int) -> range:
        """The points of this process: a range of them, so that blocks of points stay together."""
        return range(self.rank * points // self.count, (self.rank + 1) * points // self.count)

    def gathered(self, work: Callable[[], T]) -> list[T]:
        """The results of ``work`` in every process, in their order; all of them call it.

        Raises:
            Exception: what any of them raised, in all of them.
        """
        if self.count == 1:
            return [work()]
        outcomes: list[Any] = [None] * self.count
        mine = self._outcome(work)
        dist.all_gather_object(outcomes, mine.packed(), group=self._group)
        failed = next((rank for rank, outcome in enumerate(outcomes) if outcome.failed), None)
        if failed is not None:
            raise mine.error if mine.error is not None and failed == self.rank else outcomes[failed].unpacked(failed)
        return [outcome.value for outcome in outcomes]

    def together(self, work: Callable[[], T]) -> T:
        """The result of ``work`` in this process, once all of them have done theirs; all of them call it.

        Raises:
            Exception: what any of them raised, in all of them.
        """
        kept: list[T] = []
        self.gathered(lambda: kept.append(work()))
        return kept[0]

    def by_first(self, work: Callable[[], T]) -> T:
        """The result of ``work``, which the first process alone does, in every process; all of them call it.

        Raises:
            Exception: what any of them raised, in all of them.
        """
        return self.gathered(lambda: work() if self.is_first else None)[0]  # type: ignore[return-value]

    def hold(self, work: Callable[[], None]) -> None:
        """Does ``work``, which need not be done in every process; an error is raised in all of them when they next meet."""
        if self.count == 1:
            work()
        elif self._pending_error is None:
            try:
                work()
            except Exception as error:
                self._pending_error = error

    def _outcome(self, work: Callable[[], Any]) -> _Outcome:
        pending, self._pending_error = self._pending_error, None
        if pending is not None:
            return _Outcome(error=pending)
        try:
            return _Outcome(work())
        except Exception as error:  # whatever it is: the others wait
            return _Outcome(error=error)


@dataclass(frozen=True)
class _Outcome:
    """The result of some work in one process, or its error."""

    value: Any = None
    error: Exception | None = None
    bytes: bytes | None = None
    text: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.text)

    def packed(self) -> _Outcome:
        """The outcome in a form that every other process can read."""
        if self.error is None:
            return self
        text = f"{type(self.error).__name__}: {self.error}"
        try:
            content = pickle.dumps(self.error)
            pickle.loads(content)  # some exceptions can be written and not read
        except Exception:
            content = None
        return _Outcome(bytes=content, text=text)

    def unpacked(self, rank: int) -> Exception:
        """The error again, with the process that it is from."""
        try:
            error = RuntimeError(self.text) if self.bytes is None else pickle.loads(self.bytes)
        except Exception:  # a class that exists in the other process alone
            error = RuntimeError(self.text)
        error.add_note(f"(raised in process {rank} of the training)")
        return error
