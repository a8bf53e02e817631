"""Numbers on which the processes of a training agree."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor


def total_over_processes(trainer: pl.Trainer, module: pl.LightningModule, value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same in each; all of them call it.

    Args:
        trainer: of the training.
        module: its module, on whose device the sum is taken.
        value: this process's tensor.
    """
    if trainer.world_size == 1:
        return value
    return trainer.strategy.reduce(value.to(module.device), reduce_op="sum")  # type: ignore[return-value,arg-type]


def mean_over_processes(trainer: pl.Trainer, module: pl.LightningModule, value: float) -> float:
    """The mean of a number over all processes, in float32 if there are several; all of them call it.

    Args:
        trainer: of the training.
        module: its module.
        value: this process's number.
    """
    if trainer.world_size == 1:
        return value
    return float(total_over_processes(trainer, module, torch.tensor(value))) / trainer.world_size
