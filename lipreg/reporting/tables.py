"""The final table of a regularised run against its twin, for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipreg.extras import require
from lipreg.reporting.wording import comparison_rows, doubts, judgement, movement_lines, notes, plain
from lipreg.transfer import Comparison

if TYPE_CHECKING:
    from rich.table import Table


def comparison_table(comparison: Comparison) -> Table:
    """A ``rich`` table: accuracy, bound, LP, exact interval, tightness and radius of both runs, transfer below.

    Names from outside are set as ``Text``, so brackets in them are not read as markup.

    Raises:
        MissingExtra: rich is not installed.
    """
    require("views", "rich", where="comparison_table", otherwise="take comparison_text, which needs nothing")
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(plain(comparison.sentence), style="bold"),
        caption=Text("\n".join(_below(comparison))),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAVY,
    )
    for heading in ("", *_headings(comparison)):
        table.add_column(Text(heading), justify="right" if heading else "left", overflow="fold")
    for row in comparison_rows(comparison):
        table.add_row(*map(Text, row))
    return table


def comparison_text(comparison: Comparison) -> str:
    """The same as plain aligned text, for log files and terminals without colour."""
    rows = [("", *_headings(comparison, " ")), *comparison_rows(comparison)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    head = [plain(comparison.sentence)] if comparison.sentence else []
    return "\n".join([*head, *(line.rstrip() for line in lines), "", *_below(comparison)]) + "\n"


def _headings(comparison: Comparison, separator: str = "\n") -> tuple[str, str, str]:
    names = [plain(figures.run, 40) for figures in (comparison.regularised, comparison.twin)]
    roles = [
        role if role == name else f"{role}{separator}{name}"
        for role, name in zip(("regularised", "twin"), names, strict=True)
    ]
    return roles[0], roles[1], "ratio"


def _below(comparison: Comparison) -> list[str]:
    movement = comparison.movement
    note = [f"Note: {movement.note}."] if movement.note and movement.transfer is not None else []
    return [*movement_lines(movement), judgement(comparison), *doubts(comparison), *note, *notes(comparison)]
