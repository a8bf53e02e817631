"""The metrics that a trainer keeps for early stopping, checkpoints and schedulers.

``callback_metrics``, ``logged_metrics`` and ``progress_bar_metrics`` are no plain attributes: reading one reduces what was
logged with ``sync_dist`` or as a torchmetrics metric over the training processes. So nothing here may be called in a part
of them only, and nothing else in this package reads them.
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch


def read_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """What was logged so far, by name; all training processes call it."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def steps_taken(trainer: pl.Trainer) -> int:
    """Training steps so far, as Lightning's loggers count them: with several optimizers ``global_step`` is larger."""
    return int(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))


def show(trainer: pl.Trainer, metrics: dict[str, float]) -> None:
    """Puts metrics where early stopping, checkpoints and schedulers look; all training processes call it.

    ``LightningModule.log`` cannot be called after the last epoch, nor at any time for weights other than the present ones.
    """
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})


def withdraw(trainer: pl.Trainer, prefix: str) -> None:
    """Takes away what ``show`` put there: the weights are others now. All training processes call it."""
    metrics = trainer.callback_metrics
    for name in [name for name in metrics if name.startswith(prefix)]:
        del metrics[name]
