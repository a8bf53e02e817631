"""What loggers get of an audit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from lipreg.callbacks.audit_runs import AuditRuns
from lipreg.callbacks.finished import FinishedAudit
from lipreg.callbacks.introduction import introduction, is_weight_set, show_settings
from lipreg.errors import MissingExtra
from lipreg.records import PopulationRecord
from lipreg.reporting.panels import AXIS, audit_table, define_metrics, points_table, population_panel
from lipreg.reporting.population import statements

_DATA = "WANDB_DATA_DIR"


def log_audit(
    trainer: pl.Trainer, name: str, metrics: dict[str, float], finished: FinishedAudit, x: Tensor, runs: AuditRuns
) -> None:
    """Logs an audit's means at the epoch and step whose weights it is about.

    W&B gets its tables too; W&B and TensorBoard get the run's settings, and the statements on all of the validation data,
    where the user wants them. ``epoch`` and step are those of Lightning's own rows at the end of that epoch, which count
    from 0. Weights before the first step have no epoch; their step is 0, as that of the first batch, whose loss is of the
    same weights.

    Args:
        trainer: with the loggers.
        name: first part of the logged names.
        metrics: the means, under the names that are logged.
        finished: the audit.
        x: the reference points.
        runs: has the statements on all of the data, and the label of the bound that the training is compared with.
    """
    metrics = {**metrics, f"{name}/seconds": finished.seconds}
    of_epoch: dict[str, float] = {"epoch": finished.epoch - 1} if finished.epoch > 0 else {}
    step, whole = max(finished.step - 1, 0), runs.population
    for logger in trainer.loggers:
        board: Any = getattr(logger, "experiment", None)
        if _can(board, "define_metric", "log", "log_artifact"):  # a W&B run
            define_metrics(board, metrics)
            if runs.record is not None and hasattr(board, "config"):
                board.config.update(introduction(runs.record), allow_val_change=True)
            with _kept_beside(board):
                points = points_table(finished.records, x, runs.bound_label)
                panels: dict[str, Any] = {f"{name}/records": audit_table(finished.records), f"{name}/points": points}
                panels |= {} if whole is None else {f"{name}/whole_data": population_panel(whole)}
                # W&B would fill in the step of whatever Lightning has logged last
                board.log({**panels, **of_epoch, AXIS: finished.epoch, "trainer/global_step": step})
        elif _can(board, "add_figure", "add_text"):  # TensorBoard's writer
            # TensorBoard keeps the first settings that it gets, so it gets them once the weight is determined
            if runs.record is not None and board not in runs.introduced and is_weight_set(runs.record):
                show_settings(board, runs.record, metrics)
                runs.introduced.append(board)
            if whole is not None:
                _show_whole_data(board, f"{name}/whole_data", whole)
        logger.log_metrics({**metrics, **of_epoch, AXIS: finished.epoch}, step=step)


@contextmanager
def _kept_beside(run: Any) -> Iterator[None]:
    """Tables with images wait to be uploaded in the folder of their W&B run, unless WANDB_DATA_DIR says where.

    W&B would put them below the user's home, where whoever moves or deletes runs does not find them.
    """
    folder = getattr(run, "dir", None)
    if _DATA in os.environ or not isinstance(folder, str) or not os.path.isdir(folder):
        yield
        return
    os.environ[_DATA] = os.path.dirname(folder)  # it is read whenever something is staged
    try:
        yield
    finally:
        del os.environ[_DATA]


def _show_whole_data(board: Any, tag: str, record: PopulationRecord) -> None:
    """Statements as text, and the figure where matplotlib is installed, at the epoch."""
    first, others = statements(record)
    board.add_text(tag, "\n".join([first, "", *(f"- {line}" for line in others)]), record.epoch)
    try:
        from lipreg.reporting.population_figure import population_figure
    except MissingExtra:  # the statements are logged all the same
        return
    board.add_figure(tag, population_figure(record), record.epoch, close=False)


def _can(experiment: Any, *names: str) -> bool:
    """Whether a logger's backend has methods of these names, which holds for loggers of both Lightning packages.

    Its class is asked, because Lightning's stand-in on processes that do not log has every attribute.
    """
    return all(callable(getattr(type(experiment), name, None)) for name in names)
