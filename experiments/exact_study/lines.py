"""The study's rows as arrays: penalties, seeds, strengths and points, beside the twins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.exact_study.designs import TWIN, Design
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.rows import CLOSEST, TENTHS, Row, flags
from experiments.exact_study.terms import OWN_BOUNDS, YARDSTICK

Floats = NDArray[np.float64]
LEAST = 1e-300
"""In place of 0 under a logarithm."""


@dataclass(frozen=True)
class AtRadius:
    """What was proved at one radius; first axes (penalties, seeds, strengths), of the twins (1, seeds, 1).

    Attributes:
        low, high: logarithms of both ends of the constants, ``(..., points)``; NaN where they are 0.
        near: logarithms of the closest closed form, ``(..., points)``.
        bound, twin_bound: logarithms of the run's own bound, and of the twin's by the same method, ``(..., points)``.
        exact, closest, own: who is certified by the exact upper end, ``(..., points)``, by the closest closed form and by
            the run's own bound, both ``(..., images of the audit part)``.
    """

    low: Floats
    high: Floats
    near: Floats
    bound: Floats
    twin_bound: Floats
    exact: Floats
    closest: Floats
    own: Floats


@dataclass(frozen=True)
class Lines:
    """All runs of whole seeds.

    Attributes:
        names: of the penalties.
        seeds: that every one of them has.
        strengths: ``(penalties, strengths)``, ascending.
        selection, held: right answers, ``(..., images)``.
        factor, tenths: logarithms of T, ``(...)``, and without each tenth, ``(..., TENTHS)``; NaN where undefined.
        margin: ``(..., points)``.
        radii: by radius.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    strengths: Floats
    selection: Floats
    held: Floats
    factor: Floats
    tenths: Floats
    margin: Floats
    radii: dict[str, AtRadius]


def run_rows(rows: Iterable[Row], question: str, other_twins: bool = False) -> dict[tuple[str, int], list[Row]]:
    """The runs of a question by penalty and seed, in ascending strength; of the twins those that the rule chose.

    With ``other_twins`` these are the others, whose epochs the question names.
    """
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        if row["stage"] == "run" and row["question"] == question and "audits" in row:
            found.setdefault((row["penalty"], row["seed"]), []).append(row)
    epochs = QUESTIONS[question].other_twins
    for key in [key for key in found if key[0] == TWIN]:
        others = [row for row in found[key] if row["epochs"] == epochs]
        chosen = [row for row in found[key] if row["epochs"] != epochs] or others  # or the rule chose the same
        found[key] = others if other_twins else chosen
    return {key: sorted(runs, key=lambda row: row["strength"]) for key, runs in found.items() if runs}


def whole(rows: Iterable[Row], question: str, names: Sequence[str] = ()) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The penalties and the seeds that are compared, every one of these penalties whole on every one of these seeds.

    All penalties that have all seeds of the study; where none has them yet, as many runs as can be.
    """
    found, design = run_rows(rows, question), QUESTIONS[question].design
    twins = {seed for name, seed in found if name == TWIN}
    steps = len(design.ladder)
    having = {
        name: frozenset(seed for seed in twins if len(found.get((name, seed), ())) == steps)
        for name in names or design.penalties
    }

    def those(seeds: frozenset[int]) -> tuple[str, ...]:
        return tuple(name for name, own in having.items() if seeds and own >= seeds)

    def worth(seeds: frozenset[int]) -> tuple[bool, int, int]:
        return len(seeds) >= design.seeds, len(seeds) * len(those(seeds)), len(seeds)

    best = max(having.values(), key=worth)
    return those(best), tuple(sorted(best))


def lines(
    rows: Sequence[Row], question: str, other_twins: bool = False, names: Sequence[str] = ()
) -> tuple[Lines, Lines] | None:
    """The runs, and their twins with axes of length 1; None where no seed is whole."""
    names, seeds = whole(rows, question, names)
    found = run_rows(rows, question, other_twins)
    if not names or any((TWIN, seed) not in found for seed in seeds):
        return None
    runs = [[found[name, seed] for seed in seeds] for name in names]
    twins = [[found[TWIN, seed] for seed in seeds]]
    twin_of = [twins[0][i][0] for i in range(len(seeds))]
    design = QUESTIONS[question].design
    return _lines(names, seeds, runs, twin_of, design), _lines((TWIN,), seeds, twins, twin_of, design)


def _lines(
    names: tuple[str, ...], seeds: tuple[int, ...], runs: list[list[list[Row]]], twins: list[Row], design: Design
) -> Lines:
    def array(read: Any) -> Floats:
        return np.array(
            [[[read(row, twin) for row in of] for of, twin in zip(own, twins, strict=True)] for own in runs],
            dtype=float,
        )

    return Lines(
        names,
        seeds,
        array(lambda row, _: row["strength"])[:, 0],
        array(lambda row, _: flags(row["selection"], design.selection)),
        array(lambda row, _: flags(row["held"], design.held)),
        array(lambda row, _: _log(row["factor"])),
        array(lambda row, _: [_log(each) for each in row.get("tenths", [None] * TENTHS)]),
        array(lambda row, _: row["margins"]),
        {radius: _at(radius, array, design.audit) for radius in twins[0]["audits"]},
    )


def _at(radius: str, array: Any, images: int) -> AtRadius:
    def ends(row: Row) -> list[tuple[float, float]]:
        """Of the constants; what no search has proved, the closest closed form has."""
        audit = row["audits"][radius]
        pairs = zip(audit["exact"], audit["bounds"][CLOSEST], strict=True)
        return [(low, min(math.inf if high is None else high, closest)) for (low, high), closest in pairs]

    def logarithms(row: Row, end: int) -> list[float]:
        """Undefined where the constant is proved to be 0: the network has become a constant one there."""
        return [math.nan if pair[1] <= 0 else _log(pair[end]) for pair in ends(row)]

    def own(row: Row) -> str:
        return OWN_BOUNDS.get(row["penalty"], YARDSTICK)

    def bound(of: Row, name: str) -> list[float]:
        return [_log(each) for each in of["audits"][radius]["bounds"][name]]

    size = float(radius)
    return AtRadius(
        array(lambda row, _: logarithms(row, 0)),
        array(lambda row, _: logarithms(row, 1)),
        array(lambda row, _: bound(row, CLOSEST)),
        array(lambda row, _: bound(row, own(row))),
        array(lambda row, twin: bound(twin, own(row))),
        array(lambda row, _: [high * size < m for (_, high), m in zip(ends(row), row["margins"], strict=True)]),
        array(lambda row, _: flags(row["audits"][radius]["certified"][CLOSEST], images)),
        array(lambda row, _: flags(row["audits"][radius]["certified"][own(row)], images)),
    )


def _log(value: float | None) -> float:
    return math.nan if value is None else math.log(max(value, LEAST))
