"""What is evaluated at every point of a data set keeps to its budget, whatever a block of points takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import Budget, LinfBall, LocalLipschitz, certify
from lipreg.auditing import AuditPlan
from lipreg.auditing.beforehand import TOGETHER, blocks, every_margin, prior_ends
from lipreg.graph import capture
from tests.test_budget import Clock


def course(size: int, seconds: float, least: int, each: float, beside: float = 0.0) -> tuple[list[int], Clock]:
    """The sizes of the blocks that are done where a point takes ``each`` seconds, and a block ``beside`` more."""
    clock = Clock()
    budget, done = Budget(seconds, clock=clock).started(), []
    for part in blocks(size, budget, least):
        count = len(range(*part.indices(size)))
        done.append(count)
        clock.now += beside + each * count
    return done, clock


@pytest.mark.parametrize("beside", [0.0, 0.5])
def test_blocks_grow_and_end_with_the_time(beside: float) -> None:
    done, clock = course(1000, 1e9, 0, 1.0, beside)
    assert done[:7] == [1, 2, 4, 8, 16, 32, 32] and max(done) == TOGETHER and sum(done) == 1000
    for seconds in (0.5, 3.0, 40.0, 200.0):
        done, clock = course(1000, seconds, 0, 1.0, beside)
        assert clock.now - 100.0 <= max(seconds, 1.0 + beside)  # of the first point nothing was known
    assert course(1000, 0.0, 0, 1.0)[0] == [] and course(1000, 0.0, 1, 1.0)[0] == [1]


def test_what_is_known_is_true_and_of_every_point_that_there_was_time_for() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    x = torch.rand(9, 3, dtype=torch.float64)
    y, problem = net(x).argmax(1), LocalLipschitz(LinfBall(0.2))
    graph = capture(net, x).frozen()
    plan = AuditPlan(problem)
    truth = np.array([found.upper for found in certify(net, problem, x, y)])
    floor, ceiling = prior_ends(graph, plan, x, y, Budget(600.0).started())
    assert (floor <= truth * (1 + 1e-9)).all() and (truth <= ceiling * (1 + 1e-9)).all() and np.isfinite(ceiling).all()
    floor, ceiling = prior_ends(graph, plan, x, y, Budget(0.0).started())
    assert np.isfinite(ceiling).tolist() == [True] + [False] * 8 and (floor == 0).all()
    margins = every_margin(graph, x, y, Budget(600.0).started())
    outputs = net(x).detach().topk(2).values
    assert margins == pytest.approx((outputs[:, 0] - outputs[:, 1]).numpy())
    assert every_margin(graph, x, None, Budget(600.0).started()) is None
    assert every_margin(graph, x, y, Budget(0.0).started()) is None
    assert every_margin(graph, x, torch.where(y == 0, -1, y), Budget(600.0).started()) is None
