"""What loggers are told of an audit."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from lipreg.callbacks.audit_runs import Finished
from lipreg.reporting.panels import AXIS, audit_table, define_metrics, points_table


def log_audit(
    trainer: pl.Trainer, name: str, metrics: dict[str, float], finished: Finished, x: Tensor, penalised: str | None
) -> None:
    """Logs an audit's means at the epoch and step whose weights it is about; to W&B its tables too.

    Args:
        trainer: with the loggers.
        name: first part of the logged names.
        metrics: the means, under the names that are logged.
        finished: the audit.
        x: the reference points.
        penalised: the estimator that the penalty lowers.
    """
    metrics = {**metrics, f"{name}/seconds": finished.seconds}
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            define_metrics(logger.experiment, metrics)
            points = points_table(finished.records, x, penalised)
            tables = {f"{name}/records": audit_table(finished.records), f"{name}/points": points}
            logger.experiment.log({**tables, AXIS: finished.epoch})
        logger.log_metrics({**metrics, AXIS: finished.epoch}, step=finished.step)
