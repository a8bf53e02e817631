"""Activations that are written out as a product with a gate: the curve that they are, and nothing that only looks so."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, certify
from lipreg.errors import UnsupportedModel
from lipreg.graph import capture
from lipreg.graph.nodes import Curved
from tests.graph.functions import Function

Activation = Callable[[Tensor], Tensor]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2.0)))


WRITTEN: dict[str, tuple[Activation, Activation]] = {
    "swish": (lambda x: x * torch.sigmoid(x), F.silu),
    "the gate first": (lambda x: torch.sigmoid(x).mul(x), F.silu),
    "in place": (lambda x: x.mul_(x.sigmoid()), F.silu),
    "of a multiple": (lambda x: (2 * x) * torch.sigmoid(2 * x), lambda x: F.silu(2 * x)),
    "a multiple times a gate": (lambda x: (2 * x) * torch.sigmoid(x), lambda x: 2 * F.silu(x)),
    "quick gelu": (lambda x: x * torch.sigmoid(1.702 * x), lambda x: F.silu(1.702 * x) / 1.702),
    "multiples of both": (lambda x: (3 * x) * torch.sigmoid(2 * x), lambda x: 1.5 * F.silu(2 * x)),
    "its other half": (lambda x: x * torch.sigmoid(-x), lambda x: -F.silu(-x)),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), F.mish),
    "hard swish": (lambda x: x * F.relu6(x + 3) / 6, F.hardswish),
    "hard swish, divided first": (lambda x: x * (F.relu6(3 + x) / 6), F.hardswish),
    "hard swish by a clamp": (lambda x: x * (x + 3.0).clamp(0, 6) * (1 / 6), F.hardswish),
    "hard swish by a hard sigmoid": (lambda x: F.hardsigmoid(x) * x, F.hardswish),
    "gelu": (gelu, F.gelu),
    "gelu, another order": (lambda x: x * (torch.erf(x * math.sqrt(0.5)) + 1.0) * 0.5, F.gelu),
}


def network(activation: Activation) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), Function(activation), nn.Linear(6, 3)).double()


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_the_curve(name: str) -> None:
    written, known = map(network, WRITTEN[name])
    x = 4 * torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    graph = capture(written, x[:1]).frozen_at(x)
    assert [type(node).__name__ for node in graph.nodes] == ["Input", "Affine", "Curved", "Affine"]  # the gate is gone
    torch.testing.assert_close(graph(x), written(x))
    torch.testing.assert_close(graph(x), known(x))
    problem, y = LocalLipschitz(LinfBall(0.3)), torch.tensor([0])
    for estimator in ("affine_relu", "jacobian_crown"):
        (ours,), (own,) = (certify(net, problem, x[:1], y, estimator=estimator) for net in (written, known))
        assert ours.upper == pytest.approx(own.upper, rel=1e-9)


@pytest.mark.parametrize(
    "activation",
    [
        lambda x: (x + 1e-9) * torch.sigmoid(x),
        lambda x: x * F.relu6(x + 2.99),
        lambda x: x * (x + 3).clamp(0, 5),
        lambda x: x * (2 + torch.erf(x / math.sqrt(2.0))),
        lambda x: x * torch.tanh(F.softplus(x, beta=2)),
        lambda x: x[:, :3].repeat(1, 2) * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) * torch.sigmoid(x),
    ],
)
def test_what_is_not_one_is_refused(activation: Activation) -> None:
    with pytest.raises(UnsupportedModel, match=r"product of two activations.*kin are covered"):
        capture(network(activation), torch.zeros(1, 4))


def test_trained_gates_are_read_live() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            return self.b(h * torch.sigmoid(h))

    module = Gate().double()
    captured = capture(module, torch.zeros(1, 4))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for _ in range(2):
        with torch.no_grad():
            module.a.weight.mul_(-1.5)
        torch.testing.assert_close(captured.live()(x), module(x))
        (own,) = torch.autograd.grad(module(x).sum(), module.a.weight)
        (ours,) = torch.autograd.grad(captured.live()(x).sum(), module.a.weight)
        torch.testing.assert_close(ours, own)
    assert sum(isinstance(node, Curved) for node in captured.frozen().nodes) == 1


@pytest.mark.parametrize(("activation", "share"), [
    (lambda x: x * torch.sigmoid(0.0 * x), 0.5),
    (lambda x: (3 * x) * torch.tanh(F.softplus(0 * x)), 1.8),
    (lambda x: x * F.relu6(0 * x + 3) / 6, 0.5),
])  # fmt: skip
def test_a_gate_of_nothing_is_a_number(activation: Activation, share: float) -> None:
    net, x = network(activation), torch.randn(5, 4, dtype=torch.float64)
    graph = capture(net, x[:1]).frozen_at(x)
    assert [type(node).__name__ for node in graph.nodes] == ["Input", "Affine"]
    torch.testing.assert_close(graph(x), net(x))
    torch.testing.assert_close(activation(x), share * x)


def test_a_gate_of_nothing_that_is_trained_says_what_to_do() -> None:
    class Swish(nn.Module):
        def __init__(self, beta: float) -> None:
            super().__init__()
            self.beta = nn.Parameter(torch.tensor(beta))

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(self.beta * x)

    x = torch.rand(2, 4)
    with pytest.raises(UnsupportedModel, match=r"a parameter that is 0 now.*begin with another beta"):
        capture(nn.Sequential(nn.Linear(4, 6), Swish(0.0)), x)
    capture(nn.Sequential(nn.Linear(4, 6), Swish(1.5)), x)
