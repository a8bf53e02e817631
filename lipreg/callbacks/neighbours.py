"""What an audit looks for among a trainer's other callbacks: the penalised bound, and audits that it could be taken for."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytorch_lightning as pl

from lipreg.auditing import AuditPlan
from lipreg.callbacks.regularizer import LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz


class Audits(Protocol):
    """What tells an audit from another."""

    name: str
    run: str

    def record_path(self, trainer: pl.Trainer) -> Path: ...


def check_others(own: Audits, trainer: pl.Trainer) -> None:
    """Refuses a second audit whose logs or records could not be told from this one's."""
    where = type(own).__name__
    for other in audits(trainer, own):
        if other is own:
            continue
        if other.name == own.name:
            raise InvalidInput(
                f"two audits log under {own.name!r}",
                where=where,
                todo='Pass name="..." to one of them',
            )
        path = own.record_path(trainer)
        if other.run == own.run and other.record_path(trainer) == path:
            raise InvalidInput(
                f"two audits write records of run {own.run!r} to {path}",
                where=where,
                todo='Pass run="..." or folder="..." to one of them',
            )


def audits(trainer: pl.Trainer, own: Audits) -> list[Audits]:
    """All callbacks of the trainer that are audits like this one."""
    return [c for c in trainer.callbacks if isinstance(c, type(own))]  # type: ignore[attr-defined]


def with_penalised_bound(plan: AuditPlan, problem: LocalLipschitz, trainer: pl.Trainer) -> tuple[AuditPlan, str | None]:
    """The plan with the bound that a regularizer lowers, computed as the regularizer computes it."""
    for other in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(other, LipschitzRegularizer) and other.problem.describe() == problem.describe():
            estimators = tuple(dict.fromkeys((*plan.estimators, other.bound)))
            own = {} if other.preactivations is None else {other.bound: other.preactivations}
            return replace(plan, estimators=estimators, preactivations=own), other.bound
        if isinstance(other, LipschitzRegularizer):
            warnings.warn(
                f"the penalty asks for the {other.problem.sentence()}; this audit for the {problem.sentence()}. "
                "Its bound is not audited here. Give both the same problem to compare them",
                stacklevel=3,
            )
    return plan, None
