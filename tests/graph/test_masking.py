"""Choices by comparisons: the continuous ones have their constants, whatever may jump is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit, certify
from lipreg.errors import UnsupportedModel
from lipreg.graph import capture
from tests.graph.functions import Function


@pytest.mark.parametrize(
    ("function", "below", "above"),
    [
        (lambda x: x * (x > 0), 0.0, 1.0),
        (lambda x: x * (x < 0), 1.0, 0.0),
        (lambda x: (x >= 0) * x, 0.0, 1.0),
        (lambda x: torch.where(x > 0, x, 0.25 * x), 0.25, 1.0),
        (lambda x: torch.where(x > 0, 3 * x, x / 4), 0.25, 3.0),
        (lambda x: torch.where(x < 0, -2 * x, x), 2.0, 1.0),
        (lambda x: torch.where(x > 0, 0.0, -x), 1.0, 0.0),
        (lambda x: torch.where(x > 0.5, x, 0.5), 0.0, 1.0),
        (lambda x: torch.where(x > 0.5, 0.5, x), 1.0, 0.0),
        (lambda x: x.masked_fill(x < 0, 0.0), 0.0, 1.0),
        (lambda x: torch.where(x < 0, torch.zeros_like(x), x), 0.0, 1.0),
        (lambda x: torch.where(x > 3 - 2 * x, x, 3 - 2 * x), 2.0, 1.0),
    ],
)
def test_slopes_on_either_side(function: Callable[[Tensor], Tensor], below: float, above: float) -> None:
    """One number: the constant near -2 and near 2, and over both."""
    for x, radius, exact in ((-2.0, 1.0, below), (2.0, 0.9, above), (0.0, 3.0, max(below, above))):
        (found,) = certify(
            Function(function),
            LocalLipschitz(LinfBall(radius), Logit(0)),
            torch.full((1, 1), x).double(),
            estimator="branch_and_bound",
        )
        assert found.lower == pytest.approx(exact, rel=1e-12) and exact <= found.upper <= exact * (1 + 1e-8) + 1e-12


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * (x > 0.5),
        lambda x: torch.where(x > 0, x, 1.0),
        lambda x: torch.where(x > 0.5, x, 0.25 * x),
        lambda x: torch.where(x > 0, x, x + 1.0),
        lambda x: torch.where(x > 0, 2 * x + 1.0, 0.0),
        lambda x: torch.where(x > 0, x.flip(1) * 2.0, x),
        lambda x: torch.where(x[:, :1] > 0, x, 0.0),
        lambda x: torch.where(x > 0.5, 0.5, 1.0),
        lambda x: (2 * x) * (x - 1 > 0),
        lambda x: x + (x > 0),
        lambda x: x.masked_fill(x > 0, 1.0),
        lambda x: x * torch.heaviside(x, x),
        lambda x: x * x.sort(1)[1],
        lambda x: torch.relu(x > 0),
        lambda x: torch.where(x > torch.zeros(3, 5, 2).double(), x, 0.0),
    ],
)
def test_what_may_jump_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedModel, match="unsupported call"):
        capture(Function(function), torch.zeros(1, 2, dtype=torch.float64))


def test_a_trained_factor_of_a_choice_is_a_weight() -> None:
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.slope = nn.Linear(3, 4), nn.Parameter(torch.tensor([0.3, -0.2, 0.0, 1.4]))

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            return torch.where(x > 0, x, x * self.slope).sum(1, keepdim=True)

    torch.manual_seed(0)
    net, x = Leaky().double(), torch.randn(5, 3).double()
    (own,) = torch.autograd.grad(net(x).sum(), net.slope)
    (ours,) = torch.autograd.grad(capture(net, x[:1]).live()(x).sum(), net.slope)
    torch.testing.assert_close(ours, own)
