"""Torch modules that do what the oracles' programs say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.attacks.programs import Add, Affine, Keep, MaxPool, Program, Relu


class Steps(nn.Module):
    """The steps of a program one after the other."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.kinds = [type(step).__name__ for step in program]
        self.steps = nn.ModuleList(map(_module, program))

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for kind, step in zip(self.kinds, self.steps, strict=True):
            if kind == "Keep":
                kept.append(x)
            elif kind == "Add":
                x = x + kept.pop()
            else:
                x = step(x)
        return x


def _module(step: Affine | Relu | MaxPool | Keep | Add) -> nn.Module:
    match step:
        case Affine():
            layer = nn.Linear(step.weight.shape[1], step.weight.shape[0], dtype=torch.float64)
            layer.weight.data, layer.bias.data = torch.from_numpy(step.weight), torch.from_numpy(step.bias)
            return layer
        case Relu(leak):
            return nn.LeakyReLU(leak) if leak else nn.ReLU()
        case MaxPool(size):
            return nn.Sequential(nn.Unflatten(1, (1, -1)), nn.MaxPool1d(size), nn.Flatten())
    return nn.Identity()


def module(program: Program) -> nn.Module:
    """The network of a program in evaluation mode."""
    return Steps(program).eval()
