"""README's table: what each penalty does at equal accuracy, what it proves, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, geometric_mean, median
from typing import Any

from experiments.penalties.course import EQUAL_ACCURACY
from experiments.penalties.jobs import TWIN
from experiments.result_file import Row
from lipreg.quantities import get_quantity
from lipreg.records import COMBINED
from lipreg.results import Certificate
from lipreg.words import written

PLACES = {name: re.compile(rf"<!-- table {name} -->\n.*?<!-- end -->", re.DOTALL) for name in ("penalties", "auto")}
"""Where the tables stand in pages: between two comments."""
_MISSING = ""
HEADING = (
    "penalty",
    "is",
    "margin over constant / twin's",
    "calibrated constant / twin's",
    "certified, by the combined interval",
    "certified, by closed form",
    "under attack",
    "step, digits / MNIST",
)


def chosen(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """For each penalty the strongest weight whose mean accuracy is at most ``EQUAL_ACCURACY`` below the twins', with its
    seeds; the twin first. Penalties of which no strength is accurate enough are left out, and automatic weights too."""
    rows = [row for row in rows if not row["auto"]]
    seeds = sorted({row["seed"] for row in rows})
    by: dict[tuple[str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        by.setdefault((row["penalty"], row["weight"]), []).append(row)
    whole = {key: found for key, found in by.items() if [row["seed"] for row in found] == seeds}
    least = fmean(row["accuracy"] for row in whole[TWIN, 0.0]) - EQUAL_ACCURACY
    found = {TWIN: whole[TWIN, 0.0]}
    for name in dict.fromkeys(name for name, _ in whole if name != TWIN):
        able = [w for n, w in whole if n == name and fmean(r["accuracy"] for r in whole[n, w]) >= least]
        able = [w for w in able if all(COMBINED in row for row in whole[name, w])]
        if able:
            found[name] = whole[name, max(able)]
    return found


def table(rows: Sequence[Row], prices: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown, sorted by the margin over the constant.

    Args:
        rows: of all seeds.
        prices: rows of ``benchmarks/results/penalty.json``.
    """
    found = chosen(rows)
    twin = found.pop(TWIN)
    lines = [_line(TWIN, "", twin, ("1", "1"), "1")]
    for name, own in sorted(found.items(), key=lambda item: -geometric_mean(_all(item[1], "margin_ratio") or [1e-9])):
        ratios = tuple(_spread(_all(own, which)) for which in ("margin_ratio", "calibrated_movement"))
        lines.append(_line(name, _kind(own[0]), own, ratios, _price(own[0]["quantity"], prices)))
    return "\n".join([f"| {' | '.join(HEADING)} |", f"|{' --- |' * len(HEADING)}", *lines])


def auto_table(rows: Sequence[Row]) -> str:
    """What automatic weights do, as Markdown: accuracy lost, and margin over constant, at each fraction."""
    twin = {row["seed"]: row["accuracy"] for row in rows if row["penalty"] == TWIN}
    by: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        if row["auto"]:
            by.setdefault((row["penalty"], row["weight"]), []).append(row)
    lines = ["| penalty | fraction | accuracy, points | margin over constant / twin's |", "| --- | --- | --- | --- |"]
    for (name, fraction), own in sorted(by.items()):
        lost = 100 * fmean(row["accuracy"] - twin[row["seed"]] for row in own)
        lines.append(f"| `{name}` | {written(fraction)} | {lost:+.1f} | {_spread(_all(own, 'margin_ratio'))} |")
    return "\n".join(lines)


def fill(page: str, made: Mapping[str, str]) -> str:
    """The page with the tables that it has a place for."""
    for name, text in made.items():
        page = PLACES[name].sub(lambda _, name=name, text=text: f"<!-- table {name} -->\n{text}\n<!-- end -->", page)
    return page


def _kind(row: Row) -> str:
    """What is penalised, as a bound on the constant."""
    if row["certificate"] == Certificate.UPPER:
        return "upper bound"
    return "estimate from below" if get_quantity(row["quantity"]).from_below else "no bound"


def _line(name: str, certificate: str, rows: Sequence[Row], ratios: Sequence[str], price: str) -> str:
    weight = f" {written(rows[0]['weight'])}" if rows[0]["weight"] else ""
    shares = [f"{fmean(_all(rows, key)):.2f}" for key in ("certified", "certified_closed", "attacked")]
    return f"| `{name}`{weight} | {certificate} | {ratios[0]} | {ratios[1]} | {' | '.join(shares)} | {price} |"


def _all(rows: Sequence[Row], key: str) -> list[float]:
    """A figure of every seed; none where a seed lacks it."""
    found = [row.get(key) for row in rows]
    return [] if None in found else [float(value) for value in found if value is not None]


def _spread(values: Sequence[float]) -> str:
    return (
        f"{geometric_mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"
        if values and min(values) > 0
        else _MISSING
    )


def _price(name: str, prices: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for network in ("digits", "MNIST"):
        own = [p for p in prices if p["network"].startswith(network) and p["p"] != "2" and p["bound"] == name]
        told.append(f"{median(p['ratio of 16'] for p in own):.1f}" if own else "")
    return " / ".join(told) if any(told) else _MISSING
