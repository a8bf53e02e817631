"""Files that are written at once or not at all."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from lipreg.disks import writing


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that no reader meets half of it, and no kill or full disk leaves it; what was there stays till then.

    Raises:
        FullDisk: the disk is full.
        OSError: the folder cannot be written.
    """
    passing = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    with writing(path):  # outside of the unlink: it reports how much is free when the partial file is gone
        try:
            passing.write_bytes(content)
            passing.replace(path)
        finally:
            passing.unlink(missing_ok=True)
