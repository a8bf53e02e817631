"""What loggers are told of an audit."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from lipreg.callbacks.finished import Finished
from lipreg.reporting.panels import AXIS, audit_table, define_metrics, points_table


def log_audit(
    trainer: pl.Trainer, name: str, metrics: dict[str, float], finished: Finished, x: Tensor, penalised: str | None
) -> None:
    """Logs an audit's means at the epoch and step whose weights it is about; to W&B its tables too.

    ``epoch`` and step are those of Lightning's own rows at the end of that epoch, which count from 0. Weights before the
    first step have no epoch; their step is 0, as that of the first batch, whose loss is of the same weights.

    Args:
        trainer: with the loggers.
        name: first part of the logged names.
        metrics: the means, under the names that are logged.
        finished: the audit.
        x: the reference points.
        penalised: the estimator that the penalty lowers.
    """
    metrics = {**metrics, f"{name}/seconds": finished.seconds}
    of_epoch: dict[str, float] = {"epoch": finished.epoch - 1} if finished.epoch > 0 else {}
    for logger in trainer.loggers:
        board: Any = getattr(logger, "experiment", None)
        if _is_wandb_run(board):
            define_metrics(board, metrics)
            points = points_table(finished.records, x, penalised)
            tables = {f"{name}/records": audit_table(finished.records), f"{name}/points": points}
            board.log({**tables, AXIS: finished.epoch})
        logger.log_metrics({**metrics, **of_epoch, AXIS: finished.epoch}, step=max(finished.step - 1, 0))


def _is_wandb_run(experiment: Any) -> bool:
    """By what it can do: loggers of both Lightning packages, and loggers around them, lead to such a run.

    Asked of its class: Lightning's stand-in on processes that do not log answers to every name.
    """
    return all(callable(getattr(type(experiment), name, None)) for name in ("define_metric", "log", "log_artifact"))
