"""Linear programs of nodes against points and cells, and phases fixed by bounds of both sides against all patterns."""

from __future__ import annotations

import math

import pytest
import torch

from lipreg.budget import UNLIMITED, Budget
from lipreg.folding import fold
from lipreg.milp import CellStatus, settle_cell
from lipreg.search.branching import branch
from lipreg.search.fixing import fix_phases
from lipreg.search.nodes import Nodes
from lipreg.search.programs import NodePrograms
from lipreg.search.relaxed import relaxed_bound
from tests import oracles
from tests.search.cases import REGIONS, analysis
from tests.search.test_relaxed import every_pattern, made, random_nodes


@pytest.mark.parametrize("region", ["linf", "l1", "l2_cut"])
def test_an_empty_node_holds_no_point_and_others_have_one(region: str) -> None:
    local = analysis(oracles.network("solid"), math.inf, REGIONS[region])
    folded = fold(local)
    points = local.placed.region.sample(4000, torch.Generator().manual_seed(1)).flatten(0, 1)
    phases = folded.phases(folded.domain.of(points))
    nodes = random_nodes(folded, 60, unstable=folded.count // 2)
    attained = phases[torch.arange(0, 4000, 200)]  # these hold points, with every second unit free
    nodes = Nodes.join([nodes, nodes[:20]])
    free = torch.arange(folded.count) % 2 == 0
    nodes.phase[60:] = torch.where(free, 0, attained).to(torch.int8)
    found = NodePrograms(folded, Budget().started()).solve(nodes)
    agree = (nodes.phase.unsqueeze(1) * phases.unsqueeze(0) >= 0).all(-1).any(1)
    assert agree[60:].all() and not (found.empty & agree).any()
    assert found.empty.any(), "random phases mostly contradict each other"
    assert ((found.strain >= -1e-7) & (found.strain <= 1 + 1e-7)).all()
    assert not (found.strain * (nodes.phase != 0)).any(), "units with a phase are where they are"
    inside = (found.points <= folded.domain.upper + 1e-12) & (found.points >= folded.domain.lower - 1e-12)
    assert inside.all()


def test_whole_patterns_are_empty_as_their_cells_are() -> None:
    local = analysis(oracles.network("solid"), math.inf, REGIONS["linf"])
    folded = fold(local)
    nodes = random_nodes(folded, 12, unstable=0)
    points = local.placed.region.sample(4, torch.Generator().manual_seed(2)).flatten(0, 1)
    nodes.phase[:4] = folded.phases(folded.domain.of(points))
    empty = NodePrograms(folded, Budget().started()).solve(nodes).empty
    for phase, none in zip(nodes.phase, empty, strict=True):
        pattern = torch.where(phase == 0, torch.nan, (phase > 0).double()).numpy()
        status, _ = settle_cell(local, folded.units, pattern, Budget())
        assert bool(none) == (status is CellStatus.EMPTY)
    assert empty.any() and not empty.all()


def test_without_time_nothing_is_found() -> None:
    folded = made(math.inf, (9, 6, 5, 2))
    nodes = random_nodes(folded, 8, unstable=0)
    found = NodePrograms(folded, Budget(0.0).started()).solve(nodes)
    assert not found.empty.any() and not found.strain.any()


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_bounds_of_both_sides_hold_for_every_pattern(p: float) -> None:
    folded = made(p, (4, 5, 4, 5, 2))
    nodes = random_nodes(folded, 40)
    nodes.upper = relaxed_bound(folded, nodes, 0.0, UNLIMITED) + folded.rounding[nodes.row]
    assert torch.isfinite(nodes.sides).any()
    for side, sign in enumerate((1, -1)):
        for unit in range(folded.count):
            open_ones = nodes[nodes.phase[:, unit] == 0]
            if not len(open_ones):
                continue
            open_ones.phase[:, unit] = sign
            best = every_pattern(folded, open_ones)
            assert (open_ones.sides[:, side, unit] >= best).all(), (unit, sign)
    before, best = nodes[:], every_pattern(folded, nodes)
    cutoff = float(nodes.upper.median())
    kept, closed = fix_phases(nodes, cutoff)
    assert (best[~kept] <= cutoff).all() and closed <= cutoff
    assert ((before.phase == nodes.phase) | (before.phase == 0)).all()
    fixed = kept & (before.phase != nodes.phase).any(-1)
    assert fixed.any(), "some phases are fixed"
    rest = every_pattern(folded, nodes)
    assert (torch.where(best > cutoff, rest, best)[kept] == best[kept]).all(), "what exceeds the cutoff is still there"


def test_children_carry_the_bounds_of_their_sides() -> None:
    folded = made(math.inf, (9, 6, 5, 2))
    nodes = Nodes.roots(folded, torch.full((folded.family_count,), 100.0, dtype=torch.float64))
    nodes.sides[:] = 100.0
    nodes.sides[:, :, 3] = torch.tensor([97.0, 98.0], dtype=torch.float64)
    nodes.sides[:, 0, 4] = 95.0
    children = branch(folded, nodes, 94.0)
    assert (children.phase[:, 3] != 0).all(), "two sides that improve count more than one alone"
    assert (children.upper <= torch.where(children.phase[:, 3] == 1, 97.0, 98.0)).all()
