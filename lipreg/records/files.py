"""Record files: records are appended as they come, and files are read back, one by one or all below a folder."""

from __future__ import annotations

import os
import warnings
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from lipreg.disks import FullDisk, writing
from lipreg.errors import InvalidInput
from lipreg.records.kinds import Record
from lipreg.records.lines import DamagedLine, NewerLine, from_line, to_line
from lipreg.records.once import each_once
from lipreg.records.training import NewerRun
from lipreg.records.verdicts import checked
from lipreg.words import listed, natural

_NO_RECORDS = "holds no records of lipreg"
_EMPTY = "it is empty"
_ACCEPTED = (
    "a record file, or a folder below which experiments.train, experiments.audit or a LipschitzAudit has written"
)
_BEGIN = b'{"schema"'
"""The beginning of every record's line."""
_LISTED = 5
"""The number of damaged lines above which they are not listed one by one."""

_PROGRESS_EVERY = 1000
"""The number of lines between two calls with the progress of reading."""
ProgressCallback = Callable[[str, int, int], None]
"""A function that is called with the progress of long work: what is done, how much of it, of how much."""

Paths = str | Path | Iterable[str | Path]


class RecordFile:
    """An append-only file of records. Each line is on disk when ``append`` returns, so a kill loses nothing written.

    Args:
        path: a file; its folder is made.

    Raises:
        FullDisk: the disk is full.
        InvalidInput: the folder cannot be written, or the file is of something else; raised before any work starts.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._mend()
        except FullDisk:
            raise
        except OSError as error:
            raise InvalidInput(
                f"cannot write {self.path}: {error.strerror or error}",
                where="records",
                todo="Choose a folder that can be written",
            ) from None

    def _mend(self) -> None:
        """Makes the file if there is none, and closes a last line that a kill left open: kept if whole, cut if not."""
        with self.path.open("a+b") as file:
            file.seek(0)
            text = file.read()
            begin = text.rfind(b"\n") + 1
            if text.strip() and not any(map(_begun, text.removeprefix(BOM_UTF8).splitlines())):
                raise InvalidInput(
                    f"{self.path} {_NO_RECORDS}, and nothing is written to it",
                    where="records",
                    accepted="a new file, or one with records",
                )
            if begin == len(text):
                return
            try:
                from_line(text[begin:])
            except DamagedLine:
                file.truncate(begin)
                return
            except InvalidInput:  # whole, and an error for whoever reads it
                pass
            file.write(b"\n")

    def append(self, *records: Record) -> None:
        """Writes records at the end of the file: all of them, or none on a full disk.

        Raises:
            FullDisk: the disk is full.
        """
        if not records:
            return
        content = "".join(to_line(record) + "\n" for record in records).encode()
        with writing(self.path), self.path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                while content:  # a disk that is nearly full takes a part
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)  # the next record would follow half of one
                raise


def _begun(line: bytes) -> bool:
    """Whether a line is a record, or the beginning of one that a kill left."""
    return line.startswith(_BEGIN) or (bool(line) and _BEGIN.startswith(line))


@dataclass(frozen=True)
class Source:
    """A record file that was read.

    Attributes:
        name: its path below the folder that was read.
        records: in the order they were written.
        damage: which lines are left out, because they are damaged or of a newer lipreg; empty without such lines.
        cut: whether the last line is the beginning of a record, which is left out: it is being written, or the file is a
            copy that is not whole.
        checked: the certificates beside it that ``lipreg check`` has looked at, and its words; filled by ``read_sources``.
        lines: the numbers of the records' lines; empty where they were not read from a file.
    """

    name: str
    records: tuple[Record, ...]
    damage: str = ""
    cut: bool = False
    checked: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    def place(self, record: object) -> str | None:
        """File and line of one of its records, the same object; None for others."""
        at = next((at for at, candidate in enumerate(self.records) if candidate is record), None)
        return None if at is None else f"{self.name}, line {self.lines[at]}" if self.lines else self.name


class LeftOut(NamedTuple):
    """A file, or a part of it, that is not shown.

    Attributes:
        name: of the file.
        reason: why it is left out.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Sources:
    """What was read, and what was not.

    Attributes:
        files: the record files.
        left_out: ``.jsonl`` files that hold no records of lipreg, or cannot be read, and lines of others that are left out.
    """

    files: tuple[Source, ...]
    left_out: tuple[LeftOut, ...] = ()


def read_records(paths: Paths) -> list[Record]:
    """Reads record files, or every ``*.jsonl`` below folders.

    A damaged line, and one that a newer lipreg has written, is left out, with one warning a file; a ``NewerRun`` stands in
    the place of a run's record of a newer lipreg.

    There is no warning of a last line without a line break: it may be being written. A record that is there twice, in a file
    or in its copy, counts once (``each_once``).

    Raises:
        InvalidInput: there is no file, one cannot be read or has no records, all of them are of a newer lipreg, or a record
            has ends that cross or other values that nothing can have written.
    """
    sources = {path: _read(path, str(path)) for path in _files(paths)}
    for path, source in sources.items():
        if source.damage:
            warnings.warn(f"{path}: {source.damage}", stacklevel=1)  # from one place, so that it is shown once
    return list(each_once(record for source in sources.values() for record in source.records))


def read_sources(paths: Paths, on_progress: ProgressCallback | None = None) -> Sources:
    """Reads record files as ``read_records`` does, but one by one: one that cannot be read is named, and left out.

    Args:
        paths: as for ``read_records``.
        on_progress: called as the work goes on.

    Raises:
        InvalidInput: there is no file, or none with records.
    """
    read: list[Source] = []
    left_out: list[LeftOut] = []
    for path, name in _files(paths).items():
        try:
            source = _read(path, name, on_progress)
            read += [replace(source, checked=checked(source.records, path.parent))] if source.records else []
            reason = source.damage if source.records else _EMPTY if not path.stat().st_size else _NO_RECORDS
            left_out += [LeftOut(name, reason)] if reason else []
        except InvalidInput as error:
            line, todo = (
                error.where.partition(f"{path}, ")[2],
                f"; {error.todo[:1].lower()}{error.todo[1:]}" if error.todo else "",
            )
            left_out.append(LeftOut(name, (f"{line}: {error.got}" if line else error.got) + todo))
    if not read:
        raise _nothing(listed([f"{name}: {reason}" for name, reason in left_out]))
    return Sources(tuple(read), tuple(left_out))


def _files(paths: Paths) -> dict[Path, str]:
    """The record files, each once, with their names: paths below the folder if there is one alone, else with its name."""
    try:
        roots = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    except TypeError:
        raise InvalidInput(f"{paths!r} is no path", where="records", accepted=_ACCEPTED) from None
    names: dict[Path, str] = {}
    for root in roots:
        if not root.exists():
            raise InvalidInput(f"no folder or file {root}", where="records", accepted=_ACCEPTED)
        for path in record_files(root):
            name = path.relative_to(root if len(roots) == 1 else root.parent) if root.is_dir() else path
            names.setdefault(path.resolve() if path.exists() else path, str(name))
    if not names:
        raise _nothing(f"no .jsonl file at {', '.join(map(str, roots)) or 'no path'}")
    return names


def record_files(path: Path) -> list[Path]:
    """The file at a path, or the record files below a folder, in the order of the numbers in their names."""
    return sorted(below(path, ".jsonl"), key=natural) if path.is_dir() else [path]


def below(folder: Path, suffix: str) -> Iterator[Path]:
    """The files with a suffix in a folder and in those below it, links to folders included; each folder once."""
    seen = set[str]()
    for at, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(at, name) for name in names if name.endswith(suffix))


def _nothing(why: str) -> InvalidInput:
    return InvalidInput(f"no records: {why}", where="records", accepted=_ACCEPTED)


def _read(path: Path, name: str, on_progress: ProgressCallback | None = None) -> Source:
    """The content of one file. A last line without an end is left out and no damage: a kill cut it off, and ``RecordFile``
    mends it, or it is being written. Nor are blank lines."""
    if not path.is_file():  # reading a pipe would wait for whoever writes into it
        raise InvalidInput("no file that can be read (a broken link, a pipe)", where=str(path), accepted=_ACCEPTED)
    try:
        *lines, cut = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror or error}", where=str(path), accepted=_ACCEPTED) from None
    records: list[Record] = []
    numbers: list[int] = []
    damaged: list[tuple[int, InvalidInput]] = []
    newer: list[tuple[int, InvalidInput]] = []
    is_cut = False
    for number, line in enumerate([*lines, cut], 1):
        if on_progress is not None and number % _PROGRESS_EVERY == 0:
            on_progress(f"reading {name}", number, len(lines))
        try:
            if not line.removeprefix(BOM_UTF8).strip():
                continue
            records.append(from_line(line, f"{path}, line {number}"))
            numbers.append(number)
        except NewerLine as error:
            newer.append((number, error))
            records += [] if error.run is None else [error.run]
            numbers += [] if error.run is None else [number]
        except DamagedLine as error:
            if number <= len(lines):
                damaged.append((number, error))
            else:
                is_cut = _begun(cut)
    if newer and all(isinstance(record, NewerRun) for record in records):
        raise newer[0][1]
    if not records and damaged:
        raise InvalidInput(_NO_RECORDS, where=str(path), accepted="a record file")
    damage = [_skipped_lines(damaged, "damaged"), _skipped_lines(newer, "of a newer lipreg")]
    return Source(name, tuple(records), "; ".join(filter(None, damage)), is_cut, lines=tuple(numbers))


def _skipped_lines(lines: list[tuple[int, InvalidInput]], what: str) -> str:
    """Which lines are left out, and why the first one is; empty for none."""
    numbers = [str(number) for number, _ in lines]
    which = ", ".join(numbers[:_LISTED] + ["..."] * (len(numbers) > _LISTED))
    many = "s" * (len(numbers) > 1), "are" if len(numbers) > 1 else "is"
    return f"line{many[0]} {which} {many[1]} {what} and left out ({lines[0][1].got})" if lines else ""
