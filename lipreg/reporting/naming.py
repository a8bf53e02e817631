"""What entries of a report are called: by what was penalised, weight, seed, and the settings in which the runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lipreg.plain import flatten
from lipreg.records import NewerRun
from lipreg.reporting.penalised import details, in_words, other_settings, quantities, told_elsewhere
from lipreg.runs import RecordedRun
from lipreg.words import written


class Label(NamedTuple):
    """``Entry.label`` and ``Entry.group``."""

    text: str
    group: str


def labels(runs: Sequence[RecordedRun]) -> list[Label]:
    """Quantity, weight and seed, and the settings in which the runs differ; a group's runs differ in the seed alone.

    Where that does not tell two runs apart their names do, else what differs of their files, and the id in one file.
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
    return _told_apart(found, runs)


def _told_apart(found: Sequence[Label], runs: Sequence[RecordedRun]) -> list[Label]:
    """Labels of which no two are the same: the run's name is added where that is enough, else what differs of its file."""
    alike: dict[str, list[int]] = {}
    for i, label in enumerate(found):
        alike.setdefault(label.text, []).append(i)
    apart = list(found)
    for text, places in alike.items():
        if len(places) < 2:
            continue
        names, files = [runs[i].label for i in places], [runs[i].source for i in places]
        marks = names if len(set(names)) == len(names) and text not in names else what_differs(files)
        for i, mark in zip(places, marks, strict=True):
            known = f", id {runs[i].record.id[:8]}" if marks.count(mark) > 1 and runs[i].record.id else ""
            apart[i] = found[i]._replace(text=f"{text} ({mark}{known})")
    return apart


def what_differs(files: Sequence[str]) -> list[str]:
    """The parts of paths from the first to the last in which they differ; the whole path where that is nothing."""
    parts = [file.split("/") for file in files]
    least = min(map(len, parts))
    same = [len({part[i] for part in parts}) == 1 for i in range(least)]
    begin = same.index(False) if False in same else least
    tails = [len({part[-i] for part in parts}) == 1 for i in range(1, least - begin + 1)]
    end = tails.index(False) if False in tails else least - begin
    return ["/".join(part[begin : len(part) - end]) or file for part, file in zip(parts, files, strict=True)]


def _head(run: RecordedRun, bounds: set[str], found: bool) -> str:
    """What was penalised, and the weight; of other runs their name."""
    record, said = run.record, in_words(run.record, found)
    if not record.of_training or (record.bound is None and not run.penalised and not said):
        return run.label
    if isinstance(record, NewerRun):
        return f"{run.label}, {said}"
    head = run.course or f"weight {written(record.weight)}"
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
