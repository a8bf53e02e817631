"""Operator norms of the whole output by branch and bound: enumeration, published values, and what must hold between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lipreg.budget import Budget
from lipreg.estimators import certify
from lipreg.outputs import Logit, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, LinfBall
from lipreg.results import Certificate, CertifiedInterval
from lipreg.testing import exact_constants
from tests import oracles
from tests.conformance.questions import EVERYTHING
from tests.sampling import one_in

PAIRS = list(itertools.product((1.0, 2.0, math.inf), repeat=2))
SHAPES = ((2, 5, 3), (3, 4, 4, 2), (1, 6, 4), (2, 3, 3, 3, 3))


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return oracles.mlp(*SHAPES[seed % len(SHAPES)]).double()


def ask(net: nn.Module, x: torch.Tensor, problem: LocalLipschitz) -> CertifiedInterval:
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(600.0))
    return found


@pytest.mark.parametrize(("p", "q"), PAIRS, ids=[f"{p:g} to {q:g}" for p, q in PAIRS])
@one_in(3)
def test_every_pair_of_norms_is_the_enumeration(p: float, q: float) -> None:
    for seed in range(40 if EVERYTHING else 4):
        net, x = network(seed), torch.zeros(1, SHAPES[seed % len(SHAPES)][0], dtype=torch.float64)
        problem = LocalLipschitz(LinfBall(1.5), Vector(), p=p, q=q)
        ((truth, _),) = exact_constants(net, problem, x)
        found = ask(net, x, problem)
        assert found.certificate is Certificate.EXACT
        assert found.lower <= truth * (1 + 1e-9) and truth <= found.upper * (1 + 1e-12)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_l2_of_the_outputs_lies_between_the_largest_and_its_root(p: float) -> None:
    net, x = network(3), torch.zeros(1, 2, dtype=torch.float64)
    problems = [LocalLipschitz(LinfBall(1.0), Vector(), p=p, q=q) for q in (math.inf, 2.0, 1.0)]
    largest, euclidean, total = (ask(net, x, problem) for problem in problems)
    assert largest.lower <= euclidean.upper <= math.sqrt(3.0) * largest.upper * (1 + 1e-6)
    assert euclidean.lower <= total.upper <= math.sqrt(3.0) * euclidean.upper * (1 + 1e-6)


def test_scaling_the_outputs_scales_it_and_one_output_is_the_scalar_question() -> None:
    net, x = network(1), torch.zeros(1, 3, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), Vector(), p=2.0, q=2.0)
    plain = ask(net, x, problem)
    for size in (1e-110, 1e-41, 1e-6, 1e6, 1e100):
        scaled = nn.Sequential(net, nn.Linear(2, 2, bias=False, dtype=torch.float64))
        scaled[1].weight.data = size * torch.eye(2, dtype=torch.float64)  # type: ignore[union-attr]
        assert ask(scaled, x, problem).upper == pytest.approx(size * plain.upper, rel=2e-6)
    first = nn.Sequential(net, nn.Linear(2, 1, bias=False, dtype=torch.float64))
    first[1].weight.data = torch.tensor([[1.0, 0.0]], dtype=torch.float64)  # type: ignore[union-attr]
    alone = ask(net, x, LocalLipschitz(LinfBall(1.0), Logit(0), p=2.0))
    assert ask(first, x, problem).upper == pytest.approx(alone.upper, rel=2e-6)


def test_many_inputs_from_linf_to_l2_are_an_interval() -> None:
    """Signs of 20 inputs are not tried: the upper end is a relaxation, and the status says that it is not the constant."""
    net, x = oracles.mlp(20, 3, 2).double(), torch.zeros(1, 20, dtype=torch.float64)
    found = ask(net, x, LocalLipschitz(LinfBall(0.5), Vector(), p=math.inf, q=2.0))
    rows = [ask(net, x, LocalLipschitz(LinfBall(0.5), Logit(i), p=math.inf)) for i in range(2)]
    assert max(row.lower for row in rows) <= found.lower <= found.upper
    assert found.upper <= math.hypot(*(row.upper for row in rows)) * (1 + 1e-6)
    assert found.upper <= 1.3 * found.lower


@pytest.mark.parametrize(
    ("name", "high", "truth"), [("lipbab/SDnet_10x15x10x3", 0.1, 9.5307), ("lipbab/iris_net_4x5x5x3", 1.0, 6.7715)]
)
def test_published_constants(published: Callable[[str], nn.Sequential], name: str, high: float, truth: float) -> None:
    """LipBaB's exact values from l2 to l2."""
    net = published(name)
    x = torch.full((1, net[0].in_features), high / 2, dtype=torch.float64)  # type: ignore[arg-type]
    found = ask(net, x, LocalLipschitz(Box(0.0, high), Vector(), p=2.0, q=2.0))
    assert found.certificate is Certificate.EXACT
    assert found.upper == pytest.approx(truth, abs=5.1e-5)


@pytest.mark.parametrize("output", [Vector(), Logit(0)], ids=["whole output", "one output"])
def test_the_root_is_not_looser_than_lipsdp(output: Output) -> None:
    net, x = network(3), torch.zeros(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(2.0), output, p=2.0)
    (program,) = certify(net, problem, x, estimator="lipsdp")
    (root,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(600.0, nodes=1))
    assert root.upper <= program.upper * (1 + 2e-4)
