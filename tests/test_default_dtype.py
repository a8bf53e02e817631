"""Whatever torch's default dtype is, the doors answer, and networks of another dtype keep theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from lipreg import (
    AllLogits,
    Difference,
    L2Ball,
    LinfBall,
    LipschitzPenalty,
    LocalLipschitz,
    Logit,
    certify,
    derivative_range,
    estimate,
)
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import ESTIMATORS, BoundEstimator
from lipreg.estimators.radius import certified_radii
from lipreg.regions import Region
from tests.sampling import one_in, sampled

SEARCHES = ("branch_and_bound", "sampling", "random_points")
"""Programs have no tensors of their own, and take long."""


@pytest.fixture(params=[torch.float64, torch.bfloat16], ids=str, autouse=True)
def default(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 2, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 12),
        nn.ReLU(),
        nn.Linear(12, 3),
    ]
    return nn.Sequential(*layers).to(dtype)


@pytest.mark.parametrize("own", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("region", [LinfBall(0.1), L2Ball(0.3)], ids=str)
@one_in(2)
def test_every_estimator_answers_as_ever(region: Region, own: torch.dtype, default: torch.dtype) -> None:
    net, x = network(own), torch.rand(1, 1, 6, 6, dtype=own)
    closed = [name for name, method in ESTIMATORS.items() if isinstance(method, BoundEstimator)]
    turn = (region.norm == 2.0) + (default is torch.float64)
    for k, scope in enumerate(("regional", "pointed")):
        problem = LocalLipschitz(region, AllLogits(), scope=scope)
        for place, name in enumerate((*closed, *SEARCHES)):
            if not sampled(2, turn, k, place):
                continue
            try:
                found = [certify(net, problem, x, estimator=name, budget=Budget(60.0, nodes=20))[0]]
            except UnsupportedRequest:
                continue
            torch.set_default_dtype(torch.float32)
            found.append(certify(net, problem, x, estimator=name, budget=Budget(60.0, nodes=20))[0])
            torch.set_default_dtype(default)
            assert found[0].lower <= found[1].upper and found[1].lower <= found[0].upper, name
            if isinstance(ESTIMATORS[name], BoundEstimator):
                assert found[0].upper == pytest.approx(found[1].upper, rel=1e-6), name


@pytest.mark.parametrize("own", [torch.float32, torch.float64], ids=str)
@one_in(2)
def test_training_and_the_other_doors(own: torch.dtype) -> None:
    net, x, y = network(own), torch.rand(3, 1, 6, 6, dtype=own), torch.tensor([0, 1, 2])
    problem = LocalLipschitz(L2Ball(0.3), AllLogits())
    penalty = LipschitzPenalty(net, problem, weight=0.1)
    loss = penalty(x, y)
    loss.backward()
    assert loss.dtype == own
    assert {p.grad.dtype for p in net.parameters() if p.grad is not None} == {own}
    assert estimate(net, problem, x).dtype == own
    assert derivative_range(net, LocalLipschitz(LinfBall(0.1), Logit(0)), x[:1], input=3, budget=20.0).ranges
    assert len(certified_radii(net, x, p=2)) == 3
    assert certify(Difference(net, network(own)), problem, x[:1])[0].upper == 0.0
