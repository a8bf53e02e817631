"""scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels that ship with it, so nothing is downloaded."""

from __future__ import annotations

import torch
from torch.utils.data import TensorDataset

from lipreg.data.in_memory import InMemoryDataModule
from lipreg.errors import InvalidInput
from lipreg.extras import require

_COUNT = 1797


class DigitsDataModule(InMemoryDataModule):
    """Digits 0 to 9 as ``(x, y)`` batches: x ``(batch, 64)`` float32 in [0, 1], y ``(batch,)`` int64.

    The split is stratified and fixed by the seed, as is the training order (see ``InMemoryDataModule``).

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
        MissingExtra: from ``setup``: scikit-learn is not installed.
    """

    input_shape: tuple[int, ...] = (64,)
    classes: int = 10

    def __init__(
        self, batch_size: int = 64, validation_share: float = 0.2, seed: int = 0, num_workers: int = 0
    ) -> None:
        super().__init__(batch_size, seed, num_workers)
        smallest = self.classes / _COUNT
        if not isinstance(validation_share, int | float) or not smallest <= validation_share <= 1 - smallest:
            raise InvalidInput(
                f"validation_share={validation_share!r}",
                where=type(self).__name__,
                accepted=f"{smallest:.4f} to {1 - smallest:.4f}: a point of each class on either side",
            )
        self.validation_share = validation_share

    def load(self) -> tuple[TensorDataset, TensorDataset]:
        require("digits", "sklearn", where=type(self).__name__)
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        pixels, labels = load_digits(return_X_y=True)
        parts = train_test_split(
            pixels / 16.0, labels, test_size=self.validation_share, random_state=self.seed, stratify=labels
        )
        x_train, x_val = (torch.as_tensor(part, dtype=torch.float32) for part in parts[:2])
        y_train, y_val = (torch.as_tensor(part, dtype=torch.int64) for part in parts[2:])
        return TensorDataset(x_train, y_train), TensorDataset(x_val, y_val)
