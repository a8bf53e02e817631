"""Checkpoints, early stopping and schedulers that monitor an audit: they can act on audited epochs alone.

A number stands in ``callback_metrics`` from its audit, at the end of an epoch, until the next epoch begins: what looks there
later would take it for that of other weights. Lightning treats a metric that is not there as a mistake, unless it is told
otherwise or does not look. So each one that monitors an audit is checked before the first step, and the error says in
Lightning's own words what to set.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pytorch_lightning as pl

from lipreg.callbacks.metrics import CALIBRATED, SCALE_FREE
from lipreg.callbacks.places import Place
from lipreg.errors import InvalidInput
from lipreg.records import current_metric
from lipreg.spelling import nearest_name


class MonitoredAudit(Protocol):
    """An audit as far as it decides how it can be monitored.

    Attributes:
        name: first part of its metrics' names.
        every_n_epochs: it audits after every so many epochs.
        place: where it audits.
    """

    name: str
    every_n_epochs: int
    place: Place


def check_monitors(trainer: pl.Trainer, audit: MonitoredAudit, names: Sequence[str]) -> None:
    """Refuses monitors that would act on the number of another epoch, or end the training at an epoch without an audit.

    Args:
        trainer: about to train; its callbacks and schedulers are set up.
        audit: the one that may be monitored.
        names: those of all its metrics.

    Raises:
        InvalidInput: one monitors a name that the audit does not have, or has it in the names of its files; or a checkpoint,
            early stopping or ``ReduceLROnPlateau`` that monitors the audit cannot do so as it is.
    """
    where, every = type(audit).__name__, audit.every_n_epochs
    known = {*names, *(f"{name}_points" for name in names)}
    for who, metric in _file_names(trainer, audit.name):
        if metric not in known:
            raise _unknown(f"{who} has {{{metric}}} in its filename", metric, names, where)
    for who, metric, missing in _followers(trainer, audit.name, every):
        got = f"{who} monitors {metric!r}"
        if metric not in names:
            raise _unknown(got, metric, names, where)
        if who == "ModelCheckpoint" and any(hasattr(c, "_swap_models") for c in trainer.callbacks):  # type: ignore[attr-defined]
            raise InvalidInput(
                f"{got}: while training, audits are about the weights in training, and checkpoints hold averaged ones",
                where=where,
                todo="Monitor another metric; the averaged weights are audited at the end of the training",
            )
        if audit.place.later:
            raise InvalidInput(
                f"{got}, of an audit beside the training: its numbers come when the weights are others already",
                where=where,
                todo="Pass another executor than Beside, or monitor another metric",
            )
        if missing:
            raise InvalidInput(
                f"{got}, which is there at the end of an audited epoch alone (every_n_epochs={every})",
                where=where,
                todo=f"Pass {missing}",
            )


def _unknown(got: str, metric: str, names: Sequence[str], where: str) -> InvalidInput:
    """The error about a name that the audit does not have: what to do stands before the many that it has."""
    got = f"{got}, and this audit has no such number. {_how_to_get(metric, names)}"
    return InvalidInput(got, where=where, accepted=", ".join(names))


def _file_names(trainer: pl.Trainer, name: str) -> Iterator[tuple[str, str]]:
    """The numbers of the audit in the names of checkpoints' files, for which Lightning writes 0 where they are not there."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        template = getattr(callback, "filename", None)
        if isinstance(template, str) and hasattr(callback, "format_checkpoint_name"):
            for metric in re.findall(r"\{([^:}]*)", template):
                if metric.startswith(f"{name}/"):
                    yield type(callback).__name__, metric


def _followers(trainer: pl.Trainer, name: str, every: int) -> Iterator[tuple[str, str, str]]:
    """The monitors of the audit: the name of each, its metric, and what has to be passed to it ("" for nothing)."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        metric, kinds = getattr(callback, "monitor", None), {c.__name__ for c in type(callback).__mro__}
        if not isinstance(metric, str) or not metric.startswith(f"{name}/"):
            continue
        if "EarlyStopping" in kinds:
            yield "EarlyStopping", metric, _early_stopping(callback, every)
        elif "ModelCheckpoint" in kinds:
            yield "ModelCheckpoint", metric, _checkpoint(callback, trainer, every)
        else:
            who = type(callback).__name__
            warnings.warn(
                f"{who} monitors {metric!r}, which is there at the end of an audited epoch alone", stacklevel=4
            )
            yield who, metric, ""
    if not trainer.lightning_module.automatic_optimization:
        return  # the module steps its schedulers itself
    for config in trainer.lr_scheduler_configs:
        metric = config.monitor
        if config.reduce_on_plateau and isinstance(metric, str) and metric.startswith(f"{name}/"):
            yield "ReduceLROnPlateau", metric, _scheduler(config, every)


def _early_stopping(callback: Any, every: int) -> str:
    wanted = [] if callback._check_on_train_epoch_end else ["check_on_train_epoch_end=True"]
    wanted += ["strict=False"] if every > 1 and callback.strict else []
    return f"EarlyStopping(..., {', '.join(wanted)})" if wanted else ""


def _checkpoint(callback: Any, trainer: pl.Trainer, every: int) -> str:
    if callback.save_top_k == 0:
        return ""
    wanted = [] if callback._should_save_on_train_epoch_end(trainer) else ["save_on_train_epoch_end=True"]
    if callback._every_n_epochs < 1 or callback._every_n_epochs % every:
        wanted.append(f"every_n_epochs={every}")
    inside = callback._every_n_train_steps >= 1 or callback._train_time_interval is not None
    instead = " in place of every_n_train_steps or train_time_interval" if inside else ""
    return f"ModelCheckpoint(..., {', '.join(wanted)}){instead}" if wanted else ""


def _scheduler(config: Any, every: int) -> str:
    if config.interval != "epoch":
        return 'the scheduler with "interval": "epoch"'
    if config.strict and config.frequency % every:
        return f'the scheduler with "strict": False, or with "frequency": {every}'
    return ""


def _how_to_get(metric: str, names: Sequence[str]) -> str:
    """The advice on what an audit needs for a metric that it lacks."""
    first, _, name = metric.rpartition("/")
    if name.startswith("calibrat") and f"{first}/{CALIBRATED[0]}" not in names:
        return "It needs calibrated outputs: pass log=AuditLog(calibration=1000), or points of your own, (x, y)"
    if name.removeprefix("calibrated_").startswith(("movement", "transfer", "bound_movement")):
        return "It compares with a twin: give twin= and a LipschitzRegularizer with the same problem"
    if name == "attacked":
        return "It needs reference points with classes, and log=AuditLog(attack=Attack())"
    if name in SCALE_FREE:
        return (
            "It needs reference points with classes, and a question that bounds all their margins, as AllMargins() does"
        )
    if name.startswith(("tightness", "calibrated_bound")):
        return "It is that of a penalised bound: add a LipschitzRegularizer with the same problem"
    if (now := current_metric(metric)) in names:
        return f"It is {now!r} now: write that"
    near = nearest_name(metric, names)
    return f"Did you mean {near!r}?" if near else "Name the estimator in estimators=[...], too"
