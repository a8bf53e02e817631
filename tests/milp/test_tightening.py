"""Tighter pre-activation bounds: still bounds, never looser, and the exact program keeps its value."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
import torch

from lipreg import Combination, LinfBall, LocalLipschitz
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import frozen_analysis
from lipreg.milp import Highs, encode, tighten
from tests import oracles
from tests.milp.cases import points


def analysis(seed: int, widths: tuple[int, ...] = (3, 8, 8, 6, 2), radius: float = 0.6) -> Analysis:
    torch.manual_seed(seed)
    net = oracles.mlp(*widths).double()
    problem = LocalLipschitz(LinfBall(radius, low=-0.5, high=0.7), Combination((1.0, -1.0)))
    return frozen_analysis(net, problem, torch.rand(1, widths[0], dtype=torch.float64) / 2, None)


@pytest.mark.parametrize("seed", range(6))
def test_tighter_bounds_hold_every_sampled_value_and_are_never_looser(seed: int) -> None:
    plain = analysis(seed)
    tight = tighten(plain, Budget(600.0))
    values = plain.graph.values(torch.from_numpy(points(plain, 4000, seed=seed + 1)))
    shrunk = 0
    for _, node in plain.graph.relus():
        before, after = plain.value_bounds[node.source], tight.value_bounds[node.source]
        seen = values[node.source]
        assert (after.lower[0] <= seen.amin(0) + 1e-9).all() and (after.upper[0] >= seen.amax(0) - 1e-9).all()
        assert (after.lower >= before.lower - 1e-12).all() and (after.upper <= before.upper + 1e-12).all()
        shrunk += int((after.upper - after.lower < before.upper - before.lower - 1e-9).sum())
    assert shrunk > 0, "the test wants networks on which something is gained"


def test_units_of_either_sign_are_decided_when_no_point_takes_the_other() -> None:
    """z = relu(x + 0.3) - relu(x) + 0.01 is at least 0.01, because both terms move together; intervals miss that."""
    net = oracles.mlp(1, 2, 1, 2).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [1.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 0.3]))
        net[2].weight.copy_(torch.tensor([[-1.0, 1.0]]))
        net[2].bias.fill_(0.01)
    problem = LocalLipschitz(LinfBall(1.0), Combination((1.0, 1.0)))
    plain = frozen_analysis(net, problem, torch.zeros(1, 1, dtype=torch.float64), None)
    assert plain.value_bounds[3].unstable.any()
    tight = tighten(plain, Budget(600.0))
    assert not tight.value_bounds[3].unstable.any()
    assert 0.0 <= float(tight.value_bounds[3].lower) <= 0.01 + 1e-9


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize("seed", range(4))
def test_the_exact_program_keeps_its_value_and_loses_binaries(seed: int, p: float) -> None:
    plain = analysis(seed, (2, 6, 6, 2))
    problem = LocalLipschitz(plain.placed.problem.region, plain.placed.problem.output, p=p)
    plain = frozen_analysis(plain.graph, problem, plain.placed.region.center, None)
    tight = tighten(plain, Budget(600.0))
    programs = [encode(a, 0).program for a in (plain, tight)]
    first, second = (Highs().solve(program, Budget(600.0)) for program in programs)
    assert second.claimed == pytest.approx(first.claimed, rel=1e-6)
    assert len(programs[1].integer) <= len(programs[0].integer)
    relaxed = [Highs().solve(program.relaxed(), Budget(600.0)).dual_bound for program in programs]
    assert relaxed[1] <= relaxed[0] * (1 + 1e-9)


def test_nothing_is_lost_without_time_or_when_stopped() -> None:
    plain = analysis(0)
    stop = threading.Event()
    stop.set()
    for tight in (tighten(plain, Budget(0.0)), tighten(plain, Budget(600.0, stop=stop))):
        for before, after in zip(plain.value_bounds, tight.value_bounds, strict=True):
            np.testing.assert_array_equal(before.lower, after.lower)
            np.testing.assert_array_equal(before.upper, after.upper)
