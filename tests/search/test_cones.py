"""Pointed searches where kinks, or faces of the region, meet in the reference point: nodes about it are cones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import LocalLipschitz, Logit
from lipreg.estimators import certify
from lipreg.regions import Polytope
from lipreg.results import Certificate
from tests.sampling import one_in

NORMS = (1.0, 2.0, math.inf)


@pytest.mark.parametrize("p", NORMS)
def test_a_linear_function_is_closed_over_a_wedge_at_its_corner(p: float) -> None:
    net = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(1.0)
    # of the rays (-1, 1) and (-1.1, 1) that bound the wedge the second one is the steeper
    wedge = Polytope([[1.0, 1.0], [-1.0, -1.1]], [0.0, 0.0], low=-1.0, high=1.0)
    truth = 0.1 / float(np.linalg.norm([1.1, 1.0], p))
    problem, x = LocalLipschitz(wedge, Logit(0), "pointed", p), torch.zeros(1, 2, dtype=torch.float64)
    found = certify(net, problem, x, estimator="branch_and_bound")[0]
    assert found.certificate is Certificate.EXACT
    assert found.lower <= truth * (1 + 1e-12)
    assert truth * (1 - 1e-12) <= found.upper <= truth * (1 + 1e-5)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("seed", [0, 1])
@one_in(2)
def test_kinks_and_faces_through_the_point_are_closed_by_cones(p: float, seed: int) -> None:
    """Without biases the quotient is one of the direction alone, so that the wedge's directions are the whole question."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False)
    ).double()
    wedge = Polytope([[-3.0, 1.0], [1.0, 1.0]], [0.0, 0.0], low=-0.5, high=0.5)
    angle = torch.linspace(-math.pi + math.atan(3.0), -math.pi / 4, 400_001, dtype=torch.float64)
    rays = torch.stack([angle.cos(), angle.sin()], -1)
    assert ((rays @ torch.tensor([[-3.0, 1.0], [1.0, 1.0]], dtype=torch.float64).T) <= 1e-9).all()
    with torch.no_grad():
        seen = float((net(rays)[:, 0].abs() / torch.linalg.vector_norm(rays, p, dim=-1)).max())
    problem, x = LocalLipschitz(wedge, Logit(0), "pointed", p), torch.zeros(1, 2, dtype=torch.float64)
    found = certify(net, problem, x, estimator="branch_and_bound")[0]
    assert found.certificate is Certificate.EXACT
    assert seen * (1 - 1e-9) <= found.upper <= seen * (1 + 1e-4)
    assert found.lower >= seen * (1 - 1e-4)
