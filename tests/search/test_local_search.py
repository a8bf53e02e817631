"""Climbing: points stay in the region, gradients only grow, cells that a linear program opens are reached."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import lipreg.search.engine as engine
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, certify, frozen_analysis
from lipreg.folding import fold
from lipreg.milp import CellStatus, settle_cell
from lipreg.outputs import Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate
from lipreg.search.cells import fixed_forms, neighbour_norms
from lipreg.search.local_search import into_cells, local_search
from tests import oracles
from tests.sampling import one_in
from tests.search.cases import REGIONS, analysis, check_ascent, sample

NETS = ("shallow", "deep", "solid", "leaky", "residual")


def many_inputs(seed: int, *hidden: int) -> tuple[nn.Module, Analysis]:
    """A network with more inputs than unstable units, as image networks have, and its analysis at a point."""
    torch.manual_seed(seed)
    net = oracles.mlp(60, *hidden, 2).double()
    x = torch.rand(1, 60, dtype=torch.float64)
    return net, frozen_analysis(net, LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0), Logit(0)), x, None)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("region", REGIONS)
def test_with_all_phases_fixed_the_forms_are_the_network(name: str, region: str) -> None:
    net = oracles.network(name)
    sampled = sample(net, analysis(net, math.inf, REGIONS[region]), 40)
    phase = torch.where(sampled.z > 0, 1, -1).to(torch.int8)
    matrix, constant = fixed_forms(sampled.folded, phase)
    torch.testing.assert_close((matrix @ sampled.d.unsqueeze(-1)).squeeze(-1) + constant, sampled.z)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@one_in(5)
def test_gradients_grow_and_points_stay_in_the_region(name: str, region: str, p: float) -> None:
    net = oracles.network(name)
    local = analysis(net, p, REGIONS[region])
    sampled = sample(net, local, 6)
    check_ascent(local, sampled, lambda d: local_search(sampled.folded, d, 50, lambda: False))
    assert torch.equal(local_search(sampled.folded, sampled.d[0], 50, lambda: True), sampled.d[0]), (
        "ended before it began"
    )


@pytest.mark.parametrize("seed", range(4))
def test_cells_that_a_program_opens_are_reached(seed: int) -> None:
    """Of the neighbours of a cell, those that hold a ball of some size; and none that is proved empty."""
    _, local = many_inputs(seed, 14, 10)
    folded = fold(local)
    phase = folded.phases(torch.zeros(1, folded.inputs, dtype=torch.float64))
    beside = phase.repeat(folded.count, 1)
    beside.diagonal().neg_()
    reached = (folded.phases(into_cells(folded, beside, torch.zeros_like(folded.domain.lower))) == beside).all(-1)
    verdicts = [
        settle_cell(local, folded.units, (pattern > 0).numpy().astype(float), Budget())[0] for pattern in beside
    ]
    opened = torch.tensor([verdict is CellStatus.HAS_INTERIOR for verdict in verdicts])
    assert opened.sum() >= 4
    assert not reached[~opened].any()
    assert reached[opened].double().mean() > 0.8


@pytest.mark.parametrize(("case", "by_programs"), [((2, 8, 7), False), ((1, 9, 6), True)], ids=str)
def test_a_search_that_climbs_proves_the_same(
    case: tuple[int, int, int], by_programs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds its witness in fewer nodes where inputs are many; programs are asked where they end soon."""
    found = {}
    for after in (1, 10**12):
        monkeypatch.setattr(engine, "LONG", after)
        steps: list[engine.SearchProgress] = []
        net, local = many_inputs(*case)
        (result,) = ESTIMATORS["branch_and_bound"].intervals(local, Budget(600.0), progress=steps.append)
        assert result.certificate is Certificate.EXACT
        first = next(step.nodes for step in steps if step.lower >= result.lower * (1 - 1e-6))
        found[after] = result.upper, first
    assert found[1][0] == pytest.approx(found[10**12][0], rel=1e-5)
    assert found[1][1] <= found[10**12][1] and (by_programs or found[1][1] < found[10**12][1])
    if by_programs:
        problem, x = local.placed.problem, local.placed.region.center
        (other,) = certify(net, problem, x.reshape(1, -1), estimator="mip", budget=Budget(600.0))
        assert other.certificate is Certificate.EXACT
        assert other.lower * (1 - 1e-6) <= found[1][0] <= other.upper * (1 + 1e-6)


def test_norms_of_neighbours_come_in_parts_and_end_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network = fold(many_inputs(0, 30)[1])
    phase = network.phases(torch.zeros(1, network.inputs, dtype=torch.float64))
    beside, norms = neighbour_norms(network, phase, lambda: False)
    torch.testing.assert_close(norms, network.gradient_norms(beside).amax(-1))
    monkeypatch.setattr("lipreg.search.cells.PASS_NUMBERS", 1)
    torch.testing.assert_close(neighbour_norms(network, phase, lambda: False)[1], norms)
    looks = iter([False, False, True])
    cut = neighbour_norms(network, phase, lambda: next(looks))[1]
    torch.testing.assert_close(cut[:3], norms[:3])
    assert not cut[3:].any()
