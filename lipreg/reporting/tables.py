"""The final table of a run, or a network, against its twin, for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipreg.extras import require
from lipreg.reporting.notes import doubts, notes, which
from lipreg.reporting.rows import comparison_blocks
from lipreg.reporting.verdicts import judgement, movement_lines
from lipreg.transfer import Comparison
from lipreg.words import aligned, plain, shortened_apart

if TYPE_CHECKING:
    from rich.table import Table


def comparison_table(comparison: Comparison) -> Table:
    """A ``rich`` table of both runs: first the figures that rescaling does not change, then the constants as they are.

    The movements, the verdict and the notes are below it.

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
    for block in comparison_blocks(comparison):
        table.add_row(Text(block.name, style="italic"))
        for row in block.rows:
            table.add_row(*map(Text, row))
        table.add_section()
    return table


def comparison_text(comparison: Comparison) -> str:
    """The table of ``comparison_table`` as plain aligned text, for log files and terminals without colour."""
    rows: list[tuple[str, ...]] = [("", *_headings(comparison, " "))]
    for block in comparison_blocks(comparison):
        rows += [(block.name, "", "", ""), *block.rows]
    head = [plain(comparison.sentence)] if comparison.sentence else []
    return "\n".join([*head, *aligned(rows, left_columns=1), "", *_below(comparison)]) + "\n"


def _headings(comparison: Comparison, separator: str = "\n") -> tuple[str, str, str]:
    names = shortened_apart([figures.run for figures in (comparison.regularised, comparison.twin)], 40)
    roles = [
        role if role == name else f"{role}{separator}{name}" for role, name in zip(comparison.roles, names, strict=True)
    ]
    return roles[0], roles[1], "ratio"


def _below(comparison: Comparison) -> list[str]:
    movement = comparison.movement
    note = [f"Note: {movement.note}."] if movement.note and movement.transfer is not None else []
    first = which(comparison.regularised, comparison.twin)
    return [*first, *movement_lines(comparison), judgement(comparison), *doubts(comparison), *note, *notes(comparison)]
