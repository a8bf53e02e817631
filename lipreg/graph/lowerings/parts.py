"""Squares, cubes and signs of activations, whose slopes have no bounds, as steps to functions whose slopes have: GELU by
tanh, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), and soft shrinkage, sign(x) relu(|x| - width).

Each step stands for itself (``Part``) until the last one makes an activation of it. What nothing comes of is refused where
it was made.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.curves import GeluTanh
from lipreg.graph.lowerings.clamping import shrunk
from lipreg.graph.lowerings.gates import SHRUNK
from lipreg.graph.registry import NEVER, Refusal
from lipreg.graph.symbols import Context, Part, Symbol

INNER, CUBE = math.sqrt(2.0 / math.pi), 0.044715
NEAR = 8
"""Roundings by which the constants of GELU may be off."""
SIGN, GATE, ONE = "sign(x)", "tanh(c (x + 0.044715 x^3))", "1"
POWERS = (ONE, "x", "x^2", "x^3")


def number_of(value: Any) -> float | None:
    """A constant that is one number and not trained."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 and not value.requires_grad else None
    return float(value) if isinstance(value, int | float) else None


def _base(x: Symbol) -> tuple[Symbol, float]:
    """The expression that x is a multiple of, by numbers, and the number; x itself where there is none."""
    total = 1.0
    while x.multiple_of is not None:
        number = number_of(x.multiple_of[1])
        if not number:
            break
        x, total = x.multiple_of[0], total * number
    return x, total


def power_of(x: Symbol, exponent: Any) -> Symbol | Part:
    """x to a power of 1, 2 or 3."""
    number = number_of(exponent)
    if number == 1:
        return x
    if number not in (2, 3):
        raise Refusal("never", NEVER["pow"])
    base, factor = _base(x)
    return Part(base, {POWERS[int(number)]: factor**number}, NEVER["pow"])


def _of_x(value: Any, x: Symbol) -> dict[str, float] | None:
    """What a value is as a sum of steps of x; None where it is not known as one."""
    if isinstance(value, Part):
        return value.terms if value.x is x else None
    if isinstance(value, Symbol):
        (found, factor), (own, times) = _base(value), _base(x)
        return {"x": factor / times} if found is own else None
    number = number_of(value)
    return None if number is None else {ONE: number}


def sum_of(one: Any, other: Any, share: float) -> Part:
    """one + share other, of which at least one is a part.

    Raises:
        Refusal: it is no step to anything.
    """
    part = one if isinstance(one, Part) else other
    own = [_of_x(value, part.x) for value in (one, other)]
    first, second = own
    if first is None or second is None:
        raise Refusal("never", part.why)
    total = {name: first.get(name, 0.0) + share * second.get(name, 0.0) for name in first | second}
    return replace(part, terms=total)


def product_of(context: Context, one: Any, other: Any) -> Part | Symbol:
    """The product of two values of which one is a part.

    Raises:
        Refusal: it is no step to anything.
    """
    part, second = (one, other) if isinstance(one, Part) else (other, one)
    number = number_of(second)
    if number is not None:
        return replace(part, terms={name: number * factor for name, factor in part.terms.items()})
    found = None
    if set(part.terms) == {SIGN} and isinstance(second, Symbol):
        found = _shrunk(context, part, second)
    elif isinstance(second, Symbol):
        own = _of_x(second, part.x)
        found = None if own is None else _times_x(context, part, own["x"])
    if found is None:
        raise Refusal("never", part.why)
    return found


def square_of(one: Symbol, other: Symbol, why: str) -> Part | None:
    """The product of two multiples of one activation; None of other ones."""
    (base, factor), (second, times) = _base(one), _base(other)
    return Part(base, {"x^2": factor * times}, why) if base is second else None


def _times_x(context: Context, part: Part, factor: float) -> Part | Symbol | None:
    if set(part.terms) == {ONE, GATE}:
        if part.terms[ONE] != part.terms[GATE]:
            return None
        return context.curved(part.x, GeluTanh()).scaled(context.tensor(2.0 * factor * part.terms[ONE]))
    if any(name not in POWERS[:-1] for name in part.terms):
        return None
    raised = {POWERS[POWERS.index(name) + 1]: factor * own for name, own in part.terms.items()}
    return replace(part, terms=raised)


def tanh_of(context: Context, part: Part) -> Part:
    """tanh of a sum of powers, where that is the one of GELU.

    Raises:
        Refusal: it is another sum.
    """
    terms = {name: factor for name, factor in part.terms.items() if factor}
    if set(terms) != {"x", "x^3"}:
        raise Refusal("never", part.why)
    scale, near = terms["x"] / INNER, NEAR * torch.finfo(context.like.dtype).eps
    scale = 1.0 if math.isclose(scale, 1.0, rel_tol=near) else scale
    if not math.isclose(terms["x^3"], INNER * CUBE * scale**3, rel_tol=near):
        why = "a GELU by tanh with other constants than math.sqrt(2 / math.pi) and 0.044715; write these in full"
        raise Refusal("settings", why)
    return replace(part, x=part.x if scale == 1.0 else part.x.scaled(context.tensor(scale)), terms={GATE: 1.0})


def _shrunk(context: Context, part: Part, second: Symbol) -> Symbol | None:
    """sign(x) relu(|x| - width) = relu(x - width) - relu(-x - width)."""
    if second.formula is None or second.formula[0] != SHRUNK or second.formula[1] is not part.x:
        return None
    width = second.formula[2]
    return None if width is None else shrunk(context, part.x, width).scaled(context.tensor(part.terms[SIGN]))
