"""Data sets of images from files in a folder, or from OpenML: what MNIST and CIFAR-10 have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from lipreg.data import InMemoryDataModule
from lipreg.errors import InvalidInput
from lipreg.extras import require

Images = tuple[np.ndarray, np.ndarray]
"""Pixels ``(images, ...)`` and labels ``(images,)``, bytes."""


class ImagesDataModule(InMemoryDataModule):
    """Images as ``(x, y)`` batches, x in [0, 1]: all of them, or a random part of each kind, drawn by the seed.

    Args:
        folder: of the files. None: the data set's own in the folder that the environment variable LIPREG_DATA names.
        download: where there is no such folder, fetch the images from OpenML.
        train_size, validation_size: how many images of each kind; None for all.
        batch_size, seed, num_workers: as of ``InMemoryDataModule``.

    Attributes:
        own, files: the name of the data set's folder, and what lies in it, in words.
        among: of which images there may be too few, in words; of all where it is empty.

    Raises:
        InvalidInput: an argument out of range. From ``prepare_data`` and ``setup``: no folder, fewer images than asked for,
            and what reading raises.
    """

    own: str
    files: str
    among: str = ""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        train_size: int | None,
        validation_size: int | None,
        download: bool,
        batch_size: int,
        seed: int,
        num_workers: int,
    ) -> None:
        super().__init__(batch_size, seed, num_workers)
        for name, size in (("train_size", train_size), ("validation_size", validation_size)):
            if size is not None:
                self._check_count(name, size, 1)
        self.folder = None if folder is None else Path(folder)
        self.train_size, self.validation_size, self.download = train_size, validation_size, download

    @abstractmethod
    def read(self, folder: Path | None) -> tuple[Images, Images]:
        """Training and validation images from a folder, or from OpenML."""

    def kept(self, labels: np.ndarray) -> np.ndarray:
        """Which images are wanted, as indices."""
        return np.arange(len(labels))

    def classes_of(self, labels: np.ndarray) -> np.ndarray:
        """The classes of images by their labels."""
        return labels

    def prepare_data(self) -> None:
        """Fetches what is not on this machine yet."""
        if self._found() is None:
            self.read(None)

    def load(self) -> tuple[TensorDataset, TensorDataset]:
        train, test = self.read(self._found())
        generator = torch.Generator().manual_seed(self.seed)
        return (
            self._part(train, self.train_size, "train_size", generator),
            self._part(test, self.validation_size, "validation_size", generator),
        )

    def _found(self) -> Path | None:
        if self.folder is not None:
            return self.folder
        named = os.environ.get("LIPREG_DATA")
        folder = Path(named) / self.own if named else None
        if folder is not None and folder.is_dir():
            return folder
        if not self.download:
            raise InvalidInput(
                f"no folder, and {'LIPREG_DATA is not set' if folder is None else f'there is no {folder}'}",
                where=type(self).__name__,
                accepted=f"the folder of the {self.files} as folder=, or as {self.own} in the folder that LIPREG_DATA names",
                todo="Or pass download=True, which fetches them from OpenML",
            )
        return None

    def _part(self, images: Images, size: int | None, name: str, generator: torch.Generator) -> TensorDataset:
        pixels, labels = images
        kept = self.kept(labels)
        if size is not None:
            if size > len(kept):
                accepted = f"up to {len(kept)}{self.among}"
                raise InvalidInput(f"{name}={size}", where=type(self).__name__, accepted=accepted)
            kept = kept[torch.randperm(len(kept), generator=generator)[:size].numpy()]
        x = torch.as_tensor(pixels[kept], dtype=torch.float32).div_(255.0).reshape(-1, *self.input_shape)
        return TensorDataset(x, torch.as_tensor(self.classes_of(labels[kept]), dtype=torch.int64))


def fetched(
    table: str, called: str, shape: tuple[int, ...], training: int, kind: type[ImagesDataModule]
) -> tuple[Images, Images]:
    """Training and test images from OpenML, which keeps them in this order, in one table.

    Args:
        table: its name there.
        called: the data set's name.
        shape: of an image.
        training: how many come first.
        kind: of data module, which names the files that may lie in a folder instead, and that folder.

    Raises:
        InvalidInput: OpenML did not answer.
        MissingExtra: scikit-learn is not installed.
    """
    require("digits", "sklearn", where=f"{called} from OpenML", otherwise="pass folder=")
    from sklearn.datasets import fetch_openml

    try:
        found, labels = fetch_openml(table, version=1, return_X_y=True, as_frame=False, parser="pandas")
    except Exception as error:  # of the network, of its absence, or of what came back
        raise InvalidInput(
            f"OpenML did not answer: {type(error).__name__}: {error}",
            where=called,
            todo=f"Put the {kind.files} into a folder and pass folder=, or name the folder above it, called {kind.own}, in "
            "the environment variable LIPREG_DATA",
        ) from error
    pixels, labels = np.asarray(found, dtype=np.uint8).reshape(-1, *shape), np.asarray(labels).astype(np.uint8)
    return (pixels[:training], labels[:training]), (pixels[training:], labels[training:])
