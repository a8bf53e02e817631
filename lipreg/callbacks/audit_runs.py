"""How the audits of a training are run: here or beside it, by one process or by all of them, and their records kept."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytorch_lightning as pl
from torch import nn

from lipreg.auditing import AuditPlan, PointAudit, Progress, audit, choose_workers
from lipreg.auditing.background import BackgroundJob
from lipreg.auditing.background_program import PART
from lipreg.auditing.journal import Journal
from lipreg.auditing.lock import RecordLock
from lipreg.auditing.process import packed
from lipreg.callbacks.averaging import not_audited
from lipreg.callbacks.background import BackgroundAudits, Done
from lipreg.callbacks.finished import Finished
from lipreg.callbacks.metrics import metric_names, summary
from lipreg.callbacks.named_metric import LoggedNames
from lipreg.callbacks.progress import audit_bar
from lipreg.callbacks.ranks import Ranks
from lipreg.callbacks.snapshots import Snapshot
from lipreg.callbacks.twins import Twin, Weights, with_twin
from lipreg.errors import CrossingBounds, InvalidInput, LipregError
from lipreg.graph import CapturedNetwork, Graph, untouched_random_state
from lipreg.points import Inputs
from lipreg.records import AuditRecord, Record, RunRecord


class AuditRuns:
    """Runs the audits of one callback.

    Args:
        workers, executor, address: as for ``audit``.
        beside: the queue of audits in the background; None to audit here.
        end_limit: seconds to wait for those at the end.
        progress: show a bar, on a terminal.
        where: named in errors.
    """

    def __init__(
        self,
        workers: int | str,
        executor: str | None,
        address: str | None,
        beside: BackgroundAudits | None,
        end_limit: float,
        progress: bool,
        where: str,
    ) -> None:
        if not isinstance(end_limit, int | float) or not 0 <= end_limit < math.inf:
            raise InvalidInput(f"end_limit={end_limit!r}", where=where, accepted="seconds of at least 0")
        self._executor = workers, executor, address
        self.workers = choose_workers(workers, executor, address, where)
        self.beside, self.end_limit, self.progress = beside, end_limit, progress
        self.listeners: list[Callable[[PointAudit, int], None]] = []
        self.journal: Journal | None = None
        self._ranks: Ranks | None = None
        self._lock: RecordLock | None = None
        self.record: RunRecord | None = None
        self.twin: Twin | None = None

    def open(self, path: Path, run: str, plan: AuditPlan, penalised: str | None, trainer: pl.Trainer) -> None:
        """Before a training, when its processes have met: where the records go, and what is asked."""
        self._ranks, self.run, self.plan, self.penalised = Ranks(trainer, plan.budget.seconds), run, plan, penalised
        self._logged = LoggedNames()
        self.ranks.by_first(lambda: self._take_lock(path))
        self.journal = self.ranks.together(lambda: Journal(path, run, self.ranks.rank))
        self._written_beside = Journal(path, run, PART) if self.beside is not None else None

    def begin(self, told: Callable[[], RunRecord], twin: str | None, network: Weights) -> str:
        """When the training begins, or goes on: writes which run it is, and finds the twin; all processes call it.

        Args:
            told: what the record is to say.
            twin: as the user named it.
            network: what a twin's checkpoint can be put into.

        Returns:
            The id of the run.
        """
        self.record, self.twin = record, _ = self.ranks.by_first(
            lambda: with_twin(told(), twin, network, self.plan, self._journal().path)
        )
        for journal in (self._journal(), self._written_beside):
            if journal is not None:
                journal.begin(record.id, record.start_epoch)
        self.append(record)
        return record.id

    def figures(self, finished: Finished, prefix: str) -> dict[str, float]:
        """What is logged of an audit: means; where records are written, movement and transfer against the twin too."""
        means = summary(finished.points, self.penalised, prefix)
        if self.twin is None or self.record is None or not finished.records:
            return means
        return means | self.twin.compared(self.record, finished.records, finished.epoch, prefix)

    def metric_names(self, twin: bool, prefix: str) -> tuple[str, ...]:
        """Every name under which the audits of this training may have a number."""
        return metric_names(self.plan, self.penalised, twin, prefix)

    @property
    def ranks(self) -> Ranks:
        """The processes of the training that is under way."""
        assert self._ranks is not None
        return self._ranks

    def append(self, record: Record) -> None:
        """Writes a record, in the first process; all of them call it."""
        self._logged.see(record)
        self.ranks.by_first(lambda: self._journal().append(record))

    def check(self, graph: Graph, points: Inputs) -> None:
        """Refuses what could not be handed to another process."""
        if self.beside is not None:
            packed(self._job(graph, points, 0, 0))

    def here(
        self, trainer: pl.Trainer, captured: CapturedNetwork, points: Inputs, epoch: int, step: int
    ) -> Iterator[Finished]:
        """One audit, its records written as they come; none if the network cannot be audited."""
        (x, y), journal, ranks, began = points, self._journal(), self.ranks, time.monotonic()
        only, written = ranks.share(len(x)), []
        bar = audit_bar(trainer, len(only), epoch, self.progress and journal.is_first)

        def keep(point: PointAudit) -> None:
            if journal.is_first:
                written.extend(journal.keep(point, epoch, self.penalised, step))
                self._tell(point, len(x))

        def finish(others: list[PointAudit]) -> None:
            for point in others:
                keep(point)
            journal.finish()

        def advance(progress: Progress) -> None:
            journal.advance(progress.point, epoch, self.penalised, step)
            bar.advance(progress)

        def own() -> list[PointAudit]:
            workers = 1 if self.workers is None else self.workers
            settings = {"workers": workers, "earlier": earlier, "only": only}
            return audit(captured, self.plan, x, y, keep, **settings, on_progress=advance, on_unused=journal.left_aside)

        try:
            earlier = ranks.by_first(lambda: journal.earlier(epoch, captured.frozen().fingerprint()))
            found = [point for part in ranks.gathered(own) for point in part]
        except CrossingBounds:
            raise
        except LipregError as error:  # weights that became NaN: training's trouble, not to be ended by its audit
            warnings.warn(f"no audit after epoch {epoch}: {error}", stacklevel=4)
            return
        finally:
            bar.close()
        ranks.together(lambda: finish(found[len(only) :]))  # those of the other processes
        yield Finished(epoch, step, time.monotonic() - began, found, written)

    def left_to_audit(
        self, trainer: pl.Trainer, module: nn.Module, captured: CapturedNetwork | None, audited: list[PointAudit]
    ) -> bool:
        """Whether the weights at the end of ``fit`` are others than were audited; what is recorded next is about them.

        Asked when whatever replaces weights in ``on_train_end`` has done so; all training processes ask.

        Args:
            audited: the last audit, if it was of the last epoch.
        """
        if captured is None:  # there was no training
            return False
        fingerprint = audited[0].fingerprint if audited else ""
        kind = self.ranks.by_first(lambda: not_audited(trainer, module, captured, fingerprint))
        self._journal().weights = kind or self._journal().weights
        return bool(kind)

    def snapshot(
        self, captured: CapturedNetwork, points: Inputs, epoch: int, step: int, last: bool
    ) -> Iterator[Finished]:
        """Asks for an audit of the weights as they are now; gives those that have ended meanwhile."""
        job = self._job_now(captured, points, epoch, step) if self._journal().is_first else None
        if job is not None and self.beside is not None:
            asked = job, Snapshot.of(captured.module, epoch, step), self._proved_beside
            yield from self._kept(self.beside.submit(*asked, must=last))

    @property
    def pending(self) -> list[Snapshot]:
        """What the audits in the background that are not over are about."""
        return [] if self.beside is None else self.beside.pending

    def take_up(self, captured: CapturedNetwork, points: Inputs, left: Iterable[Snapshot]) -> Iterator[Finished]:
        """Asks for the audits that a training before this one has left; gives those that have ended meanwhile."""
        for snapshot in left if self._journal().is_first else ():
            try:
                with snapshot.put_into(captured.module):
                    job = self._job_now(captured, points, snapshot.epoch, snapshot.step)
            except InvalidInput as error:
                warnings.warn(f"an audit is not taken up again: {error}", stacklevel=4)
                continue
            if job is not None and self.beside is not None:
                yield from self._kept(self.beside.submit(job, snapshot, self._proved_beside, must=True))

    def collected(self) -> Iterator[Finished]:
        """Audits in the background that have ended since it was last asked."""
        if self.beside is not None:
            yield from self._kept(self.beside.collect(self._proved_beside))

    def drained(self) -> Iterator[Finished]:
        """When the training is over: all audits in the background, waited for as long as agreed."""
        if self.record is not None and self._journal().is_first:
            self._logged.warn_of(self.record.metric, f"run {self.run!r}")
        if self.beside is not None:
            yield from self._kept(self.beside.drain(self._proved_beside, self.end_limit))

    def close(self, ended: bool = False) -> None:
        """Ends all processes, what nobody has read recorded. One that has ``ended`` says if it never met its twin."""
        if self.workers is not None:
            self.workers.close()
        if self.beside is not None:
            self.beside.close()
        if self.journal is not None and self.journal.is_first:
            self.journal.close()
            if ended and self.twin is not None and self.record is not None:
                self.twin.ended(self.record, self.journal.path)
        self._take_lock(None)

    def _take_lock(self, path: Path | None) -> None:
        """Gives back the right to write that this audit has; then takes that to ``path``."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None if path is None else RecordLock(path)

    def _job_now(self, captured: CapturedNetwork, points: Inputs, epoch: int, step: int) -> BackgroundJob | None:
        """Of the weights as they are now; None, with a warning, if they cannot be audited."""
        try:
            with untouched_random_state():
                return self._job(captured.frozen_at(points[0]), points, epoch, step)
        except LipregError as error:
            warnings.warn(f"no audit after epoch {epoch}: {error}", stacklevel=4)
            return None

    def _job(self, graph: Graph, points: Inputs, epoch: int, step: int) -> BackgroundJob:
        return BackgroundJob(
            graph,
            self.plan,
            *points,
            *self._executor,
            estimators=self.plan.methods(),
            records=self._journal().path,
            run=self.run,
            epoch=epoch,
            penalised=self.penalised,
            run_id=self._journal().run_id,
            step=step,
            earlier=tuple(self._journal().earlier(epoch, graph.fingerprint())),
        )

    def _kept(self, audits: Iterable[Done]) -> Iterator[Finished]:
        """Writes what audits in the background have found."""
        for done in audits:
            journal = self._journal()
            if done.points is None:
                journal.close()  # what it has written is all there is
                continue
            records = [r for p in done.points for r in journal.keep(p, done.epoch, self.penalised, done.step)]
            if self._written_beside is not None:
                self._written_beside.finish()
            for point in done.points:
                self._tell(point, len(done.points))
            yield Finished(done.epoch, done.step, done.seconds, done.points, records)

    def _tell(self, point: PointAudit, points: int) -> None:
        for listener in self.listeners:
            listener(point, points)

    def _proved_beside(self) -> list[AuditRecord]:
        return [] if self._written_beside is None else self._written_beside.proved()

    def _journal(self) -> Journal:
        assert self.journal is not None
        return self.journal
