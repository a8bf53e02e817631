"""One training of the study, audited as it goes: from a job's name to its rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from experiments.programs import made, quiet_libraries
from lipreg.auditing import AuditPlan, PointAudit, audit
from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.reference_points import draw_reference_points
from lipreg.data import InMemoryDataModule
from lipreg.estimators.settings import Settings
from lipreg.problem import LocalLipschitz
from lipreg.reporting.wording import rounded

CONF = Path(__file__).resolve().parents[2] / "conf"
BOUNDS = ("spectral", "affine_relu", "abs_chain", "fastlip")
POINTED_BOUND = "affine_relu"
TWIN = "none"
STRENGTHS: dict[str, str] = {"fgsm": "regularizer.quantity.radius", "pgd": "regularizer.quantity.radius"}
"""What a strength sets, where it is not the weight; 0 is a weight of 0."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training: of which data set and regulariser, how strong, from which seed.

    Attributes:
        weight: the strength: of FGSM and PGD training the radius, else the weight.
    """

    dataset: str
    regularizer: str
    weight: float
    seed: int

    @property
    def key(self) -> tuple[str, str, float, int]:
        return self.dataset, self.regularizer, self.weight, self.seed

    def configuration(self, overrides: Sequence[str] = ()) -> DictConfig:
        """What ``experiments.train`` would be given for this job."""
        mine = [f"experiment=study_{self.dataset}", f"regularizer={self.regularizer}", "logger=none"]
        strength = STRENGTHS.get(self.regularizer, "regularizer.weight") if self.weight else "regularizer.weight"
        values = [f"{strength}={self.weight!r}", f"seed={self.seed}"]
        if GlobalHydra.instance().is_initialized():
            return compose("train", [*mine, *values, *overrides])
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", [*mine, *values, *overrides])


def run(job: Job, epochs: Sequence[int], pointed: int = 0, overrides: Sequence[str] = ()) -> list[Row]:
    """Trains and audits one job in this process.

    Args:
        job: the job.
        epochs: completed epochs after which is audited, ascending; training ends with the last.
        pointed: at how many of the reference points the pointed constant is audited too, at the end, where the penalty
            asks for it, and for the twin.
        overrides: of its configuration.

    Returns:
        One row for each audited epoch, the last one marked. Epoch 0 is audited for the twin alone: all others start from
        its weights. Lower ends of constants are rounded down and upper ends up.
    """
    quiet_libraries(logging.ERROR)
    cfg = job.configuration(overrides)
    began = time.process_time()
    pl.seed_everything(job.seed, verbose=False)
    data, model = instantiate(cfg.data), instantiate(cfg.model)
    problem: LocalLipschitz = instantiate(cfg.problem)
    regularizer = instantiate(cfg.regularizer, _partial_=True, _convert_="all")(problem=problem)
    wanted = [epoch for epoch in epochs if epoch > 0 or job.regularizer == TWIN]
    audits = Audits(job, data, problem, cfg.audit, wanted, pointed)
    trainer: pl.Trainer = instantiate(cfg.trainer, _partial_=True, _convert_="all")(
        max_epochs=max(epochs), logger=False, barebones=True, log_every_n_steps=0, callbacks=[regularizer, audits]
    )
    trainer.fit(model, datamodule=data)
    seconds = round(time.process_time() - began, 2)
    return [{**row, "last": row is audits.rows[-1], "seconds": seconds} for row in audits.rows]


class Audits(pl.Callback):
    """Audits the regional constant after the wanted epochs, and at the end the pointed one, where it is asked for.

    Every closed-form bound is taken with interval pre-activations, as training takes it, so that the same formula is
    compared between a run and its twin, whichever of them it was trained on.

    Args:
        job: what the rows are about.
        data: its validation points are what accuracy is measured on and reference points are drawn from.
        problem: the question, in the scope of the penalty.
        settings: the configuration's audit group.
        epochs: when to audit.
        pointed: at how many points the pointed constant is audited.

    Attributes:
        rows: one for each audit.
    """

    def __init__(
        self,
        job: Job,
        data: InMemoryDataModule,
        problem: LocalLipschitz,
        settings: DictConfig,
        epochs: Sequence[int],
        pointed: int,
    ) -> None:
        super().__init__()
        self.job, self.data, self.epochs, self.rows = job, data, tuple(epochs), []
        shared: dict[str, Any] = {"budget": made(settings.budget), "settings": Settings(seed=job.seed)}
        estimators = {"regional": (*BOUNDS, "branch_and_bound"), "pointed": (POINTED_BOUND, "branch_and_bound")}
        self.regional, self.pointed = (
            AuditPlan(replace(problem, scope=scope), estimators[scope], **shared) for scope in ("regional", "pointed")
        )
        self.count, self.pointed_count = settings.points, 0
        if problem.scope == "pointed" or job.regularizer == TWIN:
            self.pointed_count = pointed

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if 0 in self.epochs:
            self._audit(pl_module, 0)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 in self.epochs:
            self._audit(pl_module, trainer.current_epoch + 1)

    def _audit(self, module: pl.LightningModule, epoch: int) -> None:
        x, y = draw_reference_points(
            self.data.val_dataloader(), "validation", self.count, self.job.seed, batch_to_inputs, "study"
        )
        row = {**vars(self.job), "epoch": epoch, "accuracy": round(self._accuracy(module), 6)}
        if torch.isfinite(module(x)).all():  # training may diverge: such a row has no constants
            row |= as_columns(audit(module, self.regional, x, y), BOUNDS)
            if self.pointed_count and epoch == self.epochs[-1]:
                few = slice(self.pointed_count)
                row["pointed"] = as_columns(
                    audit(module, self.pointed, x[few], None if y is None else y[few]), (POINTED_BOUND,)
                )
        self.rows.append(row)

    def _accuracy(self, module: pl.LightningModule) -> float:
        x, y = self.data.validation_set.tensors
        training = module.training
        module.eval()
        with torch.no_grad():
            right: Tensor = module(x).argmax(1) == y
        module.train(training)
        return float(right.double().mean())


def as_columns(points: Sequence[PointAudit], bounds: Sequence[str]) -> Row:
    """The ends of the constant and the bounds at every point, rounded to the safe side."""
    return {
        "exact": [[_short(p.exact.lower, ROUND_FLOOR), _short(p.exact.upper, ROUND_CEILING)] for p in points],
        "bounds": {name: [_short(p.intervals[name].upper, ROUND_CEILING) for p in points] for name in bounds},
    }


def _short(value: float, rounding: str) -> float:
    return float(rounded(value, rounding, digits=7))
