"""The lock beside a record file: who holds it, and file systems that have none."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from lipreg.auditing.lock import RecordLock
from lipreg.errors import InvalidInput


def hold(path: Path, pid: int) -> None:
    """As another process of this host does."""
    path.with_name(f"{path.name}.lock").write_text(json.dumps({"pid": pid, "host": socket.gethostname()}))


def test_a_process_that_lives_keeps_it_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    hold(path, os.getppid())
    with pytest.raises(InvalidInput, match=f"process {os.getppid()} on {socket.gethostname()}"):
        RecordLock(path)


def test_within_a_process_it_is_shared_and_the_last_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordLock(path) as first:
        with RecordLock(path):
            assert first.path.exists()
        assert first.path.exists()
    assert not first.path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_does_not_end_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def none(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    path = tmp_path / "records.jsonl"
    with RecordLock(path) as lock:
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()
    hold(path, os.getppid())
    with pytest.raises(InvalidInput, match="one training at a time"):
        RecordLock(path)
