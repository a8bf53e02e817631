"""scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels that ship with it, so nothing is downloaded."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lipreg.errors import InvalidInput, MissingExtra

_COUNT = 1797


class DigitsDataModule(pl.LightningDataModule):
    """Digits 0 to 9 as ``(x, y)`` batches: x ``(batch, 64)`` float32 in [0, 1], y ``(batch,)`` int64.

    The split is stratified and fixed by the seed. The training order comes from a generator of the data module's own:
    runs with the same seed see the same batches in the same order, whatever else draws random numbers. Its state is
    checkpointed, so a run resumed at an epoch's end goes on with the order it would have had. (Under a distributed
    strategy Lightning puts its own sampler in place.)

    Args:
        batch_size: points in a batch; the last one of an epoch may be smaller.
        validation_share: share of the points kept for validation, from each class alike.
        seed: of split and training order.
        num_workers: loading processes; the data is in memory, so 0 is fastest.

    Attributes:
        input_shape, classes: of the data, for models that are built from them.
        train_set, validation_set: ``TensorDataset`` of x and y; there after ``setup``.

    Raises:
        InvalidInput: an argument out of range, or a share that leaves a side with fewer points than classes.
        MissingExtra: scikit-learn is not installed (from ``setup``).
    """

    input_shape: tuple[int, ...] = (64,)
    classes: int = 10
    train_set: TensorDataset
    validation_set: TensorDataset

    def __init__(
        self, batch_size: int = 64, validation_share: float = 0.2, seed: int = 0, num_workers: int = 0
    ) -> None:
        super().__init__()
        where = type(self).__name__
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("num_workers", num_workers, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidInput(f"{name}={value!r}", where=where, accepted=f"an integer of at least {least}")
        smallest = self.classes / _COUNT
        if not isinstance(validation_share, int | float) or not smallest <= validation_share <= 1 - smallest:
            raise InvalidInput(
                f"validation_share={validation_share!r}",
                where=where,
                accepted=f"{smallest:.4f} to {1 - smallest:.4f}: a point of each class on either side",
            )
        self.batch_size, self.validation_share = batch_size, validation_share
        self.seed, self.num_workers = seed, num_workers
        self._order: torch.Generator | None = None
        self._resumed: torch.Tensor | None = None

    def setup(self, stage: str | None = None) -> None:
        """Loads and splits the data; a second call changes nothing."""
        if hasattr(self, "train_set"):
            return
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise MissingExtra(
                "scikit-learn is not installed", where=type(self).__name__, todo="pip install scikit-learn"
            ) from error
        pixels, labels = load_digits(return_X_y=True)
        parts = train_test_split(
            pixels / 16.0, labels, test_size=self.validation_share, random_state=self.seed, stratify=labels
        )
        x_train, x_val = (torch.as_tensor(part, dtype=torch.float32) for part in parts[:2])
        y_train, y_val = (torch.as_tensor(part, dtype=torch.int64) for part in parts[2:])
        self.train_set, self.validation_set = TensorDataset(x_train, y_train), TensorDataset(x_val, y_val)

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

    def _loader(self, data: TensorDataset, generator: torch.Generator, shuffle: bool) -> DataLoader:
        return DataLoader(
            data,
            batch_size=self.batch_size,
            shuffle=shuffle,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            generator=generator,
        )
