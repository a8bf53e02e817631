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
"""How much longer than the budget one process may be at its part than another."""


class Ranks:
    """The training processes of a trainer.

    They talk in a group of their own: the trainer's may be bound to GPUs, and ends the program when one process waits for
    another longer than it waits for a gradient.

    Args:
        trainer: the trainer, whose processes have met.
        budget: seconds of an audit's searches.
    """

    def __init__(self, trainer: pl.Trainer, budget: float) -> None:
        self.rank, self.count = trainer.global_rank, trainer.world_size
        self._held: Exception | None = None
        self._group: Any = None
        if self.count > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=min(budget, 1e7)) + SLACK)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_group": None, "_held": None}  # a copy of the callback sets up its own

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and logs."""
        return self.rank == 0

    def share(self, points: int) -> range:
        """The points of this process: a stretch of them, so that blocks of points stay together."""
        return range(self.rank * points // self.count, (self.rank + 1) * points // self.count)

    def gathered(self, own: Callable[[], T]) -> list[T]:
        """What every process has, in their order; all of them call it.

        Raises:
            Exception: what any of them raised, in all of them.
        """
        if self.count == 1:
            return [own()]
        outcomes: list[Any] = [None] * self.count
        mine = self._outcome(own)
        dist.all_gather_object(outcomes, mine.packed(), group=self._group)
        failed = next((rank for rank, outcome in enumerate(outcomes) if outcome.failed), None)
        if failed is not None:
            raise mine.error if mine.error is not None and failed == self.rank else outcomes[failed].unpacked(failed)
        return [outcome.value for outcome in outcomes]

    def together(self, own: Callable[[], T]) -> T:
        """What this process has, once all of them have come through; all of them call it.

        Raises:
            Exception: what any of them raised, in all of them.
        """
        kept: list[T] = []
        self.gathered(lambda: kept.append(own()))
        return kept[0]

    def by_first(self, work: Callable[[], T]) -> T:
        """What the first process makes of it, the only one that works; all of them call it.

        Raises:
            Exception: what any of them raised, in all of them.
        """
        return self.gathered(lambda: work() if self.is_first else None)[0]  # type: ignore[return-value]

    def hold(self, own: Callable[[], None]) -> None:
        """Does what this process alone does at a moment that others pass by; an error waits until they meet."""
        if self.count == 1:
            own()
        elif self._held is None:
            try:
                own()
            except Exception as error:
                self._held = error

    def _outcome(self, own: Callable[[], Any]) -> _Outcome:
        held, self._held = self._held, None
        if held is not None:
            return _Outcome(error=held)
        try:
            return _Outcome(own())
        except Exception as error:  # whatever it is: the others wait
            return _Outcome(error=error)


@dataclass(frozen=True)
class _Outcome:
    """What came of a piece of work in one process."""

    value: Any = None
    error: Exception | None = None
    bytes: bytes | None = None
    text: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.text)

    def packed(self) -> _Outcome:
        """In a form that every other process can read."""
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
        except Exception:  # a class that is known there alone
            error = RuntimeError(self.text)
        error.add_note(f"(raised in process {rank} of the training)")
        return error
