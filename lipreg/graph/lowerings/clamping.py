"""Clamps: ReLU6, Hardtanh and their kin, as one ReLU in another.

min(max(z, a), b) = b - relu(b - a - relu(z - a)). Slopes then multiply, each in [0, 1], and layers stay in a row; of the
difference relu(z - a) - relu(z - b) the slopes of two parallel units would add up, to [-1, 1] and twice the norm.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.gates import AHEAD, BELOW, decay_of, hard_gate, noted, number_of, risen
from lipreg.graph.lowerings.padding import mirrored, moved, positions
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Part, Symbol, is_zero


def clamped(context: Context, x: Symbol, low: Any = None, high: Any = None) -> Symbol:
    """min(max(x, low), high), entry by entry.

    Args:
        context: of the lowering.
        x: the activations.
        low: a number, or a constant that broadcasts to x; None, or an infinite number, for no lower end.
        high: the upper end, likewise.

    Raises:
        Refusal: an end that depends on the input, or is not finite.
    """
    given = x
    ends = [_end(context, x, end, side) for end, side in ((low, -torch.inf), (high, torch.inf))]
    bottom, top = ends
    if bottom is not None:
        x = context.relu(x.shifted(-bottom))
    if top is None:
        if bottom is None:
            return x
        return risen(x, given) if _number(low) == 0 else x.shifted(bottom)
    minus = context.tensor(-1.0)
    width = top if bottom is None else top - bottom
    result = context.relu(x.scaled(minus).shifted(width)).scaled(minus).shifted(top)
    number = _number(high)
    if number is None or (bottom is not None and _number(low) != 0):
        return result
    if bottom is None and number == 0:
        return noted(result, BELOW, given)
    return hard_gate(context, result, given, number, bottom is None)


def _number(end: Any) -> float | None:
    """An end of a clamp that is one number and not trained; else None."""
    return 0.0 if is_zero(end) else number_of(end)


def _end(context: Context, x: Symbol, end: Any, infinite: float) -> Tensor | None:
    """An end of a clamp as a constant; None where there is none, which the number ``infinite`` means too."""
    if isinstance(end, Symbol):
        raise Refusal("not yet", "an end of a clamp that depends on the input")
    if end is None or (isinstance(end, int | float) and end == infinite):
        return None
    constant = context.constant(end, x.shape)
    if not bool(torch.isfinite(constant).all()):
        raise Refusal("settings", "an end of a clamp that is not finite")
    return constant


class _Modules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Linear(4, 6),
                nn.ReLU6(),
                nn.Linear(6, 6),
                nn.Hardtanh(-0.4, 0.3),
                nn.Linear(6, 2),
                nn.Threshold(0.0, 0.0),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@lowers(nn.ReLU6, example=Example(_Modules, (4,)))
def lower_relu6(context: Context, module: nn.ReLU6, x: Symbol) -> Symbol:
    """min(max(x, 0), 6)."""
    return clamped(context, x, 0.0, 6.0)


@lowers(F.relu6)
def lower_relu6_call(context: Context, input: Symbol, inplace: bool = False) -> Symbol:
    """min(max(input, 0), 6)."""
    return clamped(context, input, 0.0, 6.0)


class _Sigmoids(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Hardsigmoid(), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(6 * self.a(x)) + F.hardsigmoid(self.a(x) - 3.0))


@lowers(nn.Hardsigmoid, example=Example(_Sigmoids, (4,), accuracy=1e-7))
def lower_hardsigmoid(context: Context, module: nn.Hardsigmoid, x: Symbol) -> Symbol:
    """relu6(x + 3) / 6; see ``lower_hardsigmoid_call``."""
    return lower_hardsigmoid_call(context, x)


@lowers(F.hardsigmoid)
def lower_hardsigmoid_call(context: Context, input: Symbol, inplace: bool = False) -> Symbol:
    """relu6(z + 3) / 6; torch's own gradient has 1/6 as a number of single precision."""
    above = noted(input.shifted(context.tensor(3.0)), AHEAD, input, 3.0)
    return clamped(context, above, 0.0, 6.0).scaled(context.tensor(1.0 / 6.0))


@lowers(nn.Hardtanh)
def lower_hardtanh(context: Context, module: nn.Hardtanh, x: Symbol) -> Symbol:
    """min(max(x, min_val), max_val), by the settings of the layer."""
    return clamped(context, x, module.min_val, module.max_val)


@lowers(F.hardtanh, F.hardtanh_)
def lower_hardtanh_call(
    context: Context, input: Symbol, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Symbol:
    """min(max(input, min_val), max_val)."""
    return clamped(context, input, min_val, max_val)


@lowers(nn.Threshold)
def lower_threshold(context: Context, module: nn.Threshold, x: Symbol) -> Symbol:
    """x where it is above the threshold, else the value; see ``lower_threshold_call``."""
    return lower_threshold_call(context, x, module.threshold, module.value)


@lowers(F.threshold, torch.threshold, torch.threshold_)
def lower_threshold_call(
    context: Context, input: Symbol, threshold: float, value: float, inplace: bool = False
) -> Symbol:
    """max(input, threshold), which it is where the value is the threshold.

    Raises:
        Refusal: another value, at which the function jumps.
    """
    if threshold != value:
        raise Refusal(
            "never", f"a threshold at {threshold:g} with the value {value:g} jumps: it has no Lipschitz constant"
        )
    return clamped(context, input, threshold)


def shrunk(context: Context, x: Symbol, width: Tensor | float) -> Symbol:
    """relu(x - width) - relu(-x - width): x without its part in [-width, width].

    Both ReLUs are one layer, and away from 0 nothing cancels, as it would in x - clamp(x).

    Args:
        context: of the lowering.
        x: the activations.
        width: a number, or a constant that broadcasts to x.

    Raises:
        Refusal: a width below 0, at which the function jumps.
    """
    width = context.constant(width, x.shape)
    if bool((width < 0).any()):
        raise Refusal("never", f"a soft shrinkage by {float(width.min()):g}, which jumps: 0 and more is covered")
    signs = context.tensor(torch.tensor([1.0, -1.0])).reshape(2, *(1,) * len(x.shape))
    sides = context.relu(mirrored(context, x).shifted(-width)).scaled(signs)
    first, second = (moved(context, sides, part) for part in positions(sides))
    return first.plus(second)


@lowers(
    nn.Softshrink, example=Example(lambda: nn.Sequential(nn.Linear(4, 6), nn.Softshrink(0.3), nn.Linear(6, 2)), (4,))
)
def lower_softshrink(context: Context, module: nn.Softshrink, x: Symbol) -> Symbol:
    """x without its part in [-lambd, lambd]; see ``shrunk``."""
    return shrunk(context, x, float(module.lambd))


@lowers(F.softshrink)
def lower_softshrink_call(context: Context, input: Symbol, lambd: float = 0.5) -> Symbol:
    """input without its part in [-lambd, lambd]; see ``shrunk``."""
    return shrunk(context, input, float(lambd))


@lowers(torch.clamp, torch.clip, "clamp", "clamp_", "clip", "clip_", parts=True)
def lower_clamp(context: Context, input: Symbol | Part, min: Any = None, max: Any = None) -> Symbol:
    """min(max(input, min), max); of a step to an ELU, what ``decay_of`` makes of it."""
    if isinstance(input, Part):
        return decay_of(context, input, min, max)
    return clamped(context, input, min, max)


@lowers(torch.clamp_min, "clamp_min", "clamp_min_", parts=True)
def lower_clamp_min(context: Context, input: Symbol | Part, min: Any) -> Symbol:
    """max(input, min); see ``lower_clamp``."""
    return lower_clamp(context, input, min)


@lowers(torch.clamp_max, "clamp_max", "clamp_max_", parts=True)
def lower_clamp_max(context: Context, input: Symbol | Part, max: Any) -> Symbol:
    """min(input, max); see ``lower_clamp``."""
    return lower_clamp(context, input, None, max)


class _Calls(nn.Module):
    """The functional and method forms, with ends that are numbers and tensors."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)
        self.register_buffer("low", torch.linspace(-0.5, 0.0, 5))
        self.register_buffer("high", torch.tensor(0.4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = F.relu6(x + 5) + F.hardtanh(x) + F.hardtanh(x, -0.2, 0.5) + F.threshold(x, 0.1, 0.1)
        y = y + x.clamp(min=0) - torch.clamp(1 - x, -0.3, 0.7) + torch.clip(x, max=0.2) + x.clip(self.low, self.high)
        y = y + (x - 1).clamp_min(0) - torch.clamp_min(-x, -0.1) + x.clamp_max(0.3) - torch.clamp_max(2 * x, 0.1)
        y = y + (x + 1).clamp_(-1, 1) + (x + 2).clip_(0, 2.2) + (x + 3).clamp_min_(2.9) + (x + 4).clamp_max_(4.1)
        y = y + F.hardtanh_(x - 1, -0.3, 0.4) - torch.threshold_(x + 1, 0.2, 0.2) + torch.threshold(x, 0, 0)
        y = y + torch.sign(x) * F.relu(x.abs() - 0.3) - (torch.abs(x) - self.high).clamp(min=0) * x.sign()
        return self.b(y + F.softshrink(x, 0.2) - F.softshrink(x))


lowers(example=Example(_Calls, (4,)))(lower_clamp)
