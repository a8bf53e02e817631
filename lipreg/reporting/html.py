"""The HTML report: one self-contained page about any number of runs and their twins, made from saved records alone."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

from lipreg.disks import FullDisk
from lipreg.errors import InvalidInput
from lipreg.plain import alike, distinct
from lipreg.records import COMBINED, LeftOut, NewerRun, ProgressCallback, Record, Source, Sources
from lipreg.reporting.checked import certified_words
from lipreg.reporting.derivatives import derivative_section
from lipreg.reporting.markup import Card, cards, folded, text, value
from lipreg.reporting.page_data import as_script, page_data
from lipreg.reporting.population import population_section
from lipreg.reporting.provenance import provenance
from lipreg.reporting.runs import Entry, find_entries
from lipreg.reporting.sections import entry_section
from lipreg.reporting.settings import settings_tables
from lipreg.reporting.witness_views import has_classes
from lipreg.reporting.wording import between, percent, share_between
from lipreg.runs import RecordedRun, run_key
from lipreg.transfer import Comparison, Interval, compare_pair, find_pair, median_of
from lipreg.whole_files import write_whole
from lipreg.words import capitalised, counted, listed, size

_SCRIPTS = (
    "plot.js",
    "charts.js",
    "many.js",
    "csv.js",
    "table.js",
    "link.js",
    "facets.js",
    "beside.js",
    "points.js",
    "report.js",
)


_NAMED = 5
"""The number of things left out of a report that are named at once; the others are a click away."""


def write_report(records: Sequence[Record], path: str | Path, run: str, metric: str | None = None) -> Path:
    """Writes the report of a regularised run and its twin.

    Args:
        records: of both runs; others are ignored.
        path: the HTML file; its folder is made.
        run: the regularised run; its ``RunRecord`` names the twin and the bound.
        metric: name of the logged metric to show; see ``lipreg.transfer.compare``.

    Returns:
        The path of the file.

    Raises:
        InvalidInput: no such run, no twin, no point audited in both runs, or a path that cannot be written.
        IncomparableResults: the records answer different questions, or a point has another functional in the twin.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    pair = find_pair(records, run)
    compare_pair(pair)  # refuses what has nothing to show
    both = {side.run.key for side in pair.sides}
    of_both = tuple(r for r in records if run_key(r) in both)
    return write_runs_report(Sources((Source("records.jsonl", of_both),)), path, metric)


def write_runs_report(
    sources: Sources, path: str | Path, metric: str | None = None, on_progress: ProgressCallback | None = None
) -> Path:
    """Writes the report of all runs in some record files, each beside its twin (``lipreg.reporting.runs``).

    The page loads nothing from elsewhere, runs no script but its own, and shows every text from the records as text.
    The same records give the same page, byte for byte.

    Args:
        sources: the record files.
        path: the HTML file; its folder is made.
        metric: name of the logged metric to show; None takes that of each run's record, else what fits.
        on_progress: called as the work goes on.

    Returns:
        The path of the file.

    Raises:
        InvalidInput: nothing was audited, no run logged that metric, or a path that cannot be written.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    entries, unusable = find_entries(sources.files, metric, on_progress)
    if not entries:
        reasons = listed([f"{name}: {reason}" for name, reason in unusable])
        raise InvalidInput(
            "nothing to show: no run was audited, or the records of none fit together"
            + (f" ({reasons})" if reasons else ""),
            where="report",
            accepted="records with audits of a bound and 'combined'",
        )
    path = Path(path)
    page = _page(entries, sources, unusable, on_progress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page.encode())
    except FullDisk as full:
        needs = f"The page needs {size(len(page.encode()))}"
        full.todo = f"{needs}: make room there, or choose another folder; no record is lost"
        raise
    except OSError as error:
        raise InvalidInput(
            f"cannot write {path}: {error.strerror or error}",
            where="report",
            accepted="the name of a file",
            todo="Choose a folder that can be written",
        ) from None
    return path


def _page(entries: list[Entry], sources: Sources, unusable: list[LeftOut], on_progress: ProgressCallback | None) -> str:
    data, script = page_data(entries, on_progress), _script()
    single = entries[0] if len(entries) == 1 else None
    title = counted(len(_shown(entries)), "run")
    if single is not None:
        title = " against ".join(side.run.label for side in single.sides)
    questions = [question.rstrip(".") for question in data["questions"]]
    first = (
        questions[0]
        if len(questions) == 1
        else f"{len(questions)} questions, each compared on its own: {'; '.join(questions)}"
    )
    all_statuses = sorted({r.status for run in _shown(entries) for r in run.audits})
    unknown = "Written by another version of lipreg."
    return Template(_asset("page.html")).substitute(
        hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        title=text(title),
        style=_asset("style.css"),
        heading=_heading(entries),
        question=text(f"{capitalised(first)}." if first else ""),
        facts=_facts(entries, title),
        trouble=_trouble([*sources.left_out, *unusable]),
        overview="" if single is None else " hidden",
        totals=_totals(entries),
        derivatives=derivative_section(sources.files),
        populations=population_section(sources.files),
        entries="".join(entry_section(entry, i) for i, entry in enumerate(entries)),
        statuses="\n".join(
            f"<dt>{text(s)}</dt><dd>{text(data['statuses'].get(s, unknown))}</dd>" for s in all_statuses
        ),
        settings=settings_tables(entries),
        files=_files(sources.files),
        classes=" and the classes" if has_classes(data["beside"]) else "",
        data=as_script(data),
        script=script,
    )


def _files(files: Sequence[Source]) -> str:
    """The list of the record files, and how many records of each were read; lines that were left out do not count."""
    kept = [(file.name, sum(not isinstance(record, NewerRun) for record in file.records)) for file in files]
    read = "".join(f"<li>{text(name)}, {counted(records, 'record')}</li>" for name, records in kept)
    return folded(f'<ul class="files">{read}</ul>', len(files), "file")


def _heading(entries: Sequence[Entry]) -> str:
    """The heading of the page: the question that it answers, by what there is to compare."""
    trained = {entry.pair.of_trainings for entry in entries if entry.last is not None}
    if not trained:
        return "How steep is the network, really?"
    return "Did the penalty move the truth?" if True in trained else "How far did the truth move?"


def _facts(entries: Sequence[Entry], title: str) -> str:
    """The list of the facts on where the runs come from."""
    facts = provenance(_shown(entries), title)
    return "".join(f"<div><dt>{capitalised(name)}</dt><dd>{text(words)}</dd></div>" for name, words in facts.items())


def _totals(entries: Sequence[Entry]) -> str:
    """The cards over all entries: how many, how certain; and the medians of each question, of which the page shows one."""
    runs = _shown(entries)
    compared = [entry.last for entry in entries if entry.last is not None]
    whole = [r for run in runs for r in run.audits if r.estimator == COMBINED]
    audits, proofs = [r.is_exact for r in whole], certified_words(runs, whole)
    early = sum(not last.at_the_end for last in compared)
    trained = [last for last in compared if last.epoch is not None]
    doubtful = sum(bool(last.likeness.doubts) for last in trained)
    kind = f"; {doubtful} of the twins differ in more than the penalty, or are not known not to" if doubtful else ""
    kind = kind or (" of the same seed and initial weights" if trained else "")
    kind += f"; {early} not at the last epoch of both" if early else ""
    intervals, of = counted(len(audits), "interval"), f"{len(compared):,}" if compared else "None"
    first = [
        Card("Runs", value(f"{len(runs):,}"), f"{of} of them compared with a twin{kind}."),
        Card(
            "Certified exact",
            value(percent(statistics.fmean(audits) if audits else None)),
            f"Of {intervals}, over all runs, epochs and points. {proofs}".rstrip(),
        ),
    ]
    questions = distinct(entry.pair.question for entry in entries)
    if len(questions) == 1:
        return cards(*first, *_medians(compared))
    by_question = ([e.last for e in entries if e.last is not None and alike(e.pair.question, q)] for q in questions)
    each = (cards(*_medians(of_question, " of this question")) for of_question in by_question)
    return cards(*first) + "".join(f'<div class="of-question" hidden>{shown}</div>' for shown in each)


def _medians(compared: Sequence[Comparison], where: str = "") -> list[Card]:
    """The cards of the medians over the compared runs of one question."""
    ratios = [last.margin_ratio for last in compared]
    margins = _median("Margin over constant / twin's, median", ratios, where, between)
    return [
        *(margins if any(ratio is not None for ratio in ratios) else []),
        *_median("Calibrated transfer, median", [last.calibrated.with_noise.transfer for last in compared], where),
        *_median("Raw transfer, median", [last.movement.transfer for last in compared], where),
    ]


def _median(
    head: str, intervals: Iterable[Interval | None], where: str, words: Callable[[Interval], str] = share_between
) -> list[Card]:
    """The card of the median over the compared runs for which an interval is defined."""
    compared = list(intervals)
    defined = [interval for interval in compared if interval is not None]
    if not defined:
        return [Card(head, value("undefined"), f"Of no run{where}; each says why.")]
    span = Interval(min(one.lower for one in defined), max(one.upper for one in defined))
    which = "the compared runs" if len(defined) == len(compared) else f"{len(defined)} of {len(compared)} compared runs"
    over = f"Over {which}{where}; all lie in" if len(defined) > 1 else f"Of one compared run{where}:"
    return [Card(head, value(words(median_of(defined))), f"{over} {words(span)}.")]


def _shown(entries: Iterable[Entry]) -> list[RecordedRun]:
    """Every run of the page once, twins too: several entries may share one."""
    return list({(side.run.source, side.run.key): side.run for entry in entries for side in entry.sides}.values())


def _trouble(trouble: Sequence[LeftOut]) -> str:
    if not trouble:
        return ""
    items = [f"<li>{text(name)}: {text(reason)}</li>" for name, reason in trouble]
    first, others = f"<ul>{''.join(items[:_NAMED])}</ul>", items[_NAMED:]
    more = f"<details><summary>{len(others):,} more</summary><ul>{''.join(others)}</ul></details>" if others else ""
    return f'<div class="notice"><strong>Not in this report</strong>{first}{more}</div>'


def _script() -> str:
    return '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in _SCRIPTS) + "\n})();\n"


@cache
def _asset(name: str) -> str:
    return (files("lipreg.reporting") / "assets" / name).read_text(encoding="utf-8")
