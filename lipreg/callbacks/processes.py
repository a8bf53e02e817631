"""Numbers on which the processes of a training agree."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor


def total_over_processes(trainer: pl.Trainer, module: pl.LightningModule, own: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same in each; all of them call it."""
    if trainer.world_size == 1:
        return own
    return trainer.strategy.reduce(own.to(module.device), reduce_op="sum")  # type: ignore[return-value,arg-type]


def mean_over_processes(trainer: pl.Trainer, module: pl.LightningModule, value: float) -> float:
    """The mean of a number over all processes; all of them call it."""
    if trainer.world_size == 1:
        return value
    return float(total_over_processes(trainer, module, torch.tensor(value))) / trainer.world_size
