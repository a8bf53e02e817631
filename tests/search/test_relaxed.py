"""The relaxed gradient of a node against all patterns of its unstable units, and what it says of branching."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

import lipreg
from lipreg.budget import UNLIMITED, Budget
from lipreg.folding import FoldedNetwork, fold
from lipreg.regions import Region
from lipreg.results import Certificate
from lipreg.search.branching import TRIED, branch
from lipreg.search.forward_bounds import apply_phases, contradictory, tighten
from lipreg.search.gradients import entry_ranges
from lipreg.search.nodes import Nodes
from lipreg.search.relaxed import node_switches, relaxed_bound
from lipreg.search.worth import SKIPPED, UNJUDGED, StepBenefit
from tests import oracles
from tests.search.cases import REGIONS, analysis

OPEN = 6


def random_nodes(folded: FoldedNetwork, count: int, unstable: int = OPEN) -> Nodes:
    """Nodes of random families with at most so many units unstable."""
    generator = torch.Generator().manual_seed(0)
    roots = Nodes.roots(folded, torch.full((folded.family_count,), math.inf, dtype=torch.float64))
    nodes = roots[torch.randint(folded.family_count, (count,), generator=generator)]
    sign = torch.randint(2, nodes.phase.shape, generator=generator).mul(2).sub(1).to(torch.int8)
    order = torch.rand(nodes.phase.shape, generator=generator).argsort(1).argsort(1)
    nodes.phase = torch.where(order < unstable, torch.zeros_like(sign), sign)
    return nodes


def every_pattern(folded: FoldedNetwork, nodes: Nodes) -> Tensor:
    """The largest norm over all patterns of the unstable units, whether they have points or not, ``(N,)``."""
    best = torch.zeros(len(nodes), dtype=torch.float64)
    rank = (nodes.phase == 0).cumsum(1) - 1
    for pattern in itertools.product((1, -1), repeat=OPEN):
        told = torch.tensor(pattern, dtype=torch.int8)[rank.clamp(min=0)]
        phase = torch.where(nodes.phase == 0, told, nodes.phase)
        norms = folded.gradient_norms(phase)
        best = torch.maximum(best, norms.gather(1, nodes.row.unsqueeze(1)).squeeze(1))
    return best


def made(p: float, sizes: tuple[int, ...]) -> FoldedNetwork:
    torch.manual_seed(1)
    layers = [layer for one, two in itertools.pairwise(sizes) for layer in (nn.Linear(one, two), nn.ReLU())]
    net = nn.Sequential(*layers[:-1]).double()
    return fold(analysis(net, p, REGIONS["linf"]))


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_nodes_in_parts_of_the_memory_are_relaxed_alike(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node has its bound, its vectors and what hangs on its switches whatever else is relaxed beside it."""
    folded = made(p, (4, 5, 4, 5, 2))
    nodes, others = random_nodes(folded, 20), random_nodes(folded, 20)
    made_at_once: list[int] = []
    monkeypatch.setattr(
        "lipreg.search.relaxed.node_switches",
        lambda *given: (made_at_once.append(len(given[1])), node_switches(*given))[1],
    )
    whole, parts = relaxed_bound(folded, nodes, 0.0), relaxed_bound(folded, others, 0.0, Budget(math.inf, memory=1))
    assert made_at_once == [20] + 20 * [1]
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-12)
    for name in ("vectors", "unit_gaps", "exclusive"):
        assert getattr(nodes, name).shape == getattr(others, name).shape
    assert not torch.equal(others.vectors, random_nodes(folded, 20).vectors), "they are brought up to date in place"


@pytest.mark.parametrize("p", [2.0, math.inf])
@pytest.mark.parametrize("sizes", [(3, 9, 2), (30, 6, 8, 3), (4, 5, 4, 5, 2)], ids=str)
def test_no_pattern_of_a_node_exceeds_its_relaxation(sizes: tuple[int, ...], p: float) -> None:
    folded = made(p, sizes)
    nodes = random_nodes(folded, 200)
    bound, truth = relaxed_bound(folded, nodes, 0.0, UNLIMITED), every_pattern(folded, nodes)
    assert (bound >= truth).all()
    assert float((bound / truth).median()) < 1.25, "the bound says next to nothing"
    again = relaxed_bound(folded, nodes, 0.0, UNLIMITED)  # from where its vectors ended
    assert (again >= truth).all() and float(again.sum()) <= float(bound.sum()) * (1 + 1e-4)


def test_entries_of_known_sign_are_one_row() -> None:
    folded = made(math.inf, (30, 6, 8, 3))
    nodes = random_nodes(folded, 50, unstable=2)
    switches, place = node_switches(folded, nodes)
    lower, upper = entry_ranges(folded, nodes.phase, nodes.row)
    open_ = ((lower < 0) & (upper > 0)).sum(1)
    assert switches.out_free.shape[1] == 1 + int(open_.max()) and open_.double().mean() < folded.inputs / 2
    for pattern in itertools.product((0.0, 1.0), repeat=2):  # the rows of one pattern have the norm of its gradient
        a = torch.tensor(pattern, dtype=torch.float64).expand(len(nodes), -1)
        a = a[:, : switches.unit_free.shape[1]]
        w = switches.unit_free[..., 0] * 0.0
        for _ in range(switches.depth):
            w = a * ((switches.unit_unit @ w.unsqueeze(-1)).squeeze(-1) + switches.unit_free[..., 0])
        rows = (switches.out_unit @ w.unsqueeze(-1)).squeeze(-1) + switches.out_free[..., 0]
        phase = nodes.phase.clone()
        for i in range(a.shape[1]):
            phase[torch.arange(len(nodes)), place[:, i]] = torch.where(a[:, i] > 0, 1, -1).to(torch.int8)
        norms = folded.gradient_norms(phase).gather(1, nodes.row.unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(rows.abs().sum(1), norms)


def test_units_that_most_hangs_on_are_tried() -> None:
    folded = fold(analysis(oracles.network("solid"), math.inf, REGIONS["linf"]))
    roots = Nodes.roots(folded, torch.full((folded.family_count,), math.inf, dtype=torch.float64))
    assert torch.equal(roots.unit_gaps, torch.ones_like(roots.unit_gaps)), "all are the same before any was relaxed"
    relaxed_bound(folded, roots, 0.0, UNLIMITED)
    assert (roots.unit_gaps >= 0).all() and (roots.unit_gaps > 0).any()
    decided_ones = roots.unit_gaps[roots.phase != 0]
    assert not decided_ones.any()
    wide = made(math.inf, (40, 2 * TRIED, 2))
    nodes = Nodes.roots(wide, torch.full((wide.family_count,), math.inf, dtype=torch.float64))
    hanging = torch.arange(wide.count).expand(wide.family_count, -1) >= wide.count - TRIED
    nodes.unit_gaps = hanging.float()
    children = branch(wide, nodes)
    split = (children.phase != nodes.phase[:1]).any(0).nonzero().flatten()
    assert wide.count > TRIED and (split >= wide.count - TRIED).all()


def test_phases_alone_are_bounds_that_tightening_only_sharpens() -> None:
    folded = made(math.inf, (4, 5, 4, 5, 2))
    fast, slow = random_nodes(folded, 50), random_nodes(folded, 50)
    apply_phases(folded, fast)
    tighten(folded, slow)
    assert (fast.z_lower <= slow.z_lower).all() and (fast.z_upper >= slow.z_upper).all()
    assert (fast.z_lower[fast.phase == 1] >= 0).all() and (fast.z_upper[fast.phase == -1] <= 0).all()
    assert not (contradictory(fast) & ~contradictory(slow)).any()


def test_a_step_is_left_out_where_it_gains_nothing_and_tried_again() -> None:
    worth = StepBenefit()
    for _ in range(3):
        assert worth.worthwhile()
        worth.note(torch.zeros(UNJUDGED // 2))
    taken = [worth.worthwhile() for _ in range(2 * (SKIPPED + 1))]
    assert taken.count(True) == 2 and not taken[0]
    worth.note(torch.full((1000,), 2.0))  # no node gains more than all
    assert worth.worthwhile() and worth.gained <= worth.tried
    worth.lowered(torch.tensor([3.0]), torch.tensor([1.0]), 2.0)
    assert worth.gained <= worth.tried


@pytest.mark.parametrize("region", [lipreg.L2Ball(1e-3), lipreg.WholeSpace()])
@pytest.mark.parametrize("p", [2.0, math.inf])
def test_a_network_without_unstable_units_is_one_matrix(region: Region, p: float) -> None:
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2).double()
    (found,) = lipreg.certify(net, lipreg.LocalLipschitz(region, lipreg.Vector(), p=p, q=2.0), torch.zeros(1, 3))
    signs = torch.tensor([[1.0, a, b] for a in (-1, 1) for b in (-1, 1)], dtype=torch.float64)
    norm = torch.linalg.matrix_norm(net.weight, 2) if p == 2 else (signs @ net.weight.T).norm(dim=1).max()
    assert found.certificate is Certificate.EXACT and found.upper == pytest.approx(float(norm), rel=1e-6)
