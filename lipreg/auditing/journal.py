"""The records of a run's audits on disk, kept so that a kill at any moment loses nothing that was proved."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lipreg.auditing.points import PointAudit, save_certificates
from lipreg.records import TRAINING, AuditRecord, CalibrationRecord, PointRecord, Record, RecordFile, read_records


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
        run_id: id of the run, where it is known already; see ``begin``.

    Raises:
        InvalidInput: the folder cannot be written.
    """

    def __init__(self, path: Path, run: str, part: int = 0, run_id: str = "") -> None:
        self.path, self.run, self.run_id = path, run, run_id
        self.weights = TRAINING  # which ones the next records are about
        self._stem = f"{path.stem}.{hashlib.sha256(run.encode()).hexdigest()[:8]}"
        self._partial: RecordFile | None = None
        self.is_first = part == 0
        self.partial_path = path.with_name(f"{self._stem}.{part}.partial")
        self._records = RecordFile(path) if part == 0 else None
        self._saved: dict[_Key, AuditRecord] = {}
        self._calibrations: dict[tuple[str, int], CalibrationRecord] = {}  # by run id and epoch
        self._points: set[tuple[str, int, str]] = set()  # run id, point, hash
        self._left_behind: set[_Key] = set()
        self._said: set[str] = set()
        if part == 0:
            self._remember(read_records(path))
            self.close()

    def begin(self, run_id: str, epoch: int) -> None:
        """From now on records are of the run with that id, which goes on after so many completed epochs.

        What it has recorded of later epochs is of weights that it has left behind: it still counts as proved, but not as
        written.
        """
        self.run_id = run_id
        self._left_behind = {key for key in self._saved if key[0] == run_id and key[1] > epoch}
        kept = {key: told for key, told in self._calibrations.items() if key[0] != run_id or key[1] <= epoch}
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
        """The last one of this run after so many epochs."""
        return self._calibrations.get((self.run_id, epoch))

    def earlier(self, epoch: int, fingerprint: str) -> list[AuditRecord]:
        """What was saved of the network in an audit of the same epoch before this journal was opened."""
        return [r for r in self._saved.values() if r.epoch == epoch and r.fingerprint == fingerprint]

    def left_aside(self, why: str) -> None:
        """Says once why an audit does not go on from what was saved of the same weights."""
        if self.is_first and why not in self._said:
            self._said.add(why)
            advice = "They stay, and there is nothing to do; another folder= or run= keeps the two apart"
            warnings.warn(f"{self.path}: {why}. {advice}", stacklevel=4)

    def advance(self, point: PointAudit, epoch: int, penalised: str | None, step: int | None = None) -> None:
        """Keeps what is proved of a point by now."""
        if self._partial is None:
            self._partial = RecordFile(self.partial_path)
        self._partial.append(*self._of(point, epoch, penalised, step))

    def keep(self, point: PointAudit, epoch: int, penalised: str | None, step: int | None = None) -> list[AuditRecord]:
        """Writes a finished point to the record file, as far as it does not say the same already; all its records.

        Its certificate comes first: a record names no file that is not there.
        """
        assert self._records is not None
        save_certificates([point], self.path.parent)
        records = self._of(point, epoch, penalised, step)
        self._records.append(*(r for r in records if not self._written(r)))
        return records

    def _of(self, point: PointAudit, epoch: int, penalised: str | None, step: int | None) -> list[AuditRecord]:
        records = point.records(self.run, epoch, penalised, self.run_id, step)
        return [replace(record, weights=self.weights) for record in records]

    def _written(self, record: AuditRecord) -> bool:
        """Whether the record file says it already."""
        key = _key(record)
        return key not in self._left_behind and _same(record, self._saved.get(key))

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
            new = [r for r in found.values() if not self._written(r)]
            if self._records is not None:
                self._records.append(*new)
            self._remember(new)
            left.unlink()
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
    """Whether two records say the same, however long it took and whatever it started from."""
    if other is None:
        return False
    passing = {"seconds": 0.0, "resumed": False, "asked": {}}
    if not one.certificate_file:  # which stays, where another audit had no time for it
        passing["certificate_file"] = ""
    return replace(one, **passing) == replace(other, **passing)
