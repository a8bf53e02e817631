"""What a record tells of a trainer: whatever a step of the optimizer is taken on."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from lipreg.callbacks.trained_by import training_settings
from tests.callbacks.cases import Classifier, fit

DATA = TensorDataset(torch.rand(24, 4), torch.zeros(24, dtype=torch.long))
SAMPLER = BatchSampler(SequentialSampler(DATA), 6, drop_last=False)
TWO = {"a": DataLoader(DATA, 8), "b": DataLoader(DATA, 4)}


class Told(pl.Callback):
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.settings = training_settings(trainer)["trainer"]


class Loaded(Classifier):
    def __init__(self, loaders: Any) -> None:
        super().__init__()
        self.loaders = loaders

    def train_dataloader(self) -> Any:
        return self.loaders

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch["a"] if isinstance(batch, dict) else batch, batch_idx)


@pytest.mark.parametrize(
    ("loaders", "size"),
    [
        (DataLoader(DATA, 8), 8),
        (DataLoader(DATA, batch_sampler=SAMPLER), 6),
        (TWO, None),
    ],
    ids=["loader", "sampler", "several"],
)
def test_a_step(loaders: Any, size: int | None) -> None:
    told = Told()
    fit(Loaded(loaders), None, told, accumulate_grad_batches=3, precision="bf16-mixed")
    assert told.settings == {
        "max_epochs": 1,
        "accelerator": "cpu",
        "precision": "bf16-mixed",
        "processes": 1,
        "accumulate_grad_batches": 3,
        "batch_size": size,
        "effective_batch": None if size is None else 3 * size,
    }
