"""The settings in which the runs of a page vary, for one chart for each of their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lipreg.plain import flatten
from lipreg.reporting.penalised import other_settings, quantities
from lipreg.reporting.runs import Entry
from lipreg.words import plain, written

MOST = 40
"""Settings of more values than this tell nearly every run apart, and make no charts."""


def facets(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """By the name of a setting its value for each entry, in the order of the entries; empty where a run has none.

    Settings that say the same of the runs, as a seed that stands in many places, are there once, by the shortest name.
    """
    told = [_settings(entry) for entry in entries]
    names = sorted(dict.fromkeys(name for one in told for name in one), key=lambda name: (name.count("."), len(name)))
    found: dict[str, list[str]] = {}
    seen: set[tuple[int, ...]] = set()
    for name in names:
        values = [plain(one.get(name, ""), 60) for one in told]
        distinct = list(dict.fromkeys(values))
        alike = tuple(map(distinct.index, values)) if 1 < len(distinct) <= MOST else ()
        if alike and alike not in seen:
            seen.add(alike)
            found[plain(name, 60)] = values
    return found


def _settings(entry: Entry) -> dict[str, str]:
    record = entry.mine.run.record
    told: dict[str, Any] = {
        "weight": entry.mine.run.course or (written(record.weight) if record.of_training else None),
        "seed": record.seed,
        "bound": entry.mine.bound,
        "penalised": quantities(record),
    }
    return flatten(told | other_settings(record))
