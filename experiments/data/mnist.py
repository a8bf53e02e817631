"""MNIST from idx files in a folder, or from OpenML: handwritten digits of 28 x 28 pixels, all or some of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from experiments.data.idx import find_idx, read_idx
from lipreg.data import InMemoryDataModule
from lipreg.errors import InvalidInput
from lipreg.extras import require

Images = tuple[np.ndarray, np.ndarray]
"""Pixels ``(images, 28, 28)`` and labels ``(images,)``, bytes."""

_SIZE, _DIGITS = 28, 10
_PARTS = ("train", "t10k")


class MNISTDataModule(InMemoryDataModule):
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
        super().__init__(batch_size, seed, num_workers)
        for name, size in (("train_size", train_size), ("validation_size", validation_size)):
            if size is not None:
                self._check_count(name, size, 1)
        digits = tuple(range(_DIGITS)) if classes is None else tuple(classes)
        if len(digits) < 2 or len(set(digits)) < len(digits) or not set(digits) <= set(range(_DIGITS)):
            accepted = f"two or more different digits of 0 to {_DIGITS - 1}, or None"
            raise InvalidInput(f"classes={classes!r}", where=type(self).__name__, accepted=accepted)
        self.folder = None if folder is None else Path(folder)
        self.train_size, self.validation_size, self.digits, self.flat = train_size, validation_size, digits, flat
        self.classes, self.download = len(digits), download
        self.input_shape = (_SIZE * _SIZE,) if flat else (1, _SIZE, _SIZE)

    def prepare_data(self) -> None:
        """Fetches what is not on this machine yet."""
        if self._found() is None:
            _from_openml()

    def load(self) -> tuple[TensorDataset, TensorDataset]:
        folder = self._found()
        train, test = _from_openml() if folder is None else (_from_idx(folder, part) for part in _PARTS)
        generator = torch.Generator().manual_seed(self.seed)
        return (
            self._part(train, self.train_size, "train_size", generator),
            self._part(test, self.validation_size, "validation_size", generator),
        )

    def _found(self) -> Path | None:
        if self.folder is not None:
            return self.folder
        named = os.environ.get("LIPREG_DATA")
        folder = Path(named) / "mnist" if named else None
        if folder is not None and folder.is_dir():
            return folder
        if not self.download:
            raise InvalidInput(
                f"no folder, and {'LIPREG_DATA is not set' if folder is None else f'there is no {folder}'}",
                where=type(self).__name__,
                accepted="the folder of the four idx files as folder=, or as mnist in the folder that LIPREG_DATA names",
                todo="Or pass download=True, which fetches them from OpenML",
            )
        return None

    def _part(self, images: Images, size: int | None, name: str, generator: torch.Generator) -> TensorDataset:
        pixels, labels = images
        position = np.full(256, -1)
        position[list(self.digits)] = np.arange(len(self.digits))
        kept = np.flatnonzero(position[labels] >= 0)
        if size is not None:
            if size > len(kept):
                where = type(self).__name__
                raise InvalidInput(f"{name}={size}", where=where, accepted=f"up to {len(kept)} for these digits")
            kept = kept[torch.randperm(len(kept), generator=generator)[:size].numpy()]
        x = torch.as_tensor(pixels[kept], dtype=torch.float32).div_(255.0).reshape(-1, *self.input_shape)
        return TensorDataset(x, torch.as_tensor(position[labels[kept]], dtype=torch.int64))


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
    """Training and test images; OpenML keeps them in this order, in one table."""
    require("digits", "sklearn", where="MNIST from OpenML", otherwise="pass folder=")
    from sklearn.datasets import fetch_openml

    try:
        table, labels = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False, parser="pandas")
    except Exception as error:  # of the network, of its absence, or of what came back
        raise InvalidInput(
            f"OpenML did not answer: {type(error).__name__}: {error}",
            where="MNIST",
            todo="Put the four idx files into a folder and pass folder=, or name the folder above it, called mnist, in "
            "the environment variable LIPREG_DATA",
        ) from error
    pixels = np.asarray(table, dtype=np.uint8).reshape(-1, _SIZE, _SIZE)
    labels = np.asarray(labels).astype(np.uint8)
    return (pixels[:60_000], labels[:60_000]), (pixels[60_000:], labels[60_000:])
