"""Record files whose last line is cut off, which those who read them cannot tell from files that are being written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lipreg.errors import InvalidInput
from lipreg.records import DamagedLine, LeftOut, from_line

_REASON = "its last line is cut off: it is being written, or the file is a copy that is not whole"


def unfinished(paths: Sequence[str]) -> list[LeftOut]:
    """The last lines that are no whole record, of the files at or below paths that were read."""
    return [LeftOut(str(path), _REASON) for path in _files(paths) if _is_cut(path.read_bytes().rpartition(b"\n")[2])]


def _files(paths: Sequence[str]) -> Iterator[Path]:
    seen: set[Path] = set()
    for root in map(Path, paths):
        for path in sorted(root.rglob("*.jsonl")) if root.is_dir() else [root]:
            if path.is_file() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _is_cut(line: bytes) -> bool:
    """Whether a line is the beginning of a record, and not a whole one."""
    if not line.startswith(b"{"):
        return False
    try:
        from_line(line)
    except DamagedLine:
        return True
    except InvalidInput:  # whole, and an error for whoever reads it
        return False
    return False
