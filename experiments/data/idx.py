"""The idx format of MNIST and its relatives: a big-endian header with the shape, then bytes; gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from lipreg.errors import InvalidInput
from lipreg.words import of_system


def find_idx(folder: Path, name: str) -> Path | None:
    """The file of that name, such as "train-images-idx3-ubyte", with or without .gz; also written with ".idx"."""
    names = [form + ending for form in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")]
    return next((folder / form for form in names if (folder / form).is_file()), None)


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in an idx file.

    Raises:
        InvalidInput: it cannot be read, is no idx file of unsigned bytes, or does not have the length its header says.
    """
    try:
        content = path.read_bytes()
        data = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(
            f"cannot read {path}: {of_system(error)}", where="idx file", todo="Fetch the file again"
        ) from None
    # two zero bytes, the type (8: unsigned byte), how many dimensions; then each dimension as 4 bytes
    dimensions = data[3] if len(data) >= 4 and data[:3] == b"\0\0\x08" else 0
    start = 4 + 4 * dimensions
    if not dimensions or len(data) < start:
        raise InvalidInput(f"{path} is no idx file", where="idx file", accepted="an idx file of unsigned bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise InvalidInput(
            f"{path} holds {len(data) - start} bytes after a header that says {shape}",
            where="idx file",
            todo="Fetch the file again",
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
