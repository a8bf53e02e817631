"""Files of results: a first line that says what was asked, then rows, of which the last one of each job says so."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.records import current_keys

Row = dict[str, Any]


class ResultFile:
    """Rows of finished jobs in a JSON lines file, which grows by whole jobs: what is there need not be done again.

    Args:
        path: the file; it and its folder are made by the first ``append``.
        asked: plain data that decides the results, such as the settings of all data sets. None: take the file as it is.

    Raises:
        InvalidInput: the file cannot be read, or holds the results of other settings.
    """

    def __init__(self, path: str | Path, asked: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.asked, self.rows = asked, []
        if not self.path.exists():
            if asked is None:
                todo = "Make it with the program whose results these are"
                raise InvalidInput(f"no results at {path}", where="results", todo=todo)
            return
        lines = self._whole_lines()
        if not lines:
            return
        header = lines[0].get("asked")
        if asked is not None and header != json.loads(json.dumps(asked)):
            raise InvalidInput(
                f"{self.path} holds the results of other settings",
                where="results",
                todo="Remove it, or choose another file with results=...",
            )
        self.asked, self.rows = header, lines[1:]

    def append(self, rows: Sequence[Row]) -> None:
        """Adds the rows of a finished job; they are on disk, all or none, when it returns."""
        new = not self.path.exists() or self.path.stat().st_size == 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [*([{"asked": self.asked}] if new else []), *rows]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        self.rows.extend(rows)

    def _whole_lines(self) -> list[dict[str, Any]]:
        """All lines, without a job that a kill cut off: the last row of a job says so."""
        try:
            text = self.path.read_text(encoding="utf-8")
            kept, length, at = [], 0, 0
            pending: list[dict[str, Any]] = []
            for line in text.splitlines(keepends=True):
                at += len(line.encode())
                if not line.endswith("\n"):
                    break
                pending.append(current_keys(json.loads(line)))
                if "asked" in pending[-1] or pending[-1]["last"]:
                    kept, pending, length = kept + pending, [], at
            if self.asked is not None and length < len(text.encode()):
                with self.path.open("r+b") as file:
                    file.truncate(length)
            return kept
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"{self.path}: {error}", where="results", accepted="results of this program") from None
