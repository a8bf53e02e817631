"""Views for Weights & Biases: the axis of the audit metrics, and tables of audit records and of reference points."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipreg.errors import MissingExtra
from lipreg.extras import require
from lipreg.records import COMBINED, AuditRecord, PopulationRecord, field_names
from lipreg.reporting.pictures import pixels
from lipreg.reporting.population import population_page
from lipreg.reporting.wording import finite
from lipreg.results import Certificate
from lipreg.transfer import Interval, certified_radius, is_certified, margin_over_constant, tightness

if TYPE_CHECKING:
    import wandb

AXIS = "audit/epoch"
"""The x axis of every ``audit/...`` metric, logged beside it: audits run every few epochs, and steps would be wrong."""

PICTURED = 64
"""The number of reference points that are shown with their images; further ones are rows without."""

LOST = "class_lost_under_attack"
"""The column of whether an attack found another class; the metric ``audit/attacked`` is the share that kept theirs."""

# columns that are left out where no point has a class
_OF_CLASSES = ("class", "right", "margin over constant", "certified", "without search", LOST, "margin", "radius")

_SIDE = 96  # pixels to which small images are enlarged, so that one can see them in a table's cell
# nested or long; the record file has them
_OMITTED_COLUMNS = frozenset({"question", "witness", "versions", "tolerances", "asked", "families", "recipe"})


def define_metrics(run: Any, names: Iterable[str]) -> None:
    """Makes ``audit/epoch`` the x axis of metrics of a W&B run (``WandbLogger.experiment``).

    Each one is set by its full name: Lightning's logger has set ``*`` to its own axis, and which of two patterns that both
    match wins is not documented.
    """
    run.define_metric(AXIS)
    for name in names:
        run.define_metric(name, step_metric=AXIS)


def audit_table(records: Iterable[AuditRecord]) -> wandb.Table:
    """Audit records as a ``wandb.Table``, one row each.

    An end that was not proved is an empty cell, not infinity: W&B's filters and plots cannot draw infinity.
    """
    import wandb

    names = [name for name in field_names(AuditRecord) if name not in _OMITTED_COLUMNS]
    rows: list[Any] = [[finite(getattr(record, name)) for name in names] for record in records]
    columns: list[Any] = [LOST if name == "attacked" else name for name in names]
    return wandb.Table(columns=columns, data=rows)


def points_table(records: Iterable[AuditRecord], x: Any, penalised: str | None = None) -> wandb.Table:
    """A table with a row for each reference point: what is proved there, and the point and the witness as images.

    Scale-free figures come first: the certified end of the margin over constant (empty where the constant is 0), whether the
    constant, or the best bound without a search, proves the class over the whole region, and whether an attack broke it.

    Args:
        records: of one audit.
        x: the reference points, ``(batch, *shape)``, a tensor on the CPU or an array.
        penalised: the bound that the penalty lowers.

    Without pillow there are no images, and a warning says so.
    """
    import wandb

    audits: dict[int, dict[str, AuditRecord]] = {}
    for record in records:
        audits.setdefault(record.point, {})[record.estimator] = record
    rows: list[dict[str, Any]] = []
    for point, methods in sorted(audits.items()):
        combined, bound, lp = methods[COMBINED], methods.get(penalised or ""), methods.get("lp")
        images: dict[str, Any] = {"image": None, "witness": None}
        if len(rows) < PICTURED:
            low, high = (combined.question.get("region", {}).get(end) for end in ("low", "high"))
            for name, values in (("image", np.asarray(x[point])), ("witness", combined.witness)):
                shown = None if values is None else picture(values, tuple(x[point].shape), low, high)
                images[name] = None if shown is None else _image(shown)
        tight = bound and tightness(bound.upper, Interval.of(combined))
        margin = margin_over_constant(combined)
        closed = min((r.upper for r in methods.values() if r.certificate == Certificate.UPPER), default=math.inf)
        rows.append(
            {
                "point": point,
                "class": combined.label if combined.label >= 0 else None,
                **images,
                "right": combined.correct,
                "margin over constant": margin and finite(margin.lower),
                "certified": is_certified(combined, combined.upper),
                "without search": is_certified(combined, closed),
                LOST: combined.attacked,
                "lower": combined.lower,
                "upper": finite(combined.upper),
                "certificate": combined.certificate,
                "status": combined.status,
                "bound": bound and finite(bound.upper),
                "tightness": tight and (tight.lower or None),
                "LP": lp and finite(lp.upper),
                "margin": combined.margin,
                "radius": certified_radius(combined),
                "functional": combined.functional,
            }
        )
    of_none = {name for name in _OF_CLASSES if all(row[name] is None for row in rows)}
    columns: list[Any] = [name for name in next(iter(rows), {}) if name not in of_none]
    return wandb.Table(columns=columns, data=[[row[name] for name in columns] for row in rows])


def population_panel(record: PopulationRecord) -> wandb.Html:
    """The statements on a whole data set, with the figure of the distribution and its band, as a panel."""
    import wandb

    return wandb.Html(population_page(record), inject=False)


def log_report(run: Any, page: str | Path) -> None:
    """Puts an HTML report into a W&B run as ``audit/report``, as it is."""
    import wandb

    run.log({"audit/report": wandb.Html(Path(page).read_text(encoding="utf-8"), inject=False)})


def picture(values: Any, shape: Sequence[int], low: Any = None, high: Any = None) -> np.ndarray[Any, Any] | None:
    """An input as an image of bytes, enlarged if it is small; None for shapes that are no image.

    Args:
        values: its entries, as ``shape`` says or flat.
        shape: ``(height, width)``, ``(1 or 3, height, width)``, or ``(n,)`` for a square of at least 4 x 4 pixels.
        low, high: what is black and white; None for the least and the largest value.
    """
    image = pixels(values, shape, low, high)
    if image is None:
        return None
    times = max(1, _SIDE // max(image.shape[:2]))
    return image.repeat(times, axis=0).repeat(times, axis=1)


def _image(shown: np.ndarray[Any, Any]) -> wandb.Image | None:
    try:
        require("views", "PIL", where="images for W&B")  # which makes them with it
    except MissingExtra as error:  # the numbers are logged all the same
        warnings.warn(f"reference points are logged without their images: {error}", stacklevel=4)
        return None
    import wandb

    return wandb.Image(shown)
