"""The models that the experiments train."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytorch_lightning as pl
import torch
from torch import Tensor, nn


class Classifier(pl.LightningModule):
    """A ReLU classifier trained by cross entropy with Adam; knows nothing of Lipschitz constants.

    Args:
        widths: of the input, the hidden layers and the output.
        learning_rate: of Adam.
    """

    def __init__(self, widths: Sequence[int] = (64, 32, 32, 10), learning_rate: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters({"widths": list(widths), "learning_rate": learning_rate})
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])
        self.learning_rate = learning_rate

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        outputs = self(x)
        self.log("val_loss", nn.functional.cross_entropy(outputs, y))
        self.log("val_accuracy", (outputs.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)
