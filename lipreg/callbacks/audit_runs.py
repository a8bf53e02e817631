"""How the audits of a training are run: here or beside it, by one process or by all of them, and their records kept."""

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
from lipreg.calibration import Calibrating
from lipreg.callbacks.averaging import not_audited
from lipreg.callbacks.finished import Finished
from lipreg.callbacks.metrics import metric_names, summary
from lipreg.callbacks.named_metric import LoggedNames
from lipreg.callbacks.neighbours import HeldBound
from lipreg.callbacks.outward import outward
from lipreg.callbacks.places import Place
from lipreg.callbacks.ranks import Ranks
from lipreg.callbacks.scale_free import calibration_of
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
        """What the reference points were drawn from, where something is to be said of all of it."""
        self.introduced: list[Any] = []
        """Loggers' writers that know the settings of the run."""
        self.told: PopulationRecord | None = None
        """What the last audit says of all of it."""

    def open(self, path: Path, run: str, plan: AuditPlan, held: HeldBound, trainer: pl.Trainer) -> None:
        """Before a training, when its processes have met: where the records go, and what is asked."""
        self._ranks, self.run, self.plan = Ranks(trainer, plan.budget.seconds * (1 + plan.certificates)), run, plan
        self.held, self.penalised = held.label, held.lowered
        self._logged, self.introduced = LoggedNames(), []
        self.ranks.by_first(lambda: self._take_lock(path))
        self._journal = self.ranks.together(lambda: Journal(path, run, self.ranks.rank))
        self.place.open(self)

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
            lambda: with_twin(told(), twin, network, self.plan, self.journal.path)
        )
        for each in (self.journal, self.place):
            each.begin(record.id, record.start_epoch)
        self.append(record)
        self.ranks.by_first(lambda: self._keep_points(record, network[2][0]))
        return record.id

    def _keep_points(self, record: RunRecord, x: Tensor) -> None:
        if self.keep:
            self.journal.keep_points(PointRecords(x, record.run, record.id).values())

    def calibrate(self, points: Calibrating | None, captured: CapturedNetwork, epoch: int, step: int) -> None:
        """Writes what the outputs of the weights as they are now mean; all processes call it, the first one has points."""

        def told() -> None:
            found = calibration_of(points, captured, self.run, epoch)
            if found is not None:
                self.journal.calibrate(
                    replace(found, run_id=self.journal.run_id, step=step, weights=self.journal.weights)
                )

        self.ranks.by_first(told)

    def revise(self, anew: Callable[[RunRecord], RunRecord | None]) -> None:
        """Writes the run's record again where more is known of it now; all processes call it."""
        record = None if self.record is None else anew(self.record)
        if record is not None:
            self.record = record
            self.append(record)

    def figures(self, finished: Finished, prefix: str) -> dict[str, float]:
        """What is logged of an audit: means; where records are written, movement and transfer against the twin too.

        What holds for all of the validation data, where that is asked for, is recorded here: it is about the whole audit.
        """
        of_all = self._of_all(finished, prefix)
        calibration = self.journal.calibration(finished.epoch) if self.journal.is_first else None
        means = summary(finished.points, self.held, prefix, calibration) | outward(of_all, (), ())
        if self.twin is None or self.record is None or not finished.records:
            return means
        return means | outward(self.twin.compared(self.record, finished.records, calibration, prefix), (), ())

    def _of_all(self, finished: Finished, prefix: str) -> dict[str, float]:
        if self.whole is None or self.record is None:
            return {}
        self.told = self.whole.record(finished.points, self.run, self.record.id, finished.epoch)
        if self.journal.is_first:
            self.journal.append(self.told)
        return quantiles(self.told.sample, prefix)

    def covering(self, graph: Graph) -> Iterable[Estimator]:
        """Fits the plan to a network, and gives its estimators."""
        self.plan = self.plan.covering(graph)
        return self.plan.methods().values()

    def metric_names(self, twin: bool, prefix: str) -> tuple[str, ...]:
        """Every name under which the audits of this training may have a number."""
        of_all = NAMES if self.whole is not None else ()
        return (*metric_names(self.plan, self.held, twin, prefix), *(f"{prefix}/{name}" for name in of_all))

    @property
    def ranks(self) -> Ranks:
        """The processes of the training that is under way."""
        assert self._ranks is not None
        return self._ranks

    def append(self, record: Record) -> None:
        """Writes a record, in the first process; all of them call it."""
        self._logged.see(record)
        self.ranks.by_first(lambda: self.journal.append(record))

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
        self.journal.weights = kind or self.journal.weights
        return bool(kind)

    def warn_of_metric(self) -> None:
        """When the training is over: says if the metric that reports are to show was never logged."""
        if self.record is not None and self.journal.is_first:
            self._logged.warn_of(self.record.metric, f"run {self.run!r}")

    def close(self, ended: bool = False) -> None:
        """Ends all processes, what nobody has read recorded. One that has ``ended`` says if it never met its twin."""
        try:
            self.place.close()
            if self._journal is not None and self._journal.is_first:
                self._journal.close()
                if ended and self.twin is not None and self.record is not None:
                    self.twin.ended(self.record, self._journal.path)
        finally:
            self._take_lock(None)

    def give_up(self, error: BaseException) -> None:
        """Closes after an error of the training. On a full disk what is proved stays where it lies until the next start."""
        try:
            self.close()
        except OSError as again:
            if not (is_full(again) and is_full(error)):
                raise

    def _take_lock(self, path: Path | None) -> None:
        """Gives back the right to write that this audit has; then takes that to ``path``."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None if path is None else RecordLock(path)

    def tell(self, point: PointAudit, points: int) -> None:
        """Hands a point that is done, and the number of points, to the listeners."""
        for listener in self.listeners:
            listener(point, points)

    @property
    def record_file(self) -> Path | None:
        """Where the records are; None before the first training."""
        return None if self._journal is None else self._journal.path

    @property
    def journal(self) -> Journal:
        """The records of the training that is under way."""
        assert self._journal is not None
        return self._journal
