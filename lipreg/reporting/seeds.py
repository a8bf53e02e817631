"""Runs that differ in their seed alone, put together: means over seeds, with the span of the single runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lipreg.reporting.runs import Entry
from lipreg.reporting.wording import MISSING, percent, rounded
from lipreg.transfer import Comparison
from lipreg.transfer.comparison import mean

_COLUMNS: tuple[tuple[str, Callable[[Comparison], float | None]], ...] = (
    ("metric", lambda c: c.regularised.metric),
    ("metric of twins", lambda c: c.twin.metric),
    ("mean bound", lambda c: c.regularised.bound),
    ("exact", lambda c: c.regularised.exact.midpoint),
    ("bound moved", lambda c: c.movement.bound),
    ("truth moved", lambda c: c.movement.exact and c.movement.exact.midpoint),
    ("transfer", lambda c: c.movement.transfer and c.movement.transfer.midpoint),
)
"""What is averaged; of certified intervals the middle, so these are no bounds."""


def metric_heading(entries: Sequence[Entry]) -> str:
    """What a column of the entries' own metrics is called: "accuracy", the name that all share, or "metric"."""
    known = [entry.metric for entry in entries if entry.metric is not None]
    names = {metric.title for metric in known}
    if all(metric.share for metric in known):
        return "accuracy"
    return next(iter(names)) if len(names) == 1 else "metric"


def columns(entries: Sequence[Entry]) -> list[str]:
    """The headings of what is averaged."""
    return [title.replace("metric", metric_heading(entries), 1) for title, _ in _COLUMNS]


def seed_groups(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The groups of compared runs with at least two seeds: name, question, and (text, mean) for each of ``columns``."""
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for entry in entries:
        if entry.last is not None and entry.mine.run.record.seed is not None:
            groups.setdefault((entry.mine.run.question, entry.group, entry.bound_name), []).append(entry.last)
    return [
        {
            "question": question,
            "name": name,
            "bound": bound,
            "runs": len(members),
            "cells": [_cell(members, title, read) for title, read in _COLUMNS],
        }
        for (question, name, bound), members in groups.items()
        if len(members) > 1
    ]


def _cell(
    members: Sequence[Comparison], title: str, read: Callable[[Comparison], float | None]
) -> tuple[str, float | None]:
    known = [v for v in map(read, members) if v is not None and abs(v) != float("inf")]
    metrics = {c.metric for c in members} if title.startswith("metric") else set()
    if len(known) < len(members) or len({metric.name for metric in metrics if metric is not None}) > 1:
        return MISSING, None
    share = bool(metrics) and all(metric is not None and metric.share for metric in metrics)
    show = percent if share else rounded
    return f"{show(mean(known))}\n{show(min(known))} to {show(max(known))}", mean(known)
