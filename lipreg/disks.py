"""Disks that are full: which file did not fit, how much is free, and that nothing is lost."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lipreg.words import size

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FullDisk(OSError):
    """A file that does not fit on its disk, or into its owner's quota. What was written before stays.

    It ends a training, as errors of the system do, where a ``LipregError`` may cost one audit.

    Attributes:
        todo: what to do next.
    """

    todo = "Make room there, and start the same again: what was written until now stays"

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}. {self.todo}."


def is_full(error: BaseException) -> bool:
    """Whether an error is that of a full disk, of a quota or of a file that may not become larger."""
    return isinstance(error, OSError) and error.errno in _FULL


def full_disk(error: OSError, path: str | Path) -> FullDisk:
    """The error about a file: the system's reason, the file, or the folder where the file is not known, and what is free."""
    reason = error.strerror or "No space left on device"
    return FullDisk(error.errno, f"{reason}{_free(Path(path))}", str(path))


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Names the file that is written inside, where its disk is full.

    Raises:
        FullDisk: the file does not fit. Other errors pass as they are.
    """
    try:
        yield
    except FullDisk:
        raise
    except OSError as error:
        if not is_full(error):
            raise
        raise full_disk(error, path) from None


def _free(path: Path) -> str:
    """How much of a file's disk is free, in words; empty where the system does not say."""
    at = next((each for each in (path, *path.absolute().parents) if each.exists()), None)
    try:
        usage = None if at is None else shutil.disk_usage(at)
    except OSError:
        return ""
    return "" if usage is None else f" ({size(usage.free)} of {size(usage.total)} free)"
