"""The exact program against the enumeration of activation patterns, and row by row at points of the region."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array, vstack

from lipreg.budget import Budget
from lipreg.estimators import frozen_analysis
from lipreg.folding import fold
from lipreg.milp import Highs, encode
from lipreg.milp.functionals import FunctionalFamily
from lipreg.outputs import Combination
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Status
from tests import oracles
from tests.conformance.questions import NORMS, Question, output, sampled
from tests.milp.cases import local, open_signs, points, trace, variables

NETS = ("line_deep", "shallow", "deep", "solid", "leaky", "residual", "batch_norm", "scaled", "dead_units", "affine")
REGIONS = ("linf_cut", "l1_cut", "box_flat", "polytope")
GRID = [
    pytest.param(Question(net, region, "regional", NORMS[p], "combination"), id=f"{net}-{region}-{p}")
    for (turn, net), (place, region), (k, p) in itertools.product(*map(enumerate, (NETS, REGIONS, ("p1", "pinf"))))
    if sampled(4, turn, place, k)
]


@pytest.mark.parametrize("question", GRID)
def test_the_optimum_is_the_largest_gradient_of_all_cells(question: Question) -> None:
    truth, _ = question.truth(1)
    program = encode(local(question, 1), 0).program
    outcome = Highs().solve(program, Budget(600.0))
    assert outcome.status is Status.PROVED
    assert outcome.incumbent == pytest.approx(truth, rel=1e-6)
    assert outcome.claimed == pytest.approx(truth, rel=1e-6)
    assert outcome.claimed >= truth * (1 - 1e-9)
    relaxed = Highs().solve(program.relaxed(), Budget(600.0))
    assert relaxed.status is Status.PROVED
    assert relaxed.claimed >= truth * (1 - 1e-9)


@pytest.mark.parametrize("question", GRID)
def test_every_point_of_the_region_is_a_feasible_point(question: Question) -> None:
    analysis = local(question, 1)
    encoding = encode(analysis, 0)
    program = encoding.program
    assert np.isfinite(program.lower).all()
    assert np.isfinite(program.upper).all()
    c = analysis.placed.rows[0, 0].numpy()
    moves = analysis.placed.region.movable[0].flatten().numpy()
    dual = math.inf if question.p == 1 else 1
    for x in points(analysis, 60):
        traced = trace(question.module, x, c)
        v = variables(analysis, encoding, traced, x)
        assert (v >= program.lower - 1e-9).all()
        assert (v <= program.upper + 1e-9).all()
        excess = program.matrix @ v - program.right
        assert excess.max(initial=0.0) <= 1e-9
        assert np.abs(excess[: program.equalities]).max(initial=0.0) <= 1e-9
        expected = np.linalg.norm(traced.gradient[moves], dual)
        assert program.cost @ v + program.offset == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("question", GRID)
def test_a_point_with_a_wrong_pattern_is_cut_off(question: Question) -> None:
    """The rows pin h to the ReLU and w to the switched gradient: no point keeps its variables with a unit flipped."""
    analysis = local(question, 1)
    encoding = encode(analysis, 0)
    program, count = encoding.program, len(encoding.units)
    if not count:
        assert "a" not in program.columns
        return
    x = points(analysis, 5)[3]
    v = variables(analysis, encoding, trace(question.module, x, analysis.placed.rows[0, 0].numpy()), x)
    for unit in range(count):
        flipped = v.copy()
        at = program.columns["a"].start + unit
        flipped[at] = 1 - flipped[at]
        assert (program.matrix @ flipped - program.right).max() > 1e-9, f"unit {unit} of {count}"


@pytest.mark.parametrize("question", [q for q in GRID if q.values[0].p == math.inf])  # type: ignore[union-attr]
def test_binaries_are_unstable_units_and_open_signs(question: Question) -> None:
    analysis = local(question, 1)
    program = encode(analysis, 0).program
    assert len(program.integer) == int(analysis.unstable_units()[0]) + int(open_signs(analysis).sum())
    np.testing.assert_array_equal(program.lower[program.integer], 0.0)
    np.testing.assert_array_equal(program.upper[program.integer], 1.0)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("p", [1.0, math.inf])
def test_a_fully_stable_network_needs_no_units(name: str, p: float) -> None:
    net = oracles.network(name)
    x = torch.full((1, oracles.input_size(net)), 0.123, dtype=torch.float64)
    outputs = oracles.evaluate(net, x.numpy()).shape[1]
    kind, rows, _ = output("combination", outputs)
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(1e-6), kind, p=p), x, None)
    encoding = encode(analysis, 0)
    assert len(encoding.units) == 0
    assert len(encoding.program.integer) == (0 if p == math.inf else 2 * x.shape[1])  # p = 1 selects an entry
    expected = oracles.slope_norm(oracles.jacobian(net, x[0].numpy()), rows, p, None)
    outcome = Highs().solve(encoding.program, Budget(600.0))
    assert outcome.incumbent == pytest.approx(expected, rel=1e-7)
    assert outcome.claimed == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e2, 1e4])
def test_the_optimum_scales_with_the_network(scale: float) -> None:
    """Pre-activations of any size: first layer times s, second layer over s leaves the function as it is."""
    question = Question("shallow", "linf", "regional", math.inf, "combination")
    truth, _ = question.truth(0)
    net = oracles.network("shallow")
    with torch.no_grad():
        net[0].weight.mul_(scale)
        net[0].bias.mul_(scale)
        net[2].weight.div_(scale)
    analysis = frozen_analysis(net, question.problem, question.x[:1], None)
    outcome = Highs().solve(encode(analysis, 0).program, Budget(600.0))
    assert outcome.status is Status.PROVED
    assert outcome.claimed == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("p", [1.0, math.inf])
def test_a_start_is_the_pattern_of_the_unstable_units(p: float) -> None:
    question = Question("deep", "linf", "regional", p, "combination")
    analysis = local(question)
    encoding = encode(analysis, 0)
    x = points(analysis, 4)[2]
    v = variables(analysis, encoding, trace(question.module, x, analysis.placed.rows[0, 0].numpy()), x)
    pattern = v[encoding.program.columns["a"]]
    start = encoding.start(pattern)
    assert len(start) == len(encoding.units) > 0
    assert all(v[column] == value for column, value in start.items())


def test_images_and_rows_keep_their_order() -> None:
    """An input with several axes: the program of each row is the one of the flattened network."""
    flat = oracles.network("shallow")
    shaped = torch.nn.Sequential(torch.nn.Flatten(), *flat)
    x = torch.tensor([[[0.1, -0.2]]], dtype=torch.float64)
    for row in range(3):
        c = tuple(1.0 if i == row else 0.0 for i in range(3))
        values = []
        for net, at in ((flat, x.reshape(1, 2)), (shaped, x)):
            analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.6), Combination(c)), at, None)
            values.append(Highs().solve(encode(analysis, 0).program, Budget(600.0)).incumbent)
        domain = oracles.Domain(np.array([0.1, -0.2]), np.array([-0.5, -0.8]), np.array([0.7, 0.4]))
        exact = oracles.regional(oracles.cells(flat, domain), np.array([c]), math.inf, None)
        assert values == pytest.approx([exact, exact], rel=1e-6)


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize("net", ["shallow", "deep", "leaky", "residual"])
def test_the_relaxation_has_the_triangle_rows(net: str, p: float) -> None:
    """h <= leak z + (1 - leak) u (z - l) / (u - l), added as rows of their own, does not change the LP."""
    analysis = local(Question(net, "linf", "regional", p, "combination"))
    program = encode(analysis, 0).program.relaxed()
    on_d, on_h, constant, _ = fold(analysis).z.arrays
    units = fold(analysis).units
    assert len(units)
    slope = units.negative_slope + (1 - units.negative_slope) * units.upper / (units.upper - units.lower)
    shift = -(1 - units.negative_slope) * units.upper * units.lower / (units.upper - units.lower)
    rows = np.zeros((len(units), len(program.cost)))
    rows[:, program.columns["d"]] = -slope[:, None] * on_d
    rows[:, program.columns["h"]] = np.eye(len(units)) - slope[:, None] * on_h
    triangle = replace(
        program,
        matrix=csc_array(vstack([program.matrix, csc_array(rows)])),
        right=np.concatenate([program.right, slope * constant + shift]),
    )
    without, with_rows = (Highs().solve(each, Budget(600.0)) for each in (program, triangle))
    assert with_rows.claimed == pytest.approx(without.claimed, rel=1e-7)


@pytest.mark.parametrize("question", GRID[::4])
def test_without_the_triangle_rows_the_relaxation_alone_changes(question: Question) -> None:
    """The same integer optimum, every point of the region still feasible, and never a tighter relaxation."""
    analysis = local(question, 1)
    encoding, triangle = encode(analysis, 0, triangle=False), encode(analysis, 0)
    program, truth = encoding.program, question.truth(1)[0]
    assert Highs().solve(program, Budget(600.0)).incumbent == pytest.approx(truth, rel=1e-6)
    c = analysis.placed.rows[0, 0].numpy()
    for x in points(analysis, 20):
        v = variables(analysis, encoding, trace(question.module, x, c), x)
        assert (v >= program.lower - 1e-9).all() and (v <= program.upper + 1e-9).all()
        assert (program.matrix @ v - program.right).max(initial=0.0) <= 1e-9
    loose, tight = (Highs().solve(each.program.relaxed(), Budget(600.0)).claimed for each in (encoding, triangle))
    assert loose >= tight * (1 - 1e-9) >= truth * (1 - 1e-8)


def test_without_the_triangle_rows_the_relaxation_is_looser_somewhere() -> None:
    analysis = local(Question("batch_norm", "linf_cut", "regional", math.inf, "combination"), 1)
    programs = [encode(analysis, 0, triangle=triangle).program.relaxed() for triangle in (True, False)]
    tight, loose = (Highs().solve(program, Budget(600.0)).claimed for program in programs)
    assert loose > 1.04 * tight


def test_what_is_known_of_functionals_cuts_no_point_off_that_rounding_lifts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs have room for rounding; a row that holds what is proved of the network must leave them that room."""
    question = Question("shallow", "linf", "regional", math.inf, "all_logits")
    analysis, both = local(question), FunctionalFamily((0, 1))
    solved = [Highs().solve(encode(analysis, row).program, Budget(600.0)).claimed for row in (0, 1)]
    room = 0.5 * max(solved)
    monkeypatch.setattr("lipreg.folding.network.underflow", lambda analysis: torch.tensor([room]))
    analysis = local(question)
    known = np.array(solved)
    outcome = Highs().solve(encode(analysis, both, proved_bounds=known).program, Budget(600.0))
    assert outcome.status is Status.PROVED
    assert outcome.claimed == pytest.approx(known.max() + room, rel=1e-6)
