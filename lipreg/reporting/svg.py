"""Figures as files: PNG, and SVG that is the same text for the same figure."""

from __future__ import annotations

import io
from pathlib import Path

from lipreg.errors import InvalidInput
from lipreg.reporting.plotting import Figure, rc_context
from lipreg.whole_files import write_whole

# Okabe and Ito's blue and vermilion stay apart for every kind of colour blindness; line styles say which quantity it is
RUN_COLOURS = ("#0072b2", "#d55e00")
INK, GRID = "#1b1b1d", "#d2d2d6"


def save(figure: Figure, path: str | Path) -> Path:
    """Writes the figure as PNG or SVG, by the file's suffix.

    Raises:
        FullDisk: the disk is full.
        InvalidInput: another suffix.
    """
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise InvalidInput(f"{path.name!r}", where="saving a figure", accepted="a name that ends in .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        write_whole(path, svg(figure).encode())
    else:
        content = io.BytesIO()
        figure.savefig(content, dpi=160)
        write_whole(path, content.getvalue())
    return path


def svg(figure: Figure) -> str:
    """The figure as SVG text without a date or random names: equal figures give equal text."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lipreg"}):
        nothing = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()
