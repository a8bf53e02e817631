"""Audits beside the training: snapshots of the weights go to a process of its own, and results come when they come."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl

from lipreg.auditing import Executing, get_executor
from lipreg.auditing.background import BackgroundJob
from lipreg.auditing.background_program import PART
from lipreg.auditing.journal import Journal
from lipreg.auditing.process import packed
from lipreg.callbacks.background import BackgroundAudits, BackgroundResult
from lipreg.callbacks.finished import FinishedAudit
from lipreg.callbacks.places import BlockingPlace, Place, TrainingAudits
from lipreg.callbacks.snapshots import Snapshot
from lipreg.errors import InvalidInput, LipregError
from lipreg.graph import CapturedNetwork, Graph, untouched_random_state
from lipreg.points import Inputs


def get_place(executor: Place | Executing | None, where: str) -> Place:
    """The place for an argument that is one, "beside", or an executor, with which audits block the training.

    Args:
        executor: the argument; a mapping ``{"kind": "beside", **options}`` is a ``Beside`` with options.
        where: the class that was given it, for errors.

    Raises:
        InvalidInput: something else.
    """
    if isinstance(executor, Place):
        return executor
    options: dict[str, Any] = dict(executor) if isinstance(executor, Mapping) else {"kind": executor}
    if options.pop("kind", None) == "beside":
        return Beside(**options)
    try:
        return BlockingPlace(executor, where)
    except InvalidInput as error:
        accepted = (
            f"{error.accepted}; or, for audits beside the training, Beside()"
            if error.where == where
            else error.accepted
        )
        raise InvalidInput(error.got, where=error.where, accepted=accepted, todo=error.todo) from None


@dataclass(eq=False)
class Beside(Place):
    """A process of its own audits snapshots of the weights while training goes on (of several processes, the first one's).

    Results are logged when they come, at the epoch whose weights they are about; ``callback_metrics`` has those of the
    trained network alone, at the end.

    Args:
        executor: where that process has the searches done, as for ``lipreg.audit``.
        waiting: how many audits may wait for the one that runs.
        when_busy: what becomes of one more: "delay" training until it may wait, or "drop" it.
        end_limit: seconds that the end of ``fit`` waits for them; then they end with what they have proved.

    Raises:
        InvalidInput: a number or a policy that cannot be.
        MissingExtra: what the executor runs on is not installed.
    """

    later = True
    executor: Executing | None = None
    waiting: int = 1
    when_busy: str = "delay"
    end_limit: float = 300.0

    def __post_init__(self) -> None:
        if not isinstance(self.end_limit, int | float) or not 0 <= self.end_limit < math.inf:
            raise InvalidInput(f"end_limit={self.end_limit!r}", where="Beside", accepted="seconds of at least 0")
        self._executor = get_executor(self.executor, "Beside")
        self.queue = BackgroundAudits(self.waiting, self.when_busy, "Beside")

    def open(self, runs: TrainingAudits) -> None:
        super().open(runs)
        self._written = Journal(runs.journal.path, runs.run, PART)

    def begin(self, run_id: str, start_epoch: int) -> None:
        self._written.begin(run_id, start_epoch)

    def check(self, graph: Graph, points: Inputs) -> None:
        packed(self._job(graph, points, 0, 0))

    def request_audit(
        self, trainer: pl.Trainer, captured: CapturedNetwork, points: Inputs, epoch: int, step: int, last: bool
    ) -> Iterator[FinishedAudit]:
        job = self._job_now(captured, points, epoch, step) if self.runs.journal.is_first else None
        if job is not None:
            request = job, Snapshot.of(captured.module, epoch, step), self._written.proved
            yield from self._kept(self.queue.submit(*request, must=last))

    @property
    def pending(self) -> list[Snapshot]:
        return self.queue.pending

    @property
    def dropped(self) -> list[int]:
        return self.queue.dropped

    def take_up(
        self, captured: CapturedNetwork, points: Inputs, snapshots: Iterable[Snapshot]
    ) -> Iterator[FinishedAudit]:
        for snapshot in snapshots if self.runs.journal.is_first else ():
            try:
                with snapshot.put_into(captured.module):
                    job = self._job_now(captured, points, snapshot.epoch, snapshot.step)
            except InvalidInput as error:
                warnings.warn(f"an audit is not taken up again: {error}", stacklevel=4)
                continue
            if job is not None:
                yield from self._kept(self.queue.submit(job, snapshot, self._written.proved, must=True))

    def collected(self) -> Iterator[FinishedAudit]:
        yield from self._kept(self.queue.collect(self._written.proved))

    def drained(self) -> Iterator[FinishedAudit]:
        yield from self._kept(self.queue.drain(self._written.proved, self.end_limit))

    def close(self) -> None:
        self.queue.close()

    def _job_now(self, captured: CapturedNetwork, points: Inputs, epoch: int, step: int) -> BackgroundJob | None:
        """The job of the weights as they are now; None, with a warning, if they cannot be audited."""
        try:
            with untouched_random_state():
                return self._job(captured.frozen_at(points[0]), points, epoch, step)
        except LipregError as error:
            warnings.warn(f"no audit after epoch {epoch}: {error}", stacklevel=4)
            return None

    def _job(self, graph: Graph, points: Inputs, epoch: int, step: int) -> BackgroundJob:
        runs, journal = self.runs, self.runs.journal
        return BackgroundJob(
            graph,
            runs.plan,
            *points,
            executor=self._executor,
            estimators=runs.plan.methods(),
            records=journal.path,
            run=runs.run,
            epoch=epoch,
            penalised=runs.penalised,
            run_id=journal.run_id,
            step=step,
            earlier=tuple(journal.earlier(epoch, graph.fingerprint())),
        )

    def _kept(self, audits: Iterable[BackgroundResult]) -> Iterator[FinishedAudit]:
        """Writes the results of audits in the background, and passes them on."""
        runs, journal = self.runs, self.runs.journal
        for done in audits:
            if done.points is None:
                journal.close()  # what it has written is all there is
                continue
            records = [r for p in done.points for r in journal.keep(p, done.epoch, runs.penalised, done.step)]
            self._written.finish()
            for point in done.points:
                runs.notify(point, len(done.points))
            yield FinishedAudit(done.epoch, done.step, done.seconds, done.points, records)
