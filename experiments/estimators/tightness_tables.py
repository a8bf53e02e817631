"""Tables of how tight estimators are: one question a table, an overview of many, for the console, Markdown and W&B."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from experiments.estimators.tightness import Row, only, rows_of
from lipreg.words import plain, written

if TYPE_CHECKING:
    import pandas as pd
    import wandb

ORDER = {"exact": 0, "bracket": 0, "upper": 0, "estimate": 1, "lower": 2, "none": 3, "refused": 4}
"""Upper bounds and intervals first, from the loosest to the tightest; refusals last."""
NORMS = {"inf": "∞", "2": "2", "1": "1"}


@dataclass(frozen=True)
class TextTable:
    """A table in words.

    Attributes:
        title, headings: of the table and its columns.
        rows: of as many cells as there are headings.
        below: lines under it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()

    def markdown(self) -> str:
        """GitHub's kind of table, without the title; names from outside cannot end a cell."""
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        table = ["| " + " | ".join(plain(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]
        return "\n".join([*table, *(f"\n{plain(line)}" for line in self.below)])

    def rich(self) -> Table:
        """For the console."""
        table = Table(
            title=Text(plain(self.title), style="bold"),
            caption=Text("\n".join(map(plain, self.below))),
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAVY,
        )
        for i, heading in enumerate(self.headings):
            table.add_column(Text(heading), justify="left" if i < 2 else "right", overflow="fold", no_wrap=i < 2)
        for row in self.rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        return table


def question_tables(summary: pd.DataFrame) -> list[TextTable]:
    """A table for each network, scope and norm: bound over the exact constant at every radius, seconds, certificate.

    A ratio is the geometric mean over the points. "<=" where not all constants are known exactly: the best witness is
    then divided by, and the ratio to the constant can only be smaller.
    """
    rows, tables = rows_of(summary), []
    for network, scope, p in dict.fromkeys((row["network"], row["scope"], row["p"]) for row in rows):
        group = only(rows, network=network, scope=scope, p=p)
        radii = sorted({row["radius"] for row in group})
        lines = [("constant", "", *(_truth(only(group, radius=radius)) for radius in radii), "", "")]
        for name in ranked(group):
            mine = only(group, estimator=name)
            cells = (_ratio(only(mine, radius=radius)) for radius in radii)
            lines.append(
                (
                    name,
                    _kind(mine),
                    *cells,
                    _seconds(max(row["seconds"] for row in mine if row["points"])),
                    _remarks(mine),
                )
            )
        headings = ("estimator", "certificate", *(f"radius {written(radius)}" for radius in radii), "CPU s", "remarks")
        title = f"{network}, {scope}, p = {NORMS.get(p, p)}: bound / constant"
        tables.append(TextTable(title, headings, tuple(lines), tuple(refusals(group))))
    return tables


def overview(summary: pd.DataFrame, network: str, radius: float) -> TextTable:
    """One network at one radius: a row for each estimator, a column for each scope and norm, and the median seconds."""
    group = only(rows_of(summary), network=network, radius=radius)
    columns = sorted(
        {(row["scope"], row["p"]) for row in group}, key=lambda c: (c[0] == "pointed", list(NORMS).index(c[1]))
    )
    parts = [only(group, scope=scope, p=p) for scope, p in columns]
    lines = [("constant", "", *(_truth(part) for part in parts), "")]
    for name in ranked(group):
        mine = only(group, estimator=name)
        cells = (_ratio(only(part, estimator=name)) for part in parts)
        lines.append(
            (name, _kind(mine), *cells, _seconds(statistics.median(row["seconds"] for row in mine if row["points"])))
        )
    headings = (*(f"{scope}, p = {NORMS.get(p, p)}" for scope, p in columns), "CPU s a point")
    return TextTable(f"{network}, radius {written(radius)}", ("estimator", "certificate", *headings), tuple(lines))


def growth_table(summary: pd.DataFrame, axis: str, scope: str, p: str, radius: float) -> TextTable:
    """Networks of growing size under one question: a row for each estimator, a column for each network.

    The seconds are those of the largest network.
    """
    group = only(rows_of(summary), scope=scope, p=p, radius=radius)
    sizes = sorted({row[axis] for row in group})
    lines = [("constant", "", *(_truth(only(group, **{axis: size})) for size in sizes), "")]
    for name in ranked(group):
        mine = only(group, estimator=name)
        cells = (_ratio(only(mine, **{axis: size})) for size in sizes)
        lines.append((name, _kind(mine), *cells, _seconds(only(mine, **{axis: sizes[-1]})[0]["seconds"])))
    headings = (*(f"{size:g} {axis}" for size in sizes), "CPU s a point")
    title = f"{scope}, p = {NORMS.get(p, p)}, radius {written(radius)}"
    return TextTable(title, ("estimator", "certificate", *headings), tuple(lines))


def refusals(rows: Sequence[Row]) -> list[str]:
    """Every refusal in words, once, with the names of those who refuse."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row["certificate"] == "refused" and row["estimator"] not in names.setdefault(row["remark"], []):
            names[row["remark"]].append(row["estimator"])
    return [f"Refused by {', '.join(sorted(who))}: {why}." for why, who in names.items()]


def ranked(rows: Sequence[Row]) -> list[str]:
    """Those who answered, from the loosest to the tightest by the mean logarithm of their ratios; see ORDER."""
    keys: dict[str, tuple[int, float, str]] = {}
    for name in {row["estimator"] for row in rows if row["certificate"] != "refused"}:
        mine = only(rows, estimator=name)
        ratios = [row["ratio"] for row in mine if 0 < row["ratio"] < math.inf]
        mean = math.fsum(map(math.log, ratios)) / len(ratios) if ratios else math.inf
        keys[name] = (min(ORDER[row["certificate"]] for row in mine), -round(mean, 6), name)
    return sorted(keys, key=keys.__getitem__)


def wandb_table(frame: pd.DataFrame) -> wandb.Table:
    """The rows as a ``wandb.Table``; what is infinite or missing is an empty cell, because W&B cannot draw it."""
    import wandb

    rows: list[Any] = [
        [None if isinstance(v, float) and not math.isfinite(v) else v for v in row.values()] for row in rows_of(frame)
    ]
    return wandb.Table(columns=list(frame.columns), data=rows)


def _kind(mine: Sequence[Row]) -> str:
    """The certificate over several questions; one that is exact at some of them only is a bracket."""
    kinds = {row["certificate"] for row in mine} - {"refused"}
    kinds = kinds - {"none"} or kinds
    return "bracket" if len(kinds) > 1 else kinds.pop()


def _ratio(mine: Sequence[Row]) -> str:
    """In words for one question; nothing if the estimator was not asked."""
    if not mine or mine[0]["certificate"] == "refused":
        return "refused" if mine else ""
    (row,) = mine
    if not row["answers"]:
        return "none"
    some = "" if row["answers"] == row["points"] else f" ({row['answers']:.0f} of {row['points']:.0f})"
    return ("" if row["known"] == row["points"] else "<= ") + f"{row['ratio']:.3f}" + some


def _truth(group: Sequence[Row]) -> str:
    row = next((row for row in group if row["points"]), None)
    if row is None:
        return ""
    low, high = row["truth_lower"], row["truth_upper"]
    return f"{high:.4g}" if row["known"] == row["points"] else f"{low:.4g} to {high:.4g}"


def _seconds(seconds: float) -> str:
    return "" if math.isnan(seconds) else "< 0.001" if seconds < 0.001 else f"{seconds:.2g}"


def _remarks(mine: Sequence[Row]) -> str:
    """How the cells ended: those that are exact, and those that a limit or a failure ended."""
    cells, closed, cut, failed = (int(sum(row[c] for row in mine)) for c in ("points", "closed", "cut", "failed"))
    said = [f"exact at {closed} of {cells}"] * (closed > 0)
    said += [f"limit at {cut} of {cells}"] * (cut > 0)
    said += [f"failed at {failed} of {cells}"] * (failed > 0)
    return "; ".join(said + [row["remark"] for row in mine if row["remark"]][:1])
