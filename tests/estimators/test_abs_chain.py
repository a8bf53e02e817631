"""The absolute chain by vectors against the product of the matrices it stands for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg import AllLogits, AllMargins, Box, LinfBall, LocalLipschitz, Vector
from lipreg.bounds import absolute_chain
from lipreg.estimators import get_estimator, live_analysis
from lipreg.graph import capture


class Branching(nn.Module):
    """Leaky and plain ReLUs, a residual sum, and an input that reaches the output past all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.past = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.one(x), 0.2)
        return self.three(F.relu(self.two(inner) + inner)) + self.past(x)


@pytest.mark.parametrize("output", [AllMargins(), AllLogits(), Vector()], ids=str)
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("region", [LinfBall(0.3), Box(0.0, [1.0, 0.0, 1.0, 1.0, 1.0])], ids=["ball", "box"])
def test_vectors_give_the_row_sums_of_the_matrix(output: Any, scope: Any, region: Any) -> None:
    net, y = Branching().double(), torch.randint(3, (6,))
    x = torch.rand(6, 5, dtype=torch.float64) * torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    problem, estimator = LocalLipschitz(region, output, scope, p=torch.inf), get_estimator("abs_chain")
    analysis = live_analysis(capture(net, x).live(), problem, x, y, estimator)  # type: ignore[arg-type]
    ours, theirs = estimator.bound(analysis), analysis.placed.combine(absolute_chain(analysis))  # type: ignore[attr-defined]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0.0)
    weights = torch.linspace(-1, 2, 6, dtype=torch.float64)
    parameters = list(net.parameters())
    gradients = [
        torch.autograd.grad(
            (weights * bounds).sum(), parameters, allow_unused=True, materialize_grads=True, retain_graph=True
        )
        for bounds in (ours, theirs)
    ]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)
