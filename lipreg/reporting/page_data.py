"""The data of the report's charts and tables: the figures of every entry and all audit records, as JSON objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lipreg.plain import alike, distinct, frozen
from lipreg.records import AuditRecord, NewerRun, ProgressCallback
from lipreg.reporting.checked import checked_words
from lipreg.reporting.facets import facets
from lipreg.reporting.notes import why_undefined
from lipreg.reporting.penalised import bound_description
from lipreg.reporting.rows import VALUES, region_radius, task
from lipreg.reporting.runs import Entry
from lipreg.reporting.seeds import columns, metric_heading, seed_groups
from lipreg.reporting.witness_views import witness_views
from lipreg.reporting.wording import (
    TableCell,
    at_most,
    between,
    certified_distance,
    distance,
    finite,
    measured,
    nearest,
    percent,
    percent_between,
    share_between,
)
from lipreg.results import Status
from lipreg.runs import RecordedRun
from lipreg.transfer import Comparison, Interval, Metric, PointFigures, RunFigures, Side
from lipreg.transfer.radius import radius_in_units
from lipreg.words import plain, shortened, shortened_apart

_Place = tuple[str, str, str]
_PLAIN = ("epoch", "point", "label", "lower", "upper", "seconds", "margin", "correct", "resumed")
_TEXTS = ("estimator", "certificate", "status", "functional", "proof", "detail", "engine")


def page_data(entries: Sequence[Entry], on_progress: ProgressCallback | None = None) -> dict[str, Any]:
    """The data that the scripts of the page draw. Numbers that are not finite are null.

    Questions and sides are there once; whatever is about one of them has its number.
    """
    heading = metric_heading(entries)
    mixed = len({entry.pair.metric.title for entry in entries if entry.pair.metric is not None}) > 1
    questions = distinct(entry.pair.question for entry in entries)
    shown: dict[_Place, Side] = {}
    roles: dict[_Place, str] = {}
    for entry in entries:
        for side, role in zip(entry.sides, ["alone"] if entry.alone else entry.pair.roles, strict=True):
            shown.setdefault(_place(entry, side), side)
            roles[_place(entry, side)] = role
    numbers = {place: number for number, place in enumerate(shown)}
    question_numbers = {frozen(question): number for number, question in enumerate(questions)}
    rows = _rows(list(shown.values()))
    number = {id(record): row for row, record in enumerate(record for _, record in rows)}
    labels = shortened_apart([entry.label for entry in entries], 120)
    grouped = seed_groups(entries)
    groups = zip(grouped, shortened_apart([group.name for group in grouped], 120), strict=True)
    return {
        "questions": [_sentence(entries, question) for question in questions],
        "entries": [
            _entry(entry, label, mixed)
            | {
                "question": question_numbers[frozen(entry.pair.question)],
                "sides": [numbers[_place(entry, s)] for s in entry.sides],
            }
            for entry, label in zip(entries, labels, strict=True)
        ],
        "facets": facets(entries) if len(entries) > 1 else {},
        "groups": [
            {
                "question": question_numbers[frozen(group.question)],
                "name": name,
                "runs": len(group.members),
                "cells": {title: cell._asdict() for title, cell in group.cells(heading).items()},
            }
            for group, name in groups
        ],
        "groupColumns": columns(heading),
        "metric": plain(heading, 60),
        "sides": _sides(shown, roles, number, on_progress),
        "records": _records(rows, [side.run for side in shown.values()]),
        "beside": witness_views([record for _, record in rows], (side.run for side in shown.values())),
        "statuses": {status.value: status.advice for status in Status},
    }


def as_script(data: Any) -> str:
    """The data as JSON for a ``<script type="application/json">``: nothing in it can end the element or start another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _place(entry: Entry, side: Side) -> _Place:
    """The key of a side, equal for sides that show the same: several entries may share a twin."""
    return side.run.source, side.run.key, entry.regularised.bound


def _sentence(entries: Sequence[Entry], question: Mapping[str, Any]) -> str:
    sentences = (e.regularised.run.record.sentence for e in entries if alike(e.pair.question, question))
    return plain(next(filter(None, sentences), None) or _in_words(question), 400)


def _in_words(question: Mapping[str, Any]) -> str:
    """The words for a question whose run has no sentence for it: the names of its parts in the records."""
    region, output = question.get("region", {}), question.get("output", {})
    size = f" of radius {region['radius']}" if "radius" in region else ""
    ends = [region.get("low"), region.get("high")]
    cut = f" cut to [{ends[0]}, {ends[1]}]" if any(end is not None for end in ends) else ""
    measured = " in units of scale" * ("scale" in question) + ", between some inputs alone" * ("measured" in question)
    head = f"{question.get('scope', 'local')} Lipschitz constant of {output.get('kind', 'the network')}"
    return f"{head} over {region.get('kind', 'a region')}{size}{cut}; input distances in l{question.get('p', 'p')}{measured}"


def _entry(entry: Entry, label: str, mixed: bool) -> dict[str, Any]:
    record = entry.regularised.run.record
    has_weight = record.of_training and not (entry.regularised.run.course or isinstance(record, NewerRun))
    return {
        "label": label,
        "id": plain(record.id, 120) or label,
        "trained": entry.pair.of_trainings,
        "seed": record.seed,
        "changed": bool(entry.regularised.run.course),
        "weight": record.weight if has_weight else None,
        "bound": plain(entry.regularised.bound, 60),
        "metric": _metric(entry.pair.metric),
        "against": bound_description(record, entry.regularised.bound),
        "unit": _unit(entry),
        "radius": finite(radius_in_units(entry.pair.question)),
        "transfer": [{"epoch": epoch, **_transfer(c.movement.transfer)} for epoch, c in entry.comparisons.items()],
        "calibratedTransfer": [
            {"epoch": epoch, **_transfer(c.calibrated.with_noise.transfer)} for epoch, c in entry.comparisons.items()
        ],
        "moves": {epoch: _point_transfers(comparison) for epoch, comparison in entry.comparisons.items()},
        "row": {name: cell._asdict() for name, cell in _row(entry, mixed).items()},
    }


def _unit(entry: Entry) -> str | None:
    """The unit of constants that are multiplied by T, in words; None where T is defined at no epoch of a side."""
    calibrated = [figures for side in entry.sides for figures in side.trajectory if figures.calibrated is not None]
    if not calibrated:
        return None
    return "in standard deviations" if task(*calibrated) == VALUES else "per unit of calibrated output"


def _metric(metric: Metric | None) -> dict[str, Any] | None:
    """The title of the metric in the charts, and whether they show it as per cent."""
    return None if metric is None else {"title": plain(metric.title, 60), "share": metric.share}


def _transfer(interval: Interval | None) -> dict[str, Any]:
    ends = {} if interval is None else {"lower": interval.lower, "upper": interval.upper}
    return {end: finite(ends.get(end)) for end in ("lower", "upper")} | {"words": share_between(interval)}


def _point_transfers(comparison: Comparison) -> dict[int, dict[str, Any]]:
    """The transfer at each compared point."""
    points = zip(comparison.regularised.points, comparison.movements, strict=True)
    return {p.point: _share(moved.transfer)._asdict() for p, moved in points}


def _row(entry: Entry, mixed: bool) -> dict[str, TableCell]:
    """The entry's row in the table of runs; mixed metrics with their names."""
    last, figures, metric = entry.last, entry.figures, entry.pair.metric
    if figures is None:
        return {}
    name = f"{plain(metric.title, 60)} " if mixed and metric is not None else ""
    bound, truth, share = (last.movement.bound, last.movement.combined, last.movement.transfer) if last else (None,) * 3
    free = last.calibrated.movement if last else None
    worse = " (worse)" if last and last.calibrated.worse and free and free.combined else ""
    twins, ratio = (last.twin.metric, last.margin_ratio) if last else (None, None)
    return {
        "margin": TableCell(
            distance(figures.margin_over_constant, region_radius(figures), short=True),
            _middle(figures.margin_over_constant),
        ),
        "marginRatio": TableCell(between(ratio), _middle(ratio)),
        "calibrated": TableCell(between(figures.calibrated), _middle(figures.calibrated)),
        "calibratedMoved": TableCell(between(free and free.combined) + worse, _middle(free and free.combined)),
        "calibratedTransfer": _share(last.calibrated.with_noise.transfer if last else None),
        "certifiedAccuracy": TableCell(percent_between(figures.certified), _middle(figures.certified)),
        "certifiedClosed": TableCell(percent(figures.certified_closed), figures.certified_closed),
        "attacked": TableCell(percent(figures.attacked), figures.attacked),
        "metric": TableCell(name + measured(metric, figures.metric), figures.metric),
        "twins": TableCell(name + measured(metric, twins), twins),
        "bound": TableCell(at_most(figures.bound), finite(figures.bound)),
        "combined": TableCell(between(figures.combined), _middle(figures.combined)),
        "boundMoved": TableCell(nearest(bound), bound),
        "truthMoved": TableCell(between(truth), _middle(truth)),
        "transfer": _share(share),
        "certified": TableCell(percent(figures.share_exact), figures.share_exact),
    }


def _sides(
    shown: Mapping[_Place, Side],
    roles: Mapping[_Place, str],
    rows: Mapping[int, int],
    on_progress: ProgressCallback | None,
) -> list[dict[str, Any]]:
    sides = []
    for number, (place, side) in enumerate(shown.items()):
        if on_progress is not None:
            on_progress("putting the page together", number, len(shown))
        sides.append(_side(side, rows) | {"role": roles[place]})
    return sides


def _side(side: Side, rows: Mapping[int, int]) -> dict[str, Any]:
    return {
        "name": shortened(side.run.label, 80),
        "file": plain(side.run.source, 300),
        "course": [_means(figures) for figures in side.trajectory],
        "metric": [{"epoch": epoch, "value": value} for epoch, value in sorted(side.metric.items())],
        "points": {
            epoch: [_point(p) | {"row": rows.get(id(p.record))} for p in points.values()]
            for epoch, points in side.points.items()
            if points
        },
    }


def _means(figures: RunFigures) -> dict[str, Any]:
    sizes = {"bound": figures.bound, "LP": figures.lp, "lower": figures.combined.lower, "upper": figures.combined.upper}
    margin = figures.margin_over_constant
    sizes |= {"marginLower": margin and margin.lower, "marginUpper": margin and margin.upper}
    told, known = figures.calibration, {name: finite(size) for name, size in sizes.items()}
    known |= {"metric": figures.metric, "factor": None if told is None else told.factor}
    return {"epoch": figures.epoch, **known, "why": why_undefined(told)}


def _point(p: PointFigures) -> dict[str, Any]:
    sizes = {"bound": p.bound, "LP": p.lp, "lower": p.combined.lower, "upper": p.combined.upper, "radius": p.radius}
    margin = p.margin_over_constant
    sizes |= {"margin": None if margin is None else margin.lower}
    words = {name: plain(getattr(p.record, name), 120) for name in ("certificate", "status", "functional")}
    words |= {"marginWords": certified_distance(margin)}
    words |= {"certified": _certified(p), "attacked": _attacked(p.record.attacked)}
    identity = {"point": p.point, "label": p.record.label, "correct": p.record.correct}
    return identity | {name: finite(size) for name, size in sizes.items()} | words


def _attacked(class_lost: bool | None) -> str | None:
    return None if class_lost is None else "class lost" if class_lost else "class kept"


def _certified(p: PointFigures) -> str | None:
    """Whether the constant proves the class over the whole region."""
    if p.certified is None:
        return None
    by_combined, possible, _ = p.certified
    return "yes" if by_combined else "not decided" if possible else "no"


def _rows(sides: Sequence[Side]) -> list[tuple[int, AuditRecord]]:
    """Every audit record with the number of its side, each once; their places are the rows of the page."""
    owners: dict[int, int] = {}
    return [
        (number, record)
        for number, side in enumerate(sides)
        for record in side.run.audits
        if owners.setdefault(id(record), number) == number
    ]


def _records(rows: Sequence[tuple[int, AuditRecord]], runs: Sequence[RecordedRun]) -> dict[str, Any]:
    """All audit records by column; texts are numbers into ``strings``, because most of them are there many times."""
    strings: dict[str, int] = {}
    return {
        "sides": [number for number, _ in rows],
        "plain": {name: [finite(getattr(record, name)) for _, record in rows] for name in _PLAIN},
        "texts": {
            name: [strings.setdefault(plain(getattr(record, name), 600), len(strings)) for _, record in rows]
            for name in _TEXTS
        }
        | {"checked": [strings.setdefault(_proof(runs[n], r), len(strings)) for n, r in rows]},
        "strings": list(strings),
    }


def _proof(run: RecordedRun, record: AuditRecord) -> str:
    """The name of a record's certificate, and how it was checked; empty without one."""
    if not record.certificate_file:
        return ""
    words = checked_words(run, record)
    return plain(f"{words or 'not checked'}: {record.certificate_file}", 200)


def _share(interval: Interval | None) -> TableCell:
    return TableCell(share_between(interval), _middle(interval))


def _middle(interval: Interval | None) -> float | None:
    return None if interval is None else finite(interval.midpoint)
