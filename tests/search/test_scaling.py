"""Layers multiplied by powers of two that the next ones are divided by: the same search, node by node."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lipreg import LinfBall, LocalLipschitz, Logit
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.folding import fold
from lipreg.search.greedy_search import greedy_search
from lipreg.search.local_search import local_search
from lipreg.search.outcome import SearchProgress
from tests import oracles


def scaled(first: int, second: int) -> nn.Sequential:
    """A network and the powers of two in which its hidden layers are told."""
    torch.manual_seed(1)
    net = oracles.mlp(10, 10, 8, 2).double()
    outer, middle, last = (layer for layer in net if isinstance(layer, nn.Linear))
    with torch.no_grad():
        outer.weight *= 2.0**first
        outer.bias *= 2.0**first
        middle.weight *= 2.0 ** (second - first)
        middle.bias *= 2.0**second
        last.weight *= 2.0**-second
    return net


X = torch.linspace(-1.0, 1.0, 10, dtype=torch.float64).unsqueeze(0)
SCALES = [(-100, 0), (0, 150), (-90, 200)]


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_searches_are_the_same_in_all_units_of_hidden_layers(p: float, scales: tuple[int, int]) -> None:
    """Witnesses of hunts, which run in float32, may differ, and with them some nodes."""
    problem, found, nodes = LocalLipschitz(LinfBall(0.3), Logit(0), p=p), [], []
    for own in ((0, 0), scales):
        steps: list[SearchProgress] = []
        local = frozen_analysis(scaled(*own), problem, X, None)
        (answer,) = ESTIMATORS["branch_and_bound"].intervals(local, Budget(600.0), progress=steps.append)
        found.append((answer.lower, answer.upper))
        nodes.append(steps[-1].nodes)
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert nodes[1] == pytest.approx(nodes[0], rel=0.25)


@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_local_searches_end_at_the_same_gradient(scales: tuple[int, int]) -> None:
    values = []
    for own in ((0, 0), scales):
        folded = fold(frozen_analysis(scaled(*own), LocalLipschitz(LinfBall(0.3), Logit(0)), X, None))
        start = torch.zeros(folded.inputs, dtype=torch.float64)
        ends = [greedy_search(folded, start, lambda: False), local_search(folded, start, 20, lambda: False)]
        values.append(folded.gradient_norms(folded.phases(torch.stack(ends))).amax(-1))
    torch.testing.assert_close(*values, rtol=1e-9, atol=0.0)
