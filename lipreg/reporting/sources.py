"""Record files below a folder, read one by one: a file that cannot be read is named and costs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lipreg.errors import InvalidInput
from lipreg.records import Record, read_records


@dataclass(frozen=True)
class Source:
    """A record file.

    Attributes:
        name: its path below the folder that was asked for.
        records: in the order they were written.
    """

    name: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Sources:
    """What was read, and what was not.

    Attributes:
        files: the record files.
        left_out: name and reason of ``.jsonl`` files that hold no records of lipreg, or are damaged.
    """

    files: tuple[Source, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def read_sources(paths: str | Path | Iterable[str | Path]) -> Sources:
    """Reads record files, or every ``*.jsonl`` below folders. Nothing but JSON is read, and nothing is executed.

    Raises:
        InvalidInput: a path does not exist, or no records are found.
    """
    roots = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    for root in roots:
        if not root.exists():
            raise InvalidInput(f"no folder or file {root}", where="runs", accepted="a run folder or a .jsonl file")
    files: dict[Path, str] = {}
    for root in roots:
        for path in sorted(root.rglob("*.jsonl")) if root.is_dir() else [root]:
            files.setdefault(path.resolve(), _name(path, root, alone=len(roots) == 1))
    read: list[Source] = []
    left_out: list[tuple[str, str]] = []
    for path, name in files.items():
        try:
            if not _holds_records(path):
                left_out.append((name, "holds no records of lipreg"))
                continue
            read.append(Source(name, tuple(read_records(path))))
        except (InvalidInput, OSError, UnicodeDecodeError) as error:
            left_out.append((name, error.got if isinstance(error, InvalidInput) else str(error)))
    if not any(source.records for source in read):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out)
        raise InvalidInput(
            f"no records at {', '.join(map(str, roots))}" + (f" ({reasons})" if reasons else ""),
            where="runs",
            accepted="a folder below which experiments.train, experiments.audit or a LipschitzAudit has written",
        )
    return Sources(tuple(read), tuple(left_out))


def _name(path: Path, root: Path, alone: bool) -> str:
    if not root.is_dir():
        return str(path)
    below = path.relative_to(root)
    return str(below if alone else Path(root.name) / below)


def _holds_records(path: Path) -> bool:
    """Whether the first line says that it is a record; other programs write JSON lines too."""
    with path.open(encoding="utf-8") as file:
        line = file.readline()
    try:
        first = json.loads(line)
    except ValueError:
        return False
    return isinstance(first, dict) and {"schema", "kind"} <= first.keys()
