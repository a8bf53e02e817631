"""Data sets that fit into memory: two tensors for training, two for validation, and an order that the seed decides."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from lipreg.errors import InvalidInput
from lipreg.lightning import LightningDataModule


class InMemoryDataModule(LightningDataModule):
    """``(x, y)`` batches of tensors in memory: x float32 in [0, 1], y ``(batch,)`` int64.

    The training order comes from a generator of the data module's own: runs with the same seed see the same batches in
    the same order, whatever else draws random numbers. Its state is checkpointed, so a run resumed at an epoch's end goes
    on with the order it would have had. (Under a distributed strategy Lightning puts its own sampler in place.)

    Args:
        batch_size: points in a batch; the last one of an epoch may be smaller.
        seed: of the training order, and of what subclasses draw.
        num_workers: loading processes; the data is in memory, so 0 is fastest.

    Attributes:
        input_shape, classes: of the data, for models that are built from them.
        train_set, validation_set: ``TensorDataset`` of x and y; there after ``setup``.

    Raises:
        InvalidInput: an argument out of range.
    """

    input_shape: tuple[int, ...]
    classes: int
    train_set: TensorDataset
    validation_set: TensorDataset

    def __init__(self, batch_size: int, seed: int, num_workers: int) -> None:
        super().__init__()
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("num_workers", num_workers, 0)):
            self._check_count(name, value, least)
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self._order: torch.Generator | None = None
        self._resumed: torch.Tensor | None = None

    @abstractmethod
    def load(self) -> tuple[TensorDataset, TensorDataset]:
        """The points of training and of validation."""

    def setup(self, stage: str | None = None) -> None:
        """Loads and splits the data; a second call changes nothing."""
        if not hasattr(self, "train_set"):
            self.train_set, self.validation_set = self.load()

    def train_dataloader(self) -> DataLoader:
        """Shuffled anew at every epoch; each call starts the seed's sequence of orders from its beginning."""
        self._order = torch.Generator().manual_seed(self.seed)
        if self._resumed is not None:
            self._order.set_state(self._resumed)
            self._resumed = None
        return self._loader(self.train_set, self._order, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """In the split's order. It has a generator too: loaders draw a seed, and the global one is left alone."""
        return self._loader(self.validation_set, torch.Generator().manual_seed(self.seed), shuffle=False)

    def state_dict(self) -> dict[str, Any]:
        return {} if self._order is None else {"order": self._order.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resumed = state_dict.get("order")

    def _check_count(self, name: str, value: Any, least: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            accepted = f"an integer of at least {least}"
            raise InvalidInput(f"{name}={value!r}", where=type(self).__name__, accepted=accepted)

    def _loader(self, data: TensorDataset, generator: torch.Generator, shuffle: bool) -> DataLoader:
        return DataLoader(
            data,
            batch_size=self.batch_size,
            shuffle=shuffle,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            generator=generator,
        )
