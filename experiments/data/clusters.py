"""A synthetic set for networks of any input dimension: points of the unit cube, of the class of the nearest leader."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from lipreg.data import InMemoryDataModule
from lipreg.errors import InvalidInput


class ClustersDataModule(InMemoryDataModule):
    """Uniform points of [0, 1]^n as ``(x, y)`` batches: x ``(batch, dimension)`` float32, y ``(batch,)`` int64.

    Some of the points are leaders, and their classes are dealt out in turn; every other point has the class of the leader
    that is nearest in l2. Drawn by the seed alone. Jordan & Dimakis (2020) train on sets of this kind, because the input
    dimension can be chosen.

    Args:
        dimension: n.
        leaders: how many; at least one for each class.
        classes: how many.
        train_size, validation_size: points on either side.
        batch_size: points in a batch; the last one of an epoch may be smaller.
        seed: of the points and of the training order.
        num_workers: loading processes; the data is in memory, so 0 is fastest.

    Raises:
        InvalidInput: an argument out of range.
    """

    def __init__(
        self,
        dimension: int = 10,
        leaders: int = 10,
        classes: int = 2,
        train_size: int = 1600,
        validation_size: int = 400,
        batch_size: int = 64,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, seed, num_workers)
        sizes = {"dimension": dimension, "train_size": train_size, "validation_size": validation_size}
        for name, value, least in (*((n, v, 1) for n, v in sizes.items()), ("classes", classes, 2)):
            self._check_count(name, value, least)
        self._check_count("leaders", leaders, classes)
        if leaders > train_size:
            raise InvalidInput(f"leaders={leaders!r}", where=type(self).__name__, accepted=f"up to {train_size}")
        self.input_shape, self.classes, self.leaders = (dimension,), classes, leaders
        self.train_size, self.validation_size = train_size, validation_size

    def load(self) -> tuple[TensorDataset, TensorDataset]:
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.rand(self.train_size + self.validation_size, *self.input_shape, generator=generator)
        y = nearest_leader(x, x[: self.leaders]) % self.classes  # the leaders are the first points of training
        return TensorDataset(x[: self.train_size], y[: self.train_size]), TensorDataset(
            x[self.train_size :], y[self.train_size :]
        )


def nearest_leader(x: Tensor, leaders: Tensor) -> Tensor:
    """The index of the nearest of the leaders ``(k, n)`` in l2, for each of the points ``(points, n)``."""
    return torch.cdist(x.double(), leaders.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
