"""Views for Weights & Biases: the axis of the audit metrics, and audit records as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lipreg.records import AuditRecord, field_names

if TYPE_CHECKING:
    import wandb

AXIS = "audit/epoch"
"""Log it beside every ``audit/...`` metric: audits run every few epochs, and training steps would be the wrong axis."""

_LEFT_OUT = frozenset(
    {"question", "witness", "versions", "tolerances", "asked", "families"}
)  # nested or long; the record file has them


def define_metrics(run: Any) -> None:
    """Makes ``audit/epoch`` the x axis of all ``audit/*`` metrics of a W&B run (``WandbLogger.experiment``)."""
    run.define_metric(AXIS)
    run.define_metric("audit/*", step_metric=AXIS)


def audit_table(records: Iterable[AuditRecord]) -> wandb.Table:
    """Audit records as a ``wandb.Table``, one row each.

    An end that was not proved is an empty cell, not infinity: W&B's filters and plots cannot draw infinity.
    """
    import wandb

    columns: list[Any] = [name for name in field_names(AuditRecord) if name not in _LEFT_OUT]
    rows: list[Any] = [[_cell(getattr(record, name)) for name in columns] for record in records]
    return wandb.Table(columns=columns, data=rows)


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
