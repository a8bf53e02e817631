"""The records of a run's audits on disk, kept so that a kill at any moment loses nothing that was proved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lipreg.auditing.points import PointAudit
from lipreg.records import AuditRecord, Record, RecordFile, read_records


class Journal:
    """The record file of a run, and beside it what is proved of points whose turn in that file has not come.

    The record file has the points of an audit in their order, and one of the first may be the last to be done. So what comes
    in between goes to ``NAME.HASH.PART.partial``, HASH of the run's name, until the audit is over. What a kill left there
    is moved to the record file when the journal is opened again: a point that was not finished then stands there with
    the interval proved so far.

    Args:
        path: the record file.
        run: name of the run.
        part: which of several processes that audit together this is. Part 0 alone touches the record file.

    Raises:
        InvalidInput: the folder cannot be written.
    """

    def __init__(self, path: Path, run: str, part: int = 0) -> None:
        self.path, self.run = path, run
        self.weights = "training"  # which ones the next records are about
        self._stem = f"{path.stem}.{hashlib.sha256(run.encode()).hexdigest()[:8]}"
        self._partial: RecordFile | None = None
        self.is_first = part == 0
        self.partial_path = path.with_name(f"{self._stem}.{part}.partial")
        self._records = RecordFile(path) if part == 0 else None
        self._saved: dict[tuple[int, int, str], AuditRecord] = {}
        if part == 0:
            self._remember(read_records(path))
            self.close()

    def append(self, record: Record) -> None:
        """Writes to the record file."""
        assert self._records is not None
        self._records.append(record)

    def earlier(self, epoch: int, fingerprint: str) -> list[AuditRecord]:
        """What was saved of the network in an audit of the same epoch before this journal was opened."""
        return [r for r in self._saved.values() if r.epoch == epoch and r.fingerprint == fingerprint]

    def advance(self, point: PointAudit, epoch: int, penalised: str | None) -> None:
        """Keeps what is proved of a point by now."""
        if self._partial is None:
            self._partial = RecordFile(self.partial_path)
        self._partial.append(*self._of(point, epoch, penalised))

    def keep(self, point: PointAudit, epoch: int, penalised: str | None) -> list[AuditRecord]:
        """Writes a finished point to the record file, as far as it does not say the same already; all its records."""
        assert self._records is not None
        records = self._of(point, epoch, penalised)
        self._records.append(*(r for r in records if not _same(r, self._saved.get((r.epoch, r.point, r.estimator)))))
        return records

    def _of(self, point: PointAudit, epoch: int, penalised: str | None) -> list[AuditRecord]:
        return [replace(record, weights=self.weights) for record in point.records(self.run, epoch, penalised)]

    def proved(self) -> list[AuditRecord]:
        """The last word of this part on each point and estimator that are in work."""
        if not self.partial_path.exists():
            return []
        return list(_last(read_records(self.partial_path), self.run).values())

    def finish(self) -> None:
        """An audit is over, and all its points are in the record file, or with the process that writes it."""
        self.partial_path.unlink(missing_ok=True)
        self._partial = None

    def close(self) -> None:
        """Moves what is left of audits that did not come to their end to the record file."""
        for left in sorted(self.path.parent.glob(f"{self._stem}.*.partial")):
            found = _last(read_records(left), self.run)
            new = [r for key, r in found.items() if not _same(r, self._saved.get(key))]
            if self._records is not None:
                self._records.append(*new)
            self._remember(new)
            left.unlink()
        self._partial = None

    def _remember(self, records: Iterable[Record]) -> None:
        self._saved |= _last(records, self.run)


def _last(records: Iterable[Record], run: str) -> dict[tuple[int, int, str], AuditRecord]:
    """By epoch, point and estimator."""
    return {(r.epoch, r.point, r.estimator): r for r in records if isinstance(r, AuditRecord) and r.run == run}


def _same(one: AuditRecord, other: AuditRecord | None) -> bool:
    """Whether two records say the same, however long it took and whatever it started from."""
    if other is None:
        return False
    passing = {"seconds": 0.0, "resumed": False, "asked": {}}
    return replace(one, **passing) == replace(other, **passing)
