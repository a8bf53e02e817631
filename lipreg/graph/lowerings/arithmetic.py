"""Sums of activations (residual branches) and arithmetic with constants (normalisation)."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.constants import constant_of
from lipreg.graph.lowerings.exponentials import quotient
from lipreg.graph.lowerings.gates import divided, gated, number_of, shifted, shrunk_by_tanh, summed
from lipreg.graph.lowerings.padding import moved, positions
from lipreg.graph.lowerings.parts import SIGN, power_of, product_of, square_of, stepped, sum_of
from lipreg.graph.registry import ALONE, NEVER, Example, Refusal, lowers
from lipreg.graph.symbols import Mask, Part, Symbol, is_zero
from lipreg.linalg.broadcasting import broadcast

OF_PRODUCTS = (
    "a product of two activations is not piecewise linear, and its slopes grow without limit (x * sigmoid(x) and its "
    f"kin are covered); ask about the part of the network before it {ALONE}. A factor that another input decides is held "
    "fixed with lipreg.Select(network, fixed={...}). Gates that the same input decides, as of squeeze and excitation, are "
    "not: a network with numbers in their place is another function, whose constant leaves out how far they move"
)
"""Why products of activations are refused."""

OF_DIVISIONS = (
    "a division by activations is not piecewise linear, and where they are near 0 its slopes grow without limit; "
    "x / (1 + |x|), 1 / (1 + e^-x) and x / (1 + e^-x) are covered"
)
"""Why divisions by activations are refused."""


@lowers(torch.add, operator.add, "add", "add_", parts=True)
def lower_add(context: Context, input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input + alpha other, where both broadcast to one shape; sums that are an activation written out become its curve.

    Raises:
        Refusal: shapes that do not fit, or a sum of steps (``Part``) that leads to no activation.
    """
    input, other = stepped(input), stepped(other)
    if isinstance(input, Part) or isinstance(other, Part):
        return sum_of(input, other, alpha)
    if isinstance(input, Symbol) and isinstance(other, Symbol):
        shrunk = shrunk_by_tanh(context, input, other, alpha)
        if shrunk is not None:
            return shrunk
        input, other = broadcasted(context, input, other), broadcasted(context, other, input)
        other = other if alpha == 1 else other.scaled(context.constant(alpha, other.shape))
        return summed(context, input, other) or input.plus(other)
    if isinstance(input, Symbol):
        input = enlarged(context, input, other)
        return shifted(context, input.shifted(alpha * context.constant(other, input.shape)), input, alpha * other)
    other = enlarged(context, other, input)
    other = other if alpha == 1 else other.scaled(context.constant(alpha, other.shape))
    return shifted(context, other.shifted(context.constant(input, other.shape)), other, input)


def enlarged(context: Context, x: Symbol, constant: Any) -> Symbol:
    """x, repeated along the dimensions of size 1 in which a constant beside it is larger.

    Args:
        context: of the lowering.
        x: the activations.
        constant: the other operand; a number enlarges nothing.

    Returns:
        x as it is where both fit already, or cannot be made to fit.
    """
    given = list(constant.shape) if isinstance(constant, Tensor) else []
    if len(given) == len(x.shape) + 1 and given[:1] == [1]:
        given = given[1:]
    given = [1] * (len(x.shape) - len(given)) + given
    if len(given) != len(x.shape) or all(b in (1, a) for a, b in zip(x.shape, given, strict=True)):
        return x
    if any(a not in (1, b) and b != 1 for a, b in zip(x.shape, given, strict=True)):
        return x
    return moved(context, x, positions(x).expand(broadcast(torch.Size(x.shape), torch.Size(given))))


def broadcasted(context: Context, x: Symbol, other: Symbol) -> Symbol:
    """x, repeated along the dimensions in which ``other`` is larger.

    Args:
        context: of the lowering.
        x: the activations.
        other: the activations beside it.

    Raises:
        Refusal: their shapes do not broadcast, or differ in the number of dimensions.
    """
    if x.shape == other.shape:
        return x
    fits = all(a == b or 1 in (a, b) for a, b in zip(x.shape, other.shape, strict=False))
    if not fits or len(x.shape) != len(other.shape):
        raise Refusal("settings", f"adding activations of shapes {x.shape} and {other.shape}")
    shape = broadcast(torch.Size(x.shape), torch.Size(other.shape))
    return moved(context, x, positions(x).expand(shape))


@lowers(torch.neg, operator.neg, "neg", parts=True)
def lower_neg(context: Context, input: Symbol | Part) -> Any:
    """-input, entry by entry."""
    input = stepped(input)
    if isinstance(input, Part):
        return product_of(context, input, -1.0)
    return input.scaled(context.constant(-1.0, input.shape))


@lowers(torch.sub, torch.subtract, operator.sub, "sub", "sub_", "subtract", parts=True)
def lower_sub(context: Context, input: Any, other: Any, *, alpha: float = 1) -> Symbol:
    """input - alpha other; see ``lower_add``."""
    return lower_add(context, input, other, alpha=-alpha)


@lowers(torch.rsub, parts=True)
def lower_reversed_sub(context: Context, input: Any, other: Any, *, alpha: float = 1) -> Symbol:
    """other - alpha input; see ``lower_add``."""
    return lower_sub(context, other, input, alpha=alpha)


@lowers(torch.positive, operator.pos, "positive")
def lower_positive(context: Context, input: Symbol) -> Symbol:
    """The activations themselves."""
    return input


@lowers(torch.mul, torch.multiply, operator.mul, "mul", "mul_", "multiply", parts=True)
def lower_mul(context: Context, input: Any, other: Any) -> Any:
    """input times other: with a constant, with a comparison of itself with 0, or with a gate of the same activation.

    Raises:
        Refusal: another product of two activations.
    """
    for x, mask in ((input, other), (other, input)):
        if isinstance(mask, Mask) and x is mask.left and is_zero(mask.right):  # x * (x > 0)
            return context.relu(x) if mask.above else x.plus(context.relu(x).scaled(context.tensor(-1.0)))
    input, other = stepped(input), stepped(other)
    if isinstance(input, Part) or isinstance(other, Part):
        return product_of(context, input, other)
    other = constant_of(other)
    input = constant_of(input) if isinstance(other, Symbol) else input
    if not isinstance(input, Symbol):
        input, other = other, input
    if isinstance(other, Symbol):
        product = gated(context, input, other) or square_of(input, other, OF_PRODUCTS)
        if product is None:
            raise Refusal("never", OF_PRODUCTS)
        return product
    if not isinstance(input, Symbol):  # two constants
        return input * other
    input = enlarged(context, input, other)
    return input.scaled(context.constant(other, input.shape))


@lowers(torch.pow, operator.pow, "pow", torch.square, "square")
def lower_pow(context: Context, input: Any, exponent: Any = 2) -> Symbol | Part:
    """A step to an activation that is written out: the first, second or third power (``parts.power_of``).

    Raises:
        Refusal: another power, or one of a step.
    """
    if not isinstance(input, Symbol):
        raise Refusal("never", input.why if isinstance(input, Part) else NEVER["pow"])
    return power_of(input, exponent)


@lowers(torch.sign, "sign")
def lower_sign(context: Context, input: Symbol) -> Part:
    """A step to a soft shrinkage, sign(x) relu(|x| - width); see ``parts``."""
    return Part(input, {SIGN: 1.0}, NEVER["sign"])


@lowers(torch.lerp, "lerp", "lerp_")
def lower_lerp(context: Context, input: Any, end: Any, weight: Any) -> Symbol:
    """input + weight (end - input)."""
    return lower_add(context, input, lower_mul(context, lower_sub(context, end, input), weight))


@lowers(torch.div, torch.true_divide, operator.truediv, "div", "div_", "true_divide", parts=True)
def lower_div(context: Context, input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """input / other, by a constant, or where it is an activation written out: x / (1 + e^-x), x / (1 + |x|).

    Raises:
        Refusal: a rounded division, or another one by activations.
    """
    other = constant_of(other)
    number = number_of(other)
    if isinstance(input, Part) and number and rounding_mode is None:
        return product_of(context, input, 1.0 / number)
    if rounding_mode is not None:
        raise Refusal("never", "a rounded division is not continuous")
    if isinstance(other, Part):
        return quotient(context, input, other)
    softsign = divided(context, input, other) if isinstance(input, Symbol) and isinstance(other, Symbol) else None
    if softsign is not None:
        return softsign
    if not isinstance(input, Symbol) or isinstance(other, Symbol):
        raise Refusal("never", OF_DIVISIONS)
    return input.scaled(1.0 / context.constant(other, input.shape))


class _Residual(nn.Module):
    """Normalisation, two residual branches over the same and over different nodes, constants on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.std = nn.Buffer(torch.rand(1, 5)), nn.Buffer(torch.rand(5) + 0.5)
        self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        h = torch.relu(self.a(x)) + x
        h = h + 0.5 * self.b(h) - torch.add(h, self.a(x), alpha=0.25)
        return 1.0 - self.c(torch.relu(h) + h) * 2 + (-self.c(h))


class _Named(nn.Module):
    """The same as functions and as methods, which may write into what they are of."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sub(x.add(1.0), x.neg().relu(), alpha=2).mul(torch.tensor([1.0, -2.0, 3.0])).div(2.0)
        h = torch.div(torch.mul(torch.neg(h.sub(0.5)), 3.0), 4.0).relu()
        h = torch.subtract(torch.rsub(h, 1.0), +h).multiply(2.0).true_divide(3.0).subtract(x).positive()
        shares = x.new_tensor([[0.1, 0.2, 0.3]])
        h = torch.lerp(h, x, 0.25) + h.lerp(x.new_tensor([[1.0, -2.0, 3.0]]), shares) - (h + 1).lerp_(x, 2)
        h = torch.positive(torch.true_divide(torch.multiply(h, 3.0), 2.0))
        return (h + x).add_(x).sub_(1.0, alpha=0.5).mul_(3.0).div_(4.0)


lowers(example=Example(_Named, (3,)))(lower_sub)
lowers(example=Example(_Residual, (5,)))(lower_add)
