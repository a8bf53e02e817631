"""The places where audits of a training are done: the interface, and the one that stops training for each audit."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Protocol

import pytorch_lightning as pl

from lipreg.auditing import AuditPlan, AuditProgress, Executing, PointAudit, audit, get_executor
from lipreg.auditing.journal import Journal
from lipreg.auditing.process import packed
from lipreg.callbacks.finished import FinishedAudit
from lipreg.callbacks.progress import audit_bar
from lipreg.callbacks.ranks import Ranks
from lipreg.callbacks.snapshots import Snapshot
from lipreg.errors import CrossingBounds, LipregError
from lipreg.graph import CapturedNetwork, Graph
from lipreg.points import Inputs


class TrainingAudits(Protocol):
    """What a place reads of a training whose audits it does: see ``AuditRuns``.

    Attributes:
        run: the label of the run.
        plan: of each audit.
        penalised: the label of the bound that is penalised; None where none is.
        progress: show a bar, on a terminal.
    """

    run: str
    plan: AuditPlan
    penalised: str | None
    progress: bool

    @property
    def journal(self) -> Journal:
        """The journal of the training."""
        ...

    @property
    def ranks(self) -> Ranks:
        """The processes of the training."""
        ...

    def notify(self, point: PointAudit, points: int) -> None:
        """Hands on a point that is done, and the number of points."""
        ...


class Place(ABC):
    """Does the audits of one callback; all training processes call the same methods in the same order.

    Attributes:
        later: whether results come after training has gone on.
        runs: the training's plan, records and processes.
    """

    later: ClassVar[bool]
    runs: TrainingAudits

    def open(self, runs: TrainingAudits) -> None:
        """Gets ready before a training, when its processes have met."""
        self.runs = runs

    @abstractmethod
    def begin(self, run_id: str, start_epoch: int) -> None:
        """Takes the run's id when the training begins, or goes on after so many completed epochs."""

    @abstractmethod
    def check(self, graph: Graph, points: Inputs) -> None:
        """Refuses, before the first step, a network and points that could not be audited here.

        Raises:
            InvalidInput: they cannot be.
        """

    @abstractmethod
    def request_audit(
        self, trainer: pl.Trainer, captured: CapturedNetwork, points: Inputs, epoch: int, step: int, last: bool
    ) -> Iterable[FinishedAudit]:
        """Audits the weights as they are now, or queues that.

        Args:
            trainer: of the training.
            captured: the network.
            points: the reference points.
            epoch, step: completed epochs and steps of the weights.
            last: whether it is the last audit of the training.

        Returns:
            The audits that are over by now.
        """

    @property
    def pending(self) -> list[Snapshot]:
        """The weights whose audits were requested and are not over."""
        return []

    @property
    def dropped(self) -> list[int]:
        """Epochs whose audits were left out."""
        return []

    def take_up(
        self, captured: CapturedNetwork, points: Inputs, snapshots: Iterable[Snapshot]
    ) -> Iterable[FinishedAudit]:
        """Queues the audits that were pending when the resumed checkpoint was saved.

        Args:
            captured: the network.
            points: the reference points.
            snapshots: the weights.

        Returns:
            The audits that are over by now.
        """
        return ()

    def collected(self) -> Iterable[FinishedAudit]:
        """The audits that have ended since the last call."""
        return ()

    def drained(self) -> Iterable[FinishedAudit]:
        """All audits that are still to come; waits for them, when the training is over."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Ends whatever was started."""


class BlockingPlace(Place):
    """Training stands still for each audit; its points are shared out among the training processes.

    Args:
        executor: as for ``audit``; what it starts stays until the end of the training.
        where: the class that was given it, for errors.
    """

    later = False

    def __init__(self, executor: Executing | None, where: str) -> None:
        self.executor = get_executor(executor, where)

    def begin(self, run_id: str, start_epoch: int) -> None:
        pass

    def check(self, graph: Graph, points: Inputs) -> None:
        if self.executor.sends:
            packed((graph, self.runs.plan, self.runs.plan.methods()))

    def request_audit(
        self, trainer: pl.Trainer, captured: CapturedNetwork, points: Inputs, epoch: int, step: int, last: bool
    ) -> Iterable[FinishedAudit]:
        (x, y), runs, began = points, self.runs, time.monotonic()
        journal, ranks, penalised = runs.journal, runs.ranks, runs.penalised
        only, written = ranks.share(len(x)), []
        bar = audit_bar(trainer, len(only), epoch, runs.progress and journal.is_first)

        def keep(point: PointAudit) -> None:
            if journal.is_first:
                written.extend(journal.keep(point, epoch, penalised, step))
                runs.notify(point, len(x))

        def finish(others: list[PointAudit]) -> None:
            for point in others:
                keep(point)
            journal.finish()

        def advance(progress: AuditProgress) -> None:
            journal.advance(progress.point, epoch, penalised, step)
            bar.advance(progress)

        def audit_share() -> list[PointAudit]:
            settings = {"executor": self.executor, "earlier": earlier, "only": only}
            return audit(
                captured, runs.plan, x, y, keep, **settings, on_progress=advance, on_unused=journal.warn_unused
            )

        try:
            earlier = ranks.by_first(lambda: journal.earlier(epoch, captured.frozen().fingerprint()))
            audited = [point for part in ranks.gathered(audit_share) for point in part]
        except CrossingBounds:
            raise
        except LipregError as error:  # weights that became NaN, say: an audit that fails does not end the training
            warnings.warn(f"no audit after epoch {epoch}: {error}", stacklevel=4)
            return []
        finally:
            bar.close()
        ranks.together(lambda: finish(audited[len(only) :]))  # those of the other processes
        return [FinishedAudit(epoch, step, time.monotonic() - began, audited, written)]

    def close(self) -> None:
        self.executor.close()
