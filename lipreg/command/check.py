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

SUFFIX = ".certificate.json.gz"
"""Of the certificates that audits write beside their records."""
EVERY = 0.2
"""Seconds between lines that say how far a check is."""


def paths(parser: argparse.ArgumentParser) -> None:
    """Which certificates."""
    parser.add_argument(
        "paths", metavar="FILE|FOLDER", nargs="+", help=f"certificates, or folders with *{SUFFIX} below"
    )


def check(asked: argparse.Namespace) -> None:
    """Prints a line a certificate: its claim, by how many parts it is proved, seconds; or where it fails.

    Raises:
        InvalidInput: a certificate is refused, is not there, or proves another interval than the record that names it; or
            there is none at all.
    """
    from lipreg.errors import InvalidInput
    from lipreg.words import counted

    files, told = list(_files(asked.paths)), dict(_recorded(asked.paths))
    missing = [path for path in told if not path.is_file()]
    if not files and not missing:
        raise InvalidInput(f"no certificate at {', '.join(asked.paths)}", where="check", accepted=f"*{SUFFIX}")
    refused = len(missing)
    for i, path in enumerate(files):
        line, ends = _checked(path, f"{i + 1} of {len(files)}")
        if ends is not None and told.get(path.resolve(), ends) != ends:
            line, ends = (
                f"{path}: refused: its record says {list(told[path.resolve()])}, and it proves {list(ends)}",
                None,
            )
        print(line)
        refused += ends is None
    for path in missing:
        print(f"{path}: refused: a record names it, and it is not there")
    if refused:
        count = len(files) + len(missing)
        raise InvalidInput(f"{refused} of {counted(count, 'certificate')} refused", where="check")


def _checked(path: Path, which: str) -> tuple[str, tuple[float, float] | None]:
    """What is said of a certificate, and the ends that hold; None where it is refused."""
    import lipreg.checking as checker
    from lipreg.words import plain

    line = _Line(which)
    began = line.said
    try:
        certificate = checker.read(path)
        verdict = checker.check(certificate, lambda at: line.say(f"{at.checked} of {at.nodes} nodes"))
    except checker.Refused as error:
        return plain(f"{path}: refused: {error}"), None
    finally:
        line.end()
    seconds, parts = time.monotonic() - began, ", ".join(f"{n} {kind}" for kind, n in verdict.leaves.items())
    ends, units = (_near(verdict.lower), _near(verdict.upper)), verdict.units
    how = f"{verdict.mode}, checker {checker.CHECKER}, {seconds:.1f} s"
    shown = f"[{_digits(verdict.lower, ROUND_FLOOR)}, {_digits(verdict.upper, ROUND_CEILING)}]"
    said = f"holds: {shown} by {parts} parts, {units[1]} of {units[0]} units undecided; {how}"
    asked = plain(certificate.producer.get("sentence", ""))
    return f"{path}: {said}" + (f" (its producer's words, unchecked: {asked})" if asked else ""), ends


def _near(end: Fraction) -> float:
    """An end as records have it."""
    try:
        return float(end)
    except OverflowError:
        return math.inf


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


def _recorded(given: Sequence[str]) -> Iterator[tuple[Path, tuple[float, float]]]:
    """The certificates that records of the folders name, and the ends that they tell."""
    from lipreg.records import AuditRecord, read_records

    for file in sorted(file for path in given if Path(path).is_dir() for file in Path(path).rglob("*.jsonl")):
        for record in read_records(file):
            if isinstance(record, AuditRecord) and record.certificate_file:
                yield (file.parent / record.certificate_file).resolve(), (record.lower, record.upper)
