"""What a search proves of a MIP's answer: on programs with large big-M rows, for families that the search does not take."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import AllLogits, LinfBall, LocalLipschitz, Vector, certify
from lipreg.budget import Budget
from lipreg.estimators.exact import confirmation
from lipreg.milp import Found, Highs, Program
from lipreg.results import Certificate, Status, Witness
from lipreg.search import SearchOutcome
from tests import oracles

NORMS = pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])


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
@pytest.mark.parametrize("size", [1.0, 1e4, 1e8])
def test_slopes_that_cancel_do_not_hide_the_constant(size: float, p: float) -> None:
    """A solver's tolerance times such rows is above the constant itself; a proof by multipliers knows no tolerance."""
    net = cancelling(size)
    x = torch.tensor([[0.1, -0.1]], dtype=torch.float64)
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() - 1.0, x[0].numpy() + 1.0)
    truth = oracles.regional(oracles.cells(cancelling(0.0), domain), np.eye(1), p, None)
    (result,) = certify(net, LocalLipschitz(LinfBall(1.0), AllLogits(), p=p), x, estimator="mip")
    assert result.lower <= truth * (1 + 1e-9) and result.upper >= truth * (1 - 1e-9)
    assert result.upper <= truth * (1 + 5e-5), "what rounding of such slopes is allowed"
    assert size == 1e8 or result.certificate is Certificate.EXACT


@NORMS
@pytest.mark.parametrize("ended", [False, True])
def test_many_sign_vectors_are_proved_by_the_search_or_by_a_tree(
    monkeypatch: pytest.MonkeyPatch, p: float, ended: bool
) -> None:
    """More outputs than have their sign vectors taken apart."""
    if ended:
        outcome = SearchOutcome(Status.TIME_LIMIT, math.inf, 1, 0)
        monkeypatch.setattr(confirmation, "by_search", lambda search, budget, proof: outcome)
    torch.manual_seed(2)
    net = oracles.mlp(2, 4, 11).double()
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() - 0.5, x[0].numpy() + 0.5)
    truth = oracles.regional(oracles.cells(net, domain), None, p, 1.0)
    (result,) = certify(net, LocalLipschitz(LinfBall(0.5), Vector(), p=p, q=1.0), x, estimator="mip")
    assert (result.status, result.certificate) == (Status.PROVED, Certificate.EXACT)
    assert result.upper == pytest.approx(truth, rel=1e-5) and result.upper >= truth * (1 - 1e-9)
    assert ("tree of LP dual bounds" if ended else "branch and bound") in result.proof


@NORMS
def test_a_tree_goes_on_where_branch_and_bound_did_not_end(monkeypatch: pytest.MonkeyPatch, p: float) -> None:
    """It raises a poor witness too: here that of the region's centre, from a solver that finds no point."""
    torch.manual_seed(5)
    net, x = oracles.mlp(2, 6, 5, 2).double(), torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits(), p=p)
    (exact,) = certify(net, problem, x, estimator="branch_and_bound")
    assert exact.certificate is Certificate.EXACT
    ended = SearchOutcome(Status.TIME_LIMIT, math.inf, 1, 0)
    monkeypatch.setattr(confirmation, "by_search", lambda search, budget, proof: ended)
    run = Highs.run
    monkeypatch.setattr(Highs, "run", lambda self, *given: _without_points(run(self, *given), given[0]))
    at_center = abs(oracles.jacobian(net, x[0].numpy()))
    attained = float(at_center.max() if p == 1.0 else at_center.sum(1).max())
    (known,) = certify(net, problem, x, estimator="lp")
    witness = Witness(tuple(x[0].tolist()), attained)
    start = replace(known, lower=attained, witness=witness)
    (found,) = certify(net, problem, x, estimator="mip", known=(start,))
    assert attained < 0.999 * exact.lower, "the test wants a witness that can be raised"
    assert found.upper >= exact.lower and found.upper == pytest.approx(exact.upper, rel=1e-5)
    assert (found.proof, found.status) == ("tree of LP dual bounds", Status.PROVED)


def _without_points(found: Found, asked: Program) -> Found:
    return replace(found, point=None) if len(asked.integer) else found


def test_half_of_the_nodes_are_left_to_the_proof() -> None:
    torch.manual_seed(3)
    net, x = oracles.mlp(3, 9, 9, 1).double(), torch.zeros(1, 3, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits())
    (exact,) = certify(net, problem, x, estimator="branch_and_bound")
    assert exact.certificate is Certificate.EXACT
    for nodes in (2, 20, 200):
        (found,) = certify(net, problem, x, estimator="mip", budget=Budget(nodes=nodes))
        assert found.lower <= exact.upper and found.upper >= exact.lower
        assert found.status is (Status.PROVED if found.certificate is Certificate.EXACT else Status.NODE_LIMIT)
