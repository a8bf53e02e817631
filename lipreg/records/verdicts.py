"""The verdict of ``lipreg check`` on a certificate, kept beside it: it counts for that file alone, until it changes.

Nothing is signed: whoever can write beside a certificate can write a verdict."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lipreg.plain import misfits
from lipreg.records.claims import FOREIGN, Claim, differences, discrepancy
from lipreg.records.kinds import AuditRecord, Record
from lipreg.whole_files import write_whole
from lipreg.words import counted

SUFFIX = ".checked.json"


@dataclass(frozen=True)
class SavedVerdict:
    """A verdict of the checker: both ends of a certificate hold, or it is refused.

    Attributes:
        sha256: of the file's bytes.
        lower, upper: what it proves, as records have it; nothing where it is refused.
        mode: of the checker's arithmetic.
        checker: the checker's version.
        claim: the fields of its ``Claim``; empty where it is refused.
        refused: why it is refused; empty where it holds.
    """

    sha256: str
    lower: float
    upper: float
    mode: str
    checker: str
    claim: dict[str, Any] = field(default_factory=dict)
    refused: str = ""

    @property
    def words(self) -> str:
        """How the certificate was checked, in words."""
        if self.refused:
            return f"refused by checker {self.checker}"
        return f"checked in {self.mode} mode by checker {self.checker}"

    def differences(self, record: AuditRecord) -> list[str]:
        """Where a record that names the certificate differs from it, each with both values."""
        if self.refused:
            return []
        phrases = differences(Claim(**self.claim), record)
        ends = (record.lower, record.upper), (self.lower, self.upper)
        if ends[0] == ends[1] or phrases == [FOREIGN]:
            return phrases
        return [f"ends {list(ends[0])}, the certificate {list(ends[1])}", *phrases]


def digest(certificate: Path) -> str:
    """The SHA-256 of a file; empty where it cannot be read."""
    try:
        return hashlib.sha256(certificate.read_bytes()).hexdigest()
    except OSError:
        return ""


def save_verdict(certificate: Path, verdict: SavedVerdict) -> bool:
    """Leaves a verdict beside a certificate.

    Returns:
        Whether the folder could be written.
    """
    before = _read(certificate)
    if before is not None and not before.refused and (before.mode, before.checker) == ("exact", verdict.checker):
        return True  # the same file has passed the stricter arithmetic
    try:
        write_whole(_beside(certificate), (json.dumps(asdict(verdict)) + "\n").encode())
    except OSError:
        return False
    return True


def checked(records: Iterable[Record], folder: Path) -> Mapping[str, str]:
    """The verdicts on the certificates that records in a folder name: how each was checked, refused, or that it is missing.

    A verdict counts where the certificate still has the bytes that were checked, and agrees with all of the records that
    name it in both ends, the question, the reference point and the network.

    Returns:
        The words by the names of the files, without those that nobody has checked.
    """
    named = [record for record in records if isinstance(record, AuditRecord) and record.certificate_file]
    verdicts = {file: _read(folder / file) for file in {record.certificate_file for record in named}}
    outcomes = {file: verdict.words for file, verdict in verdicts.items() if verdict is not None}
    for record in named:
        verdict = verdicts[record.certificate_file]
        if verdict is None and not (folder / record.certificate_file).is_file():
            outcomes[record.certificate_file] = "missing"
        if verdict is not None and (other := verdict.differences(record)):
            outcomes[record.certificate_file] = f"refused, as {discrepancy(other[:1])}"
    return outcomes


def named_words(records: Iterable[AuditRecord]) -> str:
    """The number of certificates that records name, and of the records that name one, in words; empty where none does.

    A certificate's name is a hash of what it claims, so records of equal networks name the same one, and copies of its file
    count once.
    """
    named = [record.certificate_file for record in records if record.certificate_file]
    return f"{counted(len(set(named)), 'certificate')}, named by {counted(len(named), 'record')}" if named else ""


def _beside(certificate: Path) -> Path:
    return certificate.with_name(certificate.name + SUFFIX)


def _read(certificate: Path) -> SavedVerdict | None:
    """The verdict on the file as it is now."""
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        verdict = SavedVerdict(**json.loads(_beside(certificate).read_text(encoding="utf-8")))
        is_whole = bool(verdict.refused) or not misfits(Claim(**verdict.claim))
        if is_whole and not misfits(verdict) and verdict.sha256 and verdict.sha256 == digest(certificate):
            return verdict
    return None
