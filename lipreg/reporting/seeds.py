"""Runs that differ in their seed alone, put together: means over seeds, with the span of the single runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lipreg.reporting.runs import Entry
from lipreg.reporting.wording import MISSING, rounded
from lipreg.transfer import Comparison
from lipreg.transfer.comparison import mean

COLUMNS: tuple[tuple[str, Callable[[Comparison], float | None]], ...] = (
    ("accuracy", lambda c: c.regularised.accuracy),
    ("accuracy of twins", lambda c: c.twin.accuracy),
    ("mean bound", lambda c: c.regularised.bound),
    ("exact", lambda c: c.regularised.exact.midpoint),
    ("bound moved", lambda c: c.movement.bound),
    ("truth moved", lambda c: c.movement.exact and c.movement.exact.midpoint),
    ("transfer", lambda c: c.movement.transfer and c.movement.transfer.midpoint),
)
"""What is averaged; of certified intervals the middle, so these are no bounds."""


def seed_groups(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The groups of compared runs with at least two seeds: name, question, and (text, mean) for each of ``COLUMNS``."""
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
            "cells": [_cell([read(c) for c in members], title) for title, read in COLUMNS],
        }
        for (question, name, bound), members in groups.items()
        if len(members) > 1
    ]


def _cell(values: Sequence[float | None], title: str) -> tuple[str, float | None]:
    known = [v for v in values if v is not None and abs(v) != float("inf")]
    if len(known) < len(values):
        return MISSING, None
    show = (lambda v: f"{v:.1%}") if title.startswith("accuracy") else rounded
    return f"{show(mean(known))}\n{show(min(known))} to {show(max(known))}", mean(known)
