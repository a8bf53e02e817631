"""Which run a training is: its id, and the record that says what was trained."""

from __future__ import annotations

import importlib.metadata
import math
import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytorch_lightning as pl

from lipreg.callbacks.logged import read_metrics, steps_taken
from lipreg.callbacks.neighbours import regularizers_of
from lipreg.callbacks.regularizer import LipschitzRegularizer
from lipreg.callbacks.trained_by import training_settings
from lipreg.problem import LocalLipschitz
from lipreg.records import EpochRecord, RunRecord

_VERSIONS = ("lipreg", "torch", "pytorch-lightning", "lightning")


def run_record(
    trainer: pl.Trainer,
    run_id: str,
    run: str,
    problem: LocalLipschitz,
    about: RunRecord | None,
    twin: str | None,
    metric: str | None = None,
) -> RunRecord:
    """What a record says of a training when it begins, or goes on.

    Args:
        trainer: the trainer; a ``LipschitzRegularizer`` with the same problem among its callbacks tells bound and weight.
        run_id, run: id, of the checkpoint that is resumed, and label; without an id, here and in ``about``, it gets one that
            no other run has.
        problem: the question.
        about: what is known of the run beforehand, such as its settings, or the id of an attempt that it repeats; kept as
            far as nothing here is surer.
        twin: the twin's label.
        metric: the one that reports show beside the constants.
    """
    record = about or RunRecord(run, seed=_seed())
    record = replace(
        record,
        run=run,
        id=run_id or record.id or uuid.uuid4().hex,
        twin=twin if about is None else about.twin,
        question=problem.describe(),
        sentence=problem.sentence(),
        start_epoch=trainer.current_epoch,
        metric=metric or record.metric,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        process=f"pid {os.getpid()} on {socket.gethostname()}",
        versions=_versions(),
    ).invoked()
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    penalties = [c for c in callbacks if isinstance(c, LipschitzRegularizer)]
    own = regularizers_of(problem, trainer)
    record = replace(record, penalty=_penalty(own, penalties))
    if about is None:  # a penalty on another question is one too: such a run is nobody's twin
        described = {c.name: [c.term.penalty.describe(), c.term.schedule.describe()] for c in penalties}
        settings = training_settings(trainer) | described
        record = replace(record, weight=max((c.weight for c in penalties), default=0.0), settings=settings)
    if not own:
        return record
    return replace(record, bound=own[0].bound.label, recipe=own[0].bound.describe(), weight=own[0].weight)


def with_weight(record: RunRecord, problem: LocalLipschitz, trainer: pl.Trainer) -> RunRecord | None:
    """The record of a run whose ``weight="auto"`` has been found since it was written; None where nothing is to be added."""
    if all(told.get("weight", 0.0) is not None for told in (record.penalty, *record.penalty.get("beside", ()))):
        return None
    own, callbacks = regularizers_of(problem, trainer), trainer.callbacks  # type: ignore[attr-defined]
    penalty = _penalty(own, [c for c in callbacks if isinstance(c, LipschitzRegularizer)])
    if penalty == record.penalty:
        return None
    weight = own[0].weight if own else record.weight
    return replace(record, weight=weight, penalty=penalty, start_epoch=trainer.current_epoch)


def _penalty(own: list[LipschitzRegularizer], penalties: list[LipschitzRegularizer]) -> dict[str, Any]:
    """``RunRecord.penalty``: of the first regularizer of the question, and those of the others beside it."""
    first, *others = [c.term.describe() for c in (*own, *(c for c in penalties if c not in own))] or [{}]
    return first | ({"beside": others} if others else {})


def epoch_record(trainer: pl.Trainer, run: str, run_id: str, leave_out: Iterable[str]) -> EpochRecord:
    """What training reports at the end of an epoch; all training processes call it.

    Args:
        trainer: the trainer.
        run, run_id: label and id.
        leave_out: names of audits, whose figures are in records of their own.
    """
    audits = tuple(f"{name}/" for name in leave_out)
    metrics = {k: v for k, v in read_metrics(trainer).items() if not k.startswith(audits) and math.isfinite(v)}
    return EpochRecord(run, trainer.current_epoch + 1, metrics, run_id, steps_taken(trainer))


def _seed() -> int | None:
    """What ``seed_everything`` was last called with; None if it was not."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return int(seed) if seed is not None and seed.lstrip("-").isdigit() else None


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
