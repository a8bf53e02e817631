"""What a forward computes of its buffers is computed anew, in float64 where certificates speak of it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import lipreg
from lipreg.graph import capture


class Normalised(nn.Module):
    """Layers behind what a function makes of x and of running statistics."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("mean", torch.rand(3))
        self.register_buffer("var", 0.1 + torch.rand(3))
        self.register_buffer("flag", torch.tensor(1.0))
        self.body = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.function(self, x))


FORMS: dict[str, Callable[..., Tensor]] = {
    "normaliser": lambda m, x: (x - m.mean) / (m.var + 1e-6),
    "root": lambda m, x: (x - m.mean) / torch.sqrt(m.var + 1e-5),
    "folded": lambda m, x: x * (m.var + 1e-5).rsqrt() + (1.0 - m.mean * (m.var + 1e-5).rsqrt()),
    "clamped": lambda m, x: torch.clamp(x, min=m.mean, max=m.mean + 0.3),
    "shifted": lambda m, x: (x + torch.exp(m.mean)).relu(),
    "a number": lambda m, x: x * float(m.flag) + m.mean,
    "a branch": lambda m, x: (x - m.mean) * m.var if m.flag > 0 else x,
}


@pytest.mark.parametrize("name", FORMS)
def test_figures_are_those_of_the_network_in_float64(name: str) -> None:
    torch.manual_seed(0)
    net, x = Normalised(FORMS[name]), torch.rand(2, 3)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.1), lipreg.AllLogits())
    for found, there in zip(*(lipreg.certify(each, problem, x.to(dtype)) for each, dtype in _both(net)), strict=True):
        assert found.upper == pytest.approx(there.upper, rel=1e-12) and found.lower == pytest.approx(
            there.lower, rel=1e-12
        )


def _both(net: nn.Module) -> list[tuple[nn.Module, torch.dtype]]:
    return [(net, torch.float32), (copy.deepcopy(net).double(), torch.float64)]


def test_statistics_that_move_are_read_as_they_are() -> None:
    torch.manual_seed(0)
    net, x = Normalised(FORMS["normaliser"]), torch.rand(4, 3)
    captured = capture(net, x)
    for _ in range(2):
        with torch.no_grad():
            assert torch.allclose(captured.live()(x), net(x), atol=1e-6)
            net.var.mul_(3.0)  # type: ignore[operator,union-attr]
            net.mean.add_(0.5)  # type: ignore[operator,union-attr]
