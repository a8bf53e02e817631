"""How details of results are put into words, and rows of cells into lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

SHOWN = 4
"""Most names that a sentence lists."""
DIGITS = 4
"""Significant digits of a number in a sentence."""


def counted(count: int, what: str) -> str:
    """So many of them: "1 point", "2,845 points"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def listed(names: list[str]) -> str:
    """Names in words, the first few of many: "a", "a and b", "a, b and 3 more"."""
    shown = names if len(names) <= SHOWN else [*names[: SHOWN - 1], f"{len(names) - SHOWN + 1} more"]
    *others, last = shown
    return f"{', '.join(others)} and {last}" if others else last


def numbered(what: str, numbers: Iterable[int]) -> str:
    """Things by their numbers, those in a row as such: "point 3", "points 0 to 4, 7 and 9"; the first few of many."""
    rows: list[list[int]] = []
    for number in sorted(set(numbers)):
        if rows and number == rows[-1][1] + 1:
            rows[-1][1] = number
        else:
            rows.append([number, number])
    one = len(rows) == 1 and rows[0][0] == rows[0][1]
    parts = [str(first) if first == last else f"{first} to {last}" for first, last in rows]
    return f"{what}{'' if one else 's'} {listed(parts)}"


def natural(text: object) -> tuple[tuple[float, str], ...]:
    """A key for sorting names and paths by the numbers in them: weight=0.1 before weight=1e1, seed=2 before seed=10."""
    words = str(text)
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", words)
    # numbers stand between texts, at every second place; names that differ in how a number is written stay apart
    return (*((float(part), "") if at % 2 else (0.0, part) for at, part in enumerate(parts)), (0.0, words))


def capitalised(text: str) -> str:
    """A text as the beginning of a sentence; names within it keep their letters."""
    return text[:1].upper() + text[1:]


def of_system(error: Exception) -> str:
    """An error's text; of the operating system's the reason alone, "no such file or directory", without number and path."""
    text = (isinstance(error, OSError) and error.strerror) or ""
    return text[:1].lower() + text[1:] if text else str(error)


def written(value: float, digits: int | None = 6) -> str:
    """A number as it stands everywhere, in columns, names, charts and pages: "0.0001", "1e-5", "12350", "1.235e5".

    Args:
        value: "inf", "-inf" and "n/a" stand for what is not finite.
        digits: how many significant ones; None for as many as distinguish the float from all others.
    """
    if not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "n/a")
    if value == 0:
        return "0"
    exact = Decimal(repr(float(value)) if digits is None else f"{value:.{digits - 1}e}").normalize()
    power = exact.adjusted()
    return f"{exact:f}" if -5 < power < 5 else f"{exact.scaleb(-power):f}e{power}"


def spelled(value: object) -> str:
    """A setting as messages have it: a number by all of its digits, anything else by its own words."""
    return written(value, None) if isinstance(value, float) else str(value)


def rounded(value: float, rounding: str = ROUND_HALF_EVEN, digits: int = DIGITS) -> str:
    """A number to significant digits; rounded up it stays an upper bound, rounded down a lower one.

    Args:
        value: "inf", "-inf" and "n/a" stand for what is not finite.
        rounding: one of those of ``decimal``.
        digits: how many.
    """
    if not math.isfinite(value) or value == 0:
        return written(value)
    exact = decimal(value)
    short = exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), rounding=rounding)
    return written(float(short), digits)


def decimal(value: float) -> Decimal:
    """The number that a float means: its own rounding is no reason to move the last printed digit."""
    return Decimal(f"{value:.12e}")


def sentences(*parts: str) -> str:
    """Sentences one after another, each once, without parts that are empty and without the last full stop."""
    return ". ".join(dict.fromkeys(one for part in parts if part for one in part.removesuffix(".").split(". ")))


def size(bytes: int) -> str:
    """So much memory, in the largest unit of which there is one: "512 bytes", "1.9 MiB"."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if bytes >= unit:
            return f"{bytes / unit:.4g} {name}"
    return counted(bytes, "byte")


def time_left(seconds: float) -> str:
    """How long it may still take, rounded up; once a budget is spent, what is begun is finished."""
    return f"at most {math.ceil(seconds):,} s left" if seconds > 0 else "the budget is spent"


def aligned(rows: Sequence[Sequence[str]], left_columns: int) -> list[str]:
    """Lines of cells in columns: the first so many are aligned on the left, the others on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [*[str.ljust] * left_columns, *[str.rjust] * (len(widths) - left_columns)]
    return [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)).rstrip() for row in rows
    ]


def plain(text: str, limit: int = 400) -> str:
    """Text from outside on one line: control and direction characters replaced, cut to ``limit`` characters."""
    clean = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def shortened(text: str, limit: int) -> str:
    """A name from outside on one line, as ``plain`` has it; a long one loses its middle: what tells it apart stands last."""
    clean = plain(text, len(text))
    end = limit // 2
    return clean if len(clean) <= limit else f"{clean[: limit - end - 1]}\N{HORIZONTAL ELLIPSIS}{clean[-end:]}"


def shortened_apart(texts: Sequence[str], limit: int) -> list[str]:
    """The texts as ``shortened`` has them; those that differ, and would then be the same, stay whole."""
    short = [shortened(text, limit) for text in texts]
    different = {
        one: len({text for text, other in zip(texts, short, strict=True) if other == one}) for one in set(short)
    }
    return [plain(text, len(text)) if different[one] > 1 else one for text, one in zip(texts, short, strict=True)]
