"""The labels of a report's entries: what was penalised, weight, seed, and the settings in which the runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lipreg.plain import flatten
from lipreg.records import NewerRun
from lipreg.reporting.penalised import details, in_words, is_in_label, other_settings, quantities
from lipreg.runs import RecordedRun
from lipreg.words import written


class EntryLabel(NamedTuple):
    """The label of an entry, and that of the group of entries that differ from it in the seed alone.

    Attributes:
        text: ``Entry.label``.
        group: ``Entry.group``.
    """

    text: str
    group: str


def labels(runs: Sequence[RecordedRun]) -> list[EntryLabel]:
    """The labels of runs: quantity, weight and seed, and the settings in which the runs differ.

    Where two would be the same their names are added, or what differs of their files, and the id in one file.
    """
    flat = list(map(_settings, runs))
    for name in ("options", "beside"):  # those of one quantity say nothing beside those of another
        seen: dict[str, set[str | None]] = {}
        for run, settings in zip(runs, flat, strict=True):
            seen.setdefault(quantities(run.record), set()).add(settings.get(name))
        for run, settings in zip(runs, flat, strict=True):
            if len(seen[quantities(run.record)]) == 1:
                settings.pop(name, None)
    keys = dict.fromkeys(key for settings in flat for key in settings)
    values = {key: {settings.get(key) for settings in flat} for key in keys}
    for key in dict.fromkeys(key for run in runs for key in details(run.record)) & keys.keys():
        values[key].discard(None)  # a run without a penalty needs no word on how others were penalised
    differing = [key for key in keys if len(values[key]) > 1 and not _is_redundant(key)]
    ends = [key.rpartition(".")[2] for key in differing]
    short = {key: end if ends.count(end) == 1 else key for key, end in zip(differing, ends, strict=True)}
    bounds = {run.record.bound for run in runs if run.record.bound is not None}
    entry_labels = []
    for run, settings in zip(runs, flat, strict=True):
        heads = [_head(run, bounds, with_auto_value=with_value) for with_value in (True, False)]
        rest = [f"{short[key]} {settings[key]}" for key in differing if key in settings]
        seed = [] if run.record.seed is None else [f"seed {run.record.seed}"]
        entry_labels.append(EntryLabel(", ".join([heads[0], *seed, *rest]), ", ".join([heads[1], *rest])))
    return _distinct_labels(entry_labels, runs)


def _distinct_labels(plain_labels: Sequence[EntryLabel], runs: Sequence[RecordedRun]) -> list[EntryLabel]:
    """The labels made distinct: with the run's name where that is enough, else with what differs of its file."""
    alike: dict[str, list[int]] = {}
    for i, label in enumerate(plain_labels):
        alike.setdefault(label.text, []).append(i)
    apart = list(plain_labels)
    for text, places in alike.items():
        if len(places) < 2:
            continue
        names, files = [runs[i].label for i in places], [runs[i].source for i in places]
        marks = names if len(set(names)) == len(names) and text not in names else what_differs(files)
        for i, mark in zip(places, marks, strict=True):
            mark_of_id = f", id {runs[i].record.id[:8]}" if marks.count(mark) > 1 and runs[i].record.id else ""
            apart[i] = plain_labels[i]._replace(text=f"{text} ({mark}{mark_of_id})")
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


def _head(run: RecordedRun, bounds: set[str], with_auto_value: bool) -> str:
    """The beginning of a label: what was penalised, and the weight; of other runs their name."""
    record, penalty = run.record, in_words(run.record, with_auto_value)
    if not record.of_training or (record.bound is None and not run.penalised and not penalty):
        return run.label
    if isinstance(record, NewerRun):
        return f"{run.label}, {penalty}"
    head = run.course or f"weight {written(record.weight)}"
    if penalty:
        named = quantities(record) in run.course  # a course says what was penalised where that was changed
        head = penalty if not run.course else run.course if named else f"{quantities(record)}, {run.course}"
    if len(bounds) > 1 and str(record.bound) not in head:
        head = f"{head}, compared with {record.bound}" if penalty else f"{record.bound}, {head}"
    return head


def _settings(run: RecordedRun) -> dict[str, str]:
    """The settings by name and, where the record has it, how the run was penalised."""
    settings = map(_by_class, flatten(other_settings(run.record)).items())
    return {key: value for key, value in settings if not is_in_label(run.record, key)} | details(run.record)


def _is_redundant(key: str) -> bool:
    """Whether a setting is in every label anyway, or does not matter to training and audit."""
    return key.endswith("seed") or key in ("regularizer.weight", "regularizer.bound") or key.startswith("logger.")


def _by_class(setting: tuple[str, str]) -> tuple[str, str]:
    """A setting, where an object of a configuration is given by its class alone: "penalty Hinge"."""
    key, value = setting
    return (key.removesuffix("._target_"), value.rpartition(".")[2]) if key.endswith("._target_") else setting
