"""The records of a run's audits on disk, kept so that a kill at any moment loses next to nothing that was proved."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from lipreg.auditing.points import PointAudit, save_certificates
from lipreg.records import TRAINING, AuditRecord, CalibrationRecord, PointRecord, Record, RecordFile, read_records

EVERY = 1.0
"""Seconds that records of unfinished points wait for others: writing a line takes as long as many nodes of a search, and a
kill loses no more than that."""


class Journal:
    """The record file of a run, and beside it what is proved of points whose turn in that file has not come.

    The record file has the points of an audit in their order, and one of the first may be the last to be done. So what comes
    in between goes to ``NAME.HASH.PART.partial``, HASH of the run's name, until the audit is over. What a kill left there
    is moved to the record file when the journal is opened again: a point that was not finished then stands there with
    the interval proved so far.

    What was proved of a network counts whichever run of this name has proved it; but a run's records are its own: each has
    its id, and what another run has written is written anew.

    Args:
        path: the record file.
        run: name of the run.
        part: which of several processes that audit together this is. Part 0 alone touches the record file.
        run_id: id of the run, where it has begun already; see ``begin``.
        clock: seconds on a clock that never goes back.

    Attributes:
        weights: ``AuditRecord.weights`` of the records to come.
        is_first: whether this is part 0.
        partial_path: the file of this part.

    Raises:
        InvalidInput: the folder cannot be written.
    """

    def __init__(
        self, path: Path, run: str, part: int = 0, run_id: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path, self.run, self.run_id = path, run, run_id
        self.weights = TRAINING
        self._stem = f"{path.stem}.{hashlib.sha256(run.encode()).hexdigest()[:8]}"
        self._partial: RecordFile | None = None
        self._clock, self._flushed = clock, -math.inf
        self._waiting: dict[int, list[AuditRecord]] = {}  # by point
        self.is_first = part == 0
        self.partial_path = path.with_name(f"{self._stem}.{part}.partial")
        self._records = RecordFile(path) if part == 0 else None
        self._saved: dict[_Key, AuditRecord] = {}
        self._calibrations: dict[tuple[str, int], CalibrationRecord] = {}  # by run id and epoch
        self._points: set[tuple[str, int, str]] = set()  # run id, point, hash
        self._void: set[_Key] = set()
        self._warned: set[str] = set()
        if part == 0:
            self._remember(read_records(path))
            self.close()

    def begin(self, run_id: str, epoch: int) -> None:
        """Makes the records from now on those of the run with that id, which goes on after so many completed epochs.

        Its records of later epochs, written before, are of weights that it no longer has: they still count as proved, but
        not as written.
        """
        self.run_id = run_id
        self._void = {key for key in self._saved if key[0] == run_id and key[1] > epoch}
        kept = {key: record for key, record in self._calibrations.items() if key[0] != run_id or key[1] <= epoch}
        self._calibrations = kept

    def append(self, record: Record) -> None:
        """Writes to the record file."""
        assert self._records is not None
        self._records.append(record)

    def keep_points(self, points: Iterable[PointRecord]) -> None:
        """Writes reference points, unless they stand there already."""
        new = [point for point in points if (point.run_id, point.point, point.reference) not in self._points]
        assert self._records is not None
        self._records.append(*new)
        self._remember(new)

    def calibrate(self, record: CalibrationRecord) -> None:
        """Writes what the outputs of audited weights mean, unless it stands there already."""
        if self._calibrations.get((record.run_id, record.epoch)) != record:
            self.append(record)
        self._calibrations[record.run_id, record.epoch] = record

    def calibration(self, epoch: int) -> CalibrationRecord | None:
        """The last calibration of this run after so many epochs; None without one."""
        return self._calibrations.get((self.run_id, epoch))

    def earlier(self, epoch: int, fingerprint: str) -> list[AuditRecord]:
        """The records of the network in audits of the same epoch that were saved before this journal was opened."""
        return [r for r in self._saved.values() if r.epoch == epoch and r.fingerprint == fingerprint]

    def warn_unused(self, why: str) -> None:
        """Warns once, in part 0, why an audit does not go on from what was saved of the same weights."""
        if self.is_first and why not in self._warned:
            self._warned.add(why)
            advice = "They stay, and there is nothing to do; another folder= or run= keeps the two apart"
            warnings.warn(f"{self.path}: {why}. {advice}", stacklevel=4)

    def advance(self, point: PointAudit, epoch: int, penalised: str | None, step: int | None = None) -> None:
        """Keeps what is proved of a point by now; the newest records wait for those of other points, for ``EVERY`` seconds.

        Args:
            point: what is proved.
            epoch, penalised, step: as for ``PointAudit.records``.
        """
        self._waiting[point.point] = self._of(point, epoch, penalised, step)
        if self._clock() - self._flushed >= EVERY:
            self._flush()

    def _flush(self) -> None:
        """Writes what waits to the file of this part."""
        if not self._waiting:
            return
        if self._partial is None:
            self._partial = RecordFile(self.partial_path)
        self._partial.append(*(record for records in self._waiting.values() for record in records))
        self._waiting, self._flushed = {}, self._clock()

    def keep(self, point: PointAudit, epoch: int, penalised: str | None, step: int | None = None) -> list[AuditRecord]:
        """Writes a finished point to the record file, as far as the same is not written already.

        Its certificate comes first: a record names no file that is not there.

        Args:
            point: what is proved.
            epoch, penalised, step: as for ``PointAudit.records``.

        Returns:
            All its records, those that were written before among them.
        """
        assert self._records is not None
        self._waiting.pop(point.point, None)
        save_certificates([point], self.path.parent)
        records = self._of(point, epoch, penalised, step)
        self._records.append(*(r for r in records if not self._written(r)))
        return records

    def _of(self, point: PointAudit, epoch: int, penalised: str | None, step: int | None) -> list[AuditRecord]:
        records = point.records(self.run, epoch, penalised, self.run_id, step)
        return [replace(record, weights=self.weights) for record in records]

    def _written(self, record: AuditRecord) -> bool:
        """Whether the record file has the same record already."""
        key = _key(record)
        return key not in self._void and _same(record, self._saved.get(key))

    def proved(self) -> list[AuditRecord]:
        """The newest record of this part for each estimator at each unfinished point."""
        self._flush()
        if not self.partial_path.exists():
            return []
        return list(_last(read_records(self.partial_path), self.run).values())

    def finish(self) -> None:
        """Removes the file of this part: an audit is over, and its points are in the record file or with its writer."""
        self.partial_path.unlink(missing_ok=True)
        self._partial, self._waiting = None, {}

    def close(self) -> None:
        """Moves the records of audits that did not come to their end to the record file."""
        self._flush()
        for partial in sorted(self.path.parent.glob(f"{self._stem}.*.partial")):
            last = _last(read_records(partial), self.run)
            new = [r for r in last.values() if not self._written(r)]
            if self._records is not None:
                self._records.append(*new)
            self._remember(new)
            partial.unlink()
        self._partial = None

    def _remember(self, records: Iterable[Record]) -> None:
        records = list(records)
        self._saved |= _last(records, self.run)
        for r in records:
            if isinstance(r, CalibrationRecord) and r.run == self.run:
                self._calibrations[r.run_id, r.epoch] = r
            elif isinstance(r, PointRecord):
                self._points.add((r.run_id, r.point, r.reference))


_Key = tuple[str, int, int, str]


def _key(record: AuditRecord) -> _Key:
    """Id of the run, epoch, point and estimator."""
    return record.run_id, record.epoch, record.point, record.estimator


def _last(records: Iterable[Record], run: str) -> dict[_Key, AuditRecord]:
    return {_key(r): r for r in records if isinstance(r, AuditRecord) and r.run == run}


def _same(one: AuditRecord, other: AuditRecord | None) -> bool:
    """Whether two records agree in all but how long it took and what it started from."""
    if other is None:
        return False
    passing = {"seconds": 0.0, "resumed": False, "asked": {}}
    if not one.certificate_file:  # which stays, where another audit had no time for it
        passing["certificate_file"] = ""
    return replace(one, **passing) == replace(other, **passing)
