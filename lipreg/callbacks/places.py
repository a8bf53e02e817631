"""Where the audits of a training are done: the interface, and the one that stops training for each audit."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import pytorch_lightning as pl

from lipreg.auditing import Executing, PointAudit, Progress, audit, get_executor
from lipreg.callbacks.finished import Finished
from lipreg.callbacks.progress import audit_bar
from lipreg.callbacks.snapshots import Snapshot
from lipreg.errors import CrossingBounds, LipregError
from lipreg.graph import CapturedNetwork, Graph
from lipreg.points import Inputs

if TYPE_CHECKING:
    from lipreg.callbacks.audit_runs import AuditRuns


class Place(ABC):
    """Does the audits of one callback; all training processes call the same methods in the same order."""

    later: ClassVar[bool]
    """Whether results come after training has gone on."""
    runs: AuditRuns
    """The training's plan, records and processes."""

    def open(self, runs: AuditRuns) -> None:
        """Before a training, when its processes have met."""
        self.runs = runs

    @abstractmethod
    def begin(self, run_id: str, start_epoch: int) -> None:
        """When the training begins, or goes on."""

    @abstractmethod
    def check(self, graph: Graph, points: Inputs) -> None:
        """Refuses what could not be audited here, before the first step."""

    @abstractmethod
    def ask(
        self, trainer: pl.Trainer, captured: CapturedNetwork, points: Inputs, epoch: int, step: int, last: bool
    ) -> Iterable[Finished]:
        """Asks for an audit of the weights as they are now; gives those that are over.

        Args:
            last: it is the last of the training.
        """

    @property
    def pending(self) -> list[Snapshot]:
        """What the audits that are asked for and not over are about."""
        return []

    @property
    def dropped(self) -> list[int]:
        """Epochs whose audits were left out."""
        return []

    def take_up(self, captured: CapturedNetwork, points: Inputs, left: Iterable[Snapshot]) -> Iterable[Finished]:
        """Asks for the audits that a training before this one has left; gives those that are over."""
        return ()

    def collected(self) -> Iterable[Finished]:
        """The audits that have ended since it was last asked."""
        return ()

    def drained(self) -> Iterable[Finished]:
        """When the training is over: all that are still to come."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Ends whatever was started."""


class Here(Place):
    """Training stands still for each audit; its points are shared out among the training processes.

    Args:
        executor: as for ``audit``; what it starts stays until the end of the training.
    """

    later = False

    def __init__(self, executor: Executing | None, where: str) -> None:
        self.executor = get_executor(executor, where)

    def begin(self, run_id: str, start_epoch: int) -> None:
        pass

    def check(self, graph: Graph, points: Inputs) -> None:
        pass

    def ask(
        self, trainer: pl.Trainer, captured: CapturedNetwork, points: Inputs, epoch: int, step: int, last: bool
    ) -> Iterable[Finished]:
        (x, y), runs, began = points, self.runs, time.monotonic()
        journal, ranks, penalised = runs.journal, runs.ranks, runs.penalised
        only, written = ranks.share(len(x)), []
        bar = audit_bar(trainer, len(only), epoch, runs.progress and journal.is_first)

        def keep(point: PointAudit) -> None:
            if journal.is_first:
                written.extend(journal.keep(point, epoch, penalised, step))
                runs.tell(point, len(x))

        def finish(others: list[PointAudit]) -> None:
            for point in others:
                keep(point)
            journal.finish()

        def advance(progress: Progress) -> None:
            journal.advance(progress.point, epoch, penalised, step)
            bar.advance(progress)

        def own() -> list[PointAudit]:
            settings = {"executor": self.executor, "earlier": earlier, "only": only}
            return audit(captured, runs.plan, x, y, keep, **settings, on_progress=advance, on_unused=journal.left_aside)

        try:
            earlier = ranks.by_first(lambda: journal.earlier(epoch, captured.frozen().fingerprint()))
            found = [point for part in ranks.gathered(own) for point in part]
        except CrossingBounds:
            raise
        except LipregError as error:  # weights that became NaN: training's trouble, not to be ended by its audit
            warnings.warn(f"no audit after epoch {epoch}: {error}", stacklevel=4)
            return []
        finally:
            bar.close()
        ranks.together(lambda: finish(found[len(only) :]))  # those of the other processes
        return [Finished(epoch, step, time.monotonic() - began, found, written)]

    def close(self) -> None:
        self.executor.close()
