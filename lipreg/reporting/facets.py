"""The settings in which the runs of a page vary, for one chart for each of their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lipreg.plain import flatten
from lipreg.reporting.penalised import other_settings, quantities
from lipreg.reporting.runs import Entry
from lipreg.words import plain, written

MOST = 40
"""The most values of a setting that makes charts: more would give nearly every run one of its own."""


def facets(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The values of each setting that varies, by its name, in the order of the entries; empty texts where a run has none.

    Settings that vary alike, as a seed that stands in many places, are there once, by the shortest name.
    """
    settings = [_settings(entry) for entry in entries]
    names = sorted(
        dict.fromkeys(name for one in settings for name in one), key=lambda name: (name.count("."), len(name))
    )
    by_name: dict[str, list[str]] = {}
    seen: set[tuple[int, ...]] = set()
    for name in names:
        values = [plain(one.get(name, ""), 60) for one in settings]
        distinct = list(dict.fromkeys(values))
        alike = tuple(map(distinct.index, values)) if 1 < len(distinct) <= MOST else ()
        if alike and alike not in seen:
            seen.add(alike)
            by_name[plain(name, 60)] = values
    return by_name


def _settings(entry: Entry) -> dict[str, str]:
    record = entry.regularised.run.record
    settings: dict[str, Any] = {
        "weight": entry.regularised.run.course or (written(record.weight) if record.of_training else None),
        "seed": record.seed,
        "bound": entry.regularised.bound,
        "penalised": quantities(record),
    }
    return flatten(settings | other_settings(record))
