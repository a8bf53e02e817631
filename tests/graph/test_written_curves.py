"""Smooth activations that are written out by quotients, exponentials, limits and choices: one curve each, and only if they
are it for the constants that stand there."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.errors import UnsupportedModel
from lipreg.graph import capture
from lipreg.graph.nodes import Curved
from tests.graph.functions import Function

Activation = Callable[[Tensor], Tensor]
exp, log, where = torch.exp, torch.log, torch.where
SIXTH, HALF, ALPHA = (float(torch.tensor(number)) for number in (1 / 6, math.sqrt(0.5), 1.6732632423543772))
"""As a file of single precision holds them."""
WRITTEN: dict[str, tuple[Activation, str]] = {
    "hard swish by a limit": (lambda x: x * torch.clip(x / 6 + 0.5, 0, 1), "Hardswish"),
    "hard swish, single": (lambda x: x * torch.clamp(x * SIXTH + 0.5, 0, 1), "Hardswish"),
    "hard swish of ONNX's hard sigmoid": (lambda x: x * torch.clamp(0.2 * x + 0.5, 0, 1), "Hardswish"),
    "hard swish, falling": (lambda x: x * torch.clamp(0.5 - x / 6, 0, 1), "Hardswish"),
    "hard swish in two steps": (lambda x: x * (x + 3).clamp_min(0).clamp_max(6) / 6, "Hardswish"),
    "hard swish by a minimum": (lambda x: x * torch.minimum(F.relu(x + 3), torch.tensor(6.0)) / 6, "Hardswish"),
    "softsign": (lambda x: x / (1 + torch.abs(x)), "Softsign"),
    "softsign of a third": (lambda x: x / (x.abs() + 3.0), "Softsign"),
    "softsign of multiples": (lambda x: 3 * x / (2 + 0.5 * x.abs()), "Softsign"),
    "sigmoid": (lambda x: 1 / (1 + exp(-x)), "Tanh"),
    "sigmoid by a reciprocal": (lambda x: torch.reciprocal(1 + (-x).exp()), "Tanh"),
    "sigmoid, rising": (lambda x: exp(x) / (1 + exp(x)), "Tanh"),
    "tanh": (lambda x: (exp(2 * x) - 1) / (exp(2 * x) + 1), "Tanh"),
    "silu": (lambda x: x / (1 + exp(-x)), "Silu"),
    "silu by a tanh": (lambda x: x * 0.5 * (1 + torch.tanh(x / 2)), "Silu"),
    "swish of a multiple": (lambda x: 2 * x / (1 + exp(-1.7 * x)), "Silu"),
    "softplus": (lambda x: log(1 + exp(x)), "Softplus"),
    "softplus of a multiple": (lambda x: torch.log1p(exp(2 * x)) / 2, "Softplus"),
    "softplus with torch's step": (lambda x: where(0.3 * x > 20, x, torch.log1p(exp(0.3 * x)) / 0.3), "Softplus"),
    "softplus, stable": (lambda x: F.relu(x) + torch.log1p(exp(-x.abs())), "Softplus"),
    "softplus by logaddexp": (lambda x: torch.logaddexp(x, torch.zeros_like(x)), "Softplus"),
    "log sigmoid": (lambda x: log(torch.sigmoid(x)), "Softplus"),
    "log sigmoid, stable": (lambda x: torch.minimum(torch.zeros_like(x), x) - torch.log1p(exp(-x.abs())), "Softplus"),
    "mish": (lambda x: x * torch.tanh(log(1 + exp(x))), "Mish"),
    "elu": (lambda x: where(x > 0, x, exp(x) - 1), "Elu"),
    "elu, limited": (lambda x: where(x > 0, x, 0.7 * torch.expm1(x.clamp(max=0))), "Elu"),
    "elu, the other side": (lambda x: where(x <= 0, 0.7 * (exp(x) - 1), x), "Elu"),
    "celu": (lambda x: where(x > 0, x, 0.5 * (exp(x / 0.5) - 1)), "Elu"),
    "selu": (lambda x: 1.0507 * where(x >= 0, x, ALPHA * (exp(x) - 1)), "Elu"),
    "elu by limits": (lambda x: x.clamp(min=0) + (0.7 * (exp(x) - 1)).clamp(max=0), "Elu"),
    "elu by ReLUs": (lambda x: F.relu(x) - 0.7 * F.relu(1 - exp(x)), "Elu"),
    "gelu, single": (lambda x: 0.5 * x * (1 + torch.erf(x * HALF)), "Gelu"),
    "gelu by erfc": (lambda x: 0.5 * x * torch.erfc(-x / math.sqrt(2)), "Gelu"),
    "gelu by the normal's": (lambda x: x * torch.special.ndtr(x), "Gelu"),
    "gelu with tensors": (lambda x: x * (torch.tensor(1.0) + torch.erf(x * torch.tensor(HALF))) / 2, "Gelu"),
    "tanh shrink": (lambda x: x - torch.tanh(x), "Tanhshrink"),
}


def network(activation: Activation) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), Function(activation), nn.Linear(6, 3)).double()


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_one_curve_and_the_function_that_is_written(name: str) -> None:
    written, curve = WRITTEN[name]
    net = network(written)
    x = 8 * torch.randn(40, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    graph = capture(net, x[:1]).frozen_at(x)
    kinds = [type(node.curve).__name__ if isinstance(node, Curved) else type(node).__name__ for node in graph.nodes]
    assert kinds == ["Input", "Affine", curve, "Affine"]
    # float32's rounding of a constant would be seen; torch's step of softplus is e^-20
    torch.testing.assert_close(graph(x), net(x), rtol=1e-13, atol=4e-9 if "step" in name else 1e-13)


@pytest.mark.parametrize(
    "activation",
    [
        lambda x: x * torch.clamp(x / 6 + 0.51, 0, 1),
        lambda x: x * torch.clamp(x / 6 + 0.5, 0, 1.01),
        lambda x: x * torch.clamp(x / 6 + 0.5, -0.1, 1),
        lambda x: x * torch.clamp(x / 6 + 0.5, max=1),
        lambda x: x / (x.abs() - 1),
        lambda x: x / (1 + (x + 1e-6).abs()),
        lambda x: 1 / (1.5 + exp(-x)),
        lambda x: (1 + 1e-6 + x) / (1 + exp(-x)),
        lambda x: log(2 + exp(x)),
        lambda x: torch.log1p(2 * exp(x)),
        lambda x: log(x),
        lambda x: exp(x) - exp(x) - 1,
        lambda x: torch.reciprocal(x),
        lambda x: where(x > 0, x, exp(x) - 0.999),
        lambda x: where(x > 0.1, x, exp(x) - 1),
        lambda x: where(x > 0, x, exp(-x) - 1),
        lambda x: where(x > 0, exp(x) - 1, x),
        lambda x: where(x > 1, x, F.softplus(x)),
        lambda x: where(x > 20, 1.000001 * x, F.softplus(x)),
        lambda x: F.relu(exp(x) - 1),
        lambda x: (exp(x) - 1).clamp(max=0.1),
        lambda x: (exp(x) - 1).clamp(-1, 0),
    ],
)
def test_what_is_not_one_is_refused(activation: Activation) -> None:
    with pytest.raises(UnsupportedModel, match=r"\[never\]"):
        capture(network(activation), torch.zeros(1, 4))


def test_trained_steepness_is_read_live() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)
            self.beta = nn.Parameter(torch.tensor(0.8))

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            return self.b(h * torch.clamp(self.beta * h + 0.5, 0, 1) + h / (1 + exp(-self.beta * h)))

    module = Gate().double()
    captured = capture(module, torch.zeros(1, 4))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for beta in (0.8, -1.3):
        with torch.no_grad():
            module.beta.fill_(beta)
        torch.testing.assert_close(captured.live()(x), module(x))
        for weight in (module.a.weight, module.beta):
            (own,) = torch.autograd.grad(module(x).sum(), weight)
            (ours,) = torch.autograd.grad(captured.live()(x).sum(), weight)
            torch.testing.assert_close(ours, own)


def test_a_curve_beside_other_uses_of_its_steps() -> None:
    """A step that is read elsewhere too stays what it is."""

    def twice(x: Tensor) -> Tensor:
        size, up, t = x.abs(), F.relu(x + 3), torch.tanh(x)
        return x / (1 + size) + size + x * up.clamp_max(6) / 6 + up + (x - t) * 2 + t

    net = network(twice)
    x = 4 * torch.randn(40, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(capture(net, x[:1]).frozen_at(x)(x), net(x), rtol=1e-13, atol=1e-13)
