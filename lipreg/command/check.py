"""Certificates re-derived from their files: a line a certificate, and an error where one is refused."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipreg.records import AuditRecord
    from lipreg.records.verdicts import KeptVerdict

RECORDS = ".jsonl"
"""What record files end with."""
EVERY = 0.2
"""Seconds between lines that say how far a check is."""


def paths(parser: argparse.ArgumentParser) -> None:
    """Which certificates."""
    parser.add_argument(
        "paths",
        metavar="FILE|FOLDER",
        nargs="+",
        help="certificates, folders with *.certificate.json.gz below, or record files that name them",
    )
    rounded = "upper ends in float64 with a radius for every number, in place of whole numbers: for large networks"
    parser.add_argument("--rounded", action="store_true", help=rounded)


def check(asked: argparse.Namespace) -> None:
    """Prints a line a certificate: its claim, by how many parts it is proved, seconds; or where it fails.

    Raises:
        InvalidInput: a certificate is refused, is not there, or speaks of another interval, question, point or network than
            the record that names it; or there is none at all.
    """
    from lipreg.errors import InvalidInput
    from lipreg.records.claims import SUFFIX
    from lipreg.records.verdicts import keep_verdict
    from lipreg.words import counted

    nowhere = [path for path in asked.paths if not Path(path).exists()]
    if nowhere:
        raise InvalidInput(
            f"nothing at {', '.join(nowhere)}", where="check", accepted="files and folders that are there"
        )
    recorded = _recorded(asked.paths)
    named = recorded.by_file
    places = {path: place for place, path in enumerate(named)}
    asked_for = [*_named(asked.paths, named), *_files(asked.paths, SUFFIX)]
    files = list({path.resolve(): path for path in asked_for}.values())
    files.sort(key=lambda path: places.get(path.resolve(), len(places)))
    missing = [path for path in named if not path.is_file()]
    if not files and not missing:
        raise InvalidInput(f"no certificate at {', '.join(asked.paths)}", where="check", accepted=f"*{SUFFIX}")
    refused = len(missing)
    for i, path in enumerate(files):
        line, verdict = _checked(path, f"{i + 1} of {len(files)}", "rounded" if asked.rounded else "exact")
        kept, records = keep_verdict(path, verdict), named.get(path.resolve(), [])
        others = next(filter(None, map(verdict.differences, records)), [])
        if others:
            line = f"{path}: refused: its record says {'; '.join(others)}"
        about = "; ".join(dict.fromkeys(_words(record) for record in records))
        print(f"{line}; {about}" if about else line)
        if not kept:
            print(f"{path}: no verdict is kept beside it, where nothing can be written; pages show it as not checked")
        refused += bool(verdict.refused or others)
    for path in missing:
        print(f"{_shown(path)}: refused: a record names it, and it is not there")
    for reason in recorded.damaged:
        print(reason)
    count = counted(len(files) + len(missing), "certificate")
    said = f"{refused} of {count} refused" if refused else f"{count}: {'it holds' if len(files) == 1 else 'all hold'}"
    if refused or recorded.damaged:
        unread = "; what records say of them could not be read" if recorded.damaged else ""
        raise InvalidInput(f"{said}{unread}{recorded.words(files)}", where="check")
    print(f"{said}{recorded.words(files)}")


def _checked(path: Path, which: str, mode: str) -> tuple[str, KeptVerdict]:
    """What is said of a certificate, and what is kept."""
    import lipreg.checking as checker
    from lipreg.records.claims import claim_of
    from lipreg.records.verdicts import KeptVerdict, digest
    from lipreg.words import plain

    def refusal(why: str) -> tuple[str, KeptVerdict]:
        return plain(f"{path}: refused: {why}"), KeptVerdict(
            bytes_, 0.0, math.inf, mode, checker.CHECKER, refused=plain(why)
        )

    line, bytes_ = _Line(which), digest(path)
    began = line.said
    try:
        certificate = checker.read(path)
        verdict = checker.check(certificate, lambda at: line.say(f"{at.checked} of {at.nodes} nodes"), mode)
    except checker.Refused as error:
        return refusal(_unread(path) or str(error).removeprefix(f"{path}: "))
    finally:
        line.end()
    seconds, parts = time.monotonic() - began, ", ".join(f"{n} {kind}" for kind, n in verdict.leaves.items())
    ends, units = (_outward(verdict.lower, -math.inf), _outward(verdict.upper, math.inf)), verdict.units
    how = f"{verdict.mode}, checker {checker.CHECKER}, {seconds:.1f} s"
    shown = f"[{_digits(verdict.lower, ROUND_FLOOR)}, {_digits(verdict.upper, ROUND_CEILING)}]"
    said = f"holds: {shown} by {parts} parts, {units[1]} of {units[0]} units undecided; {how}"
    asked = plain(certificate.producer.get("sentence", ""))
    try:
        claim = asdict(claim_of(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return refusal(f"what it claims cannot be read: {type(error).__name__}: {error}")
    if digest(path) != bytes_:
        return refusal("it changed while it was checked")
    told = f"{path}: {said}" + (f" (its producer's words, unchecked: {asked})" if asked else "")
    return told, KeptVerdict(bytes_, *ends, verdict.mode, checker.CHECKER, claim)


def _unread(path: Path) -> str:
    """Of a file that is no certificate any more, what happened to it and what to do; empty for others."""
    import gzip
    import zlib

    anew = "; remove it, and audit again with the same records: it is written anew"
    try:
        with path.open("rb") as file:
            begin = file.read(2)
        if not begin:
            return f"it is empty{anew}"
        if begin == b"\x1f\x8b":
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
    except EOFError:
        return f"its end is missing{anew}"
    except (OSError, zlib.error) as error:
        return f"it is damaged ({error}){anew}" if path.is_file() else ""
    return ""


def _outward(end: Fraction, side: float) -> float:
    """An end as a record may have it: the nearest float on that side of it, or it itself."""
    try:
        near = float(end)
    except OverflowError:
        return math.inf
    inside = Fraction(near) > end if side < 0 else Fraction(near) < end
    return math.nextafter(near, side) if inside else near


def _digits(end: Fraction, rounding: str) -> str:
    """An end to nine digits, rounded outward."""
    short = Context(prec=9, rounding=rounding, Emax=MAX_EMAX, Emin=MIN_EMIN).divide
    return f"{short(Decimal(end.numerator), Decimal(end.denominator)).normalize():g}"


class _Line:
    """A line on a terminal's standard error that is rewritten as a check goes on."""

    def __init__(self, which: str) -> None:
        self.which, self.said, self.shown = which, time.monotonic(), sys.stderr.isatty()

    def say(self, text: str) -> None:
        now = time.monotonic()
        if self.shown and now - self.said > EVERY:
            self.said = now
            print(f"\r\x1b[Kcertificate {self.which}: {text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _named(given: Sequence[str], named: Iterable[Path]) -> Iterator[Path]:
    """The certificates that are there of those that records name, where a record file was asked for."""
    if any(Path(path).suffix == RECORDS for path in given):
        yield from (_shown(path) for path in named if path.is_file())


def _files(given: Sequence[str], suffix: str) -> Iterator[Path]:
    from lipreg.records.files import below
    from lipreg.words import natural

    for path in map(Path, given):
        if path.is_dir():
            yield from sorted(below(path, suffix), key=natural)
        elif path.suffix != RECORDS:  # of a record file, those that it names
            yield path


@dataclass(frozen=True)
class _Recorded:
    """What records of some folders say of certificates, but for those of epochs that a resume has left behind.

    Attributes:
        by_file: the records that name each.
        without: how many exact intervals of runs with certificates have none.
        damaged: what of them cannot be read, in words.
        sought: whether folders were asked for, in which records are looked for.
    """

    by_file: dict[Path, list[AuditRecord]]
    without: int
    damaged: list[str]
    sought: bool

    def words(self, files: Sequence[Path]) -> str:
        """What is to be said beside the count of certificates."""
        from lipreg.words import counted

        told = (
            f"; of the runs that have some, {counted(self.without, 'exact interval')} without one"
            if self.without
            else ""
        )
        unnamed = 0 if self.damaged else sum(path.resolve() not in self.by_file for path in files)
        return told + (f"; no record that counts names {unnamed} of them" if unnamed and self.sought else "")


def _recorded(given: Sequence[str]) -> _Recorded:
    from lipreg.errors import InvalidInput
    from lipreg.records import EXACT, read_records
    from lipreg.records.files import below
    from lipreg.runs import recorded_runs
    from lipreg.words import natural, plain

    found: dict[Path, list[AuditRecord]] = {}
    without, damaged = 0, list[str]()
    files = (file for path in map(Path, given) for file in (below(path, RECORDS) if path.is_dir() else [path]))
    files = (file for file in files if file.suffix == RECORDS)
    for file in sorted(files, key=natural):
        try:
            runs = recorded_runs(read_records(file))
        except InvalidInput as error:  # which hides nothing of the others
            damaged.append(plain(f"records that cannot be read: {error}", 500))
            continue
        for run in runs:
            whole = [record for record in run.audits if record.estimator == EXACT]
            named = [record for record in whole if record.certificate_file]
            for record in named:
                found.setdefault((file.parent / record.certificate_file).resolve(), []).append(record)
            without += sum(r.is_exact and not r.certificate_file for r in whole) if named else 0
    return _Recorded(
        found, without, damaged, any(Path(path).is_dir() or Path(path).suffix == RECORDS for path in given)
    )


def _shown(path: Path) -> Path:
    """A path as it is told: below the working folder, where it is there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _words(record: AuditRecord) -> str:
    """Of which point a record is."""
    from lipreg.words import plain

    return f"{plain(record.run, 80)}, epoch {record.epoch}, point {record.point}"
