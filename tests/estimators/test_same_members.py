"""Members of one window that are one function: their tie hides no witness."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lipreg
from lipreg.estimators import frozen_analysis
from lipreg.estimators.witnesses.pattern import pattern
from lipreg.linalg.running import Running

CASES: dict[str, tuple[Callable[[], list[nn.Module]], int]] = {
    "pools upon pools": (lambda: [nn.MaxPool1d(3, 1, 1), nn.MaxPool1d(3, 1, 1)], 4),
    "repeated, then pooled": (
        lambda: [nn.Conv1d(1, 2, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.MaxPool1d(3, 2)],
        6,
    ),
    "moved twice into one window": (lambda: [nn.ReplicationPad1d(1), nn.MaxPool1d(3, 3)], 2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_lower_end_is_attained(name: str) -> None:
    torch.manual_seed(1)
    layers, width = CASES[name]
    net = nn.Sequential(nn.Unflatten(1, (1, 4)), *layers(), nn.Flatten(), nn.Linear(width, 2)).double()
    x = torch.tensor([[0.0, 0.1, 0.2, 0.3]], dtype=torch.float64)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.15), lipreg.Logit(0))
    (found,) = lipreg.certify(net, problem, x, budget=lipreg.Budget(600.0, nodes=200))
    assert found.witness is not None
    at = torch.tensor(found.witness.point, dtype=torch.float64).reshape(1, 4)
    near = torch.cat([at, x + 0.3 * torch.rand(2000, 4, dtype=torch.float64) - 0.15]).requires_grad_()
    (gradients,) = torch.autograd.grad(net(near)[:, 0].sum(), near)
    slopes = gradients.abs().sum(1)
    assert found.lower == pytest.approx(float(slopes[0]), rel=1e-9)
    assert found.lower * (1 + 1e-9) >= float(slopes.max()) > 0.1 and float(slopes.max()) <= found.upper * (1 + 1e-9)


@pytest.mark.parametrize("seed", [0, 4])
def test_combinations_of_members_that_are_no_cell_do_not_count(seed: int) -> None:
    torch.manual_seed(seed)
    pools = nn.MaxPool1d(3, 1, 1), nn.MaxPool1d(3, 1, 1)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 3, padding=1), *pools, nn.Flatten(), nn.Linear(4, 2)
    ).double()
    x = torch.tensor([[0.0, 0.1, 0.2, 0.3]], dtype=torch.float64)
    (found,) = lipreg.certify(net, lipreg.LocalLipschitz(lipreg.LinfBall(0.15), lipreg.Logit(0)), x)
    drawn = (x + 0.3 * torch.rand(20000, 4, dtype=torch.float64) - 0.15).requires_grad_()
    (gradients,) = torch.autograd.grad(net(drawn)[:, 0].sum(), drawn)
    assert found.status is lipreg.Status.PROVED
    assert float(gradients.abs().sum(1).max()) == pytest.approx(found.upper, rel=1e-6)


def test_a_tie_of_one_function_is_no_kink_and_one_of_two_is() -> None:
    net = nn.Sequential(nn.Unflatten(1, (1, 3)), nn.MaxPool1d(2, 1), nn.MaxPool1d(2, 1), nn.Flatten()).double()
    points = torch.tensor(
        [[0.0, 1.0, 0.5], [1.0, 0.5, 1.0]], dtype=torch.float64
    )  # the second ends with both ends' tie
    analysis = frozen_analysis(net, lipreg.LocalLipschitz(lipreg.LinfBall(0.25), lipreg.Logit(0)), points, None)
    seen = pattern(analysis, analysis.graph.evaluate(Running.of(points.unsqueeze(1))))
    assert seen.smooth.tolist() == [[True], [False]]
