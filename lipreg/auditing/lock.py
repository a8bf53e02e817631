"""One training writes to a record file at a time: a lock beside it names the process that does."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

from lipreg.disks import FullDisk, writing
from lipreg.errors import InvalidInput


class RecordLock:
    """The right of one process to write to a record file, shared by its audits. A context manager, too.

    The lock is a file beside the record file that names process and host. One whose process has ended is taken over on the
    same host; of another host that cannot be seen.

    Args:
        path: the record file.

    Raises:
        InvalidInput: another process holds it, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.lock")
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._take(path)
        except FullDisk:
            raise
        except OSError as error:
            raise InvalidInput(
                f"cannot write {path}: {error.strerror or error}",
                where="records",
                todo="Choose a folder that can be written",
            ) from None

    def _take(self, path: Path) -> None:
        while True:
            with self.path.open("a+", encoding="utf-8") as file:
                _alone(file)  # two could find a stale one at the same time
                if not self._is(file):
                    continue  # it was given back, and the file removed, meanwhile
                file.seek(0)
                holder = _read(file.read())
                ours = holder is not None and _key(holder) == _key(_this_process())
                if holder is not None and not ours and _lives(holder):
                    raise InvalidInput(
                        f"process {holder['pid']} on {holder['host']} writes to {path}",
                        where="records",
                        accepted="one training at a time in a folder",
                        todo=f'Pass another folder="..."; if that process is gone, remove {self.path}',
                    )
                count = holder.get("held", 0) if ours and holder is not None else 0
                _write(file, {**_this_process(), "held": count + 1})
                return

    def __enter__(self) -> RecordLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Gives up the share of one audit; with the last one of this process the lock file goes."""
        try:
            file = self.path.open("r+", encoding="utf-8")
        except FileNotFoundError:
            return
        with file:
            _alone(file)
            holder = _read(file.read())
            if not self._is(file) or holder is None or _key(holder) != _key(_this_process()):
                return
            if holder.get("held", 1) <= 1:
                self.path.unlink(missing_ok=True)
            else:
                _write(file, {**holder, "held": holder["held"] - 1})

    def _is(self, file: Any) -> bool:
        """Whether the open file is still the one at the path."""
        try:
            return os.fstat(file.fileno()).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False


def _alone(file: Any) -> None:
    """Waits until no other process has the file locked, and locks it until it is closed; goes on without file locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "host": socket.gethostname(), "began": _began(pid)}


def _key(holder: dict[str, Any]) -> tuple[Any, ...]:
    return holder["pid"], holder["host"], holder.get("began")


def _lives(holder: dict[str, Any]) -> bool:
    """Whether the process is there, or on a host that cannot be asked. A number may have gone to another process since."""
    if holder["host"] != socket.gethostname():
        return True
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return holder.get("began") in (None, _began(holder["pid"]))


def _began(pid: int) -> str | None:
    """When a process was started, in the kernel's count; None where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _read(text: str) -> dict[str, Any] | None:
    try:
        holder = json.loads(text)
    except ValueError:  # empty, or cut off by a kill
        return None
    named = isinstance(holder, dict) and isinstance(holder.get("pid"), int) and isinstance(holder.get("host"), str)
    return holder if named else None


def _write(file: Any, holder: dict[str, Any]) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(holder))
    file.flush()
