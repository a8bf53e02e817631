"""ReLU, leaky ReLU, and layers that are the identity at evaluation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Symbol


@lowers(nn.ReLU, example=Example(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), (4,)))
def lower_relu(context: Context, module: nn.ReLU, x: Symbol) -> Symbol:
    return context.relu(x)


@lowers(F.relu, torch.relu, torch.relu_, "relu", "relu_")
def lower_relu_call(context: Context, input: Symbol, inplace: bool = False) -> Symbol:
    return context.relu(input)


@lowers(nn.LeakyReLU, example=Example(lambda: nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(0.1), nn.Linear(6, 2)), (4,)))
def lower_leaky_relu(context: Context, module: nn.LeakyReLU, x: Symbol) -> Symbol:
    return context.relu(x, module.negative_slope)


@lowers(F.leaky_relu)
def lower_leaky_relu_call(
    context: Context, input: Symbol, negative_slope: float = 0.01, inplace: bool = False
) -> Symbol:
    return context.relu(input, negative_slope)


@lowers(torch.clamp, torch.clamp_min, "clamp", "clamp_min")
def lower_clamp(context: Context, input: Symbol, min: Any = None, max: Any = None) -> Symbol:
    if min != 0 or max is not None:
        raise Refusal("replace", "only clamp(min=0) is a ReLU; write other clamps with relu")
    return context.relu(input)


@lowers(
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.AlphaDropout,
    nn.Identity,
    example=Example(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3), nn.Identity(), nn.ReLU()), (3,)),
)
def lower_identity(context: Context, module: nn.Module, x: Symbol) -> Symbol:
    """Dropout is off in a bound, as at evaluation."""
    return x


@lowers(F.dropout)
def lower_dropout_call(
    context: Context, input: Symbol, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Symbol:
    if training:  # networks are traced in evaluation mode
        raise Refusal("settings", "dropout that stays on at evaluation; pass training=self.training")
    return input


class _Calls(nn.Module):
    """The functional and method forms."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.leaky_relu(self.a(x), 0.2), training=self.training)
        return self.c(torch.relu(self.b(x)) + self.b(x).relu() + x.clamp(min=0))


lowers(example=Example(_Calls, (4,)))(lower_relu_call)
