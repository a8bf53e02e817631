"""The record file of one call: each point is written as soon as it is done, and what is there already is not done again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from lipreg.auditing.points import PointAudit
from lipreg.auditing.run import AuditProgress
from lipreg.errors import InvalidInput
from lipreg.graph import CapturedNetwork, Graph
from lipreg.problem import LocalLipschitz
from lipreg.records import COMBINED, AuditRecord, PointRecord, Record, RecordFile, RunRecord, read_records

OnProgress = Callable[[AuditProgress], None] | None

EVERY = 1.0
"""Seconds that the records of a point wait for others: each write waits for the disk, and a kill loses no more than that."""


class CallRecords:
    """Where the records of an audit go while it runs; inside ``with``, at whose end all are written.

    Args:
        path: a record file, made where there is none; None keeps nothing.
        certificates: whether the records of what all estimators prove together wait for their certificates, which they
            name; at the end they are written as they are.

    Raises:
        InvalidInput: it cannot be written, or is a file of something else; found here, before any work.
    """

    def __init__(self, path: str | Path | None, certificates: bool = False) -> None:
        if not isinstance(path, str | os.PathLike | None):
            todo = 'Write records="records.jsonl", say'
            raise InvalidInput(f"records={path!r}", where="records", accepted="the path of a file, or None", todo=todo)
        self._together: dict[int, tuple[RunRecord, AuditRecord]] | None = {} if certificates else None
        self._file = None if path is None else RecordFile(path)
        self._begun: set[str] = set()
        self._waiting: list[Record] = []
        self._written = time.monotonic()
        before = [] if self._file is None else read_records(self._file.path)
        self._saved = [record for record in before if isinstance(record, AuditRecord)]

    def __enter__(self) -> CallRecords:
        return self

    def __exit__(self, *_: object) -> None:
        for run, record in (self._together or {}).values():
            self.append(run, record)
        self._write()

    @property
    def folder(self) -> Path | None:
        """The folder of the record file; None where nothing is kept."""
        return None if self._file is None else self._file.path.parent

    def name(self, files: Mapping[int, str]) -> None:
        """Enters certificates, by the number of the point, into the records that wait for them."""
        for point, (run, record) in (self._together or {}).items():
            self._together[point] = run, replace(record, certificate_file=files.get(point, ""))  # type: ignore[index]

    def earlier(self, subject: CapturedNetwork | Graph, problem: LocalLipschitz, x: Tensor) -> list[AuditRecord]:
        """The records that the file had before of this network under this question.

        Args:
            subject: the network: a frozen graph, or a capture that is frozen at ``x``.
            problem: the question.
            x: reference points ``(batch, *shape)``.
        """
        question = problem.describe()
        same_question = [record for record in self._saved if record.question == question]
        if not same_question:
            return []
        fingerprint = (subject if isinstance(subject, Graph) else subject.frozen_at(x)).fingerprint()
        return [record for record in same_question if record.fingerprint == fingerprint]

    def listener(
        self, run: RunRecord, on_progress: OnProgress, points: Mapping[int, PointRecord] | None = None
    ) -> OnProgress:
        """The callback for an audit's progress that writes the points of a run as they are done.

        Args:
            run: its record.
            on_progress: called after it, with the same progress; None for nothing.
            points: the reference points by index, which are written too; None writes what is proved alone.

        Returns:
            ``on_progress`` itself where nothing is kept.
        """
        if self._file is None:
            return on_progress

        def report(progress: AuditProgress) -> None:
            if progress.finished:
                index = progress.point.point
                self._take(run, progress.point, [points[index]] if points else [])
            if on_progress is not None:
                on_progress(progress)

        return report

    def _take(self, run: RunRecord, point: PointAudit, at: list[PointRecord]) -> None:
        records = point.records(run.run, 0, None, run.id)
        if self._together is not None:
            (whole,) = (r for r in records if r.estimator == COMBINED)
            self._together[point.point] = run, whole
            records.remove(whole)
        self.append(run, *at, *records)

    def append(self, run: RunRecord, *records: Record) -> None:
        """Writes records of a run, now or with later ones; the run's own record goes before the first of them, so that a
        run of which nothing was proved leaves none."""
        self._waiting += [*([] if run.id in self._begun else [run]), *records]
        self._begun.add(run.id)
        if time.monotonic() - self._written >= EVERY:
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            self._file.append(*self._waiting)
        self._waiting, self._written = [], time.monotonic()
