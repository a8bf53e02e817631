"""The trainer's other callbacks that concern an audit: regularizers, whose bounds it audits, and other audits."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytorch_lightning as pl

from lipreg.auditing import AuditPlan
from lipreg.callbacks.folders import record_file
from lipreg.callbacks.regularizer import LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz


class AuditCallback(Protocol):
    """What distinguishes an audit from another one.

    Attributes:
        name: first part of its logged names.
        run: label of its run.
        folder: of its record file; None where nobody has set it.
        program: the run folder of the Hydra program in which it was made; None without one.
    """

    name: str
    run: str
    folder: str | None
    program: Path | None


def check_others(audit: AuditCallback, trainer: pl.Trainer) -> None:
    """Raises InvalidInput for a second audit with the same logged names, or the same run in the same record file."""
    where = type(audit).__name__
    for other in audits(trainer, audit):
        if other is audit:
            continue
        if other.name == audit.name:
            raise InvalidInput(
                f"two audits log under {audit.name!r}",
                where=where,
                todo='Pass log="..." to one of them, another first part of the logged names',
            )
        path = record_file(trainer, audit.folder, audit.program)
        if other.run == audit.run and record_file(trainer, other.folder, other.program) == path:
            raise InvalidInput(
                f"two audits write records of run {audit.run!r} to {path}",
                where=where,
                todo='Pass run="..." or folder="..." to one of them',
            )


def audits(trainer: pl.Trainer, audit: AuditCallback) -> list[AuditCallback]:
    """All callbacks of the trainer that are audits like this one, itself among them."""
    return [c for c in trainer.callbacks if isinstance(c, type(audit))]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class ComparedBound:
    """The bound that a training is compared with.

    Attributes:
        label: of its recipe; None where no regularizer asks the same question.
        penalised: whether it is what the penalty lowers, rather than a quantity beside it.
    """

    label: str | None = None
    penalised: bool = False

    @property
    def penalised_label(self) -> str | None:
        """Its label if the penalty lowers it."""
        return self.label if self.penalised else None


def regularizers_of(problem: LocalLipschitz, trainer: pl.Trainer) -> list[LipschitzRegularizer]:
    """The trainer's regularizers of that question; first one that lowers its own bound, where there is one."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    regularizers = [
        c for c in callbacks if isinstance(c, LipschitzRegularizer) and c.problem.describe() == problem.describe()
    ]
    return sorted(regularizers, key=lambda c: not c.lowers_bound)


def with_compared_bound(
    plan: AuditPlan, problem: LocalLipschitz, trainer: pl.Trainer
) -> tuple[AuditPlan, ComparedBound]:
    """The plan with the bounds of the regularizers of its question, by their own recipes, and the first of these bounds.

    Args:
        plan: of the audit.
        problem: the question.
        trainer: whose callbacks are looked at; a regularizer of another question is warned of.
    """
    regularizers = regularizers_of(problem, trainer)
    for other in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(other, LipschitzRegularizer) and other not in regularizers:
            warnings.warn(
                f"the penalty asks for the {other.problem.sentence()}; this audit for the {problem.sentence()}. "
                "Its bound is not audited here. Give both the same problem to compare them",
                stacklevel=3,
            )
    if not regularizers:
        return plan, ComparedBound()
    bounds = [other.bound.certified for other in regularizers]
    return plan.asking(*bounds), ComparedBound(bounds[0].label, regularizers[0].lowers_bound)
