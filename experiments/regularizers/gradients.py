"""Penalties on gradients at the data points, differentiated once more for the parameters (double backward)."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor

from experiments.regularizers.adversarial import gradient_of_loss
from experiments.regularizers.baseline import Baseline


class GradientPenalty(Baseline):
    """weight * mean of |gradient of the cross entropy with respect to the input|_2^2.

    Source: Drucker & LeCun 1992 (double backpropagation).
    """

    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        return self.weight * gradient_of_loss(module, x, y, keep=True).flatten(1).square().sum(1).mean()


class JacobianFrobenius(Baseline):
    """weight * mean of |J|_F^2, J the Jacobian of the logits at each input, by one random projection a point.

    For a random unit vector v, outputs * |v^T J|_2^2 has the mean |J|_F^2.

    Source: Hoffman, Roberts & Yaida 2019.
    """

    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = module(x)
            direction = torch.nn.functional.normalize(self.drawn(torch.randn, logits), dim=1)
            projected = torch.autograd.grad((direction * logits).sum(), x, create_graph=True)[0]
        return self.weight * logits.shape[1] * projected.flatten(1).square().sum(1).mean()
