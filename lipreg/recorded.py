"""Recorded: what every result made of records offers, its rows, its frame, its page and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lipreg.disks import FullDisk
from lipreg.records import AuditRecord, Record, RecordFile, Source, Sources

_ELSEWHERE = "Make room there, or name another place. Pages are made of records, which save() and --records keep"


class Recorded:
    """Views of a result that has ``records``; a subclass names their runs in ``called``."""

    @property
    def records(self) -> list[Record]:
        """The records of the result, as they are saved and read by every view."""
        raise NotImplementedError

    @property
    def called(self) -> str:
        """The name that the page gives to the records."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary for each network, point and estimator: the fields of ``AuditRecord``."""
        return [dict(vars(record)) for record in self.records if isinstance(record, AuditRecord)]

    def frame(self) -> Any:
        """The records as a pandas DataFrame: that of ``lipreg.reporting.frames.audit_frame``.

        Raises:
            MissingExtra: pandas is not installed; ``rows()`` needs nothing.
        """
        from lipreg.reporting.frames import audit_frame

        return audit_frame(self.records)

    def html(self, path: str | Path) -> Path:
        """Writes the page of this result, and returns its path.

        Raises:
            InvalidInput: a path that cannot be written.
            FullDisk: the disk is full.
        """
        from lipreg.reporting.html import write_runs_report

        try:
            return write_runs_report(Sources((Source(self.called, tuple(self.records)),)), path)
        except FullDisk as error:
            error.todo = _ELSEWHERE
            raise

    def save(self, path: str | Path) -> Path:
        """Adds the records to a file, one JSON object a line, and returns its path; reports read such files.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        file = RecordFile(path)
        file.append(*self.records)
        return file.path
