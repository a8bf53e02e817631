"""The identity of a training's run: its id, and the record of what was trained."""

from __future__ import annotations

import importlib.metadata
import math
import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from lipreg.callbacks.logged import read_metrics, steps_taken
from lipreg.callbacks.neighbours import regularizers_of
from lipreg.callbacks.regularizer import LipschitzRegularizer
from lipreg.callbacks.trained_by import training_settings
from lipreg.problem import LocalLipschitz
from lipreg.records import EpochRecord, RunRecord, started_now

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
    """The record of a training that begins, or goes on.

    Args:
        trainer: the trainer; bound and weight are those of a ``LipschitzRegularizer`` with the same problem among its
            callbacks.
        run_id, run: id, of the checkpoint that is resumed, and label; without an id, here and in ``about``, it gets one that
            no other run has.
        problem: the question.
        about: a record of the run made beforehand, with its settings, say, or the id of an attempt that it repeats; its
            fields are kept where nothing here replaces them.
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
        started=started_now(),
        process=f"pid {os.getpid()} on {socket.gethostname()}",
        versions=_versions(),
    ).invoked()
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    penalties = [c for c in callbacks if isinstance(c, LipschitzRegularizer)]
    of_question = regularizers_of(problem, trainer)
    record = replace(record, penalty=_penalty(of_question, penalties))
    if about is None:  # a penalty on another question is one too: such a run is nobody's twin
        described = {c.name: [c.term.penalty.describe(), c.term.schedule.describe()] for c in penalties}
        settings = training_settings(trainer) | described
        record = replace(record, weight=max((c.weight for c in penalties), default=0.0), settings=settings)
    if not of_question:
        return record
    return replace(
        record, bound=of_question[0].bound.label, recipe=of_question[0].bound.describe(), weight=of_question[0].weight
    )


def with_weight(record: RunRecord, problem: LocalLipschitz, trainer: pl.Trainer) -> RunRecord | None:
    """The record of a run whose ``weight="auto"`` has been determined since it was written.

    Args:
        record: as it was written.
        problem: the question.
        trainer: with the regularizers.

    Returns:
        The new record; None where nothing has changed.
    """
    if all(
        description.get("weight", 0.0) is not None
        for description in (record.penalty, *record.penalty.get("beside", ()))
    ):
        return None
    of_question, callbacks = regularizers_of(problem, trainer), trainer.callbacks  # type: ignore[attr-defined]
    penalty = _penalty(of_question, [c for c in callbacks if isinstance(c, LipschitzRegularizer)])
    if penalty == record.penalty:
        return None
    weight = of_question[0].weight if of_question else record.weight
    return replace(record, weight=weight, penalty=penalty, start_epoch=trainer.current_epoch)


def _penalty(of_question: list[LipschitzRegularizer], penalties: list[LipschitzRegularizer]) -> dict[str, Any]:
    """``RunRecord.penalty``: of the first regularizer of the question, and those of the others beside it."""
    first, *others = [c.term.describe() for c in (*of_question, *(c for c in penalties if c not in of_question))] or [
        {}
    ]
    return first | ({"beside": others} if others else {})


def epoch_record(trainer: pl.Trainer, run: str, run_id: str, leave_out: Iterable[str]) -> EpochRecord:
    """The record of what training logs at the end of an epoch; all training processes call it.

    Args:
        trainer: the trainer.
        run, run_id: label and id.
        leave_out: names of audits, whose figures are in records of their own.
    """
    audits = tuple(f"{name}/" for name in leave_out)
    metrics = {k: v for k, v in read_metrics(trainer).items() if not k.startswith(audits) and math.isfinite(v)}
    return EpochRecord(run, trainer.current_epoch + 1, metrics, run_id, steps_taken(trainer))


def _seed() -> int | None:
    """The seed of the last call of ``seed_everything``; None if there was none."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return int(seed) if seed is not None and seed.lstrip("-").isdigit() else None


def _versions() -> dict[str, str]:
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
