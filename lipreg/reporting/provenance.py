"""Where the runs of a page come from: when, with what software and by which command; and the settings that matter first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lipreg.plain import flatten
from lipreg.records import NewerRun, RunRecord
from lipreg.reporting.penalised import NEWER, details, in_words
from lipreg.runs import RecordedRun
from lipreg.words import counted, written

NOT_RECORDED = "not recorded"
_RATES = ("lr", "learning_rate")


def provenance(runs: Sequence[RecordedRun], shown: str) -> dict[str, str]:
    """What the head of the page says of its runs, by what it is called; what records do not hold is said to be missing.

    Args:
        runs: every run of the page, twins too.
        shown: what the page is about, in words.
    """
    started = sorted({run.record.started for run in runs if run.record.started})
    told = {"runs" if len(runs) > 2 else "run": shown, "date": _dates(started)}
    recorded = [run.record.versions for run in runs if run.record.versions]
    told["versions"] = _each(runs, lambda run: ", ".join(f"{k} {v}" for k, v in _versions(run, recorded).items()))
    told["command"] = _each(runs, lambda run: run.record.command)
    told["commit"] = _each(runs, lambda run: _commit(run.record))
    return told


def _commit(record: RunRecord) -> str:
    """A commit as git prints it, and whether what ran was more than that."""
    beyond = {True: ", with changes that are not committed", False: "", None: " (whether it was changed is not known)"}
    return record.commit[:12] + beyond[record.changed] if record.commit else ""


def essentials(run: RecordedRun) -> dict[str, str]:
    """Penalty, model, data, learning rate and epochs of a run, each in a line; what is not recorded is said to be so."""
    settings, newer = run.record.settings, isinstance(run.record, NewerRun)
    flat = flatten(settings)
    found = {
        "what is penalised": ", ".join([in_words(run.record), *(f"{k} {v}" for k, v in details(run.record).items())]),
        "model": _in_a_line(settings.get("model")),
        "data": _in_a_line(settings.get("data")),
        "learning rate": ", ".join(dict.fromkeys(v for k, v in flat.items() if k.rpartition(".")[2] in _RATES)),
        "epochs": next((v for k, v in flat.items() if k.rpartition(".")[2] == "max_epochs"), "") or _epochs(run),
    }
    found["what is penalised"] = NEWER if newer else found["what is penalised"]
    if not found["what is penalised"].strip(", "):
        weight = written(run.record.weight)
        found["what is penalised"] = f"{run.record.bound}, weight {weight}" if run.record.bound else "none"
    return {name: words.strip(", ") or (NEWER if newer else NOT_RECORDED) for name, words in found.items()}


def _epochs(run: RecordedRun) -> str:
    """So many as were recorded, which is not what was asked for."""
    last = max((record.epoch for record in (*run.epochs, *run.audits)), default=0)
    return f"{last} recorded" if last and run.record.of_training else ""


def _versions(run: RecordedRun, recorded: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """Those that trained it; where they are not recorded those that audited it, unless others of the page say as much."""
    if run.record.versions or not run.audits:
        return run.record.versions
    own = run.audits[-1].versions
    return {} if any(all(own.get(k, v) == v for k, v in others.items()) for others in recorded) else own


def _each(runs: Sequence[RecordedRun], read: Callable[[RecordedRun], str]) -> str:
    """What all runs say; of several the first and how many others there are."""
    told = list(dict.fromkeys(map(read, runs)))
    known = [words for words in told if words]
    if not known:
        return NOT_RECORDED
    others = f"; {counted(len(known) - 1, 'other')} among the runs" if len(known) > 1 else ""
    return known[0] + others + (f"; of some runs {NOT_RECORDED}" if len(known) < len(told) else "")


def _dates(started: Sequence[str]) -> str:
    """When the runs began, in UTC: the first, and the last."""
    if not started:
        return NOT_RECORDED
    days = [_time(when) for when in dict.fromkeys((started[0], started[-1]))]
    return f"{' to '.join(days)} UTC"


def _time(when: str) -> str:
    return when.replace("T", " ")[:16]


def _in_a_line(settings: Any) -> str:
    """Nested settings on one line; the class of what is made first, by its name alone."""
    if not settings:
        return ""
    flat = flatten(settings)
    head = flat.pop("_target_", "").rpartition(".")[2]
    rest = ", ".join(f"{name} {words}" if name else words for name, words in flat.items())
    return ": ".join(part for part in (head, rest) if part)
