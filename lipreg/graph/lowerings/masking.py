"""Activations that are written with a comparison: x * (x > 0), torch.where(x > 0, x, 0.1 * x), x.masked_fill(x < 0, 0).

A comparison jumps, but a choice by it may be continuous. That is known for a few forms: both sides are multiples of the x
that is compared with 0, or they are the two sides of the comparison. Other forms are refused. A mask that does not depend
on the input may choose between any two values.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.arithmetic import lower_add, lower_mul
from lipreg.graph.lowerings.comparing import lower_maximum, lower_minimum
from lipreg.graph.lowerings.constants import constant_of
from lipreg.graph.lowerings.exponentials import below_zero, without_step
from lipreg.graph.lowerings.leaky import sloped
from lipreg.graph.lowerings.parts import multiple, two_numbers
from lipreg.graph.registry import JUMPS, Example, Refusal, lowers
from lipreg.graph.symbols import Mask, Part, Symbol, is_zero

FORMS = (
    "x times a number for each side of 0, as x * (x > 0), and torch.where(x > c, ...) of multiples of x where c = 0, or of "
    "x and c themselves"
)
"""The choices by a comparison that are covered, for messages."""


def compared(context: Context, left: Any, right: Any, above: bool) -> Mask:
    """The comparison left > right or left < right; what holds where both are equal is left undefined.

    Args:
        context: of the lowering.
        left, right: activations or constants, at least one of them activations.
        above: whether it is left > right.

    Raises:
        Refusal: neither side depends on the input, or a constant does not fit the activations.
    """
    if not isinstance(left, Symbol):
        left, right, above = right, left, not above
    if not isinstance(left, Symbol):
        raise Refusal("settings", "a comparison of the size of the batch")
    if not isinstance(right, Symbol):
        context.constant(right, left.shape)  # refuses what does not fit
    return Mask(left, right, above)


def choice(context: Context, mask: Any, yes: Any, no: Any) -> Any:
    """``yes`` where a mask holds and ``no`` elsewhere.

    Args:
        context: of the lowering.
        mask: a comparison, or a constant.
        yes: activations or a constant.
        no: likewise.

    Raises:
        Refusal: the choice is not known to be continuous.
    """
    yes, no, mask = constant_of(yes), constant_of(no), constant_of(mask)  # zeros_like(x) is a constant
    if isinstance(mask, Tensor | bool):
        for side in (yes, no):
            if isinstance(side, Part):
                raise Refusal("never", side.why)
        return _constant_choice(context, torch.as_tensor(mask, dtype=torch.bool), yes, no)
    over, under = (yes, no) if mask.above else (no, yes)
    x, limit = mask.left, mask.right
    if _same(over, x) and _same(under, limit):
        return lower_maximum(context, x, limit)
    if _same(over, limit) and _same(under, x):
        return lower_minimum(context, x, limit)
    for part in (under, over):
        if isinstance(part, Part):
            if part is over or not is_zero(limit):
                raise Refusal("never", part.why)
            return below_zero(context, x, over, part)
    smooth = without_step(x, limit, over, under)
    if smooth is not None:
        return smooth
    if is_zero(limit) and not any(isinstance(side, Symbol) for side in (over, under)):
        one, other = (_number(context, side) for side in (over, under))
        if one is not None and other is not None:
            return two_numbers(x, one, other, of_bool=not any(isinstance(side, Tensor) for side in (yes, no)))
    positive_slope, negative_slope = (multiple(context, side, x) for side in (over, under))
    if not is_zero(limit) or positive_slope is None or negative_slope is None:
        raise Refusal("never", f"a choice that is not known to be continuous, and most jump; covered are {FORMS}")
    if not positive_slope.requires_grad and bool((positive_slope == 1).all()):
        return sloped(context, x, negative_slope)
    return x.scaled(negative_slope).plus(context.relu(x).scaled(positive_slope - negative_slope))


def _constant_choice(context: Context, mask: Tensor, yes: Any, no: Any) -> Any:
    """A choice by a constant mask; entries of a constant that are not taken may be infinite."""
    sides = []
    for side, kept in ((yes, mask), (no, ~mask)):
        if not isinstance(side, Symbol):
            own = context.tensor(side)
            kept = kept.to(own.device)
            side = own.where(kept, torch.zeros_like(own)) if own.dim() or kept.dim() else own * kept
            if not bool(torch.isfinite(side).all()):
                raise Refusal("settings", "a choice by a constant mask that takes numbers that are not finite")
            sides.append(side)
        else:
            sides.append(lower_mul(context, side, kept.to(context.like)))
    return lower_add(context, *sides) if any(isinstance(side, Symbol) for side in sides) else sides[0] + sides[1]


def _same(one: Any, other: Any) -> bool:
    return one is other or (all(isinstance(v, int | float) for v in (one, other)) and one == other)


def _number(context: Context, side: Any) -> float | None:
    """The number that a constant is everywhere, if it is one and not trained."""
    own = context.tensor(side).flatten()
    same = not own.requires_grad and own.numel() > 0 and bool((own == own[0]).all())
    return float(own[0]) if same else None


@lowers(operator.invert, torch.logical_not, torch.bitwise_not, "logical_not", "bitwise_not")
def lower_not(context: Context, input: Any) -> Any:
    """The opposite of a comparison, or of a constant mask.

    Raises:
        Refusal: it is no comparison.
    """
    input = constant_of(input)
    if isinstance(input, Tensor):
        return input.logical_not()
    if not isinstance(input, Mask):
        raise Refusal("never", JUMPS)
    return replace(input, above=not input.above)


def _comparison(above: bool):
    def lower(context: Context, input: Any, other: Any) -> Mask:
        return compared(context, input, other, above)

    return lower


lower_greater = lowers(operator.gt, operator.ge, torch.gt, torch.ge, "gt", "ge")(_comparison(True))
lower_less = lowers(operator.lt, operator.le, torch.lt, torch.le, "lt", "le")(_comparison(False))


@lowers(torch.where, parts=True)
def lower_where(context: Context, condition: Any, input: Any, other: Any) -> Any:
    """``input`` where the condition holds and ``other`` elsewhere; see ``choice``."""
    return choice(context, condition, input, other)


@lowers("where", parts=True)
def lower_where_of(context: Context, input: Any, condition: Any, other: Any) -> Symbol:
    """``input`` where the condition holds and ``other`` elsewhere; see ``choice``."""
    return choice(context, condition, input, other)


@lowers(torch.masked_fill, "masked_fill", "masked_fill_")
def lower_masked_fill(context: Context, input: Any, mask: Any, value: Any) -> Symbol:
    """``value`` where the mask holds and ``input`` elsewhere; see ``choice``."""
    return choice(context, mask, value, input)


class _Choices(nn.Module):
    """Each form of a comparison and of a choice."""

    slopes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)
        self.register_buffer("slopes", torch.linspace(-0.5, 1.5, 5))
        self.known = nn.Buffer(torch.tensor([True, False, True, True, False]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = x * (x > 0) - (x >= 0) * x + torch.mul(x, torch.lt(x, 0.0)) + x.mul(x.le(0)) + x * (x > 0)
        y = (
            y
            + torch.where(x > 0, x, 0.1 * x)
            - torch.where(x.ge(0), 2 * x, -x)
            + x.where(torch.gt(x, 0), x * self.slopes)
        )
        y = y + torch.where(torch.ge(x, 0.2), x, 0.2) + torch.where(x < 0.3, x, 0.3) - x.where(x.lt(y), y)
        y = y + x.masked_fill(x <= 0, 0.0) + torch.masked_fill(x, torch.le(x, 0), 0)
        y = y + (2 * x).masked_fill_(x < 0, 0.0)
        y = y + x * ~(x > 0) - 0.2 * x * (x <= 0) + x * (x > 0).type_as(x) + x * torch.logical_not(x < 0)
        y = y + 0.7 * x * (0.5 - (x > 0).to(x.dtype)) + x / 3 * ((-2 * x).lt(0).type_as(x) / 4)
        y = y + (1.0 - (x > 0).float()) * x * 0.3 + x * (2.0 * (x > 0) - 0.5 * (-x >= 0)) + x * x.lt(0).logical_not()
        y = y + x * torch.where(x > 0, 1.0, 0.1) + torch.where(x > 0, x, 0.1 * x * torch.ones_like(x))
        y = y + x * torch.bitwise_not(x > 0) - 2 * x * (x > 0).bitwise_not() + torch.where(~self.known, y, x)
        y = y + torch.where(self.known, x, -2 * y) + x.where(self.known, self.slopes) + x.masked_fill(self.known, 3.0)
        return self.b(y + torch.where(x.gt(0), 0.0, x))


lowers(example=Example(_Choices, (4,)))(lower_where)
