"""The settings of the report: what all runs share, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lipreg.plain import flatten
from lipreg.records import NewerRun
from lipreg.reporting.markup import folded, table
from lipreg.reporting.penalised import NEWER, other_settings, penalty_settings
from lipreg.reporting.provenance import essentials
from lipreg.reporting.runs import Entry
from lipreg.runs import RecordedRun
from lipreg.words import written


def settings_tables(entries: Sequence[Entry]) -> str:
    """The tables of settings: first those that all runs share, then those that differ, by entry."""
    runs = [entry.regularised.run for entry in entries]
    flat = [essentials(run) | _settings(run) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    shared = [(k, flat[0][k]) for k in keys if k in flat[0] and len({s.get(k) for s in flat}) == 1]
    parts = [f'<div class="scroll settings">{table(("setting", "value"), shared)}</div>']
    differing = [k for k in keys if len({s.get(k) for s in flat}) > 1]
    first_keys = {tuple(s.get(k) for s in flat): k for k in reversed(differing)}  # a seed is written in many places
    differing = [k for k in differing if k in first_keys.values()]
    if differing:
        rows = [(e.label, *(s.get(k, "") for k in differing)) for e, s in zip(entries, flat, strict=True)]
        told_apart = f'<div class="scroll settings differ">{table(("run", *differing), rows)}</div>'
        parts.append(f"<h3>Where the runs differ</h3>{folded(told_apart, len(rows), 'run')}")
    return "".join(parts)


def _settings(run: RecordedRun) -> dict[str, str]:
    record = run.record
    weight = run.course or written(record.weight)
    recorded: dict[str, Any] = {"run": record.run, "seed": record.seed, "weight": weight, "bound": record.bound}
    if isinstance(record, NewerRun):
        recorded = {"run": record.run, "weight": NEWER}
    recorded |= penalty_settings(record) | ({"weight": run.course} if run.course else {})
    settings = other_settings(record)
    recorded |= {"question": run.audits[-1].question if run.audits else record.question, "settings": settings}
    if run.audits:
        recorded |= {"weights": run.audits[-1].fingerprint, "versions": run.audits[-1].versions}
    return flatten(recorded)
