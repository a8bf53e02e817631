"""LipschitzAudit: the true local constant at fixed reference points, as training goes on, without touching it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lipreg.arguments import check_texts, moved_arguments
from lipreg.auditing import AuditPlan, Executing, PointAudit
from lipreg.budget import Budget
from lipreg.calibration import CalibrationPoints
from lipreg.callbacks.audit_arguments import AUDIT_ARGUMENTS
from lipreg.callbacks.audit_log import AuditLog
from lipreg.callbacks.audit_runs import AuditRuns
from lipreg.callbacks.averaging import averages, warn_if_replaced
from lipreg.callbacks.batches import find_network
from lipreg.callbacks.beside import get_place
from lipreg.callbacks.calibrating import training_calibration
from lipreg.callbacks.epochs import Epochs
from lipreg.callbacks.finished import FinishedAudit
from lipreg.callbacks.folders import program_folder, record_file
from lipreg.callbacks.logged import show, steps_taken, withdraw
from lipreg.callbacks.logs import log_audit
from lipreg.callbacks.monitors import check_monitors
from lipreg.callbacks.neighbours import ComparedBound, audits, check_others, with_compared_bound
from lipreg.callbacks.places import Place
from lipreg.callbacks.reference_points import LabelsRead, supplied_points, validation_loaders, validation_points
from lipreg.callbacks.run_identity import epoch_record, run_record, with_weight
from lipreg.callbacks.snapshots import Snapshot
from lipreg.callbacks.state_keys import StateKey
from lipreg.callbacks.whole_data import whole_data
from lipreg.estimators import Bound, Settings, frozen_analysis
from lipreg.estimators.asked import check_problem
from lipreg.estimators.settings import DEFAULTS
from lipreg.graph import CapturedNetwork, capture
from lipreg.labels import has_classes
from lipreg.lightning import Callback
from lipreg.points import Inputs, Points, Which
from lipreg.problem import LocalLipschitz
from lipreg.records import RunRecord, current_metric

_logger = logging.getLogger(__name__)


class LipschitzAudit(Callback):
    """Audits the network at the start of ``fit``, every few epochs and at its end.

    Each audit works on a frozen float64 copy of the network in evaluation mode, at the same reference points. Training
    is not changed: the weights, every random state and every module's mode are as before. Each point is written to the
    record file as soon as it is done; the means over points are logged, to every logger under ``audit/...`` and to
    ``callback_metrics``, where they stand at the end of the audited epoch alone: early stopping, checkpoints and schedulers
    that monitor them act on audited epochs, and what they need for that is checked at the start. A training that was
    killed goes on with the audit where it was, if it comes to the same weights again.

    Under several training processes the points are shared out among them; the first one writes and logs.
    With ``executor=Beside()`` a process of its own audits snapshots of the weights while training goes on.

    When a ``LipschitzRegularizer`` with the same problem is among the trainer's callbacks, its bound is audited too, by
    its own recipe, and marked as the penalised one where that is what it lowers.

    Args:
        problem: the question; give the regularizer the same object.
        points: how many reference points to draw from the validation data; points that are given, x or (x, y); or a
            ``Points``: seed, how batches are read, which label leaves a point out, what is recorded of all the data.
        estimators: registered names, or recipes (``Bound``); None takes the usual ones that cover the question.
        budget: for one audit, its bounds, sampling and attacks included, a ``Budget`` or a number of seconds.
        every_n_epochs: audit after every so many epochs; an ``Epochs`` has too whether before the first and after all.
        run: label of this run in the records; ``run_id`` tells it from others.
        twin: a run without penalty, against which movement and transfer are logged too: label or id of one in the same
            record file, the path of another run's folder or record file, or a checkpoint, which is audited once.
        folder: where ``records.jsonl`` is written; default: the trainer's ``default_root_dir``, the folder of its logger, or
            that of the Hydra program, whichever is set (``lipreg.callbacks.folders``).
        module: path of the submodule that is the network; None for the LightningModule's own ``forward``.
        executor: where searches run, as for ``lipreg.audit``: "inline", the default, or ``Processes(4)``, ``Ray()``, whose
            processes start with the first audit and stay; or ``Beside(...)``, beside the training, or "beside" for its
            defaults.
        settings: the engines, and the seed of sampling.
        log: first part of the logged names; an ``AuditLog`` has too what is logged and written beside the constants: points
            that calibrate the outputs, how points of another class are sought, whether certificates are written, which
            metric reports show, and whether a bar is shown.

    Raises:
        InvalidInput: an argument out of range, an unknown name; at the start of ``fit``: a folder that cannot be
            written, no validation data, points outside the data range, a network whose outputs are not finite, two
            audits that log under one name or write under one run name into one file.
        MissingExtra: the solver, or ray, is not installed.
        UnsupportedRequest: an estimator that does not cover the problem, or, at the start of ``fit``, the network.
        UnsupportedModel: at the start of ``fit``, calls in the network that no graph covers.
        CrossingBounds: two estimators contradict each other.
    """

    @moved_arguments(*AUDIT_ARGUMENTS)
    def __init__(
        self,
        problem: LocalLipschitz,
        points: Which | Points = 8,
        estimators: Sequence[str | Bound] | None = None,
        budget: Budget | float = 60.0,
        every_n_epochs: int | Epochs = 1,
        *,
        run: str = "run",
        twin: str | None = None,
        folder: str | None = None,
        module: str | None = None,
        executor: Place | Executing | None = None,
        settings: Settings = DEFAULTS,
        log: str | AuditLog = "audit",
    ) -> None:
        super().__init__()
        where = type(self).__name__
        check_problem(problem, where)
        recipes: Any = estimators  # None, too, which the plan replaces
        self.problem, self.audit_log = problem, AuditLog.of(log, where)
        beside: Any = {"attack": self.audit_log.attack, "certificates": self.audit_log.certificates}
        self.plan = AuditPlan(problem, recipes, Budget.of(budget, where), settings, **beside)
        selection = Points.of(points, where)
        self.points = selection if selection.seed is not None else replace(selection, seed=self.plan.settings.seed)
        self.epochs = Epochs.of(every_n_epochs, where)
        self.name, self.every_n_epochs = self.audit_log.name, self.epochs.every
        check_texts(where, run=run, twin=twin, module=module, folder=folder)
        self.folder, self.run, self.module, self.twin, self.program = folder, run, module, twin, program_folder()
        self._labels = LabelsRead(problem.output, self.points.ignore_index, where, self.points.confidence is not None)
        self.place = get_place(executor, where)
        self._runs = AuditRuns(self.place, self.audit_log.progress, self.points.keep)
        self._points: Inputs | None = supplied_points(self.points, self._labels)
        self._calibrating: CalibrationPoints | None = None  # of the first process alone
        self._captured: CapturedNetwork | None = None
        self._compared_bound, self._key = ComparedBound(), StateKey()
        self._metrics: dict[str, float] = {}
        self._epochs_done, self._audited, self._finished, self.run_id = 0, -1, -1, ""
        self._pending: list[Snapshot] = []
        self.about: RunRecord | None = None
        """What the run's record is to have beyond what the callback can see, such as settings; set it before ``fit``."""
        self.last: list[PointAudit] = []
        """Results of the last audit, one for each reference point."""
        self.listeners: list[Callable[[PointAudit, int], None]] = self._runs.listeners
        """Called with each point as it is done, and the number of points; for progress displays."""

    @property
    def state_key(self) -> str:
        count = 8 if self.points.count is None else self.points.count
        return self._key.of(self._keyed, name=self.name, run=self.run, problem=self.problem, points=count)

    def _keyed(self, problem: Any, **own: Any) -> str:
        return self._generate_state_key(name=own["name"], run=own["run"], problem=str(problem), points=own["points"])

    @property
    def dropped(self) -> list[int]:
        """Epochs whose audits in the background were left out, because others were still to be done."""
        return self.place.dropped

    @property
    def record_file(self) -> Path | None:
        """The file of the records; None before ``fit`` has started."""
        return self._runs.record_file

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_others(self, trainer)
        self._captured, self._audited, self._finished, self._pending = None, -1, -1, []
        self.run_id, path = "", record_file(trainer, self.folder, self.program)
        # of this fit alone: the next one may have another regularizer, or none
        plan, self._compared_bound = with_compared_bound(self.plan, self.problem, trainer)
        self._runs.open(path, self.run, plan, self._compared_bound, trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ranks, resumed, earlier = self._runs.ranks, bool(self.run_id), self._points
        fresh = partial(validation_points, trainer, self.points, self._labels)
        drawn = ranks.together(lambda: earlier or fresh())
        self._points = ranks.by_first(lambda: drawn)
        loaders, again = partial(validation_loaders, trainer), earlier and fresh
        self._runs.whole = ranks.together(lambda: whole_data(loaders(), self.points, drawn[0], again))
        beside = self.audit_log.calibration, trainer, self._points, self.points, self.problem
        self._calibrating = ranks.together(lambda: training_calibration(*beside) if ranks.is_first else None)
        # whatever can be wrong with network, points and question shows here, before the first step
        self._epochs_done = trainer.current_epoch
        outputs = ranks.together(lambda: self._check(pl_module))
        there = {"twin": self.twin is not None, "calibrated": self.audit_log.calibration is not None}
        there["classes"] = has_classes(*self._reference(), outputs)
        check_monitors(trainer, self, self._runs.metric_names(self.name, **there))
        make_record = partial(
            run_record, trainer, self.run_id, self.run, self.problem, self.about, self.twin, self.audit_log.metric
        )
        self.run_id = self._runs.begin(
            make_record, self.twin, (pl_module, self._captured, self._reference(), self._calibrating)
        )
        ranks.together(lambda: self._take_up(trainer))
        self._audited = ranks.by_first(lambda: self._audited)
        if self._audited != self._epochs_done and self.epochs.due_at_start(self._epochs_done, resumed):
            self._audit(trainer)
        self._agree(trainer)  # on those of a checkpoint that is resumed, too

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        withdraw(trainer, f"{self.name}/")  # after the next step the weights are others

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._runs.revise(partial(with_weight, problem=self.problem, trainer=trainer))
        self._runs.ranks.hold(lambda: self._conclude(trainer, self.place.collected()))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epochs_done = trainer.current_epoch + 1
        names = [audit.name for audit in audits(trainer, self)]
        self._runs.append(epoch_record(trainer, self.run, self.run_id, names))
        if self._epochs_done % self.every_n_epochs == 0:
            self._audit(trainer)
        self._agree(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.epochs.at_end and self._audited != self._epochs_done and not averages(trainer):
            self._audit(trainer, last=True)
        self._runs.warn_of_metric()
        self._runs.ranks.together(lambda: self._conclude(trainer, self.place.drained()))
        self._agree(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        audited = self.last if self._finished == self._epochs_done else []
        needs_audit = self._runs.needs_final_audit(trainer, pl_module, self._captured, audited)
        if needs_audit and self.epochs.at_end:
            self._audit(trainer, last=True)
            self.on_train_end(trainer, pl_module)
        elif needs_audit:
            withdraw(trainer, f"{self.name}/")  # they are of weights that are not in the model any more

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        end_audited = stage == "fit" and self.epochs.at_end and self._finished == self._epochs_done
        warn_if_replaced(self._captured if end_audited else None, self.last)
        self._runs.close(completed=stage == "fit")
        self._captured = None if stage == "fit" else self._captured  # it holds the module

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._runs.give_up(exception)

    def state_dict(self) -> dict[str, Any]:
        record, pending = self._runs.record, [vars(snapshot) for snapshot in self.place.pending]
        done = {"audited": self._finished, "metrics": dict(self._metrics), "pending": pending}
        return {"points": self._points, "run_id": self.run_id, "seed": record and record.seed, **done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._points, self.run_id = state_dict["points"], state_dict.get("run_id", "")
        self._audited = state_dict["audited"]
        self._metrics = {current_metric(name): value for name, value in state_dict["metrics"].items()}
        self._finished = self._audited
        self._pending = [Snapshot(**snapshot) for snapshot in state_dict.get("pending", [])]

    def _check(self, pl_module: pl.LightningModule) -> int:
        """Compares the captured graph with the network at the reference points, and places the question; counts outputs."""
        network, (x, y) = find_network(pl_module, self.module), self._reference()
        self._captured = capture(network, x, running_statistics=True)
        graph = frozen_analysis(self._captured, self.problem, x, y, estimators=self._runs.covering).graph
        self.place.check(graph, (x, y))
        return math.prod(graph.output.shape)

    def _take_up(self, trainer: pl.Trainer) -> None:
        """Goes on with the audits that ran in the background when the resumed checkpoint was saved."""
        assert self._captured is not None
        snapshots, self._pending = self._pending, []
        self._conclude(trainer, self.place.take_up(self._captured, self._reference(), snapshots))
        self._audited = max([self._audited, *(snapshot.epoch for snapshot in self.place.pending)])

    def _audit(self, trainer: pl.Trainer, last: bool = False) -> None:
        """One audit of the weights as they are now."""
        assert self._captured is not None
        request = self._captured, self._reference(), self._epochs_done, steps_taken(trainer)
        self._runs.calibrate(self._calibrating, self._captured, *request[2:])
        finished = self.place.request_audit(trainer, *request, last)
        self._runs.ranks.together(lambda: self._conclude(trainer, finished))
        self._audited = max([self._audited, *(snapshot.epoch for snapshot in self.place.pending)])

    def _conclude(self, trainer: pl.Trainer, audits: Iterable[FinishedAudit]) -> None:
        """Takes in and logs audits that are over; of those in the background only the first process has any."""
        for finished in audits:
            self.last, self._finished = finished.points, finished.epoch
            self._audited = max(self._audited, finished.epoch)
            self._metrics = self._runs.figures(finished, self.name)
            if self._runs.ranks.is_first:
                _logger.log(finished.level, "%s: %s", self.run, finished.sentence())
                log_audit(trainer, self.name, self._metrics, finished, self._reference()[0], self._runs)

    def _agree(self, trainer: pl.Trainer) -> None:
        """Shows in every training process the metrics that the first one has of the weights as they are now, if any."""
        state = self._runs.ranks.by_first(lambda: (self._metrics, self._finished, self._audited))
        self._metrics, self._finished, self._audited = state
        if self._finished == self._epochs_done:
            show(trainer, self._metrics)

    def _reference(self) -> Inputs:
        assert self._points is not None
        return self._points
