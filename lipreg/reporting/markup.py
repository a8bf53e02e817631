"""The building blocks of the report in HTML: tables, cards and figures on them; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from lipreg.reporting.wording import BEYOND_AUDITED
from lipreg.words import counted, plain

_LONG = 50
"""The number of lines above which a list is opened by a click."""


class Card(NamedTuple):
    """A card that shows one figure.

    Attributes:
        head: the heading.
        figure: the figure, in HTML.
        note: what it is, in words.
    """

    head: str
    figure: str
    note: str


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A plain table in HTML; the first cell of each row heads it.

    Args:
        heads: the headings of the columns.
        rows: the cells, as plain text.
        numbers: the indices of columns that are set as numbers.
    """
    kinds = [' class="number"' if i in numbers else "" for i in range(len(heads))]
    head = "".join(f'<th scope="col"{kind}>{text(name)}</th>' for name, kind in zip(heads, kinds, strict=True))
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def folded(content: str, count: int, what: str) -> str:
    """A list, behind a line with its length if it is long: what is not opened costs a browser no time.

    Args:
        content: the list, in HTML.
        count: its length.
        what: the name of one of its entries.
    """
    return f"<details><summary>{counted(count, what)}</summary>{content}</details>" if count > _LONG else content


def text(words: str) -> str:
    """Words from anywhere as HTML: on one line, escaped."""
    return escape(plain(words, 2000), quote=True)


def cards(*shown: Card) -> str:
    """Cards side by side."""
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><h3>{text(card.head)}</h3>{card.figure}<p>{text(card.note)}</p></div>' for card in shown
        )
        + "</div>"
    )


def value(words: str, what: str = "", of: str = "") -> str:
    """A figure on a card, in HTML; words about it are set smaller.

    Args:
        words: the figure.
        what: what it is; empty for nothing.
        of: the CSS class of the run that it is of.
    """
    figure, beyond, rest = words.partition(f", {BEYOND_AUDITED}")
    about = " ".join(each for each in (f"{beyond}{rest}".removeprefix(", "), what) if each)
    kind, beside = f"value {of}".rstrip(), f" <span>{text(about)}</span>" if about else ""
    return f'<div class="{kind}">{text(figure)}{beside}</div>'
