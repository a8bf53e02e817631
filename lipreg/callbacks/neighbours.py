"""What an audit looks for among a trainer's other callbacks: the bound to audit, and audits that it could be taken for."""

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


class Audits(Protocol):
    """What tells an audit from another."""

    name: str
    run: str

    folder: str | None

    program: Path | None
    """The run folder of the Hydra program in which it was made."""


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
        path = record_file(trainer, own.folder, own.program)
        if other.run == own.run and record_file(trainer, other.folder, other.program) == path:
            raise InvalidInput(
                f"two audits write records of run {own.run!r} to {path}",
                where=where,
                todo='Pass run="..." or folder="..." to one of them',
            )


def audits(trainer: pl.Trainer, own: Audits) -> list[Audits]:
    """All callbacks of the trainer that are audits like this one."""
    return [c for c in trainer.callbacks if isinstance(c, type(own))]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class HeldBound:
    """The bound that a training is held against.

    Attributes:
        label: of its recipe; None where no regularizer asks the same question.
        penalised: whether it is what the penalty lowers, rather than a quantity beside it.
    """

    label: str | None = None
    penalised: bool = False

    @property
    def lowered(self) -> str | None:
        """Its label if the penalty lowers it."""
        return self.label if self.penalised else None


def regularizers_of(problem: LocalLipschitz, trainer: pl.Trainer) -> list[LipschitzRegularizer]:
    """The trainer's regularizers of that question; first one that lowers its own bound, where there is one."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    found = [c for c in callbacks if isinstance(c, LipschitzRegularizer) and c.problem.describe() == problem.describe()]
    return sorted(found, key=lambda c: not c.lowers_bound)


def with_held_bound(plan: AuditPlan, problem: LocalLipschitz, trainer: pl.Trainer) -> tuple[AuditPlan, HeldBound]:
    """The plan with the bounds that regularizers lower, or are held against, by their own recipes, and the first of them."""
    own = regularizers_of(problem, trainer)
    for other in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(other, LipschitzRegularizer) and other not in own:
            warnings.warn(
                f"the penalty asks for the {other.problem.sentence()}; this audit for the {problem.sentence()}. "
                "Its bound is not audited here. Give both the same problem to compare them",
                stacklevel=3,
            )
    if not own:
        return plan, HeldBound()
    held = [other.bound.certified for other in own]
    return plan.asking(*held), HeldBound(held[0].label, own[0].lowers_bound)
