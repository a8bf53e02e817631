"""Files that are written at once or not at all."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that no reader meets half of it, and no kill or full disk leaves it; what was there stays till then.

    Raises:
        OSError: the folder cannot be written, or is full.
    """
    passing = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        passing.write_bytes(content)
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)
