"""The audits of a training: run here or beside it, by one process or by all of them, and their records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from lipreg.auditing import AuditPlan, PointAudit
from lipreg.auditing.journal import Journal
from lipreg.auditing.lock import RecordLock
from lipreg.auditing.reference_points import PointRecords
from lipreg.calibration import CalibrationPoints
from lipreg.callbacks.averaging import not_audited
from lipreg.callbacks.calibrating import calibration_of
from lipreg.callbacks.finished import FinishedAudit
from lipreg.callbacks.metrics import metric_names, summary
from lipreg.callbacks.named_metric import LoggedNames
from lipreg.callbacks.neighbours import ComparedBound
from lipreg.callbacks.outward import outward
from lipreg.callbacks.places import Place
from lipreg.callbacks.ranks import Ranks
from lipreg.callbacks.twins import Twin, Weights, with_twin
from lipreg.callbacks.whole_data import NAMES, WholeData, quantiles
from lipreg.disks import is_full
from lipreg.estimators import Estimator
from lipreg.graph import CapturedNetwork, Graph
from lipreg.records import PopulationRecord, Record, RunRecord


class AuditRuns:
    """What the audits of one callback share: the plan, the records, the run and its twin.

    Args:
        place: where the audits are done.
        progress: show a bar, on a terminal.
        keep: whether reference points are kept in the records.

    Attributes:
        listeners: called with each point that is done, and the number of points.
        record: of the run; None before it has begun.
        twin: of the run; None without one.
        whole: the data that the reference points were drawn from, where something is to be recorded of all of it.
        introduced: writers of loggers that have the settings of the run.
        population: the record of the last audit on all of that data.
    """

    def __init__(self, place: Place, progress: bool, keep: bool) -> None:
        self.place, self.progress, self.keep = place, progress, keep
        self.listeners: list[Callable[[PointAudit, int], None]] = []
        self._journal: Journal | None = None
        self._ranks: Ranks | None = None
        self._lock: RecordLock | None = None
        self.record: RunRecord | None = None
        self.twin: Twin | None = None
        self.whole: WholeData | None = None
        self.introduced: list[Any] = []
        self.population: PopulationRecord | None = None

    def open(self, path: Path, run: str, plan: AuditPlan, bound: ComparedBound, trainer: pl.Trainer) -> None:
        """Takes the record file of a training that is about to start; called when its processes have met.

        Args:
            path: the record file.
            run: label of the run.
            plan: of each audit.
            bound: the bound that the training is compared with.
            trainer: of the training.

        Raises:
            InvalidInput: another process writes to the file, or the folder cannot be written.
        """
        self._ranks, self.run, self.plan = Ranks(trainer, plan.budget.seconds * (1 + plan.certificates)), run, plan
        self.bound_label, self.penalised = bound.label, bound.penalised_label
        self._logged, self.introduced = LoggedNames(), []
        self.ranks.by_first(lambda: self._take_lock(path))
        self._journal = self.ranks.together(lambda: Journal(path, run, self.ranks.rank))
        self.place.open(self)

    def begin(self, make_record: Callable[[], RunRecord], twin: str | None, network: Weights) -> str:
        """Writes the run's record when the training begins, or goes on, and finds the twin; all processes call it.

        Args:
            make_record: makes the run's record, in the first process.
            twin: as the user named it.
            network: what a twin's checkpoint can be put into.

        Returns:
            The id of the run.
        """
        self.record, self.twin = record, _ = self.ranks.by_first(
            lambda: with_twin(make_record(), twin, network, self.plan, self.journal.path)
        )
        for each in (self.journal, self.place):
            each.begin(record.id, record.start_epoch)
        self.append(record)
        self.ranks.by_first(lambda: self._keep_points(record, network[2][0]))
        return record.id

    def _keep_points(self, record: RunRecord, x: Tensor) -> None:
        if self.keep:
            self.journal.keep_points(PointRecords(x, record.run, record.id).values())

    def calibrate(self, points: CalibrationPoints | None, captured: CapturedNetwork, epoch: int, step: int) -> None:
        """Writes what the outputs of the weights as they are now mean; all processes call it.

        Args:
            points: what they are calibrated with, in the first process; None for no calibration, and in the others.
            captured: the network.
            epoch, step: completed epochs and steps of its weights.
        """

        def write() -> None:
            record = calibration_of(points, captured, self.run, epoch)
            if record is not None:
                self.journal.calibrate(
                    replace(record, run_id=self.journal.run_id, step=step, weights=self.journal.weights)
                )

        self.ranks.by_first(write)

    def revise(self, anew: Callable[[RunRecord], RunRecord | None]) -> None:
        """Writes the run's record again if ``anew`` makes another one of it; all processes call it."""
        record = None if self.record is None else anew(self.record)
        if record is not None:
            self.record = record
            self.append(record)

    def figures(self, finished: FinishedAudit, prefix: str) -> dict[str, float]:
        """The metrics that are logged of an audit: means; where records are written, movement and transfer, too.

        Where statements on all of the validation data are wanted, this writes their record, which is about a whole audit.
        """
        of_all = self._of_all(finished, prefix)
        calibration = self.journal.calibration(finished.epoch) if self.journal.is_first else None
        means = summary(finished.points, self.bound_label, prefix, calibration) | outward(of_all, (), ())
        if self.twin is None or self.record is None or not finished.records:
            return means
        return means | outward(self.twin.compared(self.record, finished.records, calibration, prefix), (), ())

    def _of_all(self, finished: FinishedAudit, prefix: str) -> dict[str, float]:
        if self.whole is None or self.record is None:
            return {}
        self.population = self.whole.record(finished.points, self.run, self.record.id, finished.epoch)
        if self.journal.is_first:
            self.journal.append(self.population)
        return quantiles(self.population.sample, prefix)

    def covering(self, graph: Graph) -> Iterable[Estimator]:
        """Fits the plan to a network, and returns its estimators."""
        self.plan = self.plan.covering(graph)
        return self.plan.methods().values()

    def metric_names(self, prefix: str, **there: bool) -> tuple[str, ...]:
        """Every name under which the audits of this training may have a number; ``there``: what ``metric_names`` asks."""
        of_all = NAMES if self.whole is not None else ()
        return (
            *metric_names(self.plan, self.bound_label, prefix=prefix, **there),
            *(f"{prefix}/{name}" for name in of_all),
        )

    @property
    def ranks(self) -> Ranks:
        """The processes of the current training."""
        assert self._ranks is not None
        return self._ranks

    def append(self, record: Record) -> None:
        """Writes a record, in the first process; all of them call it."""
        self._logged.see(record)
        self.ranks.by_first(lambda: self.journal.append(record))

    def needs_final_audit(
        self, trainer: pl.Trainer, module: nn.Module, captured: CapturedNetwork | None, audited: list[PointAudit]
    ) -> bool:
        """Whether the weights at the end of ``fit`` are others than were audited; the next records are then about them.

        Called when whatever replaces weights in ``on_train_end`` has done so, by all training processes.

        Args:
            trainer: at the end of ``fit``.
            module: the LightningModule.
            captured: its network; None where nothing was trained.
            audited: the last audit, if it was of the last epoch; else nothing.
        """
        if captured is None:  # there was no training
            return False
        fingerprint = audited[0].fingerprint if audited else ""
        kind = self.ranks.by_first(lambda: not_audited(trainer, module, captured, fingerprint))
        self.journal.weights = kind or self.journal.weights
        return bool(kind)

    def warn_of_metric(self) -> None:
        """Warns, when the training is over, if the metric that reports are to show was never logged."""
        if self.record is not None and self.journal.is_first:
            self._logged.warn_of(self.record.metric, f"run {self.run!r}")

    def close(self, completed: bool = False) -> None:
        """Ends all processes and records the results that are still unread.

        Args:
            completed: whether the training came to its end; then it warns of a last audit without one of the twin beside it.
        """
        try:
            self.place.close()
            if self._journal is not None and self._journal.is_first:
                self._journal.close()
                if completed and self.twin is not None and self.record is not None:
                    self.twin.warn_at_end(self.record, self._journal.path)
        finally:
            self._take_lock(None)

    def give_up(self, error: BaseException) -> None:
        """Closes after an error of the training. On a full disk what is proved stays in its own file for the next start."""
        try:
            self.close()
        except OSError as again:
            if not (is_full(again) and is_full(error)):
                raise

    def _take_lock(self, path: Path | None) -> None:
        """Releases the lock that this audit has, if any; then takes that of ``path``, if it is not None."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None if path is None else RecordLock(path)

    def notify(self, point: PointAudit, points: int) -> None:
        """Hands a point that is done, and the number of points, to the listeners."""
        for listener in self.listeners:
            listener(point, points)

    @property
    def record_file(self) -> Path | None:
        """The file of the records; None before the first training."""
        return None if self._journal is None else self._journal.path

    @property
    def journal(self) -> Journal:
        """The journal of the current training."""
        assert self._journal is not None
        return self._journal
