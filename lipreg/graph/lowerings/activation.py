"""ReLU, leaky ReLU, and layers that are the identity at evaluation."""

from __future__ import annotations

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


def _prelu() -> nn.Module:
    whole, channels = nn.PReLU(), nn.PReLU(3)
    whole.weight.requires_grad_(False)
    channels.weight.requires_grad_(False).copy_(torch.tensor([0.0, 0.2, 0.5]))
    return nn.Sequential(nn.Linear(4, 6), whole, nn.Linear(6, 3), channels)


@lowers(nn.PReLU, example=Example(_prelu, (4,)))
def lower_prelu(context: Context, module: nn.PReLU, x: Symbol) -> Symbol:
    """A slope that is trained would be a number of the graph's structure, so it has to be frozen."""
    if module.weight.requires_grad:
        raise Refusal("settings", "a PReLU whose slope is trained; module.weight.requires_grad_(False) freezes it")
    slopes = module.weight.detach()
    low, high = float(slopes.min()), float(slopes.max())
    if low == high:
        return context.relu(x, low)
    if low < 0 or high > 1:
        raise Refusal("settings", f"a PReLU with slopes from {low:g} to {high:g}; 0 to 1 is covered")
    # one slope a channel: a x + (1 - a) relu(x)
    slope = context.tensor(slopes).reshape(-1, *(1,) * (len(x.shape) - 1))
    return x.scaled(slope).plus(context.relu(x).scaled(1.0 - slope))


@lowers(
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.AlphaDropout,
    nn.Identity,
    example=Example(
        lambda: nn.Sequential(
            nn.Dropout(0.5),
            nn.Dropout2d(),
            nn.Linear(3, 3),
            nn.Identity(),
            nn.ReLU(),
            nn.AlphaDropout(),
            nn.Flatten(2),
            nn.Dropout1d(),
        ),
        (2, 3, 3),
    ),
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
        y = torch.relu(self.b(x)) + self.b(-x).relu() + torch.relu_(self.b(2 * x)) + self.b(x + 1).relu_()
        return self.c(y + F.relu(x))


lowers(example=Example(_Calls, (4,)))(lower_relu_call)
