"""LipschitzAudit: the true local constant at fixed reference points, as training goes on, without touching it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from torch import Tensor

from lipreg.auditing import AuditPlan, PointAudit
from lipreg.budget import Budget
from lipreg.callbacks.audit_runs import AuditRuns
from lipreg.callbacks.averaging import averages, warn_if_replaced
from lipreg.callbacks.background import BackgroundAudits
from lipreg.callbacks.batches import batch_to_inputs as usual_batch_to_inputs
from lipreg.callbacks.batches import find_network
from lipreg.callbacks.finished import Finished
from lipreg.callbacks.folders import record_file
from lipreg.callbacks.logged import show, steps_taken, withdraw
from lipreg.callbacks.logs import log_audit
from lipreg.callbacks.monitors import check_monitors
from lipreg.callbacks.neighbours import audits, check_others, with_penalised_bound
from lipreg.callbacks.reference_points import Inputs, LabelsRead, given_reference_points, validation_points
from lipreg.callbacks.run_identity import epoch_record, run_record
from lipreg.callbacks.snapshots import Snapshot
from lipreg.errors import InvalidInput
from lipreg.estimators import Bound, Settings, frozen_analysis
from lipreg.graph import CapturedNetwork, capture
from lipreg.labels import IGNORE_INDEX
from lipreg.lightning import Callback
from lipreg.options import check_count
from lipreg.problem import LocalLipschitz
from lipreg.records import RunRecord
from lipreg.transfer.metric import check_metric

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
    With ``background`` a process of its own audits snapshots of the weights while training goes on (of several, the first
    one's). Results are logged when they come, at the epoch whose weights they are about; ``callback_metrics`` has those of
    the trained network alone, at the end.

    When a ``LipschitzRegularizer`` with the same problem is among the trainer's callbacks, its bound is audited too, by
    its own recipe, and marked as the penalised one.

    Args:
        problem: the question; give the regularizer the same object.
        points: how many reference points to draw from the validation data.
        estimators: registered names, or recipes (``Bound``); None takes the usual ones that cover the question.
        budget: for the searches of one audit, a ``Budget`` or a number of seconds.
        workers: how many search at the same time, or "auto", one a core; processes start with the first audit and stay.
        executor: "inline" (in this process), "processes" or "ray"; None is the first for one worker, else the second.
        address: of an existing Ray cluster; None starts one on this machine.
        gap, nodes: limits of each search beside a number of seconds; a ``Budget`` has its own.
        background: audit beside the training.
        waiting: how many audits in the background may wait for the one that runs.
        when_busy: what becomes of one more: "delay" training until there is room, or "drop" it.
        end_limit: seconds that the end of ``fit`` waits for them; then they end with what they have proved.
        every_n_epochs: audit after every so many epochs.
        at_start, at_end: audit the untrained network; the trained one, if not done after its last epoch.
        folder: where ``records.jsonl`` is written; default: the trainer's ``default_root_dir``, the folder of its logger, or
            that of the Hydra program, whichever is set (``lipreg.callbacks.folders``).
        run: label of this run in the records; ``run_id`` tells it from others.
        twin: a run without penalty, against which movement and transfer are logged too: label or id of one in the same
            record file, the path of another run's folder or record file, or a checkpoint, which is audited once.
        module: path of the submodule that is the network; None for the LightningModule's own ``forward``.
        reference_points: (x, y) or x, in place of validation data.
        batch_to_inputs: batch -> (x, y or None), for batches that are not ``(x, y)`` or a dict of the usual keys.
        seed: of the choice of points and of sampling.
        solver: of the searches' programs: "highs", or another of ``lipreg.milp.installed_solvers()``.
        sdp_solver: of semidefinite programs (``lipsdp``), by cvxpy's name for it: "SCS", "CLARABEL", ...
        progress: show a bar over the points of an audit, in the trainer's own bar, where there is a terminal.
        name: first part of the logged names; must differ between two audits of one trainer.
        ignore_index: where the functional starts from labels, points with this one are not drawn, nor those with -1.
        metric: name of the logged metric that reports show beside the constants; None takes "val_accuracy", or what fits.

    Raises:
        InvalidInput: an argument out of range, an unknown name; at the start of ``fit``: a folder that cannot be
            written, no validation data, points outside the data range, a network whose outputs are not finite, two
            audits that log under one name or write under one run name into one file.
        MissingExtra: the solver, or ray, is not installed.
        UnsupportedRequest: an estimator that does not cover the problem, or, at the start of ``fit``, the network.
        UnsupportedModel: at the start of ``fit``, calls in the network that no graph covers.
        CrossingBounds: two estimators contradict each other.
    """

    def __init__(
        self,
        problem: LocalLipschitz,
        points: int = 8,
        estimators: Sequence[str | Bound] | None = None,
        budget: Budget | float = 60.0,
        every_n_epochs: int = 1,
        at_start: bool = True,
        at_end: bool = True,
        folder: str | None = None,
        run: str = "run",
        module: str | None = None,
        reference_points: Tensor | tuple[Tensor, Tensor] | None = None,
        batch_to_inputs: Callable[[Any], Inputs] | None = None,
        seed: int = 0,
        solver: str = "highs",
        progress: bool = True,
        name: str = "audit",
        workers: int | str = 1,
        executor: str | None = None,
        address: str | None = None,
        gap: float | None = None,
        nodes: int | None = None,
        background: bool = False,
        waiting: int = 1,
        when_busy: str = "delay",
        end_limit: float = 300.0,
        twin: str | None = None,
        sdp_solver: str = "SCS",
        ignore_index: int = IGNORE_INDEX,
        metric: str | None = None,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if not isinstance(problem, LocalLipschitz):
            raise InvalidInput(f"problem={problem!r}", where=where, accepted="a LocalLipschitz")
        check_count(points, "points", where)
        check_count(every_n_epochs, "every_n_epochs", where)
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"name={name!r}", where=where, accepted="a text that is not empty")
        asked, settings = cast(Any, estimators), Settings(solver, sdp_solver, seed=seed)
        self.plan = AuditPlan(problem, asked, Budget.of(budget, where, gap, nodes), settings)
        self.problem, self.points, self.every_n_epochs = problem, points, every_n_epochs
        self.at_start, self.at_end, self.folder, self.run, self.module = at_start, at_end, folder, run, module
        self.batch_to_inputs = batch_to_inputs or usual_batch_to_inputs
        self.seed, self.name, self.background, self.twin = seed, name, background, twin
        self.metric = check_metric(metric, where)
        self._labels = LabelsRead(problem.output, ignore_index, where)
        beside = BackgroundAudits(waiting, when_busy, where)  # checked in any case
        self._runs = AuditRuns(workers, executor, address, beside if background else None, end_limit, progress, where)
        self._points: Inputs | None = given_reference_points(reference_points, self._labels)
        self._captured: CapturedNetwork | None = None
        self._penalised: str | None = None
        self._metrics: dict[str, float] = {}
        self._epochs_done, self._audited, self._finished, self.run_id = 0, -1, -1, ""
        self._left: list[Snapshot] = []
        self.about: RunRecord | None = None
        """What the run's record is to say beyond what can be seen, such as settings; set it before ``fit``."""
        self.last: list[PointAudit] = []
        """Results of the last audit, one for each reference point."""
        self.listeners: list[Callable[[PointAudit, int], None]] = self._runs.listeners
        """Called with each point as it is done, and the number of points; for progress displays."""

    @property
    def state_key(self) -> str:
        return self._generate_state_key(
            name=self.name, run=self.run, problem=str(self.problem.describe()), points=self.points
        )

    @property
    def dropped(self) -> list[int]:
        """Epochs whose audits in the background were left out, because others were still to be done."""
        return [] if self._runs.beside is None else self._runs.beside.dropped

    @property
    def record_file(self) -> Path | None:
        """Where the records are, once ``fit`` has started."""
        return None if self._runs.journal is None else self._runs.journal.path

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_others(self, trainer)
        self._captured, self._audited, self._finished, self._left = None, -1, -1, []
        self.run_id, path = "", record_file(trainer, self.folder)
        # of this fit alone: the next one may have another regularizer, or none
        plan, self._penalised = with_penalised_bound(self.plan, self.problem, trainer)
        self._runs.open(path, self.run, plan, self._penalised, trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ranks = self._runs.ranks
        wanted = self.points, self.seed, self.batch_to_inputs, self._labels
        drawn = ranks.together(lambda: self._points or validation_points(trainer, *wanted))
        self._points = ranks.by_first(lambda: drawn)
        # whatever can be wrong with network, points and question shows here, before the first step
        self._epochs_done = trainer.current_epoch
        ranks.together(lambda: self._check(pl_module))
        check_monitors(trainer, self, self._runs.metric_names(self.twin is not None, self.name))
        told = partial(run_record, trainer, self.run_id, self.run, self.problem, self.about, self.twin, self.metric)
        self.run_id = self._runs.begin(told, self.twin, (pl_module, self._captured, self._reference()))
        ranks.together(lambda: self._take_up(trainer))
        if self.at_start and self._audited != self._epochs_done:
            self._audit(trainer, pl_module)
        self._agree(trainer)  # on those of a checkpoint that is resumed, too

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        withdraw(trainer, f"{self.name}/")  # after the next step the weights are others

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._runs.ranks.hold(lambda: self._conclude(trainer, self._runs.collected()))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epochs_done = trainer.current_epoch + 1
        names = [audit.name for audit in audits(trainer, self)]
        self._runs.append(epoch_record(trainer, self.run, self.run_id, names))
        if self._epochs_done % self.every_n_epochs == 0:
            self._audit(trainer, pl_module)
        self._agree(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.at_end and self._audited != self._epochs_done and not averages(trainer):
            self._audit(trainer, pl_module, last=True)
        self._runs.ranks.together(lambda: self._conclude(trainer, self._runs.drained()))
        self._agree(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        audited = self.last if self._finished == self._epochs_done else []
        left = self._runs.left_to_audit(trainer, pl_module, self._captured, audited)
        if left and self.at_end:
            self._audit(trainer, pl_module, last=True)
            self.on_train_end(trainer, pl_module)
        elif left:
            withdraw(trainer, f"{self.name}/")  # they are of weights that are not in the model any more

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        ended = stage == "fit" and self.at_end and self._finished == self._epochs_done
        warn_if_replaced(self._captured if ended else None, self.last)
        self._runs.close(ended=stage == "fit")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._runs.close()

    def state_dict(self) -> dict[str, Any]:
        record, pending = self._runs.record, [vars(snapshot) for snapshot in self._runs.pending]
        done = {"audited": self._finished, "metrics": dict(self._metrics), "pending": pending}
        return {"points": self._points, "run_id": self.run_id, "seed": record and record.seed, **done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._points, self.run_id = state_dict["points"], state_dict.get("run_id", "")
        self._audited, self._metrics = state_dict["audited"], state_dict["metrics"]
        self._finished = self._audited
        self._left = [Snapshot(**snapshot) for snapshot in state_dict.get("pending", [])]

    def _check(self, pl_module: pl.LightningModule) -> None:
        """Compares the captured graph with the network at the reference points and places the question there."""
        network, (x, y) = find_network(pl_module, self.module), self._reference()
        asked, self._captured = self._runs.plan.methods().values(), capture(network, x, running_statistics=True)
        self._runs.check(frozen_analysis(self._captured, self.problem, x, y, estimators=asked).graph, (x, y))

    def _take_up(self, trainer: pl.Trainer) -> None:
        """Goes on with what was under way in the background when the checkpoint that is resumed was saved."""
        assert self._captured is not None
        left, self._left = self._left if self.background else [], []
        self._audited = max([self._audited, *(snapshot.epoch for snapshot in left)])
        self._conclude(trainer, self._runs.take_up(self._captured, self._reference(), left))

    def _audit(self, trainer: pl.Trainer, pl_module: pl.LightningModule, last: bool = False) -> None:
        """One audit of the weights as they are now, here or in the background."""
        assert self._captured is not None
        asked = self._captured, self._reference(), self._epochs_done, steps_taken(trainer)
        if self.background:
            self._audited = self._epochs_done
            self._runs.ranks.together(lambda: self._conclude(trainer, self._runs.snapshot(*asked, last)))
            self._audited = -1 if self._epochs_done in self.dropped else self._audited
        else:
            audited = list(self._runs.here(trainer, *asked))
            self._runs.ranks.together(lambda: self._conclude(trainer, audited))

    def _conclude(self, trainer: pl.Trainer, audits: Iterable[Finished]) -> None:
        """Takes in and logs audits that are over; of those in the background the first process alone knows."""
        for finished in audits:
            self.last, self._finished = finished.points, finished.epoch
            self._audited = max(self._audited, finished.epoch)
            self._metrics = self._runs.figures(finished, self.name)
            if self._runs.ranks.is_first:
                _logger.info("%s: %s", self.run, finished.sentence())
                log_audit(trainer, self.name, self._metrics, finished, self._reference()[0], self._penalised)

    def _agree(self, trainer: pl.Trainer) -> None:
        """Shows in every training process what the first one has of the weights as they are now, if it has anything."""
        self._metrics, self._finished = self._runs.ranks.by_first(lambda: (self._metrics, self._finished))
        if self._finished == self._epochs_done:
            show(trainer, self._metrics)

    def _reference(self) -> Inputs:
        assert self._points is not None
        return self._points
