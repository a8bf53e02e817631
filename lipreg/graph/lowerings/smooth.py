"""Activations that are not piecewise linear: curves, with factors and shifts before and behind them where there are some."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.curves import Curve, Elu, Erf, Gelu, GeluTanh, Hardswish, Mish, Silu, Softplus, Softsign, Tanh, Tanhshrink
from lipreg.graph.context import Context
from lipreg.graph.lowerings.gates import SIGMOID, SOFTPLUS, TANH, TANH_SOFTPLUS, erf_of, follows, noted
from lipreg.graph.lowerings.parts import tanh_of
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Part, Symbol

THRESHOLD = 20.0
"""The threshold of softplus from which on its step to the identity is below the rounding of float32."""


def _between(*activations: nn.Module) -> Example:
    """The activations one after the other, with linear layers around them."""

    def build() -> nn.Module:
        layers = [layer for activation in activations for layer in (activation, nn.Linear(5, 5))]
        return nn.Sequential(nn.Linear(4, 5), *layers)

    return Example(build, (4,))


def _affine(context: Context, x: Symbol, before: float, curve: Curve, behind: float, shift: float = 0.0) -> Symbol:
    """behind f(before x) + shift."""
    image = context.curved(x if before == 1.0 else x.scaled(context.tensor(before)), curve)
    image = image if behind == 1.0 else image.scaled(context.tensor(behind))
    return image if shift == 0.0 else image.shifted(context.tensor(shift))


@lowers(nn.Tanh, example=_between(nn.Tanh()), rows="together", parts=True)
def lower_tanh(context: Context, module: nn.Tanh, x: Symbol | Part) -> Symbol | Part:
    """tanh(z), entry by entry."""
    return lower_tanh_call(context, x)


@lowers(torch.tanh, torch.tanh_, "tanh", "tanh_", rows="together", parts=True)
def lower_tanh_call(context: Context, input: Symbol | Part) -> Symbol | Part:
    """tanh(z), entry by entry; of a sum of powers, a step to GELU (``parts.tanh_of``)."""
    if isinstance(input, Part):
        return tanh_of(context, input)
    return follows(noted(context.curved(input, Tanh()), TANH, input), SOFTPLUS, input, TANH_SOFTPLUS)


@lowers(nn.Sigmoid, example=_between(nn.Sigmoid()), rows="together")
def lower_sigmoid(context: Context, module: nn.Sigmoid, x: Symbol) -> Symbol:
    """(1 + tanh(z / 2)) / 2, entry by entry."""
    return lower_sigmoid_call(context, x)


@lowers(torch.sigmoid, torch.sigmoid_, torch.special.expit, "sigmoid", "sigmoid_", rows="together")
def lower_sigmoid_call(context: Context, input: Symbol) -> Symbol:
    """(1 + tanh(z / 2)) / 2, entry by entry."""
    return noted(_affine(context, input, 0.5, Tanh(), 0.5, 0.5), SIGMOID, input)


@lowers(nn.Tanhshrink, example=_between(nn.Tanhshrink()))
def lower_tanhshrink(context: Context, module: nn.Tanhshrink, x: Symbol) -> Symbol:
    """z - tanh(z), entry by entry."""
    return lower_tanhshrink_call(context, x)


@lowers(F.tanhshrink)
def lower_tanhshrink_call(context: Context, input: Symbol) -> Symbol:
    """z - tanh(z), entry by entry."""
    return context.curved(input, Tanhshrink())


@lowers(torch.erf, torch.erf_, torch.special.erf, "erf", "erf_")
def lower_erf_call(context: Context, input: Symbol) -> Symbol:
    """erf(z), entry by entry."""
    return erf_of(context.curved(input, Erf()), input)


@lowers(nn.Softsign, example=_between(nn.Softsign()))
def lower_softsign(context: Context, module: nn.Softsign, x: Symbol) -> Symbol:
    """z / (1 + |z|), entry by entry."""
    return context.curved(x, Softsign())


@lowers(F.softsign)
def lower_softsign_call(context: Context, input: Symbol) -> Symbol:
    """z / (1 + |z|), entry by entry."""
    return context.curved(input, Softsign())


@lowers(nn.LogSigmoid, example=_between(nn.LogSigmoid()))
def lower_log_sigmoid(context: Context, module: nn.LogSigmoid, x: Symbol) -> Symbol:
    """log(sigmoid(z)) = -softplus(-z), entry by entry."""
    return lower_log_sigmoid_call(context, x)


@lowers(F.logsigmoid)
def lower_log_sigmoid_call(context: Context, input: Symbol) -> Symbol:
    """log(sigmoid(z)) = -softplus(-z), entry by entry."""
    return _affine(context, input, -1.0, Softplus(), -1.0)


@lowers(nn.SiLU, example=_between(nn.SiLU()), rows="together")
def lower_silu(context: Context, module: nn.SiLU, x: Symbol) -> Symbol:
    """z sigmoid(z), entry by entry."""
    return context.curved(x, Silu())


@lowers(F.silu, rows="together")
def lower_silu_call(context: Context, input: Symbol, inplace: bool = False) -> Symbol:
    """z sigmoid(z), entry by entry."""
    return context.curved(input, Silu())


@lowers(nn.Mish, example=_between(nn.Mish()))
def lower_mish(context: Context, module: nn.Mish, x: Symbol) -> Symbol:
    """z tanh(softplus(z)), entry by entry."""
    return context.curved(x, Mish())


@lowers(F.mish)
def lower_mish_call(context: Context, input: Symbol, inplace: bool = False) -> Symbol:
    """z tanh(softplus(z)), entry by entry."""
    return context.curved(input, Mish())


@lowers(nn.Hardswish, example=_between(nn.Hardswish()))
def lower_hardswish(context: Context, module: nn.Hardswish, x: Symbol) -> Symbol:
    """z relu6(z + 3) / 6, entry by entry."""
    return context.curved(x, Hardswish())


@lowers(F.hardswish)
def lower_hardswish_call(context: Context, input: Symbol, inplace: bool = False) -> Symbol:
    """z relu6(z + 3) / 6, entry by entry."""
    return context.curved(input, Hardswish())


@lowers(nn.SELU, example=_between(nn.SELU()))
def lower_selu(context: Context, module: nn.SELU, x: Symbol) -> Symbol:
    """SCALE ELU(z) with alpha = ALPHA, entry by entry."""
    return lower_selu_call(context, x)


SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
"""The constants of SELU (Klambauer, Unterthiner, Mayr & Hochreiter 2017)."""


@lowers(F.selu, F.selu_, torch.selu, torch.selu_)
def lower_selu_call(context: Context, input: Symbol, inplace: bool = False) -> Symbol:
    """SCALE ELU(z) with alpha = ALPHA, entry by entry."""
    return _affine(context, input, 1.0, Elu(ALPHA), SCALE)


@lowers(nn.Softplus, example=_between(nn.Softplus(), nn.Softplus(2.5, 30.0)), rows="together")
def lower_softplus(context: Context, module: nn.Softplus, x: Symbol) -> Symbol:
    """log(1 + e^(beta z)) / beta, entry by entry; see ``lower_softplus_call``."""
    return lower_softplus_call(context, x, module.beta, module.threshold)


@lowers(F.softplus, rows="together")
def lower_softplus_call(context: Context, input: Symbol, beta: float = 1.0, threshold: float = THRESHOLD) -> Symbol:
    """log(1 + e^(beta z)) / beta, entry by entry, without torch's step to z where beta z exceeds the threshold.

    The step is one of e^-threshold / beta at most.

    Raises:
        Refusal: beta is not above 0, or the threshold so low that the step is visible.
    """
    if beta <= 0:
        raise Refusal("settings", f"softplus with beta={beta:g}; a number above 0 is covered")
    if threshold < THRESHOLD:
        why = f"softplus with threshold={threshold:g}, at which it jumps; {THRESHOLD:g} or more is covered"
        raise Refusal("settings", why)
    image = _affine(context, input, beta, Softplus(), 1.0 / beta)
    return noted(image, SOFTPLUS, input) if beta == 1 else image


@lowers(nn.ELU, example=_between(nn.ELU(), nn.ELU(0.7)), rows="together")
def lower_elu(context: Context, module: nn.ELU, x: Symbol) -> Symbol:
    """z for z > 0 and alpha (e^z - 1) elsewhere; see ``lower_elu_call``."""
    return lower_elu_call(context, x, module.alpha)


@lowers(F.elu, F.elu_, rows="together")
def lower_elu_call(context: Context, input: Symbol, alpha: float = 1.0, inplace: bool = False) -> Symbol:
    """z for z > 0 and alpha (e^z - 1) elsewhere.

    Raises:
        Refusal: alpha is not above 0.
    """
    return context.curved(input, Elu(_positive(alpha, "ELU")))


@lowers(nn.CELU, example=_between(nn.CELU(), nn.CELU(0.5)))
def lower_celu(context: Context, module: nn.CELU, x: Symbol) -> Symbol:
    """alpha ELU(z / alpha), entry by entry; see ``lower_celu_call``."""
    return lower_celu_call(context, x, module.alpha)


@lowers(F.celu, F.celu_, torch.celu, torch.celu_)
def lower_celu_call(context: Context, input: Symbol, alpha: float = 1.0, inplace: bool = False) -> Symbol:
    """alpha ELU(z / alpha), entry by entry.

    Raises:
        Refusal: alpha is not above 0.
    """
    alpha = _positive(alpha, "CELU")
    return _affine(context, input, 1.0 / alpha, Elu(), alpha)


@lowers(nn.GELU, example=_between(nn.GELU(), nn.GELU(approximate="tanh")), rows="together")
def lower_gelu(context: Context, module: nn.GELU, x: Symbol) -> Symbol:
    """z Phi(z), or its form by tanh; see ``lower_gelu_call``."""
    return lower_gelu_call(context, x, module.approximate)


@lowers(F.gelu, rows="together")
def lower_gelu_call(context: Context, input: Symbol, approximate: str = "none") -> Symbol:
    """z Phi(z), with Phi the distribution function of the normal law, or its form by tanh (``GeluTanh``)."""
    return context.curved(input, GeluTanh() if approximate == "tanh" else Gelu())


def _positive(alpha: float, name: str) -> float:
    """alpha as a number.

    Raises:
        Refusal: it is not above 0.
    """
    if alpha <= 0:
        raise Refusal("settings", f"{name} with alpha={alpha:g}; a number above 0 is covered")
    return float(alpha)


class _Calls(nn.Module):
    """The functional and method forms."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        y = torch.tanh(h) + h.tanh() + F.tanh(h + 1) + torch.tanh_(self.a(-x)) + (h + 2).tanh_()
        y = y + torch.sigmoid(h) + h.sigmoid() + F.sigmoid(h - 1) + torch.special.expit(2 * h) + (h - 2).sigmoid_()
        y = y + torch.sigmoid_(self.a(2 * x)) + torch.erf(h) + h.erf() + torch.special.erf(h) + (h + 0.5).erf_()
        y = self.b(0.1 * y + 0.1 * torch.erf_(self.a(x - 1)))
        y = (
            F.softsign(y)
            - F.tanhshrink(y)
            + F.logsigmoid(y)
            + F.silu(y)
            + F.mish(y)
            + F.hardswish(y)
            + F.selu(y)
            + torch.selu(y + 1)
        )
        y = y + F.selu_(self.b(h)) + torch.selu_(self.b(h + 1)) + F.softplus(h, beta=2) + F.elu(h, 0.5)
        y = (
            y
            + F.elu_(self.b(h - 1))
            + F.celu(h, 2.0)
            + F.celu_(self.b(-h))
            + torch.celu(h)
            + torch.celu_(self.b(2 * h))
        )
        y = 0.1 * y + F.gelu(h) + F.gelu(h, approximate="tanh")
        inner = math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)
        y = y + 0.5 * h * (1 + torch.tanh(inner)) + h * (0.5 * (torch.tanh(inner) + 1.0))
        k = 2 * self.b(h)
        y = y + (-k * 0.5) * (-1 - F.tanh(math.sqrt(2 / math.pi) * k * (1 + 0.044715 * torch.square(k))))
        y = y + k * (torch.tanh((k + k.square() * k * 0.044715) / math.sqrt(math.pi / 2)) + 1) / 2
        return self.c(y + k * (1 + torch.tanh(math.sqrt(2 / math.pi) * (k + 0.044715 * torch.pow(k, 3)))) + k.pow(1))


CALLED = (
    lower_tanh_call,
    lower_sigmoid_call,
    lower_erf_call,
    lower_softsign_call,
    lower_log_sigmoid_call,
    lower_silu_call,
    lower_mish_call,
    lower_hardswish_call,
    lower_selu_call,
    lower_softplus_call,
    lower_elu_call,
    lower_celu_call,
    lower_gelu_call,
)
"""The lowerings that share one example."""
for _lowering in CALLED:
    lowers(example=Example(_Calls, (4,)))(_lowering)
