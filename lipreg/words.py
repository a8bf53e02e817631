"""How details of results are put into words, and rows of cells into lines."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 4
"""Most names that a sentence lists."""


def counted(count: int, what: str) -> str:
    """So many of them: "1 point", "2,845 points"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def listed(names: list[str]) -> str:
    """Names in words, the first few of many: "a", "a and b", "a, b and 3 more"."""
    shown = names if len(names) <= SHOWN else [*names[: SHOWN - 1], f"{len(names) - SHOWN + 1} more"]
    *others, last = shown
    return f"{', '.join(others)} and {last}" if others else last


def sentences(*parts: str) -> str:
    """Sentences one after another, without those that are empty and without the last full stop."""
    return ". ".join(part.removesuffix(".") for part in parts if part)


def size(bytes: int) -> str:
    """So much memory, in the largest unit of which there is one: "512 bytes", "1.9 MiB"."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if bytes >= unit:
            return f"{bytes / unit:.4g} {name}"
    return counted(bytes, "byte")


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of cells in columns: the first so many are aligned on the left, the others on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [*[str.ljust] * left, *[str.rjust] * (len(widths) - left)]
    return [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)).rstrip() for row in rows
    ]
