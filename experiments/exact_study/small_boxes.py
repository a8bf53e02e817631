"""Small-box training: the loss of interval bounds in a small box around the end of an attack (Müller et al. 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SMALL = 0.2
"""The box's radius over that of the whole region."""
STEPS, STRIDE = 5, 2.5
"""Of the attack: so many steps, each of this over their number times its radius."""


class SmallBoxes:
    """loss(worst logits in the box) - loss(x): added to the loss at the data points, all of it is at the boxes.

    In l2 the box is the cube inside of the ball, of the radius over sqrt(inputs).

    Args:
        net: ``nn.Sequential`` of linear layers with ReLUs between them.
        radius: of the region: the attack has 1 - ``SMALL`` of it, the box the rest.
        p: the norm of the region, 2 or inf.
        seed: of the attack's starts.

    Source: Müller, Eckert, Fischer & Vechev 2023, SABR.
    """

    def __init__(self, net: nn.Module, radius: float, p: float, seed: int) -> None:
        self.net, self.p = net, p
        self.attack, self.box = (1 - SMALL) * radius, SMALL * radius
        self._draws = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        boxed = nn.functional.cross_entropy(self._worst(self._attacked(x, y), y), torch.zeros_like(y))
        return boxed - nn.functional.cross_entropy(self.net(x), y)

    def _attacked(self, x: Tensor, y: Tensor) -> Tensor:
        moved = x + self._within((2 * torch.rand(x.shape, generator=self._draws) - 1) * self.attack)
        for _ in range(STEPS):
            at = moved.clamp(0.0, 1.0).detach().requires_grad_()
            (slope,) = torch.autograd.grad(nn.functional.cross_entropy(self.net(at), y, reduction="sum"), at)
            unit = slope.sign() if self.p == math.inf else slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
            moved = x + self._within(at.detach() + STRIDE / STEPS * self.attack * unit - x)
        return moved.clamp(0.0, 1.0)

    def _within(self, step: Tensor) -> Tensor:
        if self.p == math.inf:
            return step.clamp(-self.attack, self.attack)
        return step * (self.attack / step.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)

    def _worst(self, x: Tensor, y: Tensor) -> Tensor:
        """Upper bounds on f_j - f_y over the boxes around x, after a 0 for y itself, ``(points, classes + 1)``."""
        size = self.box if self.p == math.inf else self.box / math.sqrt(x.shape[1])
        low, high = (x - size).clamp(0.0, 1.0), (x + size).clamp(0.0, 1.0)
        *hidden, last = (layer for layer in self.net.children() if isinstance(layer, nn.Linear))
        for layer in hidden:
            middle, room = layer((low + high) / 2), (high - low) / 2 @ layer.weight.abs().T
            low, high = (middle - room).relu(), (middle + room).relu()
        rows = last.weight.unsqueeze(0) - last.weight[y].unsqueeze(1)  # of f_j - f_y
        ahead = ((low + high) / 2).unsqueeze(1) @ rows.mT + ((high - low) / 2).unsqueeze(1) @ rows.abs().mT
        ahead = ahead.squeeze(1) + last.bias - last.bias[y].unsqueeze(1)
        ahead = ahead.scatter(1, y.unsqueeze(1), -torch.inf)
        return torch.cat([ahead.new_zeros(len(x), 1), ahead], 1)
