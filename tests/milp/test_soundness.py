"""Large big-M rows: the bound on what a tolerance lets through, against programs that are loosened by it on purpose."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import AllLogits, LinfBall, LocalLipschitz, certify
from lipreg.estimators import frozen_analysis
from lipreg.milp import Highs, allowance, encode, leak_rate
from lipreg.milp.solvers import FEASIBILITY
from lipreg.milp.soundness import FINEST
from lipreg.results import Certificate, Status
from tests import oracles
from tests.conformance.questions import Question
from tests.milp.cases import local, points, trace

NORMS = pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])


@NORMS
@pytest.mark.parametrize("loose", [1e-4, 1e-2])
@pytest.mark.parametrize("name", ["shallow", "deep", "leaky", "residual", "batch_norm"])
def test_no_pattern_gains_more_than_the_rate(name: str, loose: float, p: float) -> None:
    """For patterns that occur: every row and integer of the backward half loosened by a tolerance far above the solver's."""
    question = Question(name, "linf", "regional", p, "combination")
    analysis = local(question)
    encoding = encode(analysis, 0)
    program, rate = encoding.program, leak_rate(analysis, encoding)
    a = program.columns["a"]
    order = {index: at for at, (index, _) in enumerate(analysis.graph.relus())}
    forward = program.matrix[:, program.columns["h"]].count_nonzero(axis=1) > 0
    gains = []
    for x in points(analysis, 5, seed=1)[::2]:
        z = trace(question.module, x, analysis.placed.rows[0, 0].numpy()).z
        units = zip(encoding.units.node, encoding.units.position, strict=True)
        pattern = np.array([float(z[order[int(n)]][int(i)] > 0) for n, i in units])
        lower, upper = program.lower.copy(), program.upper.copy()
        lower[a], upper[a] = pattern, pattern
        fixed = Highs().solve(replace(program, lower=lower, upper=upper), seconds=20)
        assert fixed.point is not None
        integers = np.round(fixed.point[program.integer])
        lower[program.integer] = np.maximum(integers - loose, 0.0)
        upper[program.integer] = np.minimum(integers + loose, 1.0)
        # forward rows only keep the fractions of their own binaries apart: letting in other patterns is not what is bounded
        broken = loose * program.row_sizes() * np.where(forward, 2.0, 1.0)
        broken[: program.equalities] = 0.0
        none = np.empty(0, dtype=np.int64)
        relaxed = replace(program, lower=lower, upper=upper, right=program.right + broken, integer=none)
        gain = Highs().solve(relaxed, seconds=20).dual_bound - fixed.incumbent
        assert gain >= -1e-7
        assert gain <= rate * loose * (1 + 1e-6) + 1e-7
        gains.append(gain)
    assert max(gains) > 1e-3 * rate * loose, "the bound is not empty"


def cancelling(size: float) -> nn.Sequential:
    """size relu(x) - size relu(x) + relu(y), which is relu(y): interval bounds see slopes up to the size."""
    net = oracles.mlp(2, 3, 3, 1).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.2], [0.3, 1.0], [0.5, -1.0]]))
        net[0].bias.copy_(torch.tensor([0.1, 0.2, 0.1]))
        net[2].weight.copy_(torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.5, 0.0], [0.2, 0.4, 1.0]]))
        net[2].bias.copy_(torch.tensor([-0.4, -0.4, -0.3]))
        net[4].weight.copy_(torch.tensor([[size, -size, 1.0]]))
        net[4].bias.zero_()
    return net


@NORMS
@pytest.mark.parametrize("size", [1.0, 1e3, 1e4, 1e6, 1e8])
def test_slopes_that_cancel_tighten_the_tolerance_and_then_widen_the_bound(size: float, p: float) -> None:
    net = cancelling(size)
    x = torch.tensor([[0.1, -0.1]], dtype=torch.float64)
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() - 1.0, x[0].numpy() + 1.0)
    truth = oracles.regional(oracles.cells(cancelling(0.0), domain), np.eye(1), p, None)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits(), p=p)
    analysis = frozen_analysis(net, problem, x, None)
    allowed = allowance(analysis, encode(analysis, 0), truth)
    assert FINEST <= allowed.tolerance <= FEASIBILITY
    assert allowed.moderate == (allowed.leak <= 1e-6 * truth * (1 + 1e-9))
    (result,) = certify(net, problem, x, estimator="mip")
    assert result.lower <= truth * (1 + 1e-9) <= result.upper * (1 + 2e-9)
    if size == 1.0:
        assert allowed.tolerance == FEASIBILITY and allowed.sentence() == "" and "big-M" not in result.detail
    elif allowed.moderate:
        assert allowed.tolerance < FEASIBILITY and "Rows and integers to" in result.detail
        assert result.certificate is Certificate.EXACT
    else:
        assert allowed.tolerance == FINEST and "widened by" in result.detail
        assert result.upper <= truth + 3 * allowed.leak + 1e-5 * truth
        if result.certificate is not Certificate.EXACT:
            assert result.status is Status.BOUNDED, "an allowance, not a pattern without interior"


def test_badly_scaled_layers_are_no_large_rows() -> None:
    """One layer times 1e6, the next over 1e6: the same function, and the same rate."""
    question = Question("deep", "linf", "regional", math.inf, "combination")
    plain = local(question)
    net = oracles.network("deep")
    with torch.no_grad():
        net[0].weight.mul_(1e6)
        net[0].bias.mul_(1e6)
        net[2].weight.div_(1e6)
    scaled = frozen_analysis(net, question.problem, question.x[:1], None)
    assert leak_rate(scaled, encode(scaled, 0)) == pytest.approx(leak_rate(plain, encode(plain, 0)), rel=1e-6)
