"""Activations that are written out as an activation times a gate of the same: x * sigmoid(x) and its kin.

A product of two activations has no slopes to bound; these few are curves, which have. Each step on the way to a gate is
noted on its result (``Symbol.formula``), and the product looks whether the note is about its other factor.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.curves import Curve, Gelu, Hardswish, Mish, Silu
from lipreg.graph.registry import Refusal
from lipreg.graph.symbols import Context, Symbol

SIGMOID, SOFTPLUS, TANH_SOFTPLUS = "sigmoid(x)", "softplus(x)", "tanh(softplus(x))"
PLUS_3, RELU6, ERF, NORMAL = "x + 3", "relu6(x + 3)", "erf(x / sqrt(2))", "1 + erf(x / sqrt(2))"
MAGNITUDE, BEYOND, SHRUNK = "|x|", "|x| - width", "relu(|x| - width)"
CURVES: dict[str, tuple[Curve, float]] = {
    SIGMOID: (Silu(), 1.0),
    TANH_SOFTPLUS: (Mish(), 1.0),
    RELU6: (Hardswish(), 6.0),
    NORMAL: (Gelu(), 2.0),
}
"""x times a gate, as a multiple of a curve."""
AT_REST = {SIGMOID: 0.5, TANH_SOFTPLUS: 0.6, RELU6: 3.0, NORMAL: 1.0}
"""The gates of 0: of a gate of 0 * x, as of a Swish with beta 0, nothing else is left."""
HALF = math.sqrt(0.5)


def noted(result: Symbol, formula: str, x: Symbol, constant: Any = None) -> Symbol:
    """The result of a call, with the formula that it is of x, and the constant in that."""
    return replace(result, formula=(formula, x, constant))


def follows(result: Symbol, before: str, x: Symbol, formula: str) -> Symbol:
    """The result of a call on x, noted if x itself is a step ``before``."""
    if x.formula is None or x.formula[0] != before:
        return result
    return noted(result, formula, *x.formula[1:])


def shifted(result: Symbol, x: Symbol, offset: Any) -> Symbol:
    """x plus a number, noted where it is a step to a gate."""
    if x.formula is not None and x.formula[0] == MAGNITUDE:
        return noted(result, BEYOND, x.formula[1], -offset)
    if not isinstance(offset, int | float):
        return result
    return noted(result, PLUS_3, x) if offset == 3 else follows(result, ERF, x, NORMAL) if offset == 1 else result


def erf_of(result: Symbol, x: Symbol) -> Symbol:
    """erf(x), noted as that of sqrt(2) x times sqrt(1/2)."""
    base, factor = (x, None) if x.multiple_of is None else x.multiple_of
    if factor is None:
        return noted(result, ERF, x.scaled(x.bias.new_tensor(1.0 / HALF)))
    near = not factor.requires_grad and bool(((factor - HALF).abs() <= 4 * torch.finfo(factor.dtype).eps * HALF).all())
    return noted(result, ERF, base if near else base.scaled(factor / HALF))


def gated(context: Context, one: Symbol, other: Symbol) -> Symbol | None:
    """The product of two activations, where one is a gate of the other, or of a multiple of it; else None."""
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
        Refusal: the 0 is a parameter that is read live, and would not stay 0.
    """
    if factor.requires_grad:
        why = f"x times {formula} of beta * x, where beta is a parameter that is 0 now, so that the gate is a number"
        raise Refusal("settings", f"{why}; begin with another beta, 1 say, or make it no parameter")
    return torch.full_like(factor, AT_REST[formula])


def _ratio(context: Context, x: Symbol, own: Symbol) -> Tensor | None:
    """The factor that makes ``own`` to x; None where it is not known."""
    (base, factor), (own_base, own_factor) = _factor(context, x), _factor(context, own)
    if x is own:
        return context.tensor(1.0)
    if base is own:
        return factor
    if not bool((own_factor != 0).all()):
        return None
    return factor / own_factor if own_base is base else 1.0 / own_factor if own_base is x else None


def _factor(context: Context, x: Symbol) -> tuple[Symbol, Tensor]:
    """The expression that x is a multiple of, and the factor; x itself where none is known."""
    return (x, context.tensor(1.0)) if x.multiple_of is None else x.multiple_of
