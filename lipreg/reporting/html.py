"""The HTML report: one self-contained page about any number of runs and their twins, made from saved records alone."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

from lipreg.errors import InvalidInput
from lipreg.records import Record
from lipreg.reporting.glossary import CERTIFICATES, TERMS
from lipreg.reporting.page_data import as_script, page_data
from lipreg.reporting.runs import Entry, Run, find_entries
from lipreg.reporting.sections import definitions, entry_section, settings_tables, text
from lipreg.reporting.sources import Source, Sources
from lipreg.reporting.wording import counted, percent, share_between
from lipreg.results import Status
from lipreg.runs import run_key
from lipreg.transfer import Interval, compare
from lipreg.transfer.points import regularised_pair

_SCRIPTS = ("plot.js", "charts.js", "table.js", "report.js")


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
    compare(records, run)  # refuses what has nothing to show
    both = {side.key for side in regularised_pair(records, run) if side is not None}
    own = tuple(r for r in records if run_key(r) in both)
    return write_runs_report(Sources((Source("records.jsonl", own),)), path, metric)


def write_runs_report(sources: Sources, path: str | Path, metric: str | None = None) -> Path:
    """Writes the report of all runs in some record files, each beside its twin (``lipreg.reporting.runs``).

    The page loads nothing from elsewhere, runs no script but its own, and shows every text from the records as text.
    The same records give the same page, byte for byte.

    Args:
        sources: the record files.
        path: the HTML file; its folder is made.
        metric: name of the logged metric to show; None takes that of each run's record, else what fits.

    Returns:
        The path of the file.

    Raises:
        InvalidInput: nothing was audited, or a path that cannot be written.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    entries, unusable = find_entries(sources.files, metric)
    if not entries:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unusable)
        raise InvalidInput(
            "nothing to show: no run was audited" + (f" ({reasons})" if reasons else ""),
            where="report",
            accepted="records with audits of a bound and 'exact'",
        )
    path = Path(path)
    page = _page(entries, sources, unusable)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"cannot write {path}: {error.strerror or error}",
            where="report",
            accepted="the name of a file",
            todo="Choose a folder that can be written",
        ) from None
    return path


def _page(entries: list[Entry], sources: Sources, unusable: list[tuple[str, str]]) -> str:
    data, script = page_data(entries), _script()
    compared = [entry for entry in entries if entry.last is not None]
    single = entries[0] if len(entries) == 1 else None
    title = f"{len(_shown(entries))} runs" if single is None else single.mine.run.name
    if single is not None and single.twin is not None:
        title += f" against {single.twin.run.name}"
    first = data["questions"][0]
    trouble = [*sources.left_out, *unusable]
    advice = {status.value: status.advice for status in Status}
    ended = sorted({r.status for e in entries for side in (e.mine, e.twin) if side for r in side.run.audits})
    return Template(_asset("page.html")).substitute(
        hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        title=text(title),
        style=_asset("style.css"),
        heading="Did the penalty move the truth?" if compared else "How steep is the network, really?",
        question=text(f"{first[:1].upper()}{first[1:].rstrip('.')}." if first else ""),
        trouble=_trouble(trouble),
        overview="" if single is None else " hidden",
        totals=_totals(entries, compared),
        entries="\n".join(entry_section(entry, i) for i, entry in enumerate(entries)),
        glossary=definitions(TERMS),
        certificates=definitions(CERTIFICATES),
        statuses=definitions((s, advice.get(s, "Written by another version of lipreg.")) for s in ended),
        settings=settings_tables(entries),
        files="".join(
            f"<li>{text(source.name)}, {counted(len(source.records), 'record')}</li>" for source in sources.files
        ),
        data=as_script(data),
        script=script,
    )


def _totals(entries: Sequence[Entry], compared: Sequence[Entry]) -> str:
    """Cards over all entries: how many, how certain, and where transfer lies."""
    audits = [r for run in _shown(entries) for r in run.audits if r.estimator == "exact"]
    exact = sum(r.certificate == "exact" for r in audits) / len(audits) if audits else None
    shares = [e.last.movement.transfer for e in compared if e.last and e.last.movement.transfer is not None]
    middles = sorted(s.midpoint for s in shares)
    centre = statistics.median(middles) if middles else None
    span = Interval(min(s.lower for s in shares), max(s.upper for s in shares)) if shares else None
    early = sum(bool(e.last and not e.last.at_the_end) for e in compared)
    doubtful = sum(bool(e.last and e.last.likeness.doubts) for e in compared)
    kind = f"; {doubtful} of the twins not known to be one in seed and initial weights" if doubtful else ""
    kind = kind or (" of the same seed and initial weights" if compared else "")
    kind += f"; {early} not at the last epoch of both" if early else ""
    over = "Over the compared runs; all lie in" if len(shares) > 1 else "Of one compared run:"
    cards = (
        ("Runs", str(len(_shown(entries))), f"{len(compared) or 'None'} of them compared with a twin{kind}."),
        (
            "Certified exact",
            percent(exact),
            f"Of {counted(len(audits), 'interval')}, over all runs, epochs and points.",
        ),
        (
            "Transfer, median",
            "undefined" if centre is None else share_between(Interval(centre, centre)),
            f"{over} {share_between(span)}." if span else "No run has a defined transfer.",
        ),
    )
    return "".join(
        f'<div class="card"><h3>{text(head)}</h3><div class="value">{text(value)}</div><p>{text(note)}</p></div>'
        for head, value, note in cards
    )


def _shown(entries: Iterable[Entry]) -> list[Run]:
    """Every run of the page once, twins too: several entries may share one."""
    sides = (side for entry in entries for side in (entry.mine, entry.twin) if side is not None)
    return list({(side.run.source, side.run.recorded.key): side.run for side in sides}.values())


def _trouble(trouble: Sequence[tuple[str, str]]) -> str:
    if not trouble:
        return ""
    items = "".join(f"<li>{text(name)}: {text(reason)}</li>" for name, reason in trouble)
    return f'<div class="notice"><strong>Not in this report</strong><ul>{items}</ul></div>'


def _script() -> str:
    return '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in _SCRIPTS) + "\n})();\n"


@cache
def _asset(name: str) -> str:
    return (files("lipreg.reporting") / "assets" / name).read_text(encoding="utf-8")
