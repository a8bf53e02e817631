"""What ``lipreg check`` found of a certificate, kept beside it: believed of that file alone, and not once it has changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lipreg.plain import misfits
from lipreg.records.kinds import AuditRecord, Record
from lipreg.whole_files import write_whole

SUFFIX = ".checked.json"


@dataclass(frozen=True)
class KeptVerdict:
    """Both ends of a certificate hold.

    Attributes:
        sha256: of the file's bytes.
        lower, upper: what it proves, as records have it.
        mode: of the checker's arithmetic.
        checker: the checker's version.
    """

    sha256: str
    lower: float
    upper: float
    mode: str
    checker: str

    @property
    def words(self) -> str:
        """How it was checked."""
        return f"in {self.mode} mode by checker {self.checker}"


def digest(certificate: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    try:
        return hashlib.sha256(certificate.read_bytes()).hexdigest()
    except OSError:
        return ""


def keep_verdict(certificate: Path, verdict: KeptVerdict | None) -> bool:
    """Leaves a verdict beside a certificate, or takes away what lay there where it is refused (None).

    Returns:
        Whether the folder could be written.
    """
    before = None if verdict is None else _read(certificate)
    if before is not None and verdict is not None and (before.mode, before.checker) == ("exact", verdict.checker):
        return True  # the same file has passed the stricter arithmetic
    try:
        if verdict is None:
            _beside(certificate).unlink(missing_ok=True)
        else:
            write_whole(_beside(certificate), (json.dumps(asdict(verdict)) + "\n").encode())
    except OSError:
        return False
    return True


def checked(records: Iterable[Record], folder: Path) -> Mapping[str, str]:
    """Of the certificates that records in a folder name, those that were checked, and how.

    A verdict counts where the certificate still has the bytes that were checked, and both ends are those of the record.
    """
    named = [record for record in records if isinstance(record, AuditRecord) and record.certificate_file]
    verdicts = {file: _read(folder / file) for file in {record.certificate_file for record in named}}
    found = {file: verdict.words for file, verdict in verdicts.items() if verdict is not None}
    for record in named:
        verdict = verdicts[record.certificate_file]
        if verdict is not None and (verdict.lower, verdict.upper) != (record.lower, record.upper):
            found.pop(record.certificate_file, None)
    return found


def _beside(certificate: Path) -> Path:
    return certificate.with_name(certificate.name + SUFFIX)


def _read(certificate: Path) -> KeptVerdict | None:
    """The verdict on the file as it is now."""
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        verdict = KeptVerdict(**json.loads(_beside(certificate).read_text(encoding="utf-8")))
        if not misfits(verdict) and verdict.sha256 and verdict.sha256 == digest(certificate):
            return verdict
    return None
