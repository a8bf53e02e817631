"""Functions of two slopes, z above 0 and b z below: leaky ReLUs of any slope, and those whose slope is trained or drawn.

For one fixed b in [0, 1] they are Relu nodes. Where slopes in [0, 1] differ or are trained, they are b z + (1 - b) relu(z),
two branches whose norms add up to that of one layer. For other b they are the larger of z and b z, or the smaller of both
where b > 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.comparing import larger_multiple, magnitude
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol


def sloped(context: Context, x: Symbol, slopes: Tensor | float) -> Symbol:
    """x where it is positive and slopes * x where it is not.

    Slopes with a gradient are weights of the graph: they are read, and trained, like any other.

    Args:
        context: of the lowering.
        x: the activations.
        slopes: a number, or numbers that broadcast to x.

    Raises:
        Refusal: a slope that is no number.
    """
    weight = context.tensor(slopes)
    low, high = float(weight.detach().min()), float(weight.detach().max())
    trained = weight.requires_grad  # with gradients off too: a bound is the same then
    if low == high == -1.0 and not trained:
        return magnitude(context, x)
    if low >= 0 and high <= 1:
        if low == high and not trained:
            return context.relu(x, low)
        return x.scaled(weight).plus(context.relu(x).scaled(1.0 - weight))
    if low != low or high != high:
        raise Refusal("settings", "a leaky ReLU with a negative slope that is no number")
    signs = torch.where(weight.detach() > 1, -1.0, 1.0).to(weight.dtype)
    return larger_multiple(context, x.scaled(signs), weight).scaled(signs)


@lowers(
    nn.LeakyReLU,
    example=Example(
        lambda: nn.Sequential(
            nn.Linear(4, 6), nn.LeakyReLU(0.1), nn.Linear(6, 4), nn.LeakyReLU(-0.4), nn.Linear(4, 2), nn.LeakyReLU(1.5)
        ),
        (4,),
    ),
    rows="together",
)
def lower_leaky_relu(context: Context, module: nn.LeakyReLU, x: Symbol) -> Symbol:
    """x where it is positive and a multiple of x elsewhere; see ``sloped``."""
    return sloped(context, x, module.negative_slope)


@lowers(F.leaky_relu, F.leaky_relu_, rows="together")
def lower_leaky_relu_call(
    context: Context, input: Symbol, negative_slope: float = 0.01, inplace: bool = False
) -> Symbol:
    """input where it is positive and a multiple of it elsewhere; see ``sloped``."""
    return sloped(context, input, negative_slope)


def _channels(weight: Tensor, x: Symbol) -> Tensor:
    """One slope for all entries, or one a channel, in a shape that broadcasts to x.

    Raises:
        Refusal: another number of slopes.
    """
    if weight.numel() == 1:
        return weight.reshape(())
    if not x.shape or weight.numel() != x.shape[0]:
        raise Refusal("settings", f"a PReLU of {weight.numel()} slopes on activations {x.shape}")
    return weight.reshape(-1, *(1,) * (len(x.shape) - 1))


def _prelu() -> nn.Module:
    fixed, channels, steep = nn.PReLU(), nn.PReLU(3), nn.PReLU(3)
    fixed.weight.requires_grad_(False)
    with torch.no_grad():
        channels.weight.copy_(torch.tensor([0.0, 0.2, 0.5]))
        steep.weight.copy_(torch.tensor([-0.3, 0.4, 1.7]))
    layers = (nn.PReLU(), nn.Linear(6, 3), channels, nn.Linear(3, 3), steep)
    return nn.Sequential(nn.Linear(4, 6), fixed, nn.Linear(6, 6), *layers)


@lowers(nn.PReLU, example=Example(_prelu, (4,)))
def lower_prelu(context: Context, module: nn.PReLU, x: Symbol) -> Symbol:
    """A leaky ReLU with the weights of the layer as slopes, one for all entries or one a channel."""
    return sloped(context, x, _channels(module.weight, x))


@lowers(F.prelu, torch.prelu)
def lower_prelu_call(context: Context, input: Symbol, weight: Tensor) -> Symbol:
    """A leaky ReLU with the slopes ``weight``, one for all entries or one a channel."""
    return sloped(context, input, _channels(weight, input))


@lowers(nn.RReLU, example=Example(lambda: nn.Sequential(nn.Linear(4, 6), nn.RReLU(), nn.Linear(6, 2)), (4,)))
def lower_rrelu(context: Context, module: nn.RReLU, x: Symbol) -> Symbol:
    """A leaky ReLU of the mean slope: slopes are drawn in training alone, and a bound is of the evaluation."""
    return sloped(context, x, (module.lower + module.upper) / 2)


@lowers(F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_)
def lower_rrelu_call(
    context: Context,
    input: Symbol,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Symbol:
    """A leaky ReLU of the mean slope, as at evaluation.

    Raises:
        Refusal: slopes that are drawn at evaluation too.
    """
    if training:  # networks are traced in evaluation mode
        raise Refusal("settings", "slopes that are drawn at evaluation; pass training=self.training")
    return sloped(context, input, (lower + upper) / 2)


class _Calls(nn.Module):
    """The functional forms, over an image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(2, 3, 2), nn.Linear(12, 2)
        self.slopes, self.slope = nn.Parameter(torch.tensor([-1.2, 0.3, 2.0])), nn.Parameter(torch.tensor([0.2]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = F.leaky_relu(x, 0.2) - F.leaky_relu(x, -1.0) + F.leaky_relu(x, 3.0) + F.leaky_relu(x, 1.0)
        y = F.prelu(y, self.slopes) + torch.prelu(x, self.slope) - F.rrelu(x) + F.rrelu(x, 0.2, 0.4, self.training)
        y = y + F.leaky_relu_(x - 1, 0.3) - F.rrelu_(x + 1) + torch.rrelu(x - 2) - torch.rrelu_(x + 2)
        return self.b(y.flatten(1))


lowers(example=Example(_Calls, (2, 5)))(lower_leaky_relu_call)
