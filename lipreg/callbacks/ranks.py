"""Audits under several training processes: each takes a part of the points, and all get all results."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from lipreg.auditing import PointAudit
from lipreg.errors import LipregError

SLACK = timedelta(minutes=30)
"""How much longer than the budget one process may be at its part than another."""


class Ranks:
    """The training processes of a trainer.

    They talk in a group of their own: the trainer's may be bound to GPUs, and ends the program when one process waits for
    another longer than it waits for a gradient.

    Args:
        trainer: the trainer.
        budget: seconds of an audit's searches.
    """

    def __init__(self, trainer: pl.Trainer, budget: float) -> None:
        self.rank, self.count = trainer.global_rank, trainer.world_size
        self._group: Any = None
        if self.count > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=min(budget, 1e7)) + SLACK)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_group": None}  # a copy of the callback sets up its own

    def share(self, points: int) -> range:
        """The points of this process: a stretch of them, so that blocks of points stay together."""
        return range(self.rank * points // self.count, (self.rank + 1) * points // self.count)

    def gathered(self, own: Callable[[], list[PointAudit]]) -> list[PointAudit]:
        """The results of all processes, in the order of the points.

        Raises:
            LipregError: what any of them raised, in all of them.
        """
        if self.count == 1:
            return own()
        try:
            part: list[PointAudit] | LipregError = own()
        except LipregError as error:
            part = error
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, part, group=self._group)
        for other in parts:
            if isinstance(other, LipregError):
                raise other
        return [point for other in parts for point in other]

    def from_first(self, content: Any) -> Any:
        """What the first process has."""
        if self.count == 1:
            return content
        box = [content]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]
