"""Interior points of activation cells: in the region, off every kink, with the pattern that was asked for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import frozen_analysis
from lipreg.folding import unstable_units
from lipreg.milp import interior_point
from lipreg.outputs import Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, LinfBall
from tests import oracles
from tests.conformance.questions import Question, domain, sampled
from tests.milp.cases import local, points, trace

NETS = ("line_deep", "shallow", "deep", "solid", "leaky", "residual", "dead_units", "batch_norm")
GRID = [
    pytest.param(Question(net, region, "regional", math.inf, "logit"), id=f"{net}-{region}")
    for turn, net in enumerate(NETS)
    for place, region in enumerate(("linf_cut", "l1_cut", "box_flat", "polytope", "l2", "l2_cut"))
    if sampled(4, turn, place)
]


def pattern_at(question: Question, analysis: Analysis, x: np.ndarray) -> np.ndarray:
    units = unstable_units(analysis)
    z = trace(question.module, x, analysis.placed.rows[0, 0].numpy()).z
    order = {index: at for at, (index, _) in enumerate(analysis.graph.relus())}
    return np.array([float(z[order[int(n)]][int(i)] > 0) for n, i in zip(units.node, units.position, strict=True)])


@pytest.mark.parametrize("question", GRID)
def test_patterns_that_occur_have_interior_points(question: Question) -> None:
    analysis = local(question, 1)
    units = unstable_units(analysis)
    where = domain(question.region, question.x[1].numpy())
    moving = [analysis.value_bounds[node.source].movable[0].flatten().numpy() for _, node in analysis.graph.relus()]
    for x in points(analysis, 12, seed=3)[::2]:  # the others lie on the border
        wanted = pattern_at(question, analysis, x)
        found = interior_point(analysis, units, wanted, Budget())
        assert found is not None
        assert (found >= where.lower - 1e-12).all()
        assert (found <= where.upper + 1e-12).all()
        assert np.linalg.norm(found - where.center, where.norm) <= where.radius + 1e-12
        a, b = where.facets()
        assert (a @ (found - where.center)[where.free] <= b + 1e-12).all()
        np.testing.assert_array_equal(pattern_at(question, analysis, found), wanted)
        z = trace(question.module, found, analysis.placed.rows[0, 0].numpy()).z
        for values, moves in zip(z, moving, strict=True):
            assert np.abs(values[moves]).min(initial=math.inf) > 1e-7


@pytest.mark.parametrize("question", [q for q in GRID if "l1_cut" not in str(q.id)])
def test_there_is_a_point_exactly_where_a_cell_has_room(question: Question) -> None:
    """Over all patterns of few units: as many cells with interior points as the enumeration finds."""
    analysis = local(question, 1)
    units = unstable_units(analysis)
    if len(units) > 8:
        units_used, patterns = units, []
        for x in points(analysis, 30, seed=1):
            flipped = pattern_at(question, analysis, x)
            flipped[len(flipped) // 2] = 1 - flipped[len(flipped) // 2]
            patterns.append(flipped)
    else:
        units_used, patterns = units, [np.array(bits) for bits in itertools.product((0.0, 1.0), repeat=len(units))]
    where = domain(question.region, question.x[1].numpy())
    cells = oracles.cells(question.module, where)
    some = 0
    for pattern in patterns:
        found = interior_point(analysis, units_used, pattern, Budget())
        if found is None:
            continue
        some += 1
        np.testing.assert_array_equal(pattern_at(question, analysis, found), pattern)
        own = oracles.jacobian(question.module, found)[:, where.free]
        assert min(np.abs(cell.matrix - own).max() for cell in cells) < 1e-9
    if len(units) <= 8:
        assert some == len(cells)


def two_kinks(first: float, second: float) -> nn.Sequential:
    """relu(x - first) + relu(second - x): both units are active only where first < x < second."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.copy_(torch.tensor([-first, second]))
        net[2].weight.fill_(1.0)
        net[2].bias.zero_()
    return net


@pytest.mark.parametrize("first, second, empty", [(0.2, -0.2, (1, 1)), (-0.2, 0.2, (0, 0))])
def test_an_empty_cell_has_none(first: float, second: float, empty: tuple[int, int]) -> None:
    x = torch.zeros(1, 1, dtype=torch.float64)
    analysis = frozen_analysis(two_kinks(first, second), LocalLipschitz(LinfBall(1.0), Logit(0)), x, None)
    units = unstable_units(analysis)
    assert len(units) == 2
    for pattern in itertools.product((0, 1), repeat=2):
        found = interior_point(analysis, units, np.array(pattern, dtype=float), Budget())
        if pattern == empty:
            assert found is None
        else:
            assert found is not None
            np.testing.assert_array_equal(np.array([found[0] > first, found[0] < second]), pattern)


@pytest.mark.parametrize("pattern", [(1, 1), (0, 0)])
@pytest.mark.parametrize("at", [0.0, 0.3, 1 / 3])
def test_a_cell_that_is_a_single_point_has_none(pattern: tuple[int, int], at: float) -> None:
    x = torch.full((1, 1), 0.1, dtype=torch.float64)
    analysis = frozen_analysis(two_kinks(at, at), LocalLipschitz(LinfBall(1.0), Logit(0)), x, None)
    units = unstable_units(analysis)
    assert interior_point(analysis, units, np.array(pattern, dtype=float), Budget()) is None


def test_the_point_is_the_deepest() -> None:
    """|x| < 0.5 of [-1, 1]: the deepest point of the middle cell is its middle."""
    x = torch.full((1, 1), 0.4, dtype=torch.float64)
    analysis = frozen_analysis(two_kinks(-0.5, 0.5), LocalLipschitz(Box(-1.0, 1.0), Logit(0)), x, None)
    found = interior_point(analysis, unstable_units(analysis), np.ones(2), Budget())
    assert found == pytest.approx([0.0], abs=1e-7)


def test_a_network_without_unstable_units_has_its_region() -> None:
    x = torch.full((1, 1), 0.1, dtype=torch.float64)
    analysis = frozen_analysis(two_kinks(-0.5, 0.5), LocalLipschitz(LinfBall(0.1), Logit(0)), x, None)
    units = unstable_units(analysis)
    assert len(units) == 0
    found = interior_point(analysis, units, np.empty(0), Budget())
    assert found is not None
    assert 0.0 <= found[0] <= 0.2
