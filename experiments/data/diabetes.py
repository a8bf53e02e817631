"""scikit-learn's diabetes set: 442 patients, ten measurements each, and how far the disease went on; for regression."""

from __future__ import annotations

import torch
from torch.utils.data import TensorDataset

from lipreg.data import InMemoryDataModule
from lipreg.errors import InvalidInput
from lipreg.extras import require

_COUNT = 442


class DiabetesDataModule(InMemoryDataModule):
    """Measurements and a target as ``(x, y)`` batches: x ``(batch, 10)`` and y ``(batch, 1)``, both float32.

    Both in standard deviations of the training points, from their mean: a constant of 1 is one deviation of the target over
    one of a measurement. The set ships with scikit-learn, so nothing is downloaded (Efron et al. 2004).

    Args:
        batch_size: points in a batch; the last one of an epoch may be smaller.
        validation_share: share of the points kept for validation.
        seed: of split and training order.
        num_workers: loading processes; the data is in memory, so 0 is fastest.

    Attributes:
        input_shape: of the data, for models that are built from it.
        classes: 1, the number of values that are to be told.
        train_set, validation_set: ``TensorDataset`` of x and y; there after ``setup``.

    Raises:
        InvalidInput: an argument out of range.
        MissingExtra: from ``setup``: scikit-learn is not installed.
    """

    input_shape: tuple[int, ...] = (10,)
    classes: int = 1

    def __init__(
        self, batch_size: int = 64, validation_share: float = 0.3, seed: int = 0, num_workers: int = 0
    ) -> None:
        super().__init__(batch_size, seed, num_workers)
        smallest = 2 / _COUNT
        if not isinstance(validation_share, int | float) or not smallest <= validation_share <= 1 - smallest:
            raise InvalidInput(
                f"validation_share={validation_share!r}",
                where=type(self).__name__,
                accepted=f"{smallest:.4f} to {1 - smallest:.4f}: two points on either side",
            )
        self.validation_share = validation_share

    def load(self) -> tuple[TensorDataset, TensorDataset]:
        require("digits", "sklearn", where=type(self).__name__)
        from sklearn.datasets import load_diabetes

        x, y = (torch.as_tensor(part, dtype=torch.float64) for part in load_diabetes(return_X_y=True, scaled=False))
        order = torch.randperm(_COUNT, generator=torch.Generator().manual_seed(self.seed))
        kept = order[: _COUNT - round(_COUNT * self.validation_share)]
        left = order[len(kept) :]

        def scaled(values: torch.Tensor) -> torch.Tensor:
            return ((values - values[kept].mean(0)) / values[kept].std(0, correction=0)).float()

        x, y = scaled(x), scaled(y.unsqueeze(1))
        return TensorDataset(x[kept], y[kept]), TensorDataset(x[left], y[left])
