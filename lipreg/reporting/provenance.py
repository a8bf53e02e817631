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
    """The facts on a page's runs for its head, by their names; those that no record has are called not recorded.

    Args:
        runs: every run of the page, twins too.
        shown: what the page is about, in words.
    """
    started = sorted({run.record.started for run in runs if run.record.started})
    facts = {"runs" if len(runs) > 2 else "run": shown, "date": _dates(started)}
    recorded = [run.record.versions for run in runs if run.record.versions]
    facts["versions"] = _each(runs, lambda run: ", ".join(f"{k} {v}" for k, v in _versions(run, recorded).items()))
    facts["command"] = _each(runs, lambda run: run.record.command)
    facts["commit"] = _each(runs, lambda run: _commit(run.record))
    return facts


def _commit(record: RunRecord) -> str:
    """A commit as git prints it, and whether there were changes beyond it."""
    beyond = {True: ", with changes that are not committed", False: "", None: " (whether it was changed is not known)"}
    return record.commit[:12] + beyond[record.changed] if record.commit else ""


def essentials(run: RecordedRun) -> dict[str, str]:
    """Penalty, model, data, learning rate and epochs of a run, each in a line, or that it is not recorded."""
    settings, newer = run.record.settings, isinstance(run.record, NewerRun)
    flat = flatten(settings)
    lines = {
        "what is penalised": ", ".join([in_words(run.record), *(f"{k} {v}" for k, v in details(run.record).items())]),
        "model": _in_a_line(settings.get("model")),
        "data": _in_a_line(settings.get("data")),
        "learning rate": ", ".join(dict.fromkeys(v for k, v in flat.items() if k.rpartition(".")[2] in _RATES)),
        "epochs": next((v for k, v in flat.items() if k.rpartition(".")[2] == "max_epochs"), "") or _epochs(run),
    }
    lines["what is penalised"] = NEWER if newer else lines["what is penalised"]
    if not lines["what is penalised"].strip(", "):
        weight = written(run.record.weight)
        lines["what is penalised"] = f"{run.record.bound}, weight {weight}" if run.record.bound else "none"
    return {name: words.strip(", ") or (NEWER if newer else NOT_RECORDED) for name, words in lines.items()}


def _epochs(run: RecordedRun) -> str:
    """The number of recorded epochs, where the largest number of epochs is not among the settings."""
    last = max((record.epoch for record in (*run.epochs, *run.audits)), default=0)
    return f"{last} recorded" if last and run.record.of_training else ""


def _versions(run: RecordedRun, recorded: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """The versions that trained a run; where they are not recorded those that audited it, unless they are another run's."""
    if run.record.versions or not run.audits:
        return run.record.versions
    audited_with = run.audits[-1].versions
    return (
        {} if any(all(audited_with.get(k, v) == v for k, v in others.items()) for others in recorded) else audited_with
    )


def _each(runs: Sequence[RecordedRun], read: Callable[[RecordedRun], str]) -> str:
    """The text that all runs share; of several the first and how many others there are."""
    texts = list(dict.fromkeys(map(read, runs)))
    recorded = [words for words in texts if words]
    if not recorded:
        return NOT_RECORDED
    others = f"; {counted(len(recorded) - 1, 'other')} among the runs" if len(recorded) > 1 else ""
    return recorded[0] + others + (f"; of some runs {NOT_RECORDED}" if len(recorded) < len(texts) else "")


def _dates(started: Sequence[str]) -> str:
    """The times when the first and the last run began, in UTC."""
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
