"""Certificates re-derived from their files: a line a certificate, and an error where one is refused."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipreg.records.verdicts import KeptVerdict

SUFFIX = ".certificate.json.gz"
"""Of the certificates that audits write beside their records."""
EVERY = 0.2
"""Seconds between lines that say how far a check is."""


def paths(parser: argparse.ArgumentParser) -> None:
    """Which certificates."""
    parser.add_argument(
        "paths", metavar="FILE|FOLDER", nargs="+", help=f"certificates, or folders with *{SUFFIX} below"
    )
    rounded = "upper ends in float64 with a radius for every number, in place of whole numbers: for large networks"
    parser.add_argument("--rounded", action="store_true", help=rounded)


def check(asked: argparse.Namespace) -> None:
    """Prints a line a certificate: its claim, by how many parts it is proved, seconds; or where it fails.

    Raises:
        InvalidInput: a certificate is refused, is not there, or proves another interval than the record that names it; or
            there is none at all.
    """
    from lipreg.errors import InvalidInput
    from lipreg.records.verdicts import keep_verdict
    from lipreg.words import counted

    named = _recorded(asked.paths)
    places = {path: place for place, path in enumerate(named)}
    files = sorted(_files(asked.paths), key=lambda path: places.get(path.resolve(), len(places)))
    missing = [path for path in named if not path.is_file()]
    if not files and not missing:
        raise InvalidInput(f"no certificate at {', '.join(asked.paths)}", where="check", accepted=f"*{SUFFIX}")
    refused = len(missing)
    for i, path in enumerate(files):
        line, verdict = _checked(path, f"{i + 1} of {len(files)}", "rounded" if asked.rounded else "exact")
        kept, ends = keep_verdict(path, verdict), verdict and (verdict.lower, verdict.upper)
        others = [told for told, _ in named.get(path.resolve(), []) if told != ends]
        if ends is not None and others:
            line, ends = f"{path}: refused: its record says {list(others[0])}, and it proves {list(ends)}", None
        about = "; ".join(dict.fromkeys(words for _, words in named.get(path.resolve(), [])))
        print(f"{line}; {about}" if about else line)
        if not kept:
            print(f"{path}: no verdict is kept beside it, where nothing can be written; pages show it as not checked")
        refused += ends is None
    for path in missing:
        print(f"{path}: refused: a record names it, and it is not there")
    if refused:
        count = len(files) + len(missing)
        raise InvalidInput(f"{refused} of {counted(count, 'certificate')} refused", where="check")


def _checked(path: Path, which: str, mode: str) -> tuple[str, KeptVerdict | None]:
    """What is said of a certificate, and the ends that hold; None where it is refused."""
    import lipreg.checking as checker
    from lipreg.records.verdicts import KeptVerdict, digest
    from lipreg.words import plain

    line, bytes_ = _Line(which), digest(path)
    began = line.said
    try:
        certificate = checker.read(path)
        verdict = checker.check(certificate, lambda at: line.say(f"{at.checked} of {at.nodes} nodes"), mode)
    except checker.Refused as error:
        return plain(f"{path}: refused: {error}"), None
    finally:
        line.end()
    seconds, parts = time.monotonic() - began, ", ".join(f"{n} {kind}" for kind, n in verdict.leaves.items())
    ends, units = (_outward(verdict.lower, -math.inf), _outward(verdict.upper, math.inf)), verdict.units
    how = f"{verdict.mode}, checker {checker.CHECKER}, {seconds:.1f} s"
    shown = f"[{_digits(verdict.lower, ROUND_FLOOR)}, {_digits(verdict.upper, ROUND_CEILING)}]"
    said = f"holds: {shown} by {parts} parts, {units[1]} of {units[0]} units undecided; {how}"
    asked = plain(certificate.producer.get("sentence", ""))
    if digest(path) != bytes_:
        return f"{path}: refused: it changed while it was checked", None
    told = f"{path}: {said}" + (f" (its producer's words, unchecked: {asked})" if asked else "")
    return told, KeptVerdict(bytes_, *ends, verdict.mode, checker.CHECKER)


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


def _files(given: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, given):
        yield from sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]


def _recorded(given: Sequence[str]) -> dict[Path, list[tuple[tuple[float, float], str]]]:
    """The certificates that records of the folders name, the ends that they tell, and of which points they are."""
    from lipreg.records import AuditRecord, read_records
    from lipreg.words import plain

    found: dict[Path, list[tuple[tuple[float, float], str]]] = {}
    for file in sorted(file for path in given if Path(path).is_dir() for file in Path(path).rglob("*.jsonl")):
        for record in read_records(file):
            if isinstance(record, AuditRecord) and record.certificate_file:
                path = (file.parent / record.certificate_file).resolve()
                words = f"{plain(record.run, 80)}, epoch {record.epoch}, point {record.point}"
                found.setdefault(path, []).append(((record.lower, record.upper), words))
    return found
