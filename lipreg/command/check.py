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
    from lipreg.records.verdicts import SavedVerdict

RECORDS = ".jsonl"
"""What record files end with."""
EVERY = 0.2
"""Seconds between updates of the line that shows how far a check is."""
NOT_SHOWN = "not shown in float64 with radii; whole numbers may show it (without --rounded)"
"""The message about a certificate that the rounded mode does not accept."""
_AGAIN = "; audit again with the same records: it is written anew"
_ANEW = f"; remove it, and {_AGAIN.removeprefix('; ')}"


def paths(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name certificates, and the mode in which they are checked."""
    parser.add_argument(
        "paths",
        metavar="FILE|FOLDER",
        nargs="+",
        help="certificates, folders with *.certificate.json.gz below, or record files that name them",
    )
    rounded = "upper ends in float64 with a radius for every number, in place of whole numbers: for large networks"
    parser.add_argument("--rounded", action="store_true", help=rounded)


def check(options: argparse.Namespace) -> None:
    """Prints a line a certificate: its claim, by how many parts it is proved, seconds; or where it fails.

    Raises:
        InvalidInput: a certificate is refused, is not shown to hold in rounded mode, is not there, or speaks of another
            interval, question, point or network than the record that names it; or there is none at all.
    """
    from lipreg.errors import InvalidInput
    from lipreg.records.claims import SUFFIX, discrepancy
    from lipreg.records.verdicts import save_verdict

    nowhere = [path for path in options.paths if not Path(path).exists()]
    if nowhere:
        raise InvalidInput(
            f"nothing at {', '.join(nowhere)}", where="check", accepted="files and folders that are there"
        )
    recorded = _recorded(options.paths)
    named = recorded.by_file
    places = {path: place for place, path in enumerate(named)}
    asked_for = [*_named(options.paths, named), *_files(options.paths, SUFFIX)]
    files = list({path.resolve(): path for path in asked_for}.values())
    files.sort(key=lambda path: places.get(path.resolve(), len(places)))
    missing = [path for path in named if not path.is_file()]
    if not files and not missing:
        raise InvalidInput(f"no certificate at {', '.join(options.paths)}", where="check", accepted=f"*{SUFFIX}")
    refused, unshown = len(missing), 0
    for i, path in enumerate(files):
        line, verdict = _checked(path, f"{i + 1} of {len(files)}", "rounded" if options.rounded else "exact")
        records = named.get(path.resolve(), [])
        saved = verdict is None or save_verdict(path, verdict)
        others = [] if verdict is None else next(filter(None, map(verdict.differences, records)), [])
        if others:
            line = f"{path}: refused: {discrepancy(others)}"
        about = _about(records)
        print(f"{line}; {about}" if about else line)
        if not saved:
            print(f"{path}: no verdict is kept beside it, where nothing can be written; pages show it as not checked")
        unshown += verdict is None
        refused += bool(verdict is not None and (verdict.refused or others))
    for path in missing:
        print(f"{_shown(path)}: refused: a record names it, and it is not there{_AGAIN}; {_about(named[path])}")
    for reason in recorded.damaged:
        print(reason)
    problems = [f"{refused} refused"] if refused else []
    problems += [f"{unshown} neither shown nor refused: check them without --rounded"] if unshown else []
    verdict_text = ", ".join(problems) or ("it holds" if len(files) == 1 else "all hold")
    summary = f"{recorded.counted(files)}: {verdict_text}"
    if problems or recorded.damaged:
        unread = "; what records say of them could not be read" if recorded.damaged else ""
        raise InvalidInput(f"{summary}{unread}{recorded.lacking}", where="check")
    print(f"{summary}{recorded.lacking}")


def _checked(path: Path, which: str, mode: str) -> tuple[str, SavedVerdict | None]:
    """The line about a certificate, and the verdict to be saved: None where rounding alone kept it from being decided."""
    import lipreg.checking as checker
    from lipreg.checking.plain import digits
    from lipreg.records.claims import claim_of
    from lipreg.records.verdicts import SavedVerdict, digest
    from lipreg.words import plain

    def refusal(why: str) -> tuple[str, SavedVerdict]:
        return plain(f"{path}: refused: {why}"), SavedVerdict(
            bytes_, 0.0, math.inf, mode, checker.CHECKER, refused=plain(why)
        )

    line, bytes_ = _Line(which), digest(path)
    began = line.last_printed
    try:
        certificate = checker.read(path)
        verdict = checker.check(certificate, lambda at: line.update(f"{at.checked} of {at.nodes} nodes"), mode)
    except checker.Damaged as error:
        return refusal(f"{error.got.removeprefix('cannot be read: ')}{_ANEW}")
    except checker.NotShown as error:
        return plain(f"{path}: {NOT_SHOWN}: {str(error).removeprefix(f'{path}: ')}"), None
    except checker.Refused as error:
        return refusal(str(error).removeprefix(f"{path}: "))
    finally:
        line.end()
    seconds, parts = time.monotonic() - began, ", ".join(f"{n} {kind}" for kind, n in verdict.leaves.items())
    ends, units = (_outward(verdict.lower, -math.inf), _outward(verdict.upper, math.inf)), verdict.units
    how = f"{verdict.mode}, checker {checker.CHECKER}, {seconds:.1f} s"
    shown = f"[{digits(verdict.lower, ROUND_FLOOR)}, {digits(verdict.upper, ROUND_CEILING)}]"
    holds = f"holds: {shown} by {parts} parts, {units[1]} of {units[0]} units unstable; {how}"
    sentence = plain(certificate.producer.get("sentence", ""))
    try:
        claim = asdict(claim_of(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return refusal(f"what it claims cannot be read: {type(error).__name__}: {error}")
    if digest(path) != bytes_:
        return refusal("it changed while it was checked")
    text = f"{path}: {holds}" + (f" (its producer's words, unchecked: {sentence})" if sentence else "")
    return text, SavedVerdict(bytes_, *ends, verdict.mode, checker.CHECKER, claim)


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
        self.which, self.last_printed, self.shown = which, time.monotonic(), sys.stderr.isatty()

    def update(self, text: str) -> None:
        now = time.monotonic()
        if self.shown and now - self.last_printed > EVERY:
            self.last_printed = now
            print(f"\r\x1b[Kcertificate {self.which}: {text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _named(path_names: Sequence[str], named: Iterable[Path]) -> Iterator[Path]:
    """The certificates that are there of those that records name, where a record file is among the paths."""
    if any(Path(path).suffix == RECORDS for path in path_names):
        yield from (_shown(path) for path in named if path.is_file())


def _files(path_names: Sequence[str], suffix: str) -> Iterator[Path]:
    from lipreg.records.files import below
    from lipreg.words import natural

    for path in map(Path, path_names):
        if path.is_dir():
            yield from sorted(below(path, suffix), key=natural)
        elif path.suffix != RECORDS:  # of a record file, those that it names
            yield path


@dataclass(frozen=True)
class _Recorded:
    """The certificates that records of some folders name, but for those of epochs that a resume has left behind.

    Attributes:
        by_file: the records that name each.
        records: those that name one, each once, however many files have it.
        without: how many exact intervals of runs with certificates have none.
        damaged: what of them cannot be read, in words.
        sought: whether folders or record files are among the paths, so that there may be records.
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
        unnamed = " that no record that counts names" if self.sought and not self.damaged else ""
        if not self.records:
            return f"{counted(len(others), 'certificate')}{unnamed}"
        copies = len({path.resolve() for path in files} | self.by_file.keys())
        certificates = len({record.certificate_file for record in self.records} | others)
        where = f", in {copies} files" if copies > certificates else ""
        more = f", and {len(others)}{unnamed or ' more'}" if others else ""
        return f"{named_words(self.records)}{more}{where}"

    @property
    def lacking(self) -> str:
        """The end of the last line: how many exact intervals have no certificate; empty for none."""
        from lipreg.words import counted

        if not self.without:
            return ""
        return f"; of the runs that have some, {counted(self.without, 'exact interval')} without one"


def _recorded(path_names: Sequence[str]) -> _Recorded:
    from lipreg.errors import InvalidInput
    from lipreg.records import COMBINED, AuditRecord, Source, read_records
    from lipreg.records.files import record_files
    from lipreg.runs import run_key, runs_of
    from lipreg.words import natural, plain

    sources, damaged = dict[Path, Source](), list[str]()
    files = [file for path in map(Path, path_names) for file in record_files(path) if file.suffix == RECORDS]
    for file in sorted(files, key=natural):
        try:
            sources[file] = Source(str(file), tuple(read_records(file)))
        except InvalidInput as error:  # which hides nothing of the others
            damaged.append(plain(f"records that cannot be read: {error}", 500))
    current, without = dict[tuple[object, ...], list[AuditRecord]](), 0
    for run in runs_of(
        sources.values()
    ):  # as pages read them: a run that is resumed may have records in several folders
        whole = [record for record in run.audits if record.estimator == COMBINED]
        named = [record for record in whole if record.certificate_file]
        for record in named:
            current.setdefault((run_key(record), record.epoch, record.point), []).append(record)
        without += sum(r.is_exact and not r.certificate_file for r in whole) if named else 0
    by_file = dict[Path, list[AuditRecord]]()
    for file, source in sources.items():
        for record in source.records:
            if isinstance(record, AuditRecord) and record in current.get(
                (run_key(record), record.epoch, record.point), ()
            ):
                by_file.setdefault((file.parent / record.certificate_file).resolve(), []).append(record)
    records = [record for same in current.values() for record in same]
    sought = any(Path(path).is_dir() or Path(path).suffix == RECORDS for path in path_names)
    return _Recorded(by_file, records, without, damaged, sought)


def _shown(path: Path) -> Path:
    """A path as messages have it: relative to the working folder, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _about(records: Iterable[AuditRecord]) -> str:
    """The runs, epochs and points of records, in words."""
    from lipreg.words import shortened

    return "; ".join(dict.fromkeys(f"{shortened(r.run, 80)}, epoch {r.epoch}, point {r.point}" for r in records))
