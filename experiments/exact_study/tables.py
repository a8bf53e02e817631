"""The study's tables as Markdown, and their places in its page: between two comments that name them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from experiments.exact_study.best import best
from experiments.exact_study.designs import CLAIMS, MIXED, PENALTIES, TWIN, Design
from experiments.exact_study.expected import verdicts
from experiments.exact_study.lines import Floats, run_rows
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.reading import CERTIFIED, HIGHER_IS_BETTER, REACHES, Reading, readings
from experiments.exact_study.rows import Row, bounds_of, flags
from experiments.exact_study.steps import prices
from experiments.exact_study.terms import YARDSTICK
from lipreg.words import written

PAIRED = ("margin", "calibrated", "calibrated transfer", "radius_closest")
CALLED = {
    "margin": "margin over constant",
    "calibrated": "calibrated constant",
    "calibrated transfer": "calibrated transfer",
    "radius_closest": "certified radius by `jacobian_crown`",
    "radius_better": "certified radius by the better closed form",
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
    design = QUESTIONS[question].design
    names = (TWIN, *design.penalties)
    found = {key: runs for key, runs in run_rows(rows, question).items() if key[0] in names}
    done = sum(len(runs) for runs in found.values())
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
    price = prices().get(question, {})
    reaches = REACHES if QUESTIONS[question].p == 2 else REACHES[:3]  # for p = inf the closest form is the better one
    return "\n\n".join(f"Radius {each.radius}:\n\n{_equal(each, reaches, price)}" for each in read)


def _equal(read: Reading, reaches: Sequence[str], price: Mapping[str, Sequence[float]]) -> str:
    heading = ["penalty", "strength", "held-out points lost", "margin over constant / twin's"]
    heading += ["calibrated constant / twin's", "error of T", "raw", "transfer", "calibrated"]
    heading += ["certified share", "certified radius", "step", "stopped by"]
    lines: list[Sequence[str]] = [heading]
    transfer, free = read.transfer()[0], read.transfer(calibrated=True)[0]
    for i in np.argsort(-read.mean("margin")):
        shares = " / ".join(f"{read.mean(name)[i]:.2f}" for name in CERTIFIED)
        radii = " / ".join(f"{read.mean(name)[i]:.3f}" for name in reaches)
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
                f"{price[name][0]:.1f}" if (name := read.names[i]) in price else "",
                read.places.limited[i],
            )
        )
    return markdown(lines)


def held(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Margin over constant and calibrated constant where a point is lost on held-out data, in place of selection data."""
    if not read:
        return ""
    other = readings(rows, question, _draws(read), by="held")
    whole = len(read[0].seeds) == QUESTIONS[question].design.seeds
    return f"{_short(other)}\n\n{_otherwise(read, other)}" if whole else _short(other)


def _otherwise(read: Sequence[Reading], other: Sequence[Reading]) -> str:
    """Who is told apart in the calibrated constant by one of two readings alone."""
    told = []
    for one, two in zip(read, other, strict=True):
        here, there = (
            {pair for pair in permutations(each.names, 2) if each.apart(*pair, "calibrated") == -1}
            for each in (one, two)
        )
        gone, new = (
            ", ".join(f"{_code(a)} < {_code(b)}" for a, b in sorted(pairs)) or "none"
            for pairs in (here - there, there - here)
        )
        told.append(f"- {one.radius}: of {len(here)} pairs that are told apart in the calibrated constant")
        told[-1] += f" these are not so here: {gone}; told apart here alone: {new}."
    return "\n".join(told)


def leaders(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Every penalty beside the best one by means, in three figures: differences with their intervals and seeds."""
    reach = "radius_better" if QUESTIONS[question].p == 2 else "radius_closest"
    told = []
    for each in read:
        heading = ["penalty", "calibrated constant / lowest", "seeds", "margin over constant / highest", "seeds"]
        lines: list[Sequence[str]] = [[*heading, "certified radius - furthest", "seeds"]]
        best = {
            name: each.names[int(np.nanargmax(_sign(name) * each.mean(name)))]
            for name in ("calibrated", "margin", reach)
        }
        for i in np.argsort(each.mean("calibrated")):
            line = [_code(each.names[i])]
            for figure, first in best.items():
                value, ends, seeds = each.difference(each.names[i], first, figure)
                shown = f"{value:+.4f} [{ends[0]:+.4f}, {ends[1]:+.4f}]" if figure == reach else _interval(value, ends)
                line += ["the best", ""] if each.names[i] == first else [shown, f"{seeds}"]
            lines.append(line)
        told.append(f"Radius {each.radius}:\n\n{markdown(lines)}")
    return "\n\n".join(told)


def _sign(figure: str) -> float:
    return 1.0 if figure in HIGHER_IS_BETTER else -1.0


def search(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Mixtures of two penalties beside the two: who is lowest, and who is certified furthest."""
    design = QUESTIONS[question].design
    names = ("jacobian", "jacobian_fastlip", *design.searched, "fastlip", "fastlip_wide")
    found = readings(rows, question, _draws(read), names=names) if read else []
    if not found or len(found[0].names) < len(names):
        return "These runs are not there yet."
    return leaders(rows, question, found)


def longer(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """The same against the question's other twins."""
    other = readings(rows, question, _draws(read), other_twins=True) if read else []
    return _short(other) if other else "These twins are not there yet."


def chosen(rows: Sequence[Row], question: str, read: Sequence[Reading]) -> str:
    """Every penalty at its best strength of those that lose at most a point, for each figure the best one of its own."""
    found = best(rows, question, _draws(read)) if read else []
    if not found:
        return ""
    heading = ["penalty"]
    heading += [text for each in found for text in (f"{CALLED[each.figure]}, {each.radius}", "at")]
    lines: list[Sequence[str]] = [heading]
    for i in np.argsort(-np.nan_to_num(found[0].values, nan=-np.inf)):
        line = [_code(found[0].names[i])]
        for each in found:
            ratio = _interval(float(each.values[i]), each.interval()[i])
            line += [ratio, "" if math.isnan(each.strengths[i]) else written(float(each.strengths[i]))]
        lines.append(line)
    return markdown(lines)


def _draws(read: Sequence[Reading]) -> int:
    return read[0].draws["margin"].shape[1]


def _short(other: Sequence[Reading]) -> str:
    """Two figures at every radius, and what stopped a penalty."""
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
        closed = ["radius_better"] if QUESTIONS[question].p == 2 else []
        for figure in (*PAIRED, *closed):
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
    for name in (TWIN, *PENALTIES, *MIXED):
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
    order = (TWIN, *PENALTIES, *MIXED)
    for name, strength in sorted(by, key=lambda key: (order.index(key[0]), key[1])):
        lines.append(_strength(name, strength, by[name, strength], radii, QUESTIONS[question].design))
    return markdown(lines)


def _strength(name: str, strength: float, own: Sequence[Row], radii: Sequence[str], design: Design) -> list[str]:
    factors = [row["factor"] for row in own if row["factor"] is not None]
    line = [_code(name), "" if name == TWIN else written(strength), f"{len(own)}"]
    line += [f"{100 * np.mean([row['accuracy'] for row in own]):.1f}"]
    line += [f"{100 * np.mean([flags(row['held'], design.held).mean() for row in own]):.1f}"]
    factor = _number(float(np.exp(np.mean(np.log(factors))))) if factors else _MISSING
    line += [factor if len(factors) in (0, len(own)) else f"{factor} ({len(factors)} of {len(own)})"]
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
    "longer": longer,
    "chosen": chosen,
    "leaders": leaders,
    "search": search,
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
    return _interval(float(read.mean(figure)[i]), read.interval(figure)[i])


def _interval(value: float, ends: Floats) -> str:
    """Of logarithms."""
    if math.isnan(value):
        return _MISSING
    low, high = np.exp(ends)
    return f"{_number(math.exp(value))} [{_number(float(low))}, {_number(float(high))}]"


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
