"""Why a file could not be read, in words for messages."""

from __future__ import annotations

import traceback
import zipfile
from pathlib import Path

from lipreg.words import of_system

_OF_CODE = (LookupError, TypeError, AttributeError)
"""Errors whose text is about the reader's code, not about the file."""

_ARCHIVE = b"PK\x03\x04"
"""The first bytes of a zip archive."""


def first_line(error: Exception) -> str:
    """The first line of an error's text, or the name of its class where it has none."""
    text = of_system(error).partition("\n")[0].strip()
    if isinstance(error, _OF_CODE):
        return f"{type(error).__name__}: {text}"
    return text or type(error).__name__


def of_code(error: BaseException) -> str:
    """An error of a user's code in one line of text, with the line of code at which it was raised."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(at.filename).name}, line {at.lineno})"


def unreadable(path: str | Path, error: Exception) -> str:
    """A sentence that a file cannot be read, and why: it is empty, cut short or damaged, or the text of the error."""
    file = Path(path)
    if file.is_file() and not file.stat().st_size:
        return f"cannot read {path}: it is empty"
    if is_cut(file):
        return f"cannot read {path}: it is cut short or damaged"
    why = "it is damaged, or of another kind" if isinstance(error, _OF_CODE) else first_line(error)
    return f"cannot read {path}: {why}"


def part_before(value: str) -> str:
    """Advice on how to load the part of a file's network that ends with a value; empty where the value is."""
    return f"The part up to there is module={value!r}, or --module {value}" if value else ""


def is_cut(path: str | Path) -> bool:
    """Whether a file begins like a zip archive, as networks and arrays are saved, but is none: its end is missing."""
    try:
        with Path(path).open("rb") as file:
            begins = file.read(len(_ARCHIVE))
        return _ARCHIVE.startswith(begins) and bool(begins) and not zipfile.is_zipfile(path)
    except OSError:
        return False
