"""e^x and logarithms, whose slopes are unbounded, as steps to functions with bounded slopes.

These are sigmoid(x) = 1 / (1 + e^-x), softplus(x) = log(1 + e^x), tanh(x) = (e^2x - 1) / (e^2x + 1), and ELU, which is
a (e^x - 1) where x <= 0. A sum of e^x and 1 stays symbolic (``Part``) until the last step makes an activation of it. A step
that leads to no activation is refused at the call that made it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.gates import BELOW, EXP, ONE, SIGMOID, SOFTPLUS, elu, gated, number_of, shifted
from lipreg.graph.lowerings.parts import base_of, multiple, terms_of
from lipreg.graph.lowerings.smooth import THRESHOLD, lower_erf_call, lower_sigmoid_call, lower_softplus_call
from lipreg.graph.registry import NEVER, Example, Refusal, lowers
from lipreg.graph.symbols import Part, Symbol, is_zero

SAME_WITHIN = 1e-15
"""The relative rounding within which two constants count as one number."""


@lowers(torch.exp, torch.exp_, "exp", "exp_")
def lower_exp(context: Context, input: Symbol) -> Part:
    """e^x as a step to an activation that is written out."""
    return Part(input, {EXP: 1.0}, NEVER["exp"])


@lowers(torch.expm1, torch.special.expm1, "expm1")
def lower_expm1(context: Context, input: Symbol) -> Part:
    """e^x - 1 as a step to an ELU."""
    return Part(input, {EXP: 1.0, ONE: -1.0}, NEVER["expm1"])


@lowers(torch.log, "log", parts=True)
def lower_log(context: Context, input: Symbol | Part) -> Symbol:
    """log(1 + e^x) = softplus(x), and log(sigmoid(x)) = -softplus(-x).

    Raises:
        Refusal: the logarithm of anything else.
    """
    if isinstance(input, Part):
        if input.terms != {EXP: 1.0, ONE: 1.0}:
            raise Refusal("never", input.why)
        return lower_softplus_call(context, input.x)
    if input.formula is None or input.formula[0] != SIGMOID:
        raise Refusal("never", NEVER["log"])
    minus = context.tensor(-1.0)
    return lower_softplus_call(context, input.formula[1].scaled(minus)).scaled(minus)


@lowers(torch.log1p, torch.special.log1p, "log1p", parts=True)
def lower_log1p(context: Context, input: Symbol | Part) -> Symbol:
    """log(1 + e^x) = softplus(x).

    Raises:
        Refusal: the logarithm of anything else.
    """
    if not isinstance(input, Part) or input.terms != {EXP: 1.0}:
        raise Refusal("never", input.why if isinstance(input, Part) else NEVER["log1p"])
    return lower_softplus_call(context, input.x)


@lowers(torch.reciprocal, "reciprocal", parts=True)
def lower_reciprocal(context: Context, input: Symbol | Part) -> Symbol:
    """1 / (1 + e^-x) = sigmoid(x).

    Raises:
        Refusal: the reciprocal of anything else.
    """
    if not isinstance(input, Part):
        raise Refusal("never", NEVER["reciprocal"])
    return quotient(context, 1.0, input)


def quotient(context: Context, value: Any, part: Part) -> Symbol:
    """(a e^x + b) / (c e^x + c) = b / c + (a - b) / c sigmoid(x), and x / (c + c e^-x).

    Args:
        context: of the lowering.
        value: the numerator, a number, a sum of steps of x, or activations.
        part: the denominator.

    Raises:
        Refusal: it is no such quotient.
    """
    below = part.terms.get(ONE, 0.0)
    if not below or part.terms != {ONE: below, EXP: below}:
        raise Refusal("never", part.why)
    if isinstance(value, Symbol):
        gate = lower_sigmoid_call(context, part.x.scaled(context.tensor(-1.0)))
        result = gated(context, value, gate)
        if result is None:
            raise Refusal("never", part.why)
        return _scaled(context, result, 1.0 / below)
    own = terms_of(value, part.x)
    if own is None or not set(own) <= {ONE, EXP}:
        raise Refusal("never", part.why)
    at_left, at_right = (own.get(name, 0.0) / below for name in (ONE, EXP))
    if at_right == 0:
        return _scaled(context, lower_sigmoid_call(context, part.x.scaled(context.tensor(-1.0))), at_left)
    result = _scaled(context, lower_sigmoid_call(context, part.x), at_right - at_left)
    return result if at_left == 0 else result.shifted(context.tensor(at_left))


def _scaled(context: Context, x: Symbol, factor: float) -> Symbol:
    return x if factor == 1.0 else x.scaled(context.tensor(factor))


def below_zero(context: Context, x: Symbol, over: Any, part: Part) -> Symbol:
    """A multiple of x where x > 0, and a (e^(rate x) - 1) elsewhere, which is an ELU.

    Args:
        context: of the lowering.
        x: the activations.
        over: the value where x > 0.
        part: the value elsewhere.

    Raises:
        Refusal: it is no such choice.
    """
    share, own = part.terms.get(EXP, 0.0), part.x
    if own.formula is not None and own.formula[0] == BELOW:  # e^min(x, 0) is e^x there
        own = own.formula[1]
    (base, factor), (of_x, times) = base_of(own), base_of(x)
    rate, steep = factor / times, None if isinstance(over, Part) else multiple(context, over, x)
    number = None if steep is None else number_of(steep)
    is_elu = part.terms == {EXP: share, ONE: -share} and base is of_x and rate > 0 and share > 0
    if not is_elu or number is None or number <= 0:
        raise Refusal("never", part.why)
    return elu(context, x, number, share, rate)


def without_step(x: Symbol, limit: Any, over: Any, under: Any) -> Symbol | None:
    """softplus(x) / beta of a choice that goes on as x / beta above a limit, where both are nearly the same number.

    torch computes it with such a step; it is softplus itself here.

    Args:
        x: the activations.
        limit: what x is compared with.
        over: the value above it.
        under: the value elsewhere.

    Returns:
        None of another choice.
    """
    number = number_of(limit)
    if number is None or number < THRESHOLD or not isinstance(over, Symbol) or not isinstance(under, Symbol):
        return None
    base, factor = base_of(under)
    if base.formula is None or base.formula[0] != SOFTPLUS:
        return None
    (own, rate), (of_x, times), (behind, share) = (base_of(one) for one in (base.formula[1], x, over))
    alike = own is of_x is behind and math.isclose(rate, times, rel_tol=SAME_WITHIN)
    return under if alike and math.isclose(share, factor * rate, rel_tol=SAME_WITHIN) else None


@lowers(torch.erfc, torch.special.erfc, "erfc")
def lower_erfc(context: Context, input: Symbol) -> Symbol:
    """erfc(x) = 1 + erf(-x)."""
    erf = lower_erf_call(context, input.scaled(context.tensor(-1.0)))
    return shifted(context, erf.shifted(context.tensor(1.0)), erf, 1.0)


@lowers(torch.special.ndtr)
def lower_normal(context: Context, input: Symbol) -> Symbol:
    """The distribution function of the normal law, (1 + erf(x / sqrt(2))) / 2."""
    erf = lower_erf_call(context, input.scaled(context.tensor(math.sqrt(0.5))))
    return shifted(context, erf.shifted(context.tensor(1.0)), erf, 1.0).scaled(context.tensor(0.5))


@lowers(torch.logaddexp)
def lower_logaddexp(context: Context, input: Any, other: Any) -> Symbol:
    """log(e^a + e^b) = b + softplus(a - b).

    Args:
        context: of the lowering.
        input: a, activations or a constant.
        other: b, likewise.

    Raises:
        Refusal: activations of other shapes.
    """
    if not isinstance(input, Symbol) or not input.terms:
        input, other = other, input
    if not isinstance(other, Symbol):
        other = Symbol({}, context.constant(other, input.shape).expand(input.shape))
    if input.shape != other.shape:
        raise Refusal("settings", f"logaddexp of activations of shapes {input.shape} and {other.shape}")
    if not other.terms and is_zero(other.bias):
        return lower_softplus_call(context, input)
    return other.plus(lower_softplus_call(context, input.plus(other.scaled(context.tensor(-1.0)))))


class _WrittenOut(nn.Module):
    """Activations by e^x."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = 1 / (1 + torch.exp(-x)) + torch.reciprocal(1 + (-x).exp()) - (1 + torch.exp(x)).reciprocal()
        y = y + x / (1 + torch.exp(-x)) + (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1)
        y = y + torch.log(1 + x.exp()) - (1 + torch.exp(2 * x)).log() / 2 + torch.log1p(torch.exp(x)) - x.exp().log1p()
        y = y + torch.special.log1p(torch.exp(x + 1)) + torch.log(torch.sigmoid(x)) + torch.logaddexp(x, y)
        k = [x + 0.5 * i for i in range(10)]  # kinks in different places: of several in one each may take its own side
        y = (
            y
            + torch.where(k[0] > 0, k[0], 0.7 * (torch.exp(k[0]) - 1))
            - torch.where(k[1] > 0, 2 * k[1], torch.expm1(k[1]))
        )
        y = y + x.where(x >= 0, x.expm1()) + F.relu(k[2]) - 0.5 * F.relu(1 - torch.exp(k[3]))
        y = y + torch.where(k[4] <= 0, torch.special.expm1(k[4] / 2), k[4]) + k[5].clamp(min=0)
        y = y + (0.4 * (torch.exp_(k[6] + 0) - 1)).clamp(max=0)
        y = y + torch.minimum((k[7] + 0).exp_() - 1, x.new_zeros(5))
        y = y + torch.erfc(x) + x.erfc() * 2 - torch.special.erfc(x) + torch.special.ndtr(x) + torch.logaddexp(x, 0 * x)
        y = y + (k[8].expm1()).clamp_max(0) - (1 - k[9].exp()).clamp_min(0)
        return self.b(torch.where(x > 20, x, torch.log1p(torch.exp(x))) + y)


CALLED = (lower_exp, lower_expm1, lower_log, lower_log1p, lower_reciprocal, lower_erfc, lower_normal, lower_logaddexp)
"""The lowerings that share one example."""
for _lowering in CALLED:
    lowers(example=Example(_WrittenOut, (4,)))(_lowering)
