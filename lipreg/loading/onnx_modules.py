"""Small modules that torch has no class for: arithmetic with constants, limits, axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Arithmetic(nn.Module):
    """A sum, difference, product or quotient of an activation with a constant, or of two activations.

    Args:
        kind: "Add", "Sub", "Mul" or "Div".
        constant: in the shape of one point, or one that broadcasts to it; None for a second activation.
        first: whether the activation stands in front of the constant.
    """

    constant: Tensor | None

    def __init__(self, kind: str, constant: Tensor | None, first: bool) -> None:
        super().__init__()
        self.kind, self.first = kind, first
        self.register_buffer("constant", constant)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        second: Any = self.constant if other is None else other
        left, right = (x, second) if self.first else (second, x)
        if self.kind == "Add":
            return left + right
        if self.kind == "Sub":
            return left - right
        return left * right if self.kind == "Mul" else left / right


class Clip(nn.Module):
    """min(max(x, low), high); None for no limit.

    Args:
        low: the lower limit.
        high: the upper limit.
    """

    def __init__(self, low: float | None, high: float | None) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x, self.low, self.high)


class Permuted(nn.Module):
    """Axes in another order.

    Args:
        order: the old axis at each place; the batch axis, 0, comes first.
    """

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.order)


class Joined(nn.Module):
    """Activations side by side along an axis.

    Args:
        axis: counted with the batch axis.
    """

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=self.axis)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with the weights ``(out, in)`` and the bias ``(out,)``, on the last axis."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    layer.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.contiguous())
    return layer


class Single(nn.Module):
    """The only entry of each point, ``(batch,)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).squeeze(1)
