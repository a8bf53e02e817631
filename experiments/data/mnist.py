"""MNIST from idx files in a folder, or from OpenML: handwritten digits of 28 x 28 pixels, all or some of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from experiments.data.idx import find_idx, read_idx
from experiments.data.images import Images, ImagesDataModule, fetched
from lipreg.errors import InvalidInput

_SIZE, _DIGITS = 28, 10
_PARTS = ("train", "t10k")


class MNISTDataModule(ImagesDataModule):
    """MNIST as ``(x, y)`` batches: x ``(batch, 784)`` or ``(batch, 1, 28, 28)`` float32 in [0, 1], y ``(batch,)`` int64.

    The 60,000 training images are for training, the 10,000 test images for validation, or a random part of each, drawn
    by the seed. The training order is the seed's too (see ``InMemoryDataModule``).

    Args:
        folder: of the four idx files, gzipped or not. None: "mnist" in the folder that the environment variable
            LIPREG_DATA names.
        download: where there is no such folder, fetch the images from OpenML through scikit-learn, which keeps them in its
            own cache.
        train_size, validation_size: how many images of each kind; None for all.
        classes: the digits to keep, such as [1, 7]; labels are then their positions in this list. None for all ten.
        flat: vectors of 784 pixels; else images with one channel.
        batch_size: points in a batch; the last one of an epoch may be smaller.
        seed: of the parts and of the training order.
        num_workers: loading processes; the data is in memory, so 0 is fastest.

    Attributes:
        input_shape, classes: of the data, for models that are built from them; classes is how many.
        digits: the digits that are kept, by label.
        train_set, validation_set: ``TensorDataset`` of x and y; there after ``setup``.

    Raises:
        InvalidInput: an argument out of range. From ``prepare_data`` and ``setup``: files that are missing or no MNIST,
            fewer images than asked for, no folder, or no answer from OpenML.
        MissingExtra: scikit-learn is not installed, and is needed to download.
    """

    own, files, among = "mnist", "four idx files", " for these digits"

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        train_size: int | None = None,
        validation_size: int | None = None,
        classes: Sequence[int] | None = None,
        flat: bool = True,
        download: bool = False,
        batch_size: int = 64,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(folder, train_size, validation_size, download, batch_size, seed, num_workers)
        digits = tuple(range(_DIGITS)) if classes is None else tuple(classes)
        if len(digits) < 2 or len(set(digits)) < len(digits) or not set(digits) <= set(range(_DIGITS)):
            accepted = f"two or more different digits of 0 to {_DIGITS - 1}, or None"
            raise InvalidInput(f"classes={classes!r}", where=type(self).__name__, accepted=accepted)
        self.digits, self.flat, self.classes = digits, flat, len(digits)
        self.input_shape = (_SIZE * _SIZE,) if flat else (1, _SIZE, _SIZE)
        self._position = np.full(256, -1)
        self._position[list(digits)] = np.arange(len(digits))

    def read(self, folder: Path | None) -> tuple[Images, Images]:
        if folder is None:
            return _from_openml()
        train, test = (_from_idx(folder, part) for part in _PARTS)
        return train, test

    def kept(self, labels: np.ndarray) -> np.ndarray:
        return np.flatnonzero(self._position[labels] >= 0)

    def classes_of(self, labels: np.ndarray) -> np.ndarray:
        return self._position[labels]


def _from_idx(folder: Path, part: str) -> Images:
    found: list[np.ndarray] = []
    for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
        path = find_idx(folder, name)
        if path is None:
            todo = "Leave folder out and pass download=True to fetch MNIST from OpenML"
            raise InvalidInput(f"no {name} or {name}.gz in {folder}", where="MNIST", todo=todo)
        found.append(read_idx(path))
    pixels, labels = found
    if pixels.shape != (*labels.shape, _SIZE, _SIZE) or labels.max(initial=0) >= _DIGITS:
        got = f"images of shape {pixels.shape} and labels of shape {labels.shape} up to {labels.max(initial=0)}"
        accepted = f"images of {_SIZE} x {_SIZE} pixels and as many labels from 0 to {_DIGITS - 1}"
        raise InvalidInput(f"{got} in {folder}", where="MNIST", accepted=accepted)
    return pixels, labels


@lru_cache(maxsize=1)
def _from_openml() -> tuple[Images, Images]:
    return fetched("mnist_784", "MNIST", (_SIZE, _SIZE), 60_000, MNISTDataModule)
