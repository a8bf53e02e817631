"""Certificates re-derived from their files: a line a certificate, and an error where one is refused."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR
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
_AGAIN = "; audit again with the same records: it is written anew"
_ANEW = f"; remove it, and {_AGAIN.removeprefix('; ')}"


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
    from lipreg.records.claims import SUFFIX, otherwise
    from lipreg.records.verdicts import keep_verdict

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
            line = f"{path}: refused: {otherwise(others)}"
        about = _about(records)
        print(f"{line}; {about}" if about else line)
        if not kept:
            print(f"{path}: no verdict is kept beside it, where nothing can be written; pages show it as not checked")
        refused += bool(verdict.refused or others)
    for path in missing:
        print(f"{_shown(path)}: refused: a record names it, and it is not there{_AGAIN}; {_about(named[path])}")
    for reason in recorded.damaged:
        print(reason)
    held = f"{refused} refused" if refused else "it holds" if len(files) == 1 else "all hold"
    said = f"{recorded.counted(files)}: {held}"
    if refused or recorded.damaged:
        unread = "; what records say of them could not be read" if recorded.damaged else ""
        raise InvalidInput(f"{said}{unread}{recorded.lacking}", where="check")
    print(f"{said}{recorded.lacking}")


def _checked(path: Path, which: str, mode: str) -> tuple[str, KeptVerdict]:
    """What is said of a certificate, and what is kept."""
    import lipreg.checking as checker
    from lipreg.checking.plain import digits
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
    except checker.Damaged as error:
        return refusal(f"{error.got.removeprefix('cannot be read: ')}{_ANEW}")
    except checker.Refused as error:
        return refusal(str(error).removeprefix(f"{path}: "))
    finally:
        line.end()
    seconds, parts = time.monotonic() - began, ", ".join(f"{n} {kind}" for kind, n in verdict.leaves.items())
    ends, units = (_outward(verdict.lower, -math.inf), _outward(verdict.upper, math.inf)), verdict.units
    how = f"{verdict.mode}, checker {checker.CHECKER}, {seconds:.1f} s"
    shown = f"[{digits(verdict.lower, ROUND_FLOOR)}, {digits(verdict.upper, ROUND_CEILING)}]"
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


def _outward(end: Fraction, side: float) -> float:
    """An end as a record may have it: the nearest float on that side of it, or it itself."""
    try:
        near = float(end)
    except OverflowError:
        return math.inf
    inside = Fraction(near) > end if side < 0 else Fraction(near) < end
    return math.nextafter(near, side) if inside else near


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
        records: those that name one, each once, however many files have it.
        without: how many exact intervals of runs with certificates have none.
        damaged: what of them cannot be read, in words.
        sought: whether folders were asked for, in which records are looked for.
    """

    by_file: dict[Path, list[AuditRecord]]
    records: list[AuditRecord]
    without: int
    damaged: list[str]
    sought: bool

    def counted(self, files: Sequence[Path]) -> str:
        """How many certificates records name, as pages say it, and how many others there are."""
        from lipreg.records.verdicts import named_words
        from lipreg.words import counted

        others = {path.name for path in files} - {record.certificate_file for record in self.records}
        said = " that no record that counts names" if self.sought and not self.damaged else ""
        if not self.records:
            return f"{counted(len(others), 'certificate')}{said}"
        copies = len({path.resolve() for path in files} | self.by_file.keys())
        certificates = len({record.certificate_file for record in self.records} | others)
        where = f", in {copies} files" if copies > certificates else ""
        more = f", and {len(others)}{said or ' more'}" if others else ""
        return f"{named_words(self.records)}{more}{where}"

    @property
    def lacking(self) -> str:
        """What is to be said of intervals without a certificate."""
        from lipreg.words import counted

        if not self.without:
            return ""
        return f"; of the runs that have some, {counted(self.without, 'exact interval')} without one"


def _recorded(given: Sequence[str]) -> _Recorded:
    from lipreg.errors import InvalidInput
    from lipreg.records import EXACT, AuditRecord, Source, read_records
    from lipreg.records.files import record_files
    from lipreg.runs import run_key, runs_of
    from lipreg.words import natural, plain

    sources, damaged = dict[Path, Source](), list[str]()
    files = [file for path in map(Path, given) for file in record_files(path) if file.suffix == RECORDS]
    for file in sorted(files, key=natural):
        try:
            sources[file] = Source(str(file), tuple(read_records(file)))
        except InvalidInput as error:  # which hides nothing of the others
            damaged.append(plain(f"records that cannot be read: {error}", 500))
    kept, without = dict[tuple[object, ...], list[AuditRecord]](), 0
    for run in runs_of(
        sources.values()
    ):  # as pages read them: a run that is resumed may have records in several folders
        whole = [record for record in run.audits if record.estimator == EXACT]
        named = [record for record in whole if record.certificate_file]
        for record in named:
            kept.setdefault((run_key(record), record.epoch, record.point), []).append(record)
        without += sum(r.is_exact and not r.certificate_file for r in whole) if named else 0
    found = dict[Path, list[AuditRecord]]()
    for file, source in sources.items():
        for record in source.records:
            if isinstance(record, AuditRecord) and record in kept.get(
                (run_key(record), record.epoch, record.point), ()
            ):
                found.setdefault((file.parent / record.certificate_file).resolve(), []).append(record)
    records = [record for same in kept.values() for record in same]
    sought = any(Path(path).is_dir() or Path(path).suffix == RECORDS for path in given)
    return _Recorded(found, records, without, damaged, sought)


def _shown(path: Path) -> Path:
    """A path as it is told: below the working folder, where it is there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _about(records: Iterable[AuditRecord]) -> str:
    """Of which points records are."""
    from lipreg.words import plain

    return "; ".join(dict.fromkeys(f"{plain(r.run, 80)}, epoch {r.epoch}, point {r.point}" for r in records))
