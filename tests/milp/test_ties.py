"""Tied binaries: the same optimum with fewer patterns, and no point of the region lost."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import AllLogits, LinfBall, LocalLipschitz
from lipreg.budget import Budget
from lipreg.estimators import frozen_analysis
from lipreg.milp import Highs, encode
from tests import oracles
from tests.milp.cases import points, trace, variables


def doubled(seed: int, signs: tuple[float, ...] = (1.0, -1.0)) -> nn.Sequential:
    """A network whose hidden units all come again, scaled, in each layer."""
    torch.manual_seed(seed)
    small = oracles.mlp(2, 3, 3, 1).double()
    net = oracles.mlp(2, 6, 6, 1).double()
    scale = torch.tensor(signs).double().repeat(2)[:3] * torch.tensor([0.5, 2.0, 3.0]).double()
    with torch.no_grad():
        for i in (0, 2):
            rows = torch.cat([small[i].weight, scale[:, None] * small[i].weight])
            net[i].weight.copy_(rows if i == 0 else torch.cat([rows, 0.3 * rows], dim=1))
            net[i].bias.copy_(torch.cat([small[i].bias, scale * small[i].bias]))
            if i == 2:  # the copies' own columns are multiples only if the rows are: set them row by row
                own = torch.cat([small[2].weight, 0.3 * small[2].weight], dim=1)
                net[2].weight.copy_(torch.cat([own, scale[:, None] * own]))
    return net


@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_that_of_the_enumeration(seed: int) -> None:
    net = doubled(seed)
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), AllLogits()), x, None)
    encoding = encode(analysis, 0)
    program = encoding.program
    a = program.columns["a"]
    ties = program.matrix[: program.equalities, a.start : a.stop].toarray()
    assert len(ties) and (np.count_nonzero(ties, axis=1) == 2).all()
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() - 1.0, x[0].numpy() + 1.0)
    truth = oracles.regional(oracles.cells(net, domain), np.eye(1), math.inf, None)
    outcome = Highs().solve(program, Budget(600.0))
    assert outcome.claimed == pytest.approx(truth, rel=1e-6)
    for point in points(analysis, 40):
        traced = trace(net, point, np.ones(1))
        v = variables(analysis, encoding, traced, point)
        assert (program.matrix @ v - program.right).max() <= 1e-9
        np.testing.assert_allclose((program.matrix @ v - program.right)[: program.equalities], 0.0, atol=1e-9)


def test_a_unit_that_rests_on_its_kink_loses_no_slope() -> None:
    """z = relu(x) and -z in the second layer are 0 for all x < 0, with opposite binaries; the slopes of both sides stay."""
    net = oracles.mlp(1, 2, 2, 1).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 0.25]))
        net[2].weight.copy_(torch.tensor([[1.0, -2.0], [-1.0, 2.0]]))
        net[2].bias.zero_()
    x = torch.zeros(1, 1, dtype=torch.float64)
    for weights in itertools.product((-1.0, 2.0), repeat=2):
        net[4].weight.data.copy_(torch.tensor([weights]))
        analysis = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), AllLogits()), x, None)
        slope = oracles.segments(net, oracles.Domain(np.zeros(1), -np.ones(1), np.ones(1)), np.eye(1), None)[0]
        assert Highs().solve(encode(analysis, 0).program, Budget(600.0)).claimed >= slope * (1 - 1e-8)
