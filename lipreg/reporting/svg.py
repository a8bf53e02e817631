"""Figures as files, and as SVG that lives in a page and takes its colours, light or dark."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from lipreg.errors import InvalidInput

# Okabe and Ito's blue and vermilion stay apart for every kind of colour blindness; line styles say which quantity it is
RUN_COLOURS = ("#0072b2", "#d55e00")
INK, GRID = "#1b1b1d", "#d2d2d6"

_IN_PAGE = dict(
    zip((*RUN_COLOURS, INK, GRID), ("var(--run)", "var(--twin)", "currentColor", "var(--grid)"), strict=True)
)


def save(figure: Figure, path: str | Path) -> Path:
    """Writes the figure as PNG or SVG, by the file's suffix.

    Raises:
        InvalidInput: another suffix.
    """
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise InvalidInput(f"{path.name!r}", where="saving a figure", accepted="a name that ends in .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        path.write_text(svg(figure), encoding="utf-8")
    else:
        figure.savefig(path, dpi=160)
    return path


def svg(figure: Figure, transparent: bool = False) -> str:
    """The figure as SVG text without a date or random names: equal figures give equal text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lipreg"}):
        nothing = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        figure.savefig(buffer, format="svg", transparent=transparent, metadata=nothing)
    return buffer.getvalue()


def inline_svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as an ``<svg>`` element for a page that defines the colours ``--run``, ``--twin`` and ``--grid``.

    Text takes the page's colour, the background is transparent, and identifiers start with ``prefix``, so that several
    figures live in one page. ``label`` is what a screen reader says; it must be escaped already.
    """
    text = svg(figure, transparent=True)
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text).replace("url(#", f"url(#{prefix}")
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)  # its "*" selector would reach the whole page
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    for colour, name in _IN_PAGE.items():
        text = text.replace(colour, name)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
