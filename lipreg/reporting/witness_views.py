"""A reference point beside its witness, for the page: both, their difference, and the classes."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lipreg.records import COMBINED, AuditRecord
from lipreg.reporting.pictures import pixels
from lipreg.reporting.wording import finite
from lipreg.runs import RecordedRun

PAGE_BYTES = 1_500_000
"""The most bytes of points, witnesses and differences in a page; the record files have them in full."""
ENTRIES = 8
"""The most entries of a point that are listed, those that differ most."""

Array = np.ndarray[Any, Any]


def witness_views(records: Sequence[AuditRecord], runs: Iterable[RecordedRun]) -> dict[str, Any]:
    """The views of points on the page, the last epochs first, as many as ``PAGE_BYTES`` take.

    Args:
        records: of the page, by row.
        runs: those of the page, with recorded points; two networks that were audited at one point have it from either.

    Returns:
        "points": pictures of reference points by their hashes; "views": by row what is beside them; "left": the number of
        rows without a view for want of space.
    """
    points = {point.reference: point for run in runs for point in run.points}
    rows = [
        (row, r) for row, r in enumerate(records) if r.estimator == COMBINED and (r.reference in points or r.witness)
    ]
    pictures: dict[str, Any] = {}
    views: dict[int, dict[str, Any]] = {}
    spent = 0
    for row, record in sorted(rows, key=lambda pair: -pair[1].epoch):
        point = points.get(record.reference)
        x = None if point is None else point.x
        shape = None if x is None else x.shape
        view = _view(record, x, shape)
        picture = None if x is None or record.reference in pictures else _picture(x, *_range(record, [x]))
        spent += _size(view) + _size(picture or {})
        if spent > PAGE_BYTES:
            break
        views[row] = view
        if picture is not None:
            pictures[record.reference] = picture
    return {"points": pictures, "views": views, "left": len(rows) - len(views)}


def has_classes(beside: Mapping[str, Any]) -> bool:
    """Whether any of the views of a page has a class, of its point or of its witness."""
    return any(view[of] is not None for view in beside["views"].values() for of in ("predicted", "found"))


def _view(record: AuditRecord, x: Array | None, shape: Sequence[int] | None) -> dict[str, Any]:
    witness = None if record.witness is None else np.array(record.witness, dtype=np.float64)
    fits = witness is not None and (x is None or witness.size == x.size)
    witness = witness.reshape(shape or (-1,)) if witness is not None and fits else None
    view: dict[str, Any] = {
        "kept": x is not None,
        "reference": record.reference if x is not None else None,
        "label": record.label if record.label >= 0 else None,
        "predicted": record.predicted,
        "found": record.witness_class,
        "size": int(x.size if x is not None else witness.size if witness is not None else 0),
    }
    if witness is not None:
        view["witness"] = _picture(witness, *_range(record, [witness] if x is None else [x, witness]))
    if witness is not None and x is not None:
        view |= _difference(x, witness)
    return view


def _difference(x: Array, witness: Array) -> dict[str, Any]:
    """The distances of the witness, the entries that differ most, and the difference as a picture of 127 steps each way."""
    apart = witness - x
    most = float(np.abs(apart).max(initial=0.0))
    order = np.argsort(-np.abs(apart).ravel(), kind="stable")[:ENTRIES]
    entries = [
        [", ".join(map(str, np.unravel_index(i, x.shape))), *(float(a.flat[i]) for a in (x, witness, apart))]
        for i in order
        if apart.flat[i] != 0
    ]
    figures = {
        "differ": int(np.count_nonzero(apart)),
        "linf": finite(most),
        "l2": finite(float(np.linalg.norm(apart.ravel()))),
        "entries": entries,
    }
    picture = _picture(apart, -(most or 1.0), most or 1.0)
    return figures | ({} if picture is None else {"difference": picture})


def _range(record: AuditRecord, shown: Sequence[Array]) -> tuple[float, float]:
    """The values of black and white: the data range where the question has one, else the range of the arrays shown."""
    region = record.question.get("region", {})
    ends = (
        (region.get("low"), min(a.min(initial=math.inf) for a in shown)),
        (
            region.get("high"),
            max(a.max(initial=-math.inf) for a in shown),
        ),
    )
    low, high = (float(end if isinstance(end, int | float) else seen) for end, seen in ends)
    return low, high


def _picture(values: Array, low: float, high: float) -> dict[str, Any] | None:
    image = pixels(values, values.shape, low, high)
    if image is None:
        return None
    height, width, *colours = image.shape
    code = base64.b64encode(image.tobytes()).decode()
    return {"width": width, "height": height, "channels": colours[0] if colours else 1, "code": code}


def _size(view: Mapping[str, Any]) -> int:
    """The approximate number of bytes that a view takes in a page."""
    if "code" in view:
        return len(view["code"]) + 60
    return 160 + 70 * len(view.get("entries", ())) + sum(_size(v) for v in view.values() if isinstance(v, dict))
