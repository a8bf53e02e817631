"""Clamps as one ReLU in another: the function itself, and bounds that parallel units would double."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, LinfBall, LocalLipschitz, certify
from lipreg.errors import UnsupportedModel
from lipreg.graph import capture
from lipreg.testing.oracle import exact_constants


class Clamp(nn.Module):
    def __init__(self, low: float | Tensor | None, high: float | Tensor | None) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)


class Written(nn.Module):
    """The same clamp as the difference of two ReLUs, which the oracle reads."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x - self.low) - torch.relu(x - self.high) + self.low


def network(*activations: nn.Module) -> nn.Module:
    torch.manual_seed(2)
    layers: list[nn.Module] = [nn.Linear(2, 4)]
    for activation in activations:
        layers += [activation, nn.Linear(4, 4)]
    return nn.Sequential(*layers[:-1], nn.Linear(4, 2)).double()


@pytest.mark.parametrize(
    ("low", "high"),
    [
        *((-0.3, 0.4), (0.5, -0.5), (None, 0.2), (-0.1, None), (-math.inf, 0.3), (0.1, math.inf)),
        (torch.linspace(-1, 0, 4).double(), torch.tensor(0.4).double()),
        (torch.tensor(-0.2).double(), torch.linspace(0, 1, 4).double()),
    ],
    ids=str,
)
def test_ends_may_be_open_tensors_or_crossed(low, high) -> None:
    net, x = network(Clamp(low, high), Clamp(low, high)), torch.randn(50, 2, dtype=torch.float64)
    torch.testing.assert_close(capture(net, x[:1]).frozen()(x), net(x).detach())


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("p", [1, 2, "inf"])
def test_searches_find_the_constant_of_the_enumeration(scope: str, p: float) -> None:
    clamped, written = (network(*activations) for activations in ([Clamp(-0.2, 0.3)] * 2, [Written(-0.2, 0.3)] * 2))
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), AllLogits(), scope=scope, p=p)
    (truth,) = exact_constants(written, problem, x)
    for estimator in ("branch_and_bound", "fastlip", "jacobian_crown", "affine_relu"):
        found = certify(clamped, problem, x, estimator=estimator)[0]
        assert found.lower <= truth[1] * (1 + 1e-6) and found.upper >= truth[0] * (1 - 1e-6), estimator
        if estimator == "branch_and_bound":
            assert truth[0] * (1 - 1e-6) <= found.lower * (1 + 1e-5) and found.upper <= truth[1] * (1 + 1e-5)


def test_products_of_norms_do_not_double() -> None:
    net, written = network(nn.Hardtanh(), nn.Hardtanh()), network(Written(-1.0, 1.0), Written(-1.0, 1.0))
    x, problem = torch.zeros(1, 2, dtype=torch.float64), LocalLipschitz(LinfBall(5.0), AllLogits())
    norms = [m.weight.abs().sum(1).amax().item() for m in net if isinstance(m, nn.Linear)]
    nested, apart = (certify(m, problem, x, estimator="spectral")[0].upper for m in (net, written))
    assert nested == pytest.approx(math.prod(norms), rel=1e-8)
    assert apart > 2 * nested


def test_what_is_no_clamp_says_why() -> None:
    class Moving(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.clamp(x, max=x.mean(1, keepdim=True))

    for module, words in (
        (nn.Threshold(0.1, 0.3), "jumps"),
        (nn.Hardshrink(), "jumps"),
        (Moving(), "depends on the input"),
    ):
        with pytest.raises(UnsupportedModel, match=words):
            capture(nn.Sequential(nn.Linear(2, 4), module), torch.zeros(1, 2))
