"""Squares, cubes and signs of activations, whose slopes are unbounded, as steps to functions with bounded slopes.

These are GELU by tanh, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), soft shrinkage, sign(x) relu(|x| - width), and
multiples of x that differ on the two sides of 0, x ((x > 0) + 0.1 (x <= 0)). Each step stays symbolic (``Part``) until the
last one makes an activation of it. A step that leads to no activation is refused at the call that made it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.curves import CUBE, GeluTanh
from lipreg.graph.context import Context
from lipreg.graph.lowerings.clamping import shrunk
from lipreg.graph.lowerings.gates import ONE, SHRUNK, number_of
from lipreg.graph.registry import JUMPS, NEVER, Refusal
from lipreg.graph.symbols import Mask, Part, Symbol, is_zero

INNER = math.sqrt(2.0 / math.pi)
"""The factor inside the tanh of GELU."""
SAME_ROUNDINGS = 8
"""Roundings within which constants count as those of GELU."""
TAKEN_WITHIN = 1e-2
"""The relative error up to which constants make a curve of their own; with larger ones they are refused."""
SIGN, GATE = "sign(x)", "tanh(c (x + 0.044715 x^3))"
"""The names of further terms of a sum of steps: the sign of x, and the tanh of GELU."""
SIDES = "[x > 0]", "[x <= 0]"
"""The names of terms that are 1 on one side of 0 and 0 on the other."""
POWERS = (ONE, "x", "x^2", "x^3")
"""The names of terms that are powers of x, by their exponents."""


def base_of(x: Symbol) -> tuple[Symbol, float]:
    """The expression that x is a multiple of, by a number other than 0 that is not trained, and the number; else x and 1."""
    total = 1.0
    while x.multiple_of is not None:
        number = number_of(x.multiple_of[1])
        if not number:
            break
        x, total = x.multiple_of[0], total * number
    return x, total


def stepped(value: Any) -> Any:
    """A comparison with 0 as a number, 1 or 0; any other value as it is."""
    if not isinstance(value, Mask) or not is_zero(value.right):
        return value
    return two_numbers(value.left, float(value.above), float(not value.above), of_bool=True)


def two_numbers(x: Symbol, over: float, under: float, of_bool: bool) -> Part:
    """One number where x > 0 and another one elsewhere.

    Args:
        x: the activations.
        over: the number where x > 0.
        under: the number elsewhere.
        of_bool: whether torch makes them of truth values or of Python's numbers, and so in its default dtype.
    """
    base, factor = base_of(x)
    sides = (over, under) if factor > 0 else (under, over)
    return _rounded(
        Part(base, dict(zip(SIDES, sides, strict=True)), JUMPS, torch.get_default_dtype() if of_bool else None)
    )


def _rounded(part: Part) -> Part:
    """A part with its numbers rounded to the dtype in which torch holds them, if that is not the activations' own."""
    if part.dtype is None:
        return part
    return replace(part, terms={name: float(torch.tensor(own, dtype=part.dtype)) for name, own in part.terms.items()})


def power_of(x: Symbol, exponent: Any) -> Symbol | Part:
    """x to a power of 1, 2 or 3; of 2 and 3 a step to GELU.

    Raises:
        Refusal: another power.
    """
    number = number_of(exponent)
    if number == 1:
        return x
    if number not in (2, 3):
        raise Refusal("never", NEVER["pow"])
    base, factor = base_of(x)
    return Part(base, {POWERS[int(number)]: factor**number}, NEVER["pow"])


def terms_of(value: Any, x: Symbol) -> dict[str, float] | None:
    """A value as the terms of a sum of steps of x; None where it is not known as one."""
    if isinstance(value, Part):
        return value.terms if value.x is x else None
    if isinstance(value, Symbol):
        (base, factor), (own, times) = base_of(value), base_of(x)
        return {"x": factor / times} if base is own else None
    number = number_of(value)
    return None if number is None else {ONE: number}


def sum_of(one: Any, other: Any, share: float) -> Part:
    """one + share other, of which at least one is a part.

    Args:
        one: the first summand.
        other: the second summand.
        share: what that is multiplied by.

    Raises:
        Refusal: it is no step to an activation.
    """
    part = one if isinstance(one, Part) else other
    own = [terms_of(value, part.x) for value in (one, other)]
    first, second = own
    if first is None or second is None:
        raise Refusal("never", part.why)
    if set(part.terms) <= set(SIDES):  # a number is the same on both sides
        first, second = (dict.fromkeys(part.terms, own[ONE]) if set(own) == {ONE} else own for own in (first, second))
    total = {name: first.get(name, 0.0) + share * second.get(name, 0.0) for name in first | second}
    exact = any(isinstance(value, Part) and value.dtype is None for value in (one, other))
    return _rounded(replace(part, terms=total, dtype=None if exact else part.dtype))


def product_of(context: Context, one: Any, other: Any) -> Part | Symbol:
    """The product of two values of which one is a part.

    Args:
        context: of the lowering.
        one: the first factor.
        other: the second factor.

    Raises:
        Refusal: it is no step to an activation.
    """
    part, second = (one, other) if isinstance(one, Part) else (other, one)
    number = number_of(second)
    if number is not None:
        return _rounded(replace(part, terms={name: number * factor for name, factor in part.terms.items()}))
    product = None
    if set(part.terms) <= set(SIDES) and isinstance(second, Symbol):
        product = _two_slopes(context, part, second)
    elif set(part.terms) == {SIGN} and isinstance(second, Symbol):
        product = _shrunk(context, part, second)
    elif isinstance(second, Symbol):
        own = terms_of(second, part.x)
        product = None if own is None else _times_x(context, part, own["x"])
    if product is None:
        raise Refusal("never", part.why)
    return product


def _two_slopes(context: Context, part: Part, second: Symbol) -> Symbol | None:
    """A multiple of x times one number above 0 and another one below; None where ``second`` is no multiple of x."""
    factor = multiple(context, second, part.x)
    if factor is None:
        return None
    over, under = (part.terms[side] for side in SIDES)
    if over and 0.0 <= under / over <= 1.0:
        return context.relu(part.x, under / over).scaled(over * factor)
    return part.x.scaled(under * factor).plus(context.relu(part.x).scaled((over - under) * factor))


def multiple(context: Context, side: Any, x: Symbol) -> Tensor | None:
    """The factor c, broadcasting to x, with side = c x; None where it is not known.

    Args:
        context: of the lowering.
        side: activations, or 0.
        x: the activations.
    """
    if is_zero(side):
        return context.constant(side, x.shape)
    factor = context.tensor(1.0)
    while side is not x:
        if not isinstance(side, Symbol) or side.multiple_of is None:
            return None
        side, own = side.multiple_of
        factor = factor * own
    return factor


def square_of(one: Symbol, other: Symbol, why: str) -> Part | None:
    """The product of two multiples of one activation, a multiple of its square; None of other factors.

    Args:
        one: the first factor.
        other: the second factor.
        why: the reason for a refusal, should it lead to no activation.
    """
    (base, factor), (second, times) = base_of(one), base_of(other)
    return Part(base, {"x^2": factor * times}, why) if base is second else None


def _times_x(context: Context, part: Part, factor: float) -> Part | Symbol | None:
    """x times a part, times a factor; None where it is no step to an activation."""
    if set(part.terms) == {ONE, GATE}:
        if part.terms[ONE] != part.terms[GATE]:
            return None
        assert part.curve is not None
        return context.curved(part.x, part.curve).scaled(context.tensor(2.0 * factor * part.terms[ONE]))
    if any(name not in POWERS[:-1] for name in part.terms):
        return None
    raised = {POWERS[POWERS.index(name) + 1]: factor * own for name, own in part.terms.items()}
    return replace(part, terms=raised)


def tanh_of(context: Context, part: Part) -> Part:
    """tanh of a sum of powers, where that is the one of GELU.

    Raises:
        Refusal: another sum, or constants that are not nearly those of GELU.
    """
    terms = {name: factor for name, factor in part.terms.items() if factor}
    if set(terms) != {"x", "x^3"}:
        raise Refusal("never", part.why)
    scale, near = terms["x"] / INNER, SAME_ROUNDINGS * torch.finfo(context.like.dtype).eps
    scale = 1.0 if math.isclose(scale, 1.0, rel_tol=near) else scale
    cube = terms["x^3"] / (INNER * scale**3)
    cube = CUBE if math.isclose(cube, CUBE, rel_tol=near) else cube
    if not math.isclose(cube, CUBE, rel_tol=TAKEN_WITHIN):
        why = "a GELU by tanh with constants that are not nearly those of GELU, sqrt(2 / pi) and 0.044715"
        raise Refusal("settings", why)
    x = part.x if scale == 1.0 else part.x.scaled(context.tensor(scale))
    return replace(part, x=x, terms={GATE: 1.0}, curve=GeluTanh(cube))


def _shrunk(context: Context, part: Part, second: Symbol) -> Symbol | None:
    """sign(x) relu(|x| - width) = relu(x - width) - relu(-x - width)."""
    if second.formula is None or second.formula[0] != SHRUNK or second.formula[1] is not part.x:
        return None
    width = second.formula[2]
    return None if width is None else shrunk(context, part.x, width).scaled(context.tensor(part.terms[SIGN]))
