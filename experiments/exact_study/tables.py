"""The study's tables as Markdown, and their places in its page: between two comments that name them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.exact_study.designs import CLAIMS, DIGITS, PENALTIES, TWIN, Design
from experiments.exact_study.expected import verdicts
from experiments.exact_study.lines import run_rows
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.reading import CERTIFIED, HIGHER_IS_BETTER, REACHES, Reading, readings
from experiments.exact_study.rows import Row, bounds_of, flags
from experiments.exact_study.terms import YARDSTICK
from lipreg.words import written

PRICES = Path(__file__).resolve().parents[2] / "benchmarks/results/penalty.json"
PAIRED = ("margin", "calibrated", "calibrated transfer", "radius_closest")
CALLED = {
    "margin": "margin over constant",
    "calibrated": "calibrated constant",
    "calibrated transfer": "calibrated transfer",
    "radius_closest": "certified radius by `jacobian_crown`",
}
_PLACE = re.compile(r"<!-- study (\w+) (\w+) -->\n.*?<!-- end -->", re.DOTALL)
_MISSING = "n/a"
_SIGNS = {-1: "<", 0: "·", 1: ">"}


def fill(page: str, rows: Sequence[Row], read: Mapping[str, Sequence[Reading]]) -> str:
    """The page with each of its tables made anew; one whose rows are not there yet says so.

    Args:
        page: with places for tables.
        rows: of all questions.
        read: what was read of them, by question.
    """

    def table(found: re.Match[str]) -> str:
        kind, question = found[1], found[2]
        begun = kind == "state" or run_rows(rows, question)
        text = TABLES[kind](rows, question, read[question]) if begun else "No run of it is done yet."
        return f"<!-- study {kind} {question} -->\n{text}\n<!-- end -->"

    return _PLACE.sub(table, page)


def state(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """How much of the study is there."""
    found = run_rows(rows, question)
    done = sum(len(runs) for runs in found.values())
    design = QUESTIONS[question].design
    planned = design.seeds * (1 + len(design.ladder) * len(design.penalties))
    told = f"{done} of {planned} runs are done"
    if not read:
        return f"{told}; no seed is whole yet, so nothing is compared."
    audits = [
        status for runs in found.values() for row in runs for at in row["audits"].values() for status in at["status"]
    ]
    missing = [name for name in design.penalties if name not in read[0].names]
    told += f", with {len(audits)} exact audits, {audits.count('proved')} of which closed; the others are intervals. "
    told += f"Compared are {_count(len(read[0].names), 'penalty', 'penalties')} on {_count(len(read[0].seeds), 'seed')}"
    told += f"; not yet {', '.join(map(_code, missing))}." if missing else "."
    if len(read[0].seeds) < design.seeds:
        told = f"**Partial.** {told} What follows shows what there is."
    if len(read[0].seeds) < CLAIMS:
        told += f" Claims need {CLAIMS} seeds: nothing is claimed of this question."
    return told


def equal(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Every penalty at one point of accuracy lost, a table a radius, sorted by the margin over the constant."""
    if not read:
        return "No seed is whole yet."
    prices = json.loads(PRICES.read_text(encoding="utf-8"))["rows"]
    return "\n\n".join(f"Radius {each.radius}:\n\n{_equal(each, question, prices)}" for each in read)


def _equal(read: Reading, question: str, prices: Sequence[Mapping[str, Any]]) -> str:
    heading = ["penalty", "strength", "held-out points lost", "margin over constant / twin's"]
    heading += ["calibrated constant / twin's", "error of T", "raw", "transfer", "calibrated"]
    heading += ["certified share", "certified radius", "step", "stopped by"]
    lines: list[Sequence[str]] = [heading]
    transfer, free = read.transfer()[0], read.transfer(calibrated=True)[0]
    for i in np.argsort(-read.mean("margin")):
        shares = " / ".join(f"{read.mean(name)[i]:.2f}" for name in CERTIFIED)
        radii = " / ".join(f"{read.mean(name)[i]:.3f}" for name in REACHES)
        lines.append(
            (
                _code(read.names[i]),
                f"{read.strengths[i]:.2g}",
                f"{round(100 * float(read.lost[1][i]), 1) + 0.0:.1f}",  # -0.0 is 0.0
                _ratio(read, "margin", i),
                _ratio(read, "calibrated", i),
                f"{100 * read.factor_error[i]:.0f} %",
                _number(math.exp(read.mean("raw")[i])),
                _plain(float(transfer[i])),
                _plain(float(free[i])),
                shares,
                radii,
                _price(read.names[i], question, prices),
                read.places.limited[i],
            )
        )
    return markdown(lines)


def held(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Margin over constant and calibrated constant where a point is lost on held-out data, in place of selection data."""
    if not read:
        return ""
    other = readings(rows, question, read[0].draws["margin"].shape[1], by="held")
    figures = [(each, figure) for each in other for figure in ("margin", "calibrated")]
    lines: list[Sequence[str]] = [
        ("penalty", *(f"{CALLED[figure]}, {each.radius}" for each, figure in figures), "stopped by")
    ]
    for i in np.argsort(-other[0].mean("margin")):
        ratios = [_ratio(each, figure, int(i)) for each, figure in figures]
        lines.append((_code(other[0].names[i]), *ratios, other[0].places.limited[i]))
    return markdown(lines)


def pairs(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Who is told apart from whom, a table a figure and radius."""
    if not read or len(read[0].seeds) < QUESTIONS[question].design.seeds:
        return "Nobody is told apart before all seeds are there."
    told = []
    for each in read:
        for figure in PAIRED:
            better = 1 if figure in HIGHER_IS_BETTER or "transfer" in figure else -1
            known = np.nan_to_num(sum(each.by_seed(figure)).mean(1) * better, nan=-np.inf)  # type: ignore[union-attr]
            order = [each.names[i] for i in np.argsort(-known)]
            lines: list[Sequence[str]] = [
                (f"{CALLED[figure]}, radius {each.radius}", *map(str, range(1, len(order) + 1)))
            ]
            for place, one in enumerate(order, 1):
                signs = ["" if one == other else _SIGNS[each.apart(one, other, figure)] for other in order]
                lines.append((f"{place}. {_code(one)}", *signs))
            told.append(markdown(lines))
    return "\n\n".join(told)


def choices(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Learning rate, epochs and strengths, as the runs have them."""
    lines: list[Sequence[str]] = [("penalty", "learning rate", "epochs", "strengths")]
    found: dict[str, list[Row]] = {}
    for (name, _), own in run_rows(rows, question).items():
        found[name] = [*found.get(name, []), *own]
    for name in (TWIN, *PENALTIES):
        if name in found:
            first = found[name][0]
            strengths = ", ".join(map(written, sorted({row["strength"] for row in found[name]})))
            shown = "" if name == TWIN else strengths
            lines.append((_code(name), written(first["rate"]), f"{first['epochs']}", shown))
    return markdown(lines)


def strengths(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Every penalty and strength: means over the seeds that are there."""
    radii = [written(radius) for radius in QUESTIONS[question].radii]
    heading = ["penalty", "strength", "seeds", "selection", "held-out", "T"]
    heading += [f"{what}, {radius}" for radius in radii for what in ("exact", "bound / exact", "closed")]
    lines: list[Sequence[str]] = [heading]
    by: dict[tuple[str, float], list[Row]] = {}
    for (name, _), own in run_rows(rows, question).items():
        for row in own:
            by.setdefault((name, row["strength"]), []).append(row)
    order = (TWIN, *PENALTIES)
    for name, strength in sorted(by, key=lambda key: (order.index(key[0]), key[1])):
        lines.append(_strength(name, strength, by[name, strength], radii, QUESTIONS[question].design))
    return markdown(lines)


def _strength(name: str, strength: float, own: Sequence[Row], radii: Sequence[str], design: Design) -> list[str]:
    factors = [row["factor"] for row in own if row["factor"] is not None]
    line = [_code(name), "" if name == TWIN else written(strength), f"{len(own)}"]
    line += [f"{100 * np.mean([row['accuracy'] for row in own]):.1f}"]
    line += [f"{100 * np.mean([flags(row['held'], design.held).mean() for row in own]):.1f}"]
    line += [_number(float(np.exp(np.mean(np.log(factors))))) if factors else _MISSING]
    bound = YARDSTICK if name == TWIN else bounds_of(name)[-1]
    for radius in radii:
        audits = [row["audits"][radius] for row in own]
        ends = [(low, high) for at in audits for low, high in at["exact"]]
        middles = [math.log(low if high is None else (low + high) / 2) for low, high in ends if low > 0]
        middles = [] if any(high == 0 for _, high in ends) else middles  # constant around a point
        over = [math.log(each) for at in audits for each in at["bounds"][bound]]
        middle = math.fsum(middles) / len(middles) if middles else math.nan
        line += [_number(math.exp(middle)), _number(math.exp(np.mean(over) - middle))]
        line += [f"{sum(at['status'].count('proved') for at in audits)} of {design.points * len(own)}"]
    return line


def expected(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """What became of each expectation of the design."""
    if not read or len(read[0].seeds) < CLAIMS:
        return "Nothing is said of the expectations before all seeds are there."
    return "\n".join(f"{number}. {text}" for number, text in enumerate(verdicts(read), 1))


def drawn(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """The figures of ``figures``, where there are any."""
    told = {
        "equal": "Margin over constant, calibrated constant and certified radius at one point of accuracy lost",
        "strengths": "Accuracy against the calibrated constant, a line a penalty through its strengths",
    }
    shown = [f"![{text}](images/exact_study_{question}_{name}.svg)" for name, text in told.items()]
    return "\n\n".join(shown) if read else ""


TABLES = {
    "state": state,
    "equal": equal,
    "drawn": drawn,
    "held": held,
    "pairs": pairs,
    "choices": choices,
    "strengths": strengths,
    "expected": expected,
}
"""By the name in a page's comments."""


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table; the first line is its heading."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], f"|{' --- |' * len(lines[0])}", *rows[1:]])


def _ratio(read: Reading, figure: str, i: int) -> str:
    value, (low, high) = math.exp(read.mean(figure)[i]), np.exp(read.interval(figure)[i])
    if math.isnan(value):
        return _MISSING
    return f"{_number(value)} [{_number(float(low))}, {_number(float(high))}]"


def _price(name: str, question: str, prices: Sequence[Mapping[str, Any]]) -> str:
    """The ratio of a step with all points to a plain one on the digits, in the question's norm where it reads one.

    Of other networks than the benchmark's there is none.
    """
    if QUESTIONS[question].design is not DIGITS:
        return ""
    known = {"witnesses": "jacobian", "fastlip_wide": "fastlip"}.get(name, name)
    norm = "inf" if question == "linf" else "2"
    own = [p for p in prices if p["bound"] == known and p["network"].startswith("digits") and p["p"] in (norm, "-", "")]
    return f"{own[0]['ratio']:.1f}" if own else ""


def _number(value: float) -> str:
    if math.isnan(value):
        return _MISSING
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _plain(value: float) -> str:
    return _MISSING if math.isnan(value) else f"{value:.2f}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _code(name: str) -> str:
    return f"`{name}`"
