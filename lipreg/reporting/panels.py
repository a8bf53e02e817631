"""Views for Weights & Biases: the axis of the audit metrics, and tables of audit records and of reference points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipreg.records import AuditRecord, field_names
from lipreg.transfer import Interval, certified_radius, tightness
from lipreg.transfer.points import EXACT

if TYPE_CHECKING:
    import wandb

AXIS = "audit/epoch"
"""Log it beside every ``audit/...`` metric: audits run every few epochs, and training steps would be the wrong axis."""

PICTURED = 64
"""Reference points that are shown with their images; further ones are rows without."""

_OF_CLASSES = ("class", "right", "margin", "radius")  # columns that are left out where no point has a class

_SIDE = 96  # pixels to which small images are enlarged, so that one can see them in a table's cell
_LEFT_OUT = frozenset(
    {"question", "witness", "versions", "tolerances", "asked", "families", "recipe"}
)  # nested or long; the record file has them


def define_metrics(run: Any, names: Iterable[str]) -> None:
    """Makes ``audit/epoch`` the x axis of metrics of a W&B run (``WandbLogger.experiment``).

    Each one by its full name: Lightning's logger has claimed ``*`` for its own axis, and which of two patterns that both
    match wins is not said.
    """
    run.define_metric(AXIS)
    for name in names:
        run.define_metric(name, step_metric=AXIS)


def audit_table(records: Iterable[AuditRecord]) -> wandb.Table:
    """Audit records as a ``wandb.Table``, one row each.

    An end that was not proved is an empty cell, not infinity: W&B's filters and plots cannot draw infinity.
    """
    import wandb

    columns: list[Any] = [name for name in field_names(AuditRecord) if name not in _LEFT_OUT]
    rows: list[Any] = [[_cell(getattr(record, name)) for name in columns] for record in records]
    return wandb.Table(columns=columns, data=rows)


def points_table(records: Iterable[AuditRecord], x: Any, penalised: str | None = None) -> wandb.Table:
    """One row for each reference point: what is proved there, and the point and the witness as images.

    Args:
        records: of one audit.
        x: the reference points, ``(batch, *shape)``, a tensor on the CPU or an array.
        penalised: the bound that the penalty lowers.
    """
    import wandb

    audits: dict[int, dict[str, AuditRecord]] = {}
    for record in records:
        audits.setdefault(record.point, {})[record.estimator] = record
    columns: list[Any] = ["point", "class", "image", "witness", "lower", "upper", "certificate", "status", "bound"]
    columns += ["tightness", "LP", "right", "margin", "radius", "functional"]
    rows: list[Any] = []
    for point, methods in sorted(audits.items()):
        exact, pictures = methods[EXACT], [None, None]
        if len(rows) < PICTURED:
            low, high = (exact.question.get("region", {}).get(end) for end in ("low", "high"))
            shape = tuple(x[point].shape)
            found = [picture(v, shape, low, high) for v in (np.asarray(x[point]), exact.witness) if v is not None]
            pictures = [None if p is None else wandb.Image(p) for p in (*found, None)][:2]
        bound = methods[penalised].upper if penalised in methods else None
        tight = None if bound is None else tightness(bound, Interval(exact.lower, exact.upper))
        rows.append(
            [
                *(
                    point,
                    exact.label if exact.label >= 0 else None,
                    *pictures,
                    exact.lower,
                    _cell(exact.upper),
                    exact.certificate,
                    exact.status,
                ),
                *(
                    _cell(bound),
                    None if tight is None else tight.lower or None,
                    _cell(methods["lp"].upper) if "lp" in methods else None,
                ),
                *(exact.correct, exact.margin, certified_radius(exact), exact.functional),
            ]
        )
    kept = [i for i, name in enumerate(columns) if name not in _OF_CLASSES or any(row[i] is not None for row in rows)]
    return wandb.Table(columns=[columns[i] for i in kept], data=[[row[i] for i in kept] for row in rows])


def log_report(run: Any, page: str | Path) -> None:
    """Puts an HTML report into a W&B run as ``audit/report``, as it is."""
    import wandb

    run.log({"audit/report": wandb.Html(Path(page).read_text(encoding="utf-8"), inject=False)})


def picture(
    values: Any, shape: Sequence[int], low: float | None = None, high: float | None = None
) -> np.ndarray[Any, Any] | None:
    """An input as an image ``(height, width)`` or ``(height, width, 3)`` of bytes, enlarged if it is small.

    Args:
        values: as many as ``shape`` has.
        shape: ``(height, width)``, ``(1 or 3, height, width)``, or ``(n,)`` with a square number n of at least 16.
        low, high: the data range, black and white; without one the smallest and the largest value.

    Returns:
        None for other shapes.
    """
    array, side = np.asarray(values, dtype=np.float64).reshape(shape), math.isqrt(math.prod(shape))
    if array.ndim == 1 and side >= 4 and side * side == array.size:
        array = array.reshape(side, side)
    if array.ndim == 3 and len(array) in (1, 3):
        array = array[0] if len(array) == 1 else array.transpose(1, 2, 0)
    elif array.ndim != 2:
        return None
    black, white = float(array.min() if low is None else low), float(array.max() if high is None else high)
    bytes_ = np.rint(255 * np.clip((array - black) / ((white - black) or 1.0), 0, 1)).astype(np.uint8)
    times = max(1, _SIDE // max(bytes_.shape[:2]))
    return bytes_.repeat(times, axis=0).repeat(times, axis=1)


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
