"""LipschitzAudit: the true local constant at fixed reference points, as training goes on, without touching it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor
from tqdm import tqdm

from lipreg.auditing import AuditPlan, PointAudit, Progress, Workers, audit
from lipreg.callbacks.batches import batch_to_inputs as usual_batch_to_inputs
from lipreg.callbacks.batches import find_network
from lipreg.callbacks.metrics import show, summary
from lipreg.callbacks.reference_points import Points, check_reference_points, draw_reference_points
from lipreg.callbacks.regularizer import LipschitzRegularizer
from lipreg.errors import CrossingBounds, InvalidInput, LipregError, UnsupportedRequest
from lipreg.estimators import frozen_analysis
from lipreg.graph import CapturedNetwork, capture
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, EpochRecord, RecordFile
from lipreg.reporting.panels import AXIS, audit_table, define_metrics


class LipschitzAudit(pl.Callback):
    """Audits the network at the start of ``fit``, every few epochs and at its end.

    Each audit works on a frozen float64 copy of the network at the same reference points. Training is not changed: the
    weights, every random state and every module's mode are as before. Each point is written to the record file as soon
    as it is done; the means over points are logged, to every logger under ``audit/...`` and to ``callback_metrics``,
    where the last value stays between audits, so that early stopping and checkpoints can follow it.

    When a ``LipschitzRegularizer`` with the same problem is among the trainer's callbacks, its bound is audited too, with
    its own pre-activation methods, and marked as the penalised one.

    Args:
        problem: the question; give the regularizer the same object.
        points: how many reference points to draw from the validation data.
        estimators: registered names; see ``lipreg.estimators.ESTIMATORS``.
        budget: seconds for the searches of one audit.
        workers: processes that search at the same time, or "auto", one for each core; they start with the first audit, which
            takes some seconds, and stay until the end of ``fit``. 1 searches in this process.
        every_n_epochs: audit after every so many epochs.
        at_start: audit the network before the first step.
        at_end: audit the trained network, if its last epoch was not audited anyway.
        folder: where ``records.jsonl`` is written; default: ``default_root_dir`` of the trainer.
        run: name of this run in the records.
        module: path of the submodule that is the network; None for the LightningModule's own ``forward``.
        reference_points: (x, y) or x, in place of validation data.
        batch_to_inputs: batch -> (x, y or None), for batches that are not ``(x, y)`` or a dict of the usual keys.
        seed: of the choice of points and of sampling.
        solver: of the searches' programs: "highs", or another of ``lipreg.milp.installed_solvers()``.
        progress: show a bar over the points of an audit, when the standard error is a terminal.
        name: first part of the logged names; must differ between two audits of one trainer.

    Raises:
        InvalidInput: an argument out of range, an unknown name; at the start of ``fit``: a folder that cannot be
            written, no validation data, points outside the data range, a network whose outputs are not finite, two
            audits that log under one name or write under one run name into one file.
        MissingExtra: the solver is not installed.
        UnsupportedRequest: an estimator that does not cover the problem; several processes.
        UnsupportedModel: at the start of ``fit``, calls in the network that no graph covers.
        CrossingBounds: two estimators contradict each other.
    """

    def __init__(
        self,
        problem: LocalLipschitz,
        points: int = 8,
        estimators: Sequence[str] = ("mip", "lp", "affine_relu", "sampling"),
        budget: float = 60.0,
        every_n_epochs: int = 1,
        at_start: bool = True,
        at_end: bool = True,
        folder: str | None = None,
        run: str = "run",
        module: str | None = None,
        reference_points: Tensor | tuple[Tensor, Tensor] | None = None,
        batch_to_inputs: Callable[[Any], Points] | None = None,
        seed: int = 0,
        solver: str = "highs",
        progress: bool = True,
        name: str = "audit",
        workers: int | str = 1,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if not isinstance(problem, LocalLipschitz):
            raise InvalidInput(f"problem={problem!r}", where=where, accepted="a LocalLipschitz")
        for argument, number in (("points", points), ("every_n_epochs", every_n_epochs)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InvalidInput(f"{argument}={number!r}", where=where, accepted="a whole number of at least 1")
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"name={name!r}", where=where, accepted="a text that is not empty")
        names = estimators if isinstance(estimators, str) else tuple(estimators)  # a text is refused by the plan
        self.plan = AuditPlan(problem, names, budget, seed, solver)
        self.problem, self.points, self.every_n_epochs = problem, points, every_n_epochs
        self.at_start, self.at_end, self.folder, self.run, self.module = at_start, at_end, folder, run, module
        self.batch_to_inputs = batch_to_inputs or usual_batch_to_inputs
        self.progress, self.seed, self.name = progress, seed, name
        given = None if reference_points is None else check_reference_points(reference_points, where)
        self._workers = Workers(workers)
        self._points: Points | None = given
        self._records: RecordFile | None = None
        self._captured: CapturedNetwork | None = None
        self._penalised: str | None = None
        self._metrics: dict[str, float] = {}
        self._epochs_done, self._audited = 0, -1
        self.last: list[PointAudit] = []
        """Results of the last audit, one for each reference point."""
        self.listeners: list[Callable[[PointAudit, int], None]] = []
        """Called with each point as it is done, and the number of points; for progress displays."""

    @property
    def state_key(self) -> str:
        return self._generate_state_key(
            name=self.name, run=self.run, problem=str(self.problem.describe()), points=self.points
        )

    @property
    def record_file(self) -> Path | None:
        """Where the records are, once ``fit`` has started."""
        return None if self._records is None else self._records.path

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if trainer.world_size > 1:
            raise UnsupportedRequest(
                f"{trainer.world_size} processes",
                where=type(self).__name__,
                accepted="one process",
                todo="Audit a checkpoint of the run: python -m experiments.audit, or lipreg.auditing.audit",
            )
        self._check_others(trainer)
        self._records = RecordFile(self._record_path(trainer))
        self._captured, self._audited = None, -1
        self.plan, self._penalised = self._with_penalised_bound(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._points is None:
            where = type(self).__name__
            loaders = trainer.val_dataloaders
            self._points = draw_reference_points(loaders, self.points, self.seed, self.batch_to_inputs, where)
        # whatever can be wrong with network, points and question shows here, before the first step
        self._epochs_done = trainer.current_epoch
        self._check(pl_module)
        show(trainer, self._metrics)  # of the checkpoint that is resumed
        if self.at_start and self._audited != self._epochs_done:
            self._audit(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epochs_done = trainer.current_epoch + 1
        ours = tuple(f"{audit.name}/" for audit in _audits(trainer))
        reported = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith(ours)}
        finite = {k: v for k, v in reported.items() if v == v and abs(v) != float("inf")}
        self._file().append(EpochRecord(self.run, self._epochs_done, finite))
        if self._epochs_done % self.every_n_epochs == 0:
            self._audit(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.at_end and self._audited != self._epochs_done:
            self._audit(trainer, pl_module)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._workers.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._workers.close()

    def state_dict(self) -> dict[str, Any]:
        return {"points": self._points, "audited": self._audited, "metrics": dict(self._metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._points = state_dict["points"]
        self._audited, self._metrics = state_dict["audited"], state_dict["metrics"]

    def _record_path(self, trainer: pl.Trainer) -> Path:
        return Path(self.folder or trainer.default_root_dir).absolute() / "records.jsonl"

    def _check_others(self, trainer: pl.Trainer) -> None:
        """Refuses a second audit whose logs or records could not be told from this one's."""
        for other in _audits(trainer):
            if other is self:
                continue
            if other.name == self.name:
                raise InvalidInput(
                    f"two audits log under {self.name!r}",
                    where=type(self).__name__,
                    todo='Pass name="..." to one of them',
                )
            if other.run == self.run and other._record_path(trainer) == self._record_path(trainer):
                raise InvalidInput(
                    f"two audits write records of run {self.run!r} to {self._record_path(trainer)}",
                    where=type(self).__name__,
                    todo='Pass run="..." or folder="..." to one of them',
                )

    def _with_penalised_bound(self, trainer: pl.Trainer) -> tuple[AuditPlan, str | None]:
        """The plan with the bound that a regularizer lowers, computed as the regularizer computes it."""
        for other in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(other, LipschitzRegularizer) and other.problem.describe() == self.problem.describe():
                estimators = tuple(dict.fromkeys((*self.plan.estimators, other.bound)))
                own = {} if other.preactivations is None else {other.bound: other.preactivations}
                return replace(self.plan, estimators=estimators, preactivations=own), other.bound
            if isinstance(other, LipschitzRegularizer):
                warnings.warn(
                    f"the penalty asks for the {other.problem.sentence()}; this audit for the {self.problem.sentence()}. "
                    "Its bound is not audited here. Give both the same problem to compare them",
                    stacklevel=2,
                )
        return self.plan, None

    def _check(self, pl_module: pl.LightningModule) -> None:
        """Compares the captured graph with the network at the reference points and places the question there."""
        network, (x, y) = find_network(pl_module, self.module), self._reference()
        self._captured = capture(network, x)
        frozen_analysis(self._captured, self.problem, x, y)

    def _audit(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One audit: records as they come, then the logs."""
        x, y = self._reference()
        epoch, records, began = self._epochs_done, [], time.monotonic()
        assert self._captured is not None
        bar = tqdm(total=len(x), desc=f"audit, epoch {epoch}", leave=False, disable=None if self.progress else True)

        def keep(point: PointAudit) -> None:
            for record in point.records(self.run, epoch, self._penalised):
                self._file().append(record)
                records.append(record)
            for listener in self.listeners:
                listener(point, len(x))

        def advance(progress: Progress) -> None:
            bar.set_postfix_str(f"at most {progress.seconds_left:.0f} s left", refresh=False)
            bar.update(int(progress.finished))

        workers = 1 if self._workers.slots == 1 else self._workers
        try:
            self.last = audit(self._captured, self.plan, x, y, keep, workers=workers, on_progress=advance)
        except CrossingBounds:
            raise
        except LipregError as error:  # weights that became NaN: training's trouble, not to be ended by its audit
            warnings.warn(f"no audit after epoch {epoch}: {error}", stacklevel=2)
            return
        finally:
            bar.close()
        self._audited = epoch
        self._metrics = summary(self.last, self._penalised, self.name)
        show(trainer, self._metrics)
        self._log(trainer, {**self._metrics, f"{self.name}/seconds": time.monotonic() - began}, records)

    def _log(self, trainer: pl.Trainer, metrics: dict[str, float], records: list[AuditRecord]) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                define_metrics(logger.experiment)
                logger.experiment.define_metric(f"{self.name}/*", step_metric=AXIS)
                logger.experiment.log({f"{self.name}/records": audit_table(records), AXIS: self._epochs_done})
            logger.log_metrics({**metrics, AXIS: self._epochs_done}, step=trainer.global_step)

    def _reference(self) -> Points:
        assert self._points is not None
        return self._points

    def _file(self) -> RecordFile:
        assert self._records is not None
        return self._records


def _audits(trainer: pl.Trainer) -> list[LipschitzAudit]:
    return [c for c in trainer.callbacks if isinstance(c, LipschitzAudit)]  # type: ignore[attr-defined]
