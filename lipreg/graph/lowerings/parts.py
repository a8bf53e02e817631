"""Squares, cubes and signs of activations, whose slopes have no bounds, as steps to functions whose slopes have: GELU by
tanh, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), soft shrinkage, sign(x) relu(|x| - width), and multiples of x that
differ on the two sides of 0, x ((x > 0) + 0.1 (x <= 0)).

Each step stands for itself (``Part``) until the last one makes an activation of it. What nothing comes of is refused where
it was made.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.curves import CUBE, GeluTanh
from lipreg.graph.lowerings.clamping import shrunk
from lipreg.graph.lowerings.gates import ONE, SHRUNK, number_of
from lipreg.graph.registry import JUMPS, NEVER, Refusal
from lipreg.graph.symbols import Context, Mask, Part, Symbol, is_zero

INNER = math.sqrt(2.0 / math.pi)
NEAR = 8
"""Roundings by which the constants of GELU may be off and it is the same function."""
ROUNDED = 1e-2
"""By how much, relatively, they may be off at all: then it is a curve of its own."""
SIGN, GATE = "sign(x)", "tanh(c (x + 0.044715 x^3))"
SIDES = OVER, UNDER = "[x > 0]", "[x <= 0]"
POWERS = (ONE, "x", "x^2", "x^3")


def base_of(x: Symbol) -> tuple[Symbol, float]:
    """The expression that x is a multiple of, by numbers, and the number; x itself where there is none."""
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
        of_bool: whether torch makes them of truth values or of Python's numbers, and so in its default dtype.
    """
    base, factor = base_of(x)
    sides = (over, under) if factor > 0 else (under, over)
    return _rounded(
        Part(base, dict(zip(SIDES, sides, strict=True)), JUMPS, torch.get_default_dtype() if of_bool else None)
    )


def _rounded(part: Part) -> Part:
    """A part whose numbers torch holds in another dtype than the activations'."""
    if part.dtype is None:
        return part
    return replace(part, terms={name: float(torch.tensor(own, dtype=part.dtype)) for name, own in part.terms.items()})


def power_of(x: Symbol, exponent: Any) -> Symbol | Part:
    """x to a power of 1, 2 or 3."""
    number = number_of(exponent)
    if number == 1:
        return x
    if number not in (2, 3):
        raise Refusal("never", NEVER["pow"])
    base, factor = base_of(x)
    return Part(base, {POWERS[int(number)]: factor**number}, NEVER["pow"])


def terms_of(value: Any, x: Symbol) -> dict[str, float] | None:
    """What a value is as a sum of steps of x; None where it is not known as one."""
    if isinstance(value, Part):
        return value.terms if value.x is x else None
    if isinstance(value, Symbol):
        (found, factor), (own, times) = base_of(value), base_of(x)
        return {"x": factor / times} if found is own else None
    number = number_of(value)
    return None if number is None else {ONE: number}


def sum_of(one: Any, other: Any, share: float) -> Part:
    """one + share other, of which at least one is a part.

    Raises:
        Refusal: it is no step to anything.
    """
    part = one if isinstance(one, Part) else other
    own = [terms_of(value, part.x) for value in (one, other)]
    first, second = own
    if first is None or second is None:
        raise Refusal("never", part.why)
    if set(part.terms) <= set(SIDES):  # a number is one on both
        first, second = (dict.fromkeys(part.terms, own[ONE]) if set(own) == {ONE} else own for own in (first, second))
    total = {name: first.get(name, 0.0) + share * second.get(name, 0.0) for name in first | second}
    exact = any(isinstance(value, Part) and value.dtype is None for value in (one, other))
    return _rounded(replace(part, terms=total, dtype=None if exact else part.dtype))


def product_of(context: Context, one: Any, other: Any) -> Part | Symbol:
    """The product of two values of which one is a part.

    Raises:
        Refusal: it is no step to anything.
    """
    part, second = (one, other) if isinstance(one, Part) else (other, one)
    number = number_of(second)
    if number is not None:
        return _rounded(replace(part, terms={name: number * factor for name, factor in part.terms.items()}))
    found = None
    if set(part.terms) <= set(SIDES) and isinstance(second, Symbol):
        found = _two_slopes(context, part, second)
    elif set(part.terms) == {SIGN} and isinstance(second, Symbol):
        found = _shrunk(context, part, second)
    elif isinstance(second, Symbol):
        own = terms_of(second, part.x)
        found = None if own is None else _times_x(context, part, own["x"])
    if found is None:
        raise Refusal("never", part.why)
    return found


def _two_slopes(context: Context, part: Part, second: Symbol) -> Symbol | None:
    """A multiple of x times one number above 0 and another one below."""
    factor = multiple(context, second, part.x)
    if factor is None:
        return None
    over, under = (part.terms[side] for side in SIDES)
    if over and 0.0 <= under / over <= 1.0:
        return context.relu(part.x, under / over).scaled(over * factor)
    return part.x.scaled(under * factor).plus(context.relu(part.x).scaled((over - under) * factor))


def multiple(context: Context, side: Any, x: Symbol) -> Tensor | None:
    """The factor, broadcasting to x, that makes a side of x; None where that is not known."""
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
    """The product of two multiples of one activation; None of other ones."""
    (base, factor), (second, times) = base_of(one), base_of(other)
    return Part(base, {"x^2": factor * times}, why) if base is second else None


def _times_x(context: Context, part: Part, factor: float) -> Part | Symbol | None:
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
        Refusal: it is another sum.
    """
    terms = {name: factor for name, factor in part.terms.items() if factor}
    if set(terms) != {"x", "x^3"}:
        raise Refusal("never", part.why)
    scale, near = terms["x"] / INNER, NEAR * torch.finfo(context.like.dtype).eps
    scale = 1.0 if math.isclose(scale, 1.0, rel_tol=near) else scale
    cube = terms["x^3"] / (INNER * scale**3)
    cube = CUBE if math.isclose(cube, CUBE, rel_tol=near) else cube
    if not math.isclose(cube, CUBE, rel_tol=ROUNDED):
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
