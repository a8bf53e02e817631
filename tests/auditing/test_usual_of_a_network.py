"""What nobody named is fitted to the network: audits of networks that an engine does not cover take what does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lipreg
from lipreg import LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan, audit
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import usual_estimators
from lipreg.graph import capture

PROBLEM, X, Y = LocalLipschitz(LinfBall(0.05, low=0.0, high=1.0)), torch.rand(2, 3), torch.tensor([0, 1])


def network(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), activation, nn.Linear(6, 3))


def test_a_smooth_network_is_audited_by_default() -> None:
    net = network(nn.Tanh())
    points = audit(net, AuditPlan(PROBLEM, budget=20.0), X, Y)
    covering = usual_estimators(PROBLEM, capture(net, X).frozen())
    assert covering != usual_estimators(PROBLEM)
    for point in points:
        assert set(point.intervals) - {"combined"} == set(covering)
        assert 0 < point.combined.lower <= point.combined.upper < 10
    found = lipreg.audit(net, PROBLEM, X, Y, budget=20.0)
    assert [point.combined.upper for point in found.points] == pytest.approx(
        [p.combined.upper for p in points], rel=1e-3
    )


def test_two_networks_of_different_kinds_are_compared() -> None:
    found = lipreg.compare(network(nn.Tanh()), network(nn.ReLU()), PROBLEM, X, Y, budget=20.0)
    assert found is not None


def test_what_is_named_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedRequest, match="lp"):
        audit(network(nn.Tanh()), AuditPlan(PROBLEM, ("lp",), budget=5.0), X, Y)


def test_a_bound_that_is_asked_for_is_named_though_it_is_a_usual_one() -> None:
    with pytest.raises(UnsupportedRequest, match="lp"):
        lipreg.compare(network(nn.Tanh()), network(nn.ReLU()), PROBLEM, X, Y, bound="lp", budget=5.0)
