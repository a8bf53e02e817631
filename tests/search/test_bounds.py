"""Every bound of a node against points that lie in it: pre-activations, boxes, gradients, children."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lipreg.bounds.semidefinite import norm_bound
from lipreg.folding import fold
from lipreg.regions import L2Ball
from lipreg.search.branching import branch
from lipreg.search.forward_bounds import contradictory, shrink_boxes, tighten
from lipreg.search.gradients import fold_phases, interval, interval_bound, interval_entries
from lipreg.search.multipliers import tighten_together
from lipreg.search.nodes import Nodes
from tests import oracles
from tests.conformance import questions
from tests.sampling import one_in
from tests.search.cases import REGIONS, Sampled, analysis, inside, nodes_around, sample

NETS = ("shallow", "deep", "solid", "leaky", "residual", "scaled", "dead_units", "line_deep")
KNOWN = (0.0, 0.4, 0.8, 1.0)
COUNT = 200

each_net = pytest.mark.parametrize("name", NETS)
each_net_and_region = pytest.mark.parametrize(
    ("name", "region"),
    [
        (name, region)
        for (turn, name), (place, region) in itertools.product(enumerate(NETS), enumerate(REGIONS))
        if questions.sampled(3, turn, place)
    ],
)


def drawn(name: str, region: str, p: float = math.inf) -> tuple[Sampled, Nodes]:
    """Points of a network's region, and nodes with some, all or none of their phases fixed."""
    net = oracles.network(name)
    sampled = sample(net, analysis(net, p, REGIONS[region]), COUNT)
    at = torch.arange(20)
    return sampled, Nodes.join([nodes_around(sampled, at, known, seed) for seed, known in enumerate(KNOWN)])


def largest_inside(values: Tensor, held: Tensor) -> Tensor:
    return torch.where(held, values, -torch.inf).amax(-1)


@each_net_and_region
def test_forward_bounds_hold_at_every_point_of_a_node(name: str, region: str) -> None:
    sampled, nodes = drawn(name, region)
    folded, held = sampled.folded, inside(sampled, nodes)
    assert held.any(-1).all()

    def check(nodes: Nodes) -> None:
        assert not contradictory(nodes).any()
        assert torch.equal(inside(sampled, nodes), held), "a point was cut off"
        for node, points in enumerate(held):
            z = sampled.z[points]
            assert (z <= nodes.z_upper[node] + 1e-12).all() and (z >= nodes.z_lower[node] - 1e-12).all()

    forms = tighten(folded, nodes)
    check(nodes)
    ends = forms.slope.flatten(1, 2) @ sampled.d.T + forms.offset.flatten(1, 2).unsqueeze(-1)
    both = torch.cat([sampled.z, -sampled.z], dim=1).T
    assert ((ends - both)[held.unsqueeze(1).expand_as(ends)] >= -1e-9).all()
    shrink_boxes(folded, nodes, forms)
    check(nodes)
    point = tighten_together(folded, nodes, forms)
    check(nodes)
    assert (point >= nodes.d_lower - 1e-9).all() and (point <= nodes.d_upper + 1e-9).all()


def test_multipliers_prove_what_single_cuts_do_not() -> None:
    """d1 + d2 + d3 >= 1.5 and two more cuts on the unit box leave the target negative; no single cut does."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).double()
    with torch.no_grad():
        rows = [[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, 1.0], [0.0, 0.0, -1.0]]
        net[0].weight.copy_(torch.tensor(rows))
        net[0].bias.copy_(torch.tensor([-0.2, -0.1, -0.1, 0.05]))
    local = analysis(net, math.inf, REGIONS["linf"], torch.zeros(1, 3, dtype=torch.float64))
    sampled = sample(net, local, 10)
    nodes = Nodes.roots(sampled.folded, torch.ones(1, dtype=torch.float64))
    nodes.phase[0, :3] = 1  # z1 + z2 + z3 = 2 d3 - 0.4 >= 0, so d3 >= 0.2 and z4 = 0.05 - d3 < 0
    forms = tighten(sampled.folded, nodes)
    assert nodes.phase[0, 3] == 0
    tighten_together(sampled.folded, nodes, forms)
    assert nodes.phase[0, 3] == -1
    assert nodes.z_upper[0, 3] == pytest.approx(-0.15, abs=1e-3)


def test_contradicting_cuts_are_found() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.5], [-1.0, 0.5], [0.0, -1.0]]))
        net[0].bias.copy_(torch.tensor([-0.1, -0.1, 0.1]))
    local = analysis(net, math.inf, REGIONS["linf"], torch.zeros(1, 2, dtype=torch.float64))
    sampled = sample(net, local, 10)
    nodes = Nodes.roots(sampled.folded, torch.ones(1, dtype=torch.float64))
    nodes.phase[0] = 1  # the three add up to -0.1 >= 0
    forms = tighten(sampled.folded, nodes)
    assert not contradictory(nodes).any()
    tighten_together(sampled.folded, nodes, forms)
    assert contradictory(nodes).all()


def test_tied_units_decide_each_other() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).double()
    with torch.no_grad():
        net[0].bias.fill_(0.1)
        for other, ratio in ((1, 2.0), (3, -1.0)):
            net[0].weight[other], net[0].bias[other] = ratio * net[0].weight[0], ratio * net[0].bias[0]
    local = analysis(net, math.inf, REGIONS["linf"], torch.zeros(1, 2, dtype=torch.float64))
    folded = sample(net, local, 10).folded
    assert folded.count == 4
    phases = [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, -1], [1, -1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    roots = Nodes.roots(folded, torch.ones(1, dtype=torch.float64))
    nodes = roots[torch.zeros(len(phases), dtype=torch.int64)]
    nodes.phase = torch.tensor(phases, dtype=torch.int8)
    forms = tighten(folded, nodes)
    shrink_boxes(folded, nodes, forms)
    assert contradictory(nodes).tolist() == [False, False, False, True, True, False]
    assert nodes.phase[:3, [0, 1, 3]].tolist() == [[1, 1, -1], [-1, -1, 1], [1, 1, -1]]


@each_net
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@one_in(3)
def test_gradient_bounds_hold_at_every_point_of_a_node(name: str, p: float) -> None:
    sampled, nodes = drawn(name, "linf", p)
    folded, held = sampled.folded, inside(sampled, nodes)
    truth = largest_inside(sampled.norms.T[nodes.row], held)
    w = interval(folded, nodes.phase, nodes.row)
    center, radius = interval_entries(folded, nodes.row, w)
    own = fold_phases(folded, nodes.phase, nodes.row, w)
    bounds = {
        "interval": interval_bound(folded, nodes.phase, nodes.row),
        "entries": folded.norm(center.abs() + radius),
        "fold": folded.norm(own.center.abs() + own.generators.abs().sum(-1)),
    }
    if p != 1.0:
        bounds["semidefinite"] = norm_bound(own.center, own.generators, p)
    for kind, bound in bounds.items():
        assert (bound >= truth * (1 - 1e-12) - 1e-13).all(), kind
    decided = ~nodes.unstable.any(-1)
    assert decided.any()
    for kind, bound in bounds.items():
        torch.testing.assert_close(bound[decided], truth[decided], rtol=1e-6, atol=1e-12, msg=kind)


@pytest.mark.parametrize("p", [2.0, math.inf])
@pytest.mark.parametrize("sweeps", [0, 1, 8, 100])
def test_the_semidefinite_bound_is_certified_after_any_number_of_sweeps(
    p: float, sweeps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipreg.bounds.semidefinite.SWEEPS", sweeps)
    generator = torch.Generator().manual_seed(1)
    center = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    spread = torch.randn(30, 6, 5, generator=generator, dtype=torch.float64)
    center[:5], spread[5:10], spread[10:15, :, :3], spread[15] = 0.0, 0.0, 0.0, 1e-9
    center[20], spread[20] = 0.0, 0.0
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=5)), dtype=torch.float64)
    ends = center.unsqueeze(1) + signs @ spread.mT
    exact = (ends.abs().sum(-1) if p == math.inf else ends.norm(dim=-1)).amax(-1)
    bound = norm_bound(center, spread, p)
    assert (bound >= exact).all()
    if sweeps >= 8:  # and tighter than the interval bound, on the whole
        around = center.abs() + spread.abs().sum(-1)
        cheap = around.sum(-1) if p == math.inf else around.norm(dim=-1)
        assert (bound / exact)[21:].mean() < 1.07 < (cheap / exact)[21:].mean()
        torch.testing.assert_close(bound[5:10], exact[5:10], rtol=1e-6, atol=0.0)  # nothing unstable


@each_net
@pytest.mark.parametrize("levels", [True, False])
def test_children_cover_their_node(name: str, levels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipreg.search.branching.by_levels", lambda network: levels)
    sampled, nodes = drawn(name, "linf")
    nodes = nodes[nodes.unstable.any(-1)]
    nodes = replace(nodes, upper=interval_bound(sampled.folded, nodes.phase, nodes.row))
    held = inside(sampled, nodes)
    for at in range(len(nodes)):
        node = nodes[torch.tensor([at])]
        children = branch(sampled.folded, node)
        assert len(children) <= 2
        covered = inside(sampled, children).any(0) if len(children) else torch.zeros_like(held[at])
        assert (covered | ~held[at]).all()
        assert (children.upper <= node.upper).all() and (children.row == node.row).all()
        truth = largest_inside(sampled.norms.T[children.row], inside(sampled, children))
        assert (children.upper >= truth * (1 - 1e-12) - 1e-13).all()


def test_boxes_beside_a_ball_are_empty_and_others_shrink_to_it() -> None:
    network = fold(analysis(oracles.network("shallow"), math.inf, L2Ball(1.0)))
    nodes = Nodes.roots(network, torch.ones(network.rows, dtype=torch.float64))[:1]
    nodes = nodes[torch.zeros(3, dtype=torch.int64)]
    nodes.d_lower = torch.tensor([[0.8, 0.8], [0.6, 0.0], [-1.0, -1.0]], dtype=torch.float64)
    nodes.d_upper = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, -0.8]], dtype=torch.float64)
    shrink_boxes(network, nodes, tighten(network, nodes))
    assert contradictory(nodes).tolist() == [True, False, False]
    assert nodes.d_upper[1].tolist() == pytest.approx([1.0, 0.8])
    assert nodes.d_lower[2].tolist() == pytest.approx([-0.6, -1.0]) and nodes.d_upper[2][0] == pytest.approx(0.6)
