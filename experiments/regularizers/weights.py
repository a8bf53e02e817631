"""Penalties on the size of the weights alone, blind to data and region."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor

from experiments.regularizers.baseline import Baseline


class WeightDecay(Baseline):
    """weight / 2 * sum of W^2 over all weight matrices; biases are free.

    As a term of the loss it is the classical l2 penalty, whose gradient Adam rescales with the rest (AdamW would not).
    """

    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        return 0.5 * self.weight * torch.stack([w.square().sum() for w in matrices(module)]).sum()


class WeightL1(Baseline):
    """weight * sum of |W| over all weight matrices; biases are free."""

    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        return self.weight * torch.stack([w.abs().sum() for w in matrices(module)]).sum()


def matrices(module: pl.LightningModule) -> list[Tensor]:
    """The parameters with two dimensions or more: weights of linear layers and kernels of convolutions."""
    return [parameter for parameter in module.parameters() if parameter.dim() >= 2]
