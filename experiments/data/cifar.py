"""CIFAR-10 from its binary batches in a folder, or from OpenML: photographs of 32 x 32 pixels in three colours."""

from __future__ import annotations

import gzip
import lzma
import os
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from experiments.data.images import Images, ImagesDataModule, fetched
from lipreg.errors import InvalidInput
from lipreg.words import of_system

_SHAPE, _CLASSES = (3, 32, 32), 10
_RECORD = 1 + 3 * 32 * 32
"""Bytes of an image in a batch: its label, then its pixels, colour by colour and row by row."""
_TRAIN, _TEST = [f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"]
_OPENERS = {"": Path.read_bytes, ".gz": lambda path: gzip.decompress(path.read_bytes())}
_OPENERS[".xz"] = lambda path: lzma.decompress(path.read_bytes())
"""By the ending behind ``.bin``."""


class CIFAR10DataModule(ImagesDataModule):
    """CIFAR-10 as ``(x, y)`` batches: x ``(batch, 3, 32, 32)`` float32 in [0, 1], y ``(batch,)`` int64.

    The images of the training batches that are there are for training, those of the test batch for validation, or a random
    part of each, drawn by the seed. The training order is the seed's too (see ``InMemoryDataModule``).

    Args:
        folder: of the binary batches, ``data_batch_1.bin`` to 5 (one is enough) and ``test_batch.bin``, each as it is,
            with .gz or with .xz. None: "cifar10" in the folder that the environment variable LIPREG_DATA names.
        download: where there is no such folder, fetch the images from OpenML through scikit-learn, which keeps them in its
            own cache: some 600 MB.
        train_size, validation_size: how many images of each kind; None for all.
        batch_size: images in a batch; the last one of an epoch may be smaller.
        seed: of the parts and of the training order.
        num_workers: loading processes; the data is in memory, so 0 is fastest.

    Attributes:
        input_shape, classes: of the data, for models that are built from them; classes is how many.
        train_set, validation_set: ``TensorDataset`` of x and y; there after ``setup``.

    Raises:
        InvalidInput: an argument out of range. From ``prepare_data`` and ``setup``: batches that are missing or of another
            form, fewer images than asked for, no folder, or no answer from OpenML.
        MissingExtra: scikit-learn is not installed, and is needed to download.
    """

    own, files = "cifar10", "binary batches"
    input_shape: tuple[int, ...] = _SHAPE
    classes: int = _CLASSES

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        train_size: int | None = None,
        validation_size: int | None = None,
        download: bool = False,
        batch_size: int = 128,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(folder, train_size, validation_size, download, batch_size, seed, num_workers)

    def read(self, folder: Path | None) -> tuple[Images, Images]:
        if folder is None:
            return _from_openml()
        return _from_batches(folder, _TRAIN), _from_batches(folder, _TEST)


def _from_batches(folder: Path, names: list[str]) -> Images:
    """The images of those of some batches that are there."""
    found = [(folder / (name + end), end) for name in names for end in _OPENERS if (folder / (name + end)).is_file()]
    if not found:
        todo = "Leave folder out and pass download=True to fetch CIFAR-10 from OpenML"
        raise InvalidInput(f"no {names[0]}, .bin.gz or .bin.xz in {folder}", where="CIFAR-10", todo=todo)
    parts = [_records(path, end) for path, end in found]
    records = np.concatenate(parts)
    return records[:, 1:].reshape(-1, *_SHAPE), records[:, 0]


def _records(path: Path, end: str) -> np.ndarray:
    try:
        content = _OPENERS[end](path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InvalidInput(
            f"cannot read {path}: {of_system(error)}", where="CIFAR-10", todo="Fetch the file again"
        ) from None
    records = np.frombuffer(content, np.uint8)
    if not len(records) or len(records) % _RECORD:
        got = f"{len(records)} bytes in {path}"
        raise InvalidInput(got, where="CIFAR-10", accepted=f"{_RECORD} bytes an image: a label and 3 x 32 x 32 pixels")
    records = records.reshape(-1, _RECORD)
    if records[:, 0].max() >= _CLASSES:
        raise InvalidInput(f"a label of {records[:, 0].max()} in {path}", where="CIFAR-10", accepted="0 to 9")
    return records


@lru_cache(maxsize=1)
def _from_openml() -> tuple[Images, Images]:
    return fetched("CIFAR_10", "CIFAR-10", _SHAPE, 50_000, CIFAR10DataModule)
