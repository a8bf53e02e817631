"""What an audit looks for among a trainer's other callbacks: the penalised bound, and audits that it could be taken for."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Protocol

import pytorch_lightning as pl

from lipreg.auditing import AuditPlan
from lipreg.callbacks.folders import record_file
from lipreg.callbacks.regularizer import LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.estimators import Bound
from lipreg.problem import LocalLipschitz


class Audits(Protocol):
    """What tells an audit from another."""

    name: str
    run: str

    folder: str | None


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
                todo='Pass log="..." to one of them, another first part of the logged names',
            )
        path = record_file(trainer, own.folder)
        if other.run == own.run and record_file(trainer, other.folder) == path:
            raise InvalidInput(
                f"two audits write records of run {own.run!r} to {path}",
                where=where,
                todo='Pass run="..." or folder="..." to one of them',
            )


def audits(trainer: pl.Trainer, own: Audits) -> list[Audits]:
    """All callbacks of the trainer that are audits like this one."""
    return [c for c in trainer.callbacks if isinstance(c, type(own))]  # type: ignore[attr-defined]


def with_penalised_bound(plan: AuditPlan, problem: LocalLipschitz, trainer: pl.Trainer) -> tuple[AuditPlan, str | None]:
    """The plan with the bounds that regularizers lower, by the regularizers' own recipes, and the label of the first."""
    penalised: list[Bound] = []
    for other in trainer.callbacks:  # type: ignore[attr-defined]
        if not isinstance(other, LipschitzRegularizer):
            continue
        if other.problem.describe() == problem.describe():
            penalised.append(other.bound.certified)
        else:
            warnings.warn(
                f"the penalty asks for the {other.problem.sentence()}; this audit for the {problem.sentence()}. "
                "Its bound is not audited here. Give both the same problem to compare them",
                stacklevel=3,
            )
    if not penalised:
        return plan, None
    return replace(plan, estimators=(*plan.estimators, *penalised)), penalised[0].label
