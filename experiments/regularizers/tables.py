"""The study's tables as Markdown, and their places in a page: between two comments that name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from experiments.regularizers.jobs import TWIN, Row
from experiments.regularizers.summary import (
    EQUAL_ACCURACY,
    NAMES,
    AtEqualAccuracy,
    Spread,
    Strength,
    at_equal_accuracy,
    datasets,
    strengths,
)
from lipreg.errors import InvalidInput
from lipreg.words import written

_PLACE = re.compile(r"<!-- table (\w+) (\w+) -->\n.*?<!-- end -->", re.DOTALL)
_MISSING = "n/a"


def tables(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """Every table by its kind and data set: ``("equal", "digits")`` and ``("strengths", "digits")``."""
    found = {}
    for dataset in datasets(rows):
        compared = strengths(rows, dataset)
        found["equal", dataset] = equal_table(at_equal_accuracy(compared))
        found["strengths", dataset] = strengths_table(compared)
    return found


def fill(page: str, rows: Sequence[Row]) -> str:
    """The page with each of its tables made anew.

    Raises:
        InvalidInput: the page has a place for a table that the rows do not give.
    """
    known = tables(rows)

    def table(place: re.Match[str]) -> str:
        name = place[1], place[2]
        if name not in known:
            accepted = ", ".join(f"{kind} {dataset}" for kind, dataset in known)
            raise InvalidInput(f"no table {' '.join(name)}", where="study", accepted=accepted)
        return f"<!-- table {name[0]} {name[1]} -->\n{known[name]}\n<!-- end -->"

    return _PLACE.sub(table, page)


def equal_table(places: Sequence[AtEqualAccuracy]) -> str:
    """How far each regulariser brings truth and bound at equal accuracy, the furthest first."""
    points = f"{100 * EQUAL_ACCURACY:g} point{'s' * (EQUAL_ACCURACY != 0.01)}"
    heading = ("regulariser", "strength", f"truth / twin's, at most {points} of accuracy lost", "range over seeds")
    lines: list[tuple[str, ...]] = [(*heading, "its bound / twin's", "transfer", "stopped by")]
    for place in places:
        between = (
            written(place.below) if place.below == place.above else f"{written(place.below)} to {written(place.above)}"
        )
        lines.append(
            (
                NAMES[place.regularizer],
                "none of them" if place.above == 0 else between,
                _number(place.movement.mean),
                _range(place.movement),
                _MISSING if place.bound_movement is None else _number(place.bound_movement.mean),
                _MISSING if place.transfer is None else f"{place.transfer:.2f}",
                "accuracy" if place.limited else "the largest strength",
            )
        )
    return _markdown(lines)


def strengths_table(found: Sequence[Strength]) -> str:
    """Every regulariser and strength: means over the seeds with their ranges."""
    heading = ("regulariser", "strength", "accuracy", "exact constant", "truth / twin's", "its bound")
    lines: list[tuple[str, ...]] = [(*heading, "bound / exact", "bound / twin's", "transfer")]
    for strength in found:

        def cell(
            name: str, show: Callable[[float], str], logarithmic: bool = False, strength: Strength = strength
        ) -> str:
            spread = strength.spread(name, logarithmic)
            return _MISSING if spread is None else f"{show(spread.mean)} {_range(spread, show)}"

        twin = strength.regularizer == TWIN
        lines.append(
            (
                NAMES[strength.regularizer],
                "" if twin else written(strength.weight),
                cell("accuracy", lambda share: f"{100 * share:.1f}"),
                cell("exact", _number),
                "1" if twin else cell("movement", _number, True),
                cell("bound", _number),
                cell("tightness", _number, True),
                "1" if twin else cell("bound_movement", _number, True),
                "" if twin else cell("transfer", lambda share: f"{share:.2f}"),
            )
        )
    return _markdown(lines)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _range(spread: Spread, show: Callable[[float], str] = _number) -> str:
    return f"[{show(spread.low)}, {show(spread.high)}]"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, f"|{' --- |' * len(lines[0])}", *rest])
