"""Activations that are written out as x times a gate of x, as x * sigmoid(x).

The slopes of a product of two activations are unbounded; these few products are curves, with bounded slopes. Each step on
the way to a gate is noted on its result (``Symbol.formula``), and a product checks whether the note of one factor is about
the other one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.curves import Curve, Elu, Gelu, Hardswish, Mish, Silu, Softplus, Softsign, Tanhshrink
from lipreg.graph.context import Context
from lipreg.graph.registry import Refusal
from lipreg.graph.symbols import Part, Symbol

SIGMOID, SOFTPLUS, TANH_SOFTPLUS, TANH = "sigmoid(x)", "softplus(x)", "tanh(softplus(x))", "tanh(x)"
AHEAD, RISEN, RELU6 = "x + d", "relu(x + d)", "relu6(x + 3)"
ERF, NORMAL = "erf(x / sqrt(2))", "1 + erf(x / sqrt(2))"
MAGNITUDE, BEYOND, SHRUNK = "|x|", "|x| - width", "relu(|x| - width)"
ABOVE, BELOW, DECAY = "relu(x)", "min(x, 0)", "min(e^x - 1, 0)"
"""The formulas that results are noted with, steps to gates and gates themselves."""
EXP, ONE = "e^x", "1"
"""The names of terms of a sum of steps (``Part``)."""
CURVES: dict[str, tuple[Curve, float]] = {
    SIGMOID: (Silu(), 1.0),
    TANH_SOFTPLUS: (Mish(), 1.0),
    RELU6: (Hardswish(), 6.0),
    NORMAL: (Gelu(), 2.0),
}
"""By the formula of a gate, the curve and the factor that x times the gate is."""
AT_REST = {SIGMOID: 0.5, TANH_SOFTPLUS: 0.6, RELU6: 3.0, NORMAL: 1.0}
"""The gates at 0, which a gate of 0 * x is everywhere, as in a Swish with beta 0."""
HALF = math.sqrt(0.5)
"""sqrt(1/2), the factor inside the erf of GELU."""


def number_of(value: Any) -> float | None:
    """A constant that is one number and not trained; None of any other value."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 and not value.requires_grad else None
    return float(value) if isinstance(value, int | float) else None


def noted(result: Symbol, formula: str, x: Symbol, constant: Any = None) -> Symbol:
    """The result of a call, with the note that it is a formula of x.

    Args:
        result: the result of the call.
        formula: one of the names above.
        x: the activations that it is a formula of.
        constant: the number in the formula, if it has one.
    """
    return replace(result, formula=(formula, x, constant), multiple_of=None)


def follows(result: Symbol, before: str, x: Symbol, formula: str, constant: Any = None) -> Symbol:
    """The result of a call on x, with the note of a formula if x itself is the step before it.

    Args:
        result: the result of the call.
        before: the formula that x has to be noted with.
        x: the argument of the call.
        formula: that of the result, of the same activations as the note of x.
        constant: the number in the formula, if it has one.
    """
    if x.formula is None or x.formula[0] != before:
        return result
    return noted(result, formula, x.formula[1], constant)


def shifted(context: Context, result: Symbol, x: Symbol, offset: Any) -> Symbol:
    """x + offset, with a note where it is a step to a gate.

    Args:
        context: of the lowering.
        result: the result of the call.
        x: the argument of the call.
        offset: the constant that was added.
    """
    before, number = None if x.formula is None else x.formula[0], number_of(offset)
    if before == MAGNITUDE:
        return follows(result, MAGNITUDE, x, BEYOND, -offset)
    base, factor = _factor(context, x)
    if base.formula is not None and base.formula[0] == MAGNITUDE and (number_of(factor) or 0.0) > 0:
        return noted(result, BEYOND, base.formula[1].scaled(factor), -offset)  # c |x| = |c x|
    if number == 1 and before == ERF:
        return follows(result, ERF, x, NORMAL)
    if number == 1 and before == TANH and x.formula is not None:  # 1 + tanh(x) = 2 sigmoid(2 x)
        return _multiple(context, result, 2.0, SIGMOID, x.formula[1])
    return noted(result, AHEAD, x, number) if number is not None and number > 0 else result


def risen(result: Symbol, x: Symbol) -> Symbol:
    """relu(x), with a note where it is a step to a gate."""
    if x.formula is None or x.formula[0] not in (BEYOND, AHEAD):
        return noted(result, ABOVE, x)
    formula, own, constant = x.formula
    return noted(result, SHRUNK if formula == BEYOND else RISEN, own, constant)


def hard_gate(context: Context, result: Symbol, x: Symbol, high: float, one_sided: bool) -> Symbol:
    """min(max(x, 0), high), with a note where x is z + high / 2: (high / 6) relu6(6 z / high + 3).

    Args:
        context: of the lowering.
        result: the result of the call.
        x: the argument of the call.
        high: the upper end.
        one_sided: whether the call is min(x, high), which is the same if x is a ReLU.
    """
    before = (RISEN,) if one_sided else (AHEAD, RISEN)
    if x.formula is None or x.formula[0] not in before or high != 2.0 * x.formula[2]:
        return result
    return _multiple(context, result, high / 6.0, RELU6, x.formula[1])


def _multiple(context: Context, result: Symbol, factor: float, formula: str, x: Symbol) -> Symbol:
    """A result noted as ``factor`` times the formula of x / factor; for a sigmoid, of factor x."""
    inner = factor if formula == SIGMOID else 1.0 / factor
    if factor == 1.0:
        return noted(result, formula, x)
    base = noted(result.scaled(context.tensor(1.0 / factor)), formula, x.scaled(context.tensor(inner)))
    return replace(result, multiple_of=(base, context.tensor(factor)))


def erf_of(result: Symbol, x: Symbol) -> Symbol:
    """erf(x), with the note that it is the erf of (sqrt(2) x) / sqrt(2)."""
    base, factor = (x, None) if x.multiple_of is None else x.multiple_of
    if factor is None:
        return noted(result, ERF, x.scaled(x.bias.new_tensor(1.0 / HALF)))
    near = not factor.requires_grad and bool(((factor - HALF).abs() <= 4 * torch.finfo(factor.dtype).eps * HALF).all())
    return noted(result, ERF, base if near else base.scaled(factor / HALF))


def gated(context: Context, one: Symbol, other: Symbol) -> Symbol | None:
    """The product of two activations where one is a gate of the other, or of a multiple of it; else None.

    Args:
        context: of the lowering.
        one, other: the factors.

    Raises:
        Refusal: a gate of beta x with a trained beta that is 0 now.
    """
    for x, second in ((one, other), (other, one)):
        gate, times = _factor(context, second)
        if gate.formula is None or gate.formula[0] not in CURVES:
            continue
        (curve, multiple), own = CURVES[gate.formula[0]], gate.formula[1]
        if not bool(_factor(context, own)[1].any()):
            return x.scaled(_at_rest(gate.formula[0], _factor(context, own)[1]) * times)
        share = _ratio(context, x, own)
        if share is not None:
            return context.curved(own, curve).scaled(multiple * share * times)
    return None


def _at_rest(formula: str, factor: Tensor) -> Tensor:
    """The gate of 0 * x, which is a number.

    Raises:
        Refusal: the factor 0 is a parameter that is read live, and would not stay 0.
    """
    if factor.requires_grad:
        why = f"x times {formula} of beta * x, where beta is a parameter that is 0 now, so that the gate is a number"
        raise Refusal("settings", f"{why}; begin with another beta, 1 say, or make it no parameter")
    return torch.full_like(factor, AT_REST[formula])


def divided(context: Context, x: Symbol, other: Symbol) -> Symbol | None:
    """x / (s + |x|), of multiples of x in both places and for s > 0, which is a multiple of softsign(x / s); else None.

    Args:
        context: of the lowering.
        x: the numerator.
        other: the denominator.
    """
    below, times = _factor(context, other)
    if below.formula is None or below.formula[0] != BEYOND or not bool((times != 0).all()):
        return None
    own, number = below.formula[1], number_of(below.formula[2])
    share = _ratio(context, x, own)
    if share is None or number is None or number >= 0:
        return None
    inner = own if number == -1 else own.scaled(context.tensor(-1.0 / number))
    return context.curved(inner, Softsign()).scaled(share / times)


def summed(context: Context, one: Symbol, other: Symbol) -> Symbol | None:
    """A sum of two activations that is one curve; else None.

    relu(x) + a min(e^x - 1, 0) is an ELU, relu(x) + softplus(-|x|) is softplus(x), and min(x, 0) - softplus(-|x|) is
    -softplus(-x).

    Args:
        context: of the lowering.
        one, other: the summands.
    """
    for first, second in ((one, other), (other, one)):
        base, times = _factor(context, second)
        if first.formula is None or base.formula is None or first.formula[0] not in (ABOVE, BELOW):
            continue
        side, x = first.formula[:2]
        own, number = base.formula[1], number_of(times)
        if base.formula[0] == DECAY and side == ABOVE:
            share = _ratio(context, own, x)
            rate = None if share is None else number_of(share)
            if rate is not None and number is not None and rate > 0 and number > 0:
                return elu(context, x, 1.0, number, rate)
        size, sign = _factor(context, own)
        of_size = size.formula is not None and size.formula[0] == MAGNITUDE and size.formula[1] is x
        if base.formula[0] == SOFTPLUS and of_size and number_of(sign) == -1 and number == (1 if side == ABOVE else -1):
            minus = context.tensor(-1.0)
            curve = context.curved(x if side == ABOVE else x.scaled(minus), Softplus())
            return noted(curve, SOFTPLUS, x) if side == ABOVE else curve.scaled(minus)
    return None


def decay_of(context: Context, part: Part, low: Any, high: Any) -> Symbol:
    """A sum of steps, limited to one side of 0, where that is a multiple of min(e^x - 1, 0).

    Args:
        context: of the lowering.
        part: the sum.
        low: the lower end; None for none.
        high: the upper end; None for none.

    Raises:
        Refusal: it is another sum, or limited otherwise.
    """
    share = part.terms.get(EXP, 0.0)
    ends = (0.0, None) if share < 0 else (None, 0.0)
    if part.terms != {EXP: share, ONE: -share} or not share or (number_of(low), number_of(high)) != ends:
        raise Refusal("never", part.why)
    decay = context.curved(part.x, Elu()).plus(context.relu(part.x).scaled(context.tensor(-1.0)))
    decay = noted(decay, DECAY, part.x)
    return decay if share == 1.0 else decay.scaled(context.tensor(share))


def elu(context: Context, x: Symbol, steep: float, alpha: float, rate: float) -> Symbol:
    """steep x where x > 0 and alpha (e^(rate x) - 1) elsewhere.

    Args:
        context: of the lowering.
        x: the activations.
        steep, alpha, rate: numbers above 0.
    """
    inner = x if rate == 1.0 else x.scaled(context.tensor(rate))
    curve = context.curved(inner, Elu(alpha * rate / steep))
    return curve if steep == rate else curve.scaled(context.tensor(steep / rate))


def shrunk_by_tanh(context: Context, x: Symbol, other: Symbol, factor: float) -> Symbol | None:
    """x - tanh(x); None where x + factor other is another sum.

    Args:
        context: of the lowering.
        x: the first summand.
        other: the second one.
        factor: what it is multiplied by.
    """
    if factor != -1 or other.formula is None or other.formula[0] != TANH or other.formula[1] is not x:
        return None
    return context.curved(x, Tanhshrink())


def _ratio(context: Context, x: Symbol, own: Symbol) -> Tensor | None:
    """The factor c with x = c own; None where there is none, or it is not known."""
    if x is own:
        return context.tensor(1.0)
    (base, factor), (own_base, own_factor) = _factor(context, x), _factor(context, own)
    return factor / own_factor if own_base is base and bool((own_factor != 0).all()) else None


def _factor(context: Context, x: Symbol) -> tuple[Symbol, Tensor]:
    """The expression that x is a multiple of, and the factor; x itself and 1 where none is known."""
    total = None
    while x.multiple_of is not None:
        x, factor = x.multiple_of
        with torch.enable_grad():  # the factor shows whether it is trained, with gradients off too
            total = factor if total is None else total * factor
    return x, context.tensor(1.0) if total is None else total
