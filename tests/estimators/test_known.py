"""What is known of before is taken up where it is of the same question, network and point, and refused elsewhere."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from lipreg import Budget, LinfBall, LocalLipschitz, certify
from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.results import Certificate

X, Y = torch.tensor([[0.2, 0.4], [0.7, 0.1]], dtype=torch.float64), torch.tensor([0, 1])
SMALL, LARGE = LocalLipschitz(LinfBall(0.01)), LocalLipschitz(LinfBall(5.0))
NAMES = [None, "branch_and_bound", "mip", "lp", "sampling", "affine_relu", "mixing"]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)).double()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_of_something_else_is_refused(name: str | None) -> None:
    net = network()
    known = certify(net, SMALL, X, Y)
    for others in ((net, LARGE, X), (network(1), SMALL, X), (net, SMALL, X.flip(0))):
        with pytest.raises(IncomparableResults):
            certify(*others, Y, estimator=name, known=known)
    with pytest.raises(IncomparableResults):
        certify(net, SMALL, X, Y, estimator=name, known=known[::-1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known, says", [([1, 2], "known of int"), ([1], "1 known intervals for 2 points")])
def test_what_is_no_interval_a_point_is_refused(name: str | None, known: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        certify(network(), SMALL, X, Y, estimator=name, known=known)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_of_the_same_is_taken_up(name: str | None) -> None:
    net = network()
    known = certify(net, LARGE, X, Y)
    for found, before in zip(certify(net, LARGE, X, Y, estimator=name, known=known), known, strict=True):
        assert found.lower <= before.upper * (1 + 1e-9) and before.lower <= found.upper * (1 + 1e-9)
        if name is None:
            assert found == before and before.certificate is Certificate.EXACT


@pytest.mark.parametrize("name", ["branch_and_bound", "mip", "lipmip"])
def test_an_end_that_was_known_keeps_its_proof(name: str) -> None:
    net, problem = network(), LocalLipschitz(LinfBall(1.0))
    (known,) = certify(net, problem, X[:1], Y[:1], estimator="branch_and_bound")
    (loose,) = certify(net, problem, X[:1], Y[:1], estimator="jacobian_crown")
    assert known.upper < loose.upper * 0.99 and known.proof == "branch and bound"
    (found,) = certify(net, problem, X[:1], Y[:1], estimator=name, known=(known,), budget=Budget(60.0, nodes=1))
    assert found.upper <= known.upper and found.proof.startswith("branch and bound")


def test_a_relaxation_that_was_not_solved_proves_nothing() -> None:
    stopped = threading.Event()
    stopped.set()
    for budget in (Budget(0.0), Budget(60.0, stop=stopped)):
        (found,) = certify(network(), LocalLipschitz(LinfBall(1.0)), X[:1], Y[:1], estimator="lp", budget=budget)
        assert "LP" not in found.proof
