"""What entries of a report are called: by what was penalised, weight, seed, and the settings in which the runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lipreg.reporting.penalised import details, in_words, other_settings, quantities, told_elsewhere
from lipreg.runs import RecordedRun


class Label(NamedTuple):
    """``Entry.label`` and ``Entry.group``."""

    text: str
    group: str


def labels(runs: Sequence[RecordedRun]) -> list[Label]:
    """Quantity, weight and seed, and the settings in which the runs differ; a group's runs differ in the seed alone.

    The file is named where that does not tell two runs apart, and the id where they lie in one file.
    """
    flat = list(map(_settings, runs))
    for name in ("options", "beside"):  # those of one quantity say nothing beside those of another
        known: dict[str, set[str | None]] = {}
        for run, settings in zip(runs, flat, strict=True):
            known.setdefault(quantities(run.record), set()).add(settings.get(name))
        for run, settings in zip(runs, flat, strict=True):
            if len(known[quantities(run.record)]) == 1:
                settings.pop(name, None)
    keys = dict.fromkeys(key for settings in flat for key in settings)
    told = {key: {settings.get(key) for settings in flat} for key in keys}
    for key in dict.fromkeys(key for run in runs for key in details(run.record)) & keys.keys():
        told[key].discard(None)  # a run without a penalty needs no word on how others were penalised
    differing = [key for key in keys if len(told[key]) > 1 and not _told(key)]
    ends = [key.rpartition(".")[2] for key in differing]
    short = {key: end if ends.count(end) == 1 else key for key, end in zip(differing, ends, strict=True)}
    bounds = {run.record.bound for run in runs if run.record.bound is not None}
    found = []
    for run, settings in zip(runs, flat, strict=True):
        heads = [_head(run, bounds, found=known) for known in (True, False)]
        rest = [f"{short[key]} {settings[key]}" for key in differing if key in settings]
        seed = [] if run.record.seed is None else [f"seed {run.record.seed}"]
        found.append(Label(", ".join([heads[0], *seed, *rest]), ", ".join([heads[1], *rest])))
    texts = [label.text for label in found]
    places = [(label.text, run.source) for label, run in zip(found, runs, strict=True)]
    for i, (label, run) in enumerate(zip(found, runs, strict=True)):
        if texts.count(label.text) > 1:
            mark = f", id {run.record.id[:8]}" if places.count(places[i]) > 1 and run.record.id else ""
            found[i] = label._replace(text=f"{label.text} ({run.source}{mark})")
    return found


def flatten(settings: Any, name: str = "") -> dict[str, str]:
    """Nested settings in words, by dotted name; those in a list by their number."""
    if isinstance(settings, list | tuple) and any(isinstance(each, Mapping) for each in settings):
        settings = {str(i): each for i, each in enumerate(settings, 1)}
    if not isinstance(settings, Mapping):
        return {name: str(settings)}
    found: dict[str, str] = {}
    for key, inner in settings.items():
        found |= flatten(inner, f"{name}.{key}" if name else str(key))
    return found


def _head(run: RecordedRun, bounds: set[str], found: bool) -> str:
    """What was penalised, and the weight; of other runs their name."""
    record, said = run.record, in_words(run.record, found)
    if record.bound is None and not run.penalised and not said:
        return run.label
    head = run.course or f"weight {record.weight:g}"
    if said:
        named = quantities(record) in run.course  # a course says what was penalised where that was changed
        head = said if not run.course else run.course if named else f"{quantities(record)}, {run.course}"
    if len(bounds) > 1 and str(record.bound) not in head:
        head = f"{head}, held against {record.bound}" if said else f"{record.bound}, {head}"
    return head


def _settings(run: RecordedRun) -> dict[str, str]:
    """The settings and, where the record tells it, how was penalised, by name."""
    own = map(_by_class, flatten(other_settings(run.record)).items())
    return {key: value for key, value in own if not told_elsewhere(run.record, key)} | details(run.record)


def _told(key: str) -> bool:
    """Whether a label says it anyway, or it does not matter to training and audit."""
    return key.endswith("seed") or key in ("regularizer.weight", "regularizer.bound") or key.startswith("logger.")


def _by_class(setting: tuple[str, str]) -> tuple[str, str]:
    """An object of a configuration by its class alone: "penalty Hinge"."""
    key, value = setting
    return (key.removesuffix("._target_"), value.rpartition(".")[2]) if key.endswith("._target_") else setting
