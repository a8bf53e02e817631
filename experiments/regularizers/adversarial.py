"""Adversarial training: cross entropy at the worst point near each input, as far as some gradient steps find it."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from experiments.regularizers.baseline import Baseline


class FastGradientSign(Baseline):
    """Trains at x + weight * sign(gradient of the loss at x), cut to the data range, in place of x.

    ``weight`` is the radius, in the units of the input.

    Source: Goodfellow, Shlens & Szegedy 2015, with all of the loss on the perturbed inputs.
    """

    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        moved = self.inside(x + self.weight * gradient_of_loss(module, x, y).sign())
        return nn.functional.cross_entropy(module(moved), y) - loss  # takes the place of the step's own loss

    def inside(self, x: Tensor) -> Tensor:
        """Cut to the data range of the region, where it has one."""
        low, high = (getattr(self.problem.region, side, None) for side in ("low", "high"))
        return x.clamp(-math.inf if low is None else low, math.inf if high is None else high)


class ProjectedGradient(FastGradientSign):
    """Trains at the end of ``STEPS`` signed gradient steps from a random start in the l_inf ball of radius ``weight``.

    Each step is 2.5 weight / STEPS long, projected back into the ball and the data range.

    Source: Madry et al. 2018.
    """

    STEPS = 5

    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        moved = self.inside(x + self.weight * (2 * self.drawn(torch.rand, x) - 1))
        for _ in range(self.STEPS):
            step = 2.5 * self.weight / self.STEPS * gradient_of_loss(module, moved, y).sign()
            moved = self.inside(torch.clamp(moved + step, x - self.weight, x + self.weight))
        return nn.functional.cross_entropy(module(moved), y) - loss


def gradient_of_loss(module: nn.Module, x: Tensor, y: Tensor, keep: bool = False) -> Tensor:
    """The gradient of each point's cross entropy with respect to the point, ``(batch, *shape)``.

    Args:
        module: maps a batch to logits.
        x, y: the batch.
        keep: keep the graph, so that the gradient can itself be differentiated in the parameters.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        losses = nn.functional.cross_entropy(module(x), y, reduction="sum")  # a sum: points do not share weights
        return torch.autograd.grad(losses, x, create_graph=keep)[0]
