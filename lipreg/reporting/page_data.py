"""What the report's charts and tables are drawn from: the figures of every entry and all audit records, as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lipreg.records import AuditRecord
from lipreg.reporting.runs import Entry, Side
from lipreg.reporting.seeds import columns, metric_heading, seed_groups
from lipreg.reporting.wording import at_most, between, measured, nearest, percent, plain, share_between
from lipreg.results import Status
from lipreg.transfer import Comparison, Interval, Metric, PointFigures
from lipreg.transfer.comparison import mean, mean_if_all, mean_interval
from lipreg.transfer.points import EXACT

PICTURES = 400_000
"""Bytes of witness pictures in a page; the record files have every witness in full."""

_COLUMNS = (
    *("epoch", "point", "label", "lower", "upper", "seconds", "margin", "correct", "resumed"),
    *("estimator", "certificate", "status", "functional", "proof", "detail", "engine"),
)


def page_data(entries: Sequence[Entry]) -> dict[str, Any]:
    """Everything that the scripts of the page draw. Numbers that are not finite are null."""
    sides: list[Side] = []
    places: dict[tuple[str, str, str], int] = {}
    told: list[dict[str, Any]] = []
    mixed = len({entry.metric.title for entry in entries if entry.metric is not None}) > 1
    questions = list(dict.fromkeys(entry.mine.run.question for entry in entries))
    for entry in entries:
        indices = []
        for side in (entry.mine, entry.twin):
            if side is not None:
                key = (side.run.source, side.run.recorded.key, entry.bound_name)
                if key not in places:
                    places[key] = len(sides)
                    sides.append(side)
                indices.append(places[key])
        told.append(_entry(entry, questions.index(entry.mine.run.question), indices, mixed))
    roles = {index: "alone" if len(e["sides"]) == 1 else role for e in told for role, index in _roles(e["sides"])}
    shown = [_side(side) | {"role": roles[i]} for i, side in enumerate(sides)]
    statuses = {status.value: status.advice for status in Status}
    sentences = [_sentence(entries, question) for question in questions]
    return {
        "questions": sentences,
        "entries": told,
        "groups": [
            group | {"question": questions.index(group["question"]), "name": plain(group["name"], 120)}
            for group in seed_groups(entries)
        ],
        "groupColumns": columns(entries),
        "metric": plain(metric_heading(entries), 60),
        "sides": shown,
        "records": _records(sides),
        "statuses": statuses,
    }


def as_script(data: Any) -> str:
    """JSON for a ``<script type="application/json">``: nothing in it can end the element or start another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _roles(sides: Sequence[int]) -> Iterable[tuple[str, int]]:
    return zip(("regularised", "twin"), sides, strict=False)


def _sentence(entries: Sequence[Entry], question: str) -> str:
    said = [e.mine.run.record.sentence for e in entries if e.mine.run.question == question]
    return plain(next(filter(None, said), None) or _in_words(json.loads(question)), 400)


def _in_words(question: Mapping[str, Any]) -> str:
    """A question whose run has no sentence for it: what its parts are called in the records."""
    region, output = question.get("region", {}), question.get("output", {})
    size = f" of radius {region['radius']}" if "radius" in region else ""
    ends = [region.get("low"), region.get("high")]
    cut = f" cut to [{ends[0]}, {ends[1]}]" if any(end is not None for end in ends) else ""
    head = f"{question.get('scope', 'local')} Lipschitz constant of {output.get('kind', 'the network')}"
    return f"{head} over {region.get('kind', 'a region')}{size}{cut}; input distances in l{question.get('p', 'p')}"


def _entry(entry: Entry, question: int, sides: Sequence[int], mixed: bool) -> dict[str, Any]:
    record = entry.mine.run.record
    moves = {str(epoch): _moves(comparison) for epoch, comparison in entry.comparisons.items()}
    return {
        "label": plain(entry.label, 120),
        "question": question,
        "seed": record.seed,
        "weight": None if entry.mine.run.recorded.course else record.weight,
        "bound": plain(entry.bound_name, 60),
        "metric": _metric(entry.metric),
        "sides": list(sides),
        "transfer": [
            [epoch, *_ends(c.movement.transfer), share_between(c.movement.transfer)]
            for epoch, c in sorted(entry.comparisons.items())
        ],
        "moves": moves,
        "row": _row(entry, mixed),
    }


def _metric(metric: Metric | None) -> dict[str, Any] | None:
    """What the charts call it, and whether they show it as per cent."""
    return None if metric is None else {"title": plain(metric.title, 60), "share": metric.share}


def _moves(comparison: Comparison) -> list[list[Any]]:
    """(point, transfer in words, its middle) of each compared point."""
    points = comparison.regularised.points
    return [
        [p.point, share_between(m.transfer), _middle(m.transfer)]
        for p, m in zip(points, comparison.movements, strict=True)
    ]


def _row(entry: Entry, mixed: bool) -> list[list[Any]]:
    """The entry's row in the table of runs: (text, number to sort by) of each cell; mixed metrics with their names."""
    last = entry.last
    if last is not None:
        points, own = list(last.regularised.points), last.regularised.metric
    else:
        epoch = max((e for e, points in entry.mine.points.items() if points), default=None)
        if epoch is None:
            return []
        points, own = list(entry.mine.points[epoch].values()), entry.mine.metric.get(epoch)
    exact, bound = mean_interval(points), mean([p.bound for p in points])
    certified = mean([p.record.certificate == "exact" for p in points])
    metric = entry.metric
    name = f"{plain(metric.title, 60)} " if mixed and metric is not None else ""
    moved = last.movement if last else None
    twin = last.twin.metric if last else None
    return [
        [name + measured(metric, own), own],
        [name + measured(metric, twin), twin],
        [at_most(bound), _finite(bound)],
        [between(exact), _middle(exact)],
        [nearest(moved.bound if moved else None), moved.bound if moved else None],
        [between(moved.exact if moved else None), _middle(moved.exact if moved else None)],
        [share_between(moved.transfer if moved else None), _middle(moved.transfer if moved else None)],
        [percent(certified), certified],
    ]


def _side(side: Side) -> dict[str, Any]:
    epochs = sorted({*side.points, *side.metric})
    return {
        "name": plain(side.run.name, 80),
        "file": plain(side.run.source, 300),
        "course": [_course(epoch, side) for epoch in epochs],
        "points": {str(epoch): [_point(p) for p in points.values()] for epoch, points in side.points.items() if points},
    }


def _course(epoch: int, side: Side) -> list[Any]:
    """(epoch, bound, LP, lower, upper, metric): means over the points."""
    points = list(side.points.get(epoch, {}).values())
    metric = side.metric.get(epoch)
    if not points:
        return [epoch, None, None, None, None, metric]
    exact, lp = mean_interval(points), mean_if_all([p.lp for p in points])
    return [epoch, *map(_finite, (mean([p.bound for p in points]), lp, exact.lower, exact.upper)), metric]


def _point(p: PointFigures) -> list[Any]:
    numbers = (p.bound, p.lp, p.exact.lower, p.exact.upper, p.radius, p.record.margin)
    texts = (p.record.certificate, p.record.status, p.record.functional)
    return [p.point, p.record.label, *map(_finite, numbers), p.record.correct, *(plain(t, 120) for t in texts)]


def _records(sides: Sequence[Side]) -> dict[str, Any]:
    """All audit records by column; texts are numbers into ``strings``, because most of them are said many times."""
    strings: dict[str, int] = {}
    columns: dict[str, list[Any]] = {name: [] for name in ("side", *_COLUMNS)}
    audits = [(i, r) for i, side in enumerate(sides) for r in side.run.audits]
    seen: set[int] = set()
    kept = [(i, r) for i, r in audits if not (id(r) in seen or seen.add(id(r)))]
    for i, record in kept:
        columns["side"].append(i)
        for name in _COLUMNS:
            value = getattr(record, name)
            if isinstance(value, str):
                value = strings.setdefault(plain(value, 600), len(strings))
            columns[name].append(_finite(value))
    return {"strings": list(strings), "columns": columns, "pictures": _pictures([r for _, r in kept])}


def _pictures(records: Sequence[AuditRecord]) -> dict[str, list[Any]]:
    """Witnesses that are images, by row: width, height, channels and 8-bit values; those of the last epochs first."""
    found: dict[str, list[Any]] = {}
    spent = 0
    for row, record in sorted(enumerate(records), key=lambda pair: -pair[1].epoch):
        form = _form(record.witness) if record.estimator == EXACT else None
        if form is None or record.witness is None:
            continue
        spent += len(record.witness) * 4 // 3
        if spent > PICTURES:
            break
        found[str(row)] = [*form, base64.b64encode(_grey(record.witness, record.question.get("region", {}))).decode()]
    return found


def _form(values: Sequence[float] | None) -> tuple[int, int] | None:
    """Side and channels of a square image with so many values, if it can be one of at least 4 pixels a side."""
    for channels in (1, 3):
        side = math.isqrt(len(values or ()) // channels)
        if side >= 4 and side * side * channels == len(values or ()):
            return side, channels
    return None


def _grey(values: Sequence[float], region: Mapping[str, Any]) -> bytes:
    low, high = region.get("low"), region.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or high <= low:
        low, high = min(values), max(values)
    span = (high - low) or 1.0
    return bytes(round(255 * min(1.0, max(0.0, (v - low) / span))) for v in values)


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (_finite(interval.lower), _finite(interval.upper))


def _middle(interval: Interval | None) -> float | None:
    return None if interval is None else _finite(interval.midpoint)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
