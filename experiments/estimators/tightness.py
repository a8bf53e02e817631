"""How tight estimators are: audit records that answer many questions, as a table of cells and as its summary."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lipreg.errors import CrossingBounds
from lipreg.records import COMBINED, AuditRecord, Record, RunRecord
from lipreg.results import EXACT_TOLERANCE, EXACT_ZERO

if TYPE_CHECKING:
    import pandas as pd

QUESTION = ["network", "scope", "p", "radius"]
"""The columns that say which question a row is about; the region and the functional are the same in one study."""


def cell_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row for each estimator, network, reference point and question; the last record of each counts.

    Columns, besides those of ``AuditRecord``: ``truth_lower`` and ``truth_upper``, the best ends that any estimator has
    proved for the same question at the same point; ``exact``, whether they meet; ``value``, the end that the estimator is
    for (upper; lower where it proves no upper end; the estimate where it proves neither); and ``ratio``, value over
    ``truth_lower``. Where the truth is not exact, the ratio to the constant itself is at most that.

    Raises:
        CrossingBounds: two records contradict each other; the message names both estimators.
    """
    import pandas as pd

    last: dict[tuple[Any, ...], AuditRecord] = {}
    subjects: dict[tuple[Any, ...], str] = {}
    for record in records:
        if isinstance(record, AuditRecord):
            where = (record.run, record.point, json.dumps(record.question, sort_keys=True))
            subjects[where] = record.subject
            last[(*where, record.estimator)] = record
    current = {key: r for key, r in last.items() if subjects[key[:3]] == r.subject}  # not of a network that is no more
    best: dict[tuple[Any, ...], tuple[AuditRecord, AuditRecord]] = {}
    for key, record in current.items():
        low, high = best.get(key[:3], (record, record))
        best[key[:3]] = (max(low, record, key=lambda r: r.lower), min(high, record, key=lambda r: r.upper))
    rows = [_cell(record, *best[key[:3]]) for key, record in current.items() if record.estimator != COMBINED]
    return pd.DataFrame(rows, columns=None if rows else _COLUMNS)


_COLUMNS = [
    *QUESTION,
    *("estimator", "point", "label", "certificate", "status", "lower", "upper", "estimate", "value", "truth_lower"),
    *("truth_upper", "exact", "ratio", "seconds", "proof", "detail", "functional", "engine"),
]


def _cell(record: AuditRecord, low: AuditRecord, high: AuditRecord) -> dict[str, Any]:
    if low.lower > high.upper:
        raise CrossingBounds(
            f"{low.estimator} proves at least {low.lower:.12g}, {high.estimator} at most {high.upper:.12g}",
            where=f"{record.run}, point {record.point}, {record.question}",
            todo="One of the two proofs is wrong. Please report this with the network and the reference point",
        )
    width = high.upper - low.lower
    value = record.upper if record.upper < math.inf else record.lower if record.lower > 0 else record.estimate
    ratio = None
    if value is not None and low.lower > 0:
        ratio = value / low.lower
    elif value == low.lower == 0:
        ratio = 1.0
    return {
        **dict(zip(QUESTION, (record.run, *_asked(record.question)), strict=True)),
        "estimator": record.estimator,
        "point": record.point,
        "label": record.label,
        "certificate": record.certificate,
        "status": record.status,
        "lower": record.lower,
        "upper": record.upper,
        "estimate": record.estimate,
        "value": math.nan if value is None else value,
        "truth_lower": low.lower,
        "truth_upper": high.upper,
        "exact": width <= max(EXACT_TOLERANCE * high.upper, EXACT_ZERO) if high.upper < math.inf else False,
        "ratio": math.nan if ratio is None else ratio,
        "seconds": record.seconds,
        "proof": record.proof,
        "detail": record.detail,
        "functional": record.functional,
        "engine": record.engine,
    }


def summary_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row for each network, question and estimator: means over the reference points.

    Columns: ``certificate`` of the method ("exact" where all its intervals are); ``points``, ``answers`` (with a value),
    ``closed`` (exact by this estimator), ``known`` (points whose constant is exact, by any); ``ratio`` and ``worst``,
    geometric mean and largest; ``value``, ``truth_lower``, ``truth_upper``, geometric means over all points; ``seconds``,
    the median; ``cut``, ``failed``, points at which a limit or a failure ended the work; ``remark``, one reason of a
    failure, or why the estimator refused the question; ``about``, network and points in words; ``output``, the
    functional; ``unstable`` units on average, and the network's sizes. Refusals have no points.
    """
    import pandas as pd

    records = list(records)
    key = [*QUESTION, "estimator"]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for cell in rows_of(cell_frame(records)):
        groups.setdefault(tuple(cell[column] for column in key), []).append(cell)
    facts: dict[tuple[Any, ...], Row] = {}
    for record in records:
        if isinstance(record, RunRecord) and record.question:
            facts[(record.run, *_asked(record.question))] = record.settings
    rows = []
    for values, cells in groups.items():
        rows.append({**dict(zip(key, values, strict=True)), **_summary(cells), **_facts(facts.get(values[:4], {}))})
    for values, known in facts.items():
        for name, why in known.get("refused", {}).items():
            refused = {**_REFUSED, "remark": why}
            rows.append({**dict(zip(key, (*values, name), strict=True)), **refused, **_facts(known)})
    return pd.DataFrame(rows)


Row = dict[str, Any]
"""One row of a table, by column."""


_WORDS = ("remark", "about", "output")


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The rows of a summary, or of cells, as plain dictionaries; a missing text is empty."""
    rows: list[Any] = frame.to_dict("records")
    return [{k: "" if k in _WORDS and v != v else v for k, v in row.items()} for row in rows]


def only(rows: Iterable[Row], **values: Any) -> list[Row]:
    """The rows that have these values in these columns."""
    return [row for row in rows if all(row[column] == value for column, value in values.items())]


_REFUSED = {
    **{"certificate": "refused", "points": 0, "answers": 0, "closed": 0, "known": 0, "cut": 0, "failed": 0},
    **dict.fromkeys(("ratio", "worst", "value", "truth_lower", "truth_upper", "seconds"), math.nan),
}


def _summary(cells: Sequence[Row]) -> Row:
    answers = [cell for cell in cells if not math.isnan(cell["value"])]
    ratios = [cell["ratio"] for cell in answers if not math.isnan(cell["ratio"])]
    failed = [cell for cell in cells if cell["status"] == "failed"]
    return {
        "certificate": _certificate(cells),
        "points": len(cells),
        "answers": len(answers),
        "closed": sum(cell["certificate"] == "exact" for cell in cells),
        "known": sum(bool(cell["exact"]) for cell in cells),
        "cut": sum(cell["status"] in ("time limit", "node limit", "memory limit", "interrupted") for cell in cells),
        "failed": len(failed),
        "ratio": geometric_mean(ratios),
        "worst": max(ratios, default=math.nan),
        "value": geometric_mean(cell["value"] for cell in cells),
        "truth_lower": geometric_mean(cell["truth_lower"] for cell in cells),
        "truth_upper": geometric_mean(cell["truth_upper"] for cell in cells),
        "seconds": statistics.median(cell["seconds"] for cell in cells),
        "remark": failed[0]["detail"] if failed else "",
    }


def _certificate(cells: Sequence[Row]) -> str:
    """What the estimator proves at its best; "exact" only where all its intervals are."""
    found = {cell["certificate"] for cell in cells}
    if found == {"exact"}:
        return "exact"
    if found & {"exact", "bracket"}:
        return "bracket"
    if found & {"upper", "estimate"}:
        return "upper" if "upper" in found else "estimate"
    return "lower" if any(cell["lower"] > 0 for cell in cells) else "none"


def _asked(question: Row) -> tuple[str, str, float]:
    """Scope, norm and radius; 0 for a region that has no radius."""
    return question["scope"], question["p"], float(question["region"].get("radius", 0.0))


def _facts(known: dict[str, Any]) -> dict[str, Any]:
    words = {name: known.get(name, "") for name in ("about", "output")}
    return {**words, "undecided": known.get("undecided", math.nan), **known.get("sizes", {})}


def geometric_mean(values: Iterable[float]) -> float:
    """0 with a 0 among them, inf with an inf, NaN with a NaN or without any."""
    numbers = list(values)
    if not numbers or any(math.isnan(v) for v in numbers):
        return math.nan
    if min(numbers) <= 0:
        return 0.0
    return math.exp(math.fsum(map(math.log, numbers)) / len(numbers))
