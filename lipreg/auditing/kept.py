"""The record file of one call: each point stands there as soon as it is done, and what stands there is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from lipreg.auditing.points import PointAudit
from lipreg.auditing.run import Progress
from lipreg.graph import CapturedNetwork, Graph
from lipreg.problem import LocalLipschitz
from lipreg.records import EXACT, AuditRecord, PointRecord, Record, RecordFile, RunRecord, read_records

Told = Callable[[Progress], None] | None


EVERY = 1.0
"""Seconds that the records of a point wait for others: each write waits for the disk, and a kill loses no more than that."""


class Kept:
    """Where the records of an audit go while it runs; inside ``with``, at whose end all are written.

    Args:
        path: a record file, made where there is none; None keeps nothing.
        certificates: whether the records of what all estimators prove together wait for their certificates, which they
            name; at the end they are written as they are.

    Raises:
        InvalidInput: it cannot be written, or is a file of something else; found here, before any work.
    """

    def __init__(self, path: str | Path | None, certificates: bool = False) -> None:
        self._together: dict[int, tuple[RunRecord, AuditRecord]] | None = {} if certificates else None
        self._file = None if path is None else RecordFile(path)
        self._begun: set[str] = set()
        self._waiting: list[Record] = []
        self._written = time.monotonic()
        held = [] if self._file is None else read_records(self._file.path)
        self._held = [record for record in held if isinstance(record, AuditRecord)]

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        for run, record in (self._together or {}).values():
            self.append(run, record)
        self._write()

    @property
    def folder(self) -> Path | None:
        """Where the file lies."""
        return None if self._file is None else self._file.path.parent

    def name(self, files: Mapping[int, str]) -> None:
        """Enters certificates, by the number of the point, into the records that wait for them."""
        for point, (run, record) in (self._together or {}).items():
            self._together[point] = run, replace(record, certificate_file=files.get(point, ""))  # type: ignore[index]

    def earlier(self, subject: CapturedNetwork | Graph, problem: LocalLipschitz, x: Tensor) -> list[AuditRecord]:
        """What the file held before of this network under this question."""
        asked = problem.describe()
        held = [record for record in self._held if record.question == asked]
        if not held:
            return []
        own = (subject if isinstance(subject, Graph) else subject.frozen_at(x)).fingerprint()
        return [record for record in held if record.fingerprint == own]

    def watching(self, run: RunRecord, on_progress: Told, points: Mapping[int, PointRecord] | None = None) -> Told:
        """What keeps the points of a run as they are done, and passes on how far it is.

        Args:
            run: its record.
            on_progress: what is told, too.
            points: the reference points by index; None keeps what is proved alone.
        """
        if self._file is None:
            return on_progress

        def say(progress: Progress) -> None:
            if progress.finished:
                own = progress.point.point
                self._take(run, progress.point, [points[own]] if points else [])
            if on_progress is not None:
                on_progress(progress)

        return say

    def _take(self, run: RunRecord, point: PointAudit, at: list[PointRecord]) -> None:
        records = point.records(run.run, 0, None, run.id)
        if self._together is not None:
            (whole,) = (r for r in records if r.estimator == EXACT)
            self._together[point.point] = run, whole
            records.remove(whole)
        self.append(run, *at, *records)

    def append(self, run: RunRecord, *records: Record) -> None:
        """Takes records of a run, whose own record is the first: a run of which nothing was proved is not begun."""
        self._waiting += [*([] if run.id in self._begun else [run]), *records]
        self._begun.add(run.id)
        if time.monotonic() - self._written >= EVERY:
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            self._file.append(*self._waiting)
        self._waiting, self._written = [], time.monotonic()
