"""Points of an audit that there is no time for: the product of the layers' norms stands there."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lipreg.auditing import COMBINED, AuditPlan, audit
from lipreg.budget import Budget
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Status
from tests import oracles
from tests.test_budget import Clock

X = torch.linspace(-1, 1, 40, dtype=torch.float64).reshape(20, 2)


@pytest.mark.parametrize("names", [("affine_relu", "branch_and_bound"), ("branch_and_bound",), ("sampling", "fastlip")])
def test_no_point_is_left_without_an_upper_end(names: tuple[str, ...]) -> None:
    net = oracles.mlp(2, 4, 3).double()
    clock = Clock(step=60.0)  # whatever is begun, the time is over before the next look at the clock
    points = audit(net, AuditPlan(LocalLipschitz(LinfBall(0.1), AllLogits()), names, Budget(0.0, clock=clock)), X)
    first, last = (layer.weight for layer in net if isinstance(layer, nn.Linear))
    product = float(last.detach().abs().sum(1).amax() * first.detach().abs().sum(1).amax())
    assert max(point.intervals[COMBINED].upper for point in points) <= product * (1 + 1e-8)
    named = [point.intervals[COMBINED] for point in points if point.intervals[COMBINED].proof == "spectral"]
    assert named and all(one.status is Status.TIME_LIMIT and one.upper == pytest.approx(product) for one in named)


def test_an_audit_of_witnesses_alone_has_no_upper_end() -> None:
    clock, net = Clock(step=60.0), oracles.mlp(2, 4, 3).double()
    plan = AuditPlan(LocalLipschitz(LinfBall(0.1), AllLogits()), ("sampling",), Budget(0.0, clock=clock))
    ends = [point.intervals[COMBINED] for point in audit(net, plan, X)]
    assert all(math.isinf(end.upper) for end in ends)
    assert all(end.status is Status.TIME_LIMIT for end in ends if end.witness is None), "nothing was even tried there"


def test_a_network_with_batch_norm_leaves_no_point_either() -> None:
    net, clock = oracles.network("batch_norm").double().eval(), Clock(step=60.0)
    plan = AuditPlan(LocalLipschitz(LinfBall(0.1), AllLogits()), ("branch_and_bound",), Budget(0.0, clock=clock))
    intervals = [point.intervals[COMBINED] for point in audit(net, plan, X)]
    assert all(math.isfinite(one.upper) for one in intervals) and intervals[-1].proof == "spectral"
