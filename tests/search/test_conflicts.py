"""Pairs of phases that exclude each other, what they imply and what they take off bounds, against cells that have points."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit
from lipreg.bounds import Analysis
from lipreg.budget import UNLIMITED, Budget
from lipreg.estimators import certify, frozen_analysis
from lipreg.folding import FoldedNetwork, fold
from lipreg.milp import CellStatus, settle_cell
from lipreg.results import Certificate
from lipreg.search import engine
from lipreg.search.conflicts import conflicts, with_conflicts
from lipreg.search.forward_bounds import contradictory, tighten
from lipreg.search.implied import implied
from lipreg.search.multipliers import SIMPLEX_INPUTS
from lipreg.search.nodes import Nodes
from lipreg.search.relaxed import relaxed_bound
from tests.search.test_local_search import many_inputs
from tests.search.test_relaxed import random_nodes


def crowded(seed: int, p: float = float("inf")) -> tuple[nn.Module, Analysis]:
    """Up to seven unstable units that read nearly the same of twelve inputs, so that few of their patterns have points."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    first, second = net[0], net[2]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    few = torch.randn(2, 12, dtype=torch.float64)
    first.weight.data = torch.randn(4, 2, dtype=torch.float64) @ few + 0.05 * torch.randn(4, 12, dtype=torch.float64)
    first.bias.data = 0.6 * torch.randn(4, dtype=torch.float64)
    second.bias.data = -second(torch.relu(first.bias.detach())).detach() + second.bias.data
    x = torch.zeros(1, 12, dtype=torch.float64)
    return net, frozen_analysis(net, LocalLipschitz(LinfBall(0.2), Logit(0), p=p), x, None)  # type: ignore[arg-type]


def has_points(local: Analysis, folded: FoldedNetwork, phase: Tensor) -> bool:
    return settle_cell(local, folded.units, (phase > 0).double().numpy(), Budget())[0] is CellStatus.HAS_INTERIOR


def paired(folded: FoldedNetwork) -> FoldedNetwork:
    return replace(folded, exclusive=conflicts(folded))


def every_phase(count: int) -> Tensor:
    return torch.tensor(list(itertools.product((1, -1), repeat=count)), dtype=torch.int8)


def broken(pairs: Tensor, phase: Tensor) -> Tensor:
    """Which of the pairs the phases ``(k, n)`` hold both sides of, ``(k, e)``."""
    held = torch.cat([phase == 1, phase == -1], 1)
    return held[:, pairs[0]] & held[:, pairs[1]]


@pytest.mark.parametrize("seed", [0, 8])
def test_no_cell_that_a_program_opens_holds_an_excluded_pair_and_none_is_above_the_bound(seed: int) -> None:
    _, local = crowded(seed)
    plain = fold(local)
    folded = paired(plain)
    pairs, every = folded.exclusive, every_phase(folded.count)
    opened = torch.tensor([has_points(local, folded, phase) for phase in every])
    assert folded.count >= 6 and pairs.shape[1] >= 3 and opened.sum() >= 4
    assert not broken(pairs, every[opened]).any()
    filled, empty = implied(pairs, every)
    assert torch.equal(filled, every) and torch.equal(empty, broken(pairs, every).any(1))
    for some in (every[opened][::3], every[opened][1::5]):  # phases that open cells share are never told to be empty
        known = some.clone()
        known[:, ::2] = 0
        further, empty = implied(pairs, known)
        assert not empty.any() and ((further == 0) | (further == some)).all()
    nodes = Nodes.roots(folded, torch.full((1,), torch.inf, dtype=torch.float64))
    bound, most = float(relaxed_bound(folded, nodes, 0.0)), folded.gradient_norms(every).amax(-1)
    free = float(relaxed_bound(plain, Nodes.roots(plain, nodes.upper), 0.0))
    assert bound >= float(most[~broken(pairs, every).any(1)].max()) >= float(most[opened].max())
    assert bound <= free * (1.0 + 1e-3) and free >= float(most.max())


@pytest.mark.parametrize("p", [2.0, float("inf")])
def test_nodes_are_bounded_above_their_cells_that_pairs_allow(p: float) -> None:
    _, local = crowded(6, p)
    folded = paired(fold(local))
    every = every_phase(folded.count)
    allowed = every[~broken(folded.exclusive, every).any(1)]
    norms = folded.gradient_norms(allowed).amax(-1)
    nodes = random_nodes(folded, 100, unstable=folded.count - 2)
    for _ in range(3):  # from where its multipliers ended, too
        bound = relaxed_bound(folded, nodes, 0.0, UNLIMITED)
        inside = ((nodes.phase.unsqueeze(1) == 0) | (nodes.phase.unsqueeze(1) == allowed)).all(-1)
        assert (bound >= torch.where(inside, norms, 0.0).amax(1)).all()
    assert nodes.exclusive.any()


def test_points_of_a_region_have_no_excluded_pair() -> None:
    _, local = many_inputs(0, 14, 10)
    folded = fold(local)
    pairs = conflicts(folded)
    x = local.placed.region.sample(4000, torch.Generator().manual_seed(0))[0]
    corners = torch.rand(4000, folded.inputs, generator=torch.Generator().manual_seed(1)) < 0.5
    d = torch.cat([folded.domain.of(x), torch.where(corners, folded.domain.lower, folded.domain.upper)])
    assert not broken(pairs, folded.phases(d)).any()
    units = pairs % folded.count
    assert (units[0] != units[1]).all()


def test_pairs_enter_nodes_as_phases() -> None:
    _, local = crowded(0)
    folded = paired(fold(local))
    count, (first, second) = folded.count, folded.exclusive[:, 0].tolist()
    nodes = Nodes.roots(folded, torch.full((1,), torch.inf, dtype=torch.float64))
    nodes.phase[0, first % count] = 1 if first < count else -1
    both = replace(nodes, phase=nodes.phase.clone())
    tighten(folded, nodes)
    assert int(nodes.phase[0, second % count]) == (-1 if second < count else 1)
    both.phase[0, second % count] = 1 if second < count else -1
    tighten(folded, both)
    assert contradictory(both).all()


def test_a_budget_that_has_ended_leaves_pairs_out() -> None:
    _, local = crowded(0)
    plain = fold(local)
    assert conflicts(plain).shape[1] and not conflicts(plain, Budget(0.0).started()).shape[1]


def test_few_inputs_have_none() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(SIMPLEX_INPUTS, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    x = torch.zeros(1, SIMPLEX_INPUTS, dtype=torch.float64)
    folded = fold(frozen_analysis(net, LocalLipschitz(LinfBall(1.0), Logit(0)), x, None))
    assert with_conflicts(folded) is folded


def test_a_long_search_with_many_inputs_knows_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the constant that a search without them finds."""
    net, local = many_inputs(0, 14, 10)
    problem, x = local.placed.problem, local.placed.region.center
    found = []
    for after in (engine.PAIRED, 0):
        monkeypatch.setattr(engine, "PAIRED", after)
        known: list[int] = []

        def noting(network: FoldedNetwork, budget: Budget, known: list[int] = known) -> FoldedNetwork:
            known.append(with_conflicts(network, budget).exclusive.shape[1])
            return with_conflicts(network, budget)

        monkeypatch.setattr(engine, "with_conflicts", noting)
        (interval,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(math.inf))
        assert interval.certificate is Certificate.EXACT and (sum(known) > 0) == (after == 0)
        found.append(interval.upper)
    assert found[0] == pytest.approx(found[1], rel=1e-6)
