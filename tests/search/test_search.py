"""The search against enumeration and the MIP, and what it proves on the way: limits, interrupts, memory."""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lipreg.search.base as course
import lipreg.search.branching as branching
import lipreg.search.engine as engine
import lipreg.search.gradients as gradients
from lipreg.budget import Budget
from lipreg.errors import CrossingBounds
from lipreg.estimators import ESTIMATORS, certify, frozen_analysis
from lipreg.folding import FoldedNetwork
from lipreg.milp import CellStatus, tighten
from lipreg.outputs import AllLogits, Combination, Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search import SearchProgress
from lipreg.search.closing import Closing
from lipreg.search.nodes import Nodes
from lipreg.search.refolding import carry_over
from tests import oracles
from tests.conformance.questions import EVERYTHING
from tests.sampling import one_in
from tests.search.cases import REGIONS, inside, nodes_around, sample

NORMS = (1.0, 2.0, math.inf)
ENGINE = ESTIMATORS["branch_and_bound"]


def random_question(seed: int, p: float, largest: int = 9) -> tuple[nn.Module, torch.Tensor, LocalLipschitz, int]:
    """A network of two to four layers with spread-out kinks, a point, and a ball that leaves units unstable."""
    rng = np.random.default_rng(seed)
    inputs, outputs = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    hidden = [int(rng.integers(3, largest)) for _ in range(rng.integers(1, 4))]
    torch.manual_seed(seed)
    net = oracles.mlp(inputs, *hidden, outputs, negative_slope=0.1 if seed % 7 == 0 else None).double()
    x = torch.randn(1, inputs, dtype=torch.float64)
    radius = float(rng.uniform(0.3, 0.9))
    output = AllLogits() if seed % 2 else Combination(tuple(rng.normal(size=outputs).tolist()))
    return net, x, LocalLipschitz(LinfBall(radius), output, p=p), outputs


def solve(net: nn.Module, x: torch.Tensor, problem: LocalLipschitz, trace: list[SearchProgress]) -> CertifiedInterval:
    (found,) = certify(net, problem, x, estimator=ENGINE.name, budget=Budget(600.0), progress=trace.append)
    return found


def check_trace(trace: list[SearchProgress], truth: float) -> None:
    """Each bound on the way is on its side of the truth, and of each bound of the other kind; both only improve."""
    assert trace
    assert max(step.lower for step in trace) <= min(step.upper for step in trace) * (1 + 1e-9)
    assert all(step.lower <= truth * (1 + 1e-9) + 1e-12 <= step.upper * (1 + 2e-9) + 2e-12 for step in trace)
    for before, after in itertools.pairwise(trace):
        assert after.lower >= before.lower and after.upper <= before.upper
        assert after.nodes >= before.nodes and after.seconds >= before.seconds
    assert trace[-1].open == 0 and trace[-1].gap <= 2e-6


@pytest.mark.parametrize("p", NORMS)
def test_it_is_the_enumeration(p: float) -> None:
    for seed in range(40 if EVERYTHING else 10):
        net, x, problem, outputs = random_question(seed + 1000, p, largest=6)
        center, radius = x[0].numpy(), problem.region.radius  # type: ignore[attr-defined]
        domain = oracles.Domain(center, center - radius, center + radius)
        rows = problem.output.rows(torch.zeros(1, outputs, dtype=torch.float64), None)[0].numpy()
        truth = oracles.regional(oracles.cells(net, domain), rows, p, None)
        trace: list[SearchProgress] = []
        found = solve(net, x, problem, trace)
        assert found.certificate is Certificate.EXACT, (seed, found)
        assert found.lower == pytest.approx(truth, rel=1e-6, abs=1e-12)
        assert found.upper == pytest.approx(truth, rel=1.1e-6, abs=1e-12)
        check_trace(trace, found.lower)


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, math.inf])
def test_it_is_the_mip(p: float) -> None:
    unstable = []
    for seed in range(100) if EVERYTHING else range(4, 100, 6):
        net, x, problem, _ = random_question(seed, p)
        analysis = frozen_analysis(net, problem, x, None)
        unstable.append(int(analysis.unstable_units()))
        trace: list[SearchProgress] = []
        (found,) = ENGINE.intervals(analysis, Budget(600.0), progress=trace.append)
        (other,) = ESTIMATORS["mip"].intervals(analysis, Budget(600.0), known=(found,))
        assert found.certificate is other.certificate is Certificate.EXACT, (seed, found, other)
        assert found.upper == pytest.approx(other.upper, rel=2e-6, abs=1e-12)
        assert found.lower == pytest.approx(other.lower, rel=1e-6, abs=1e-12)
        check_trace(trace, found.lower)
    assert np.mean(unstable) > 5


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("name", ["leaky", "residual", "batch_norm", "dead_units"])
@one_in(3)
def test_every_kind_of_network_and_polytope(name: str, region: str, p: float) -> None:
    net = oracles.network(name)
    x = torch.full((1, 2), 0.2, dtype=torch.float64)
    placed = REGIONS[region].place(x)
    domain = oracles.Domain(x[0].numpy(), placed.lower[0].numpy(), placed.upper[0].numpy(), placed.norm, placed.radius)
    truth = oracles.regional(oracles.cells(net, domain), np.eye(2 if name != "dead_units" else 3), p, None)
    trace: list[SearchProgress] = []
    found = solve(net, x, LocalLipschitz(REGIONS[region], AllLogits(), p=p), trace)
    assert found.status is Status.PROVED
    assert found.upper == pytest.approx(truth, rel=1.1e-6)
    check_trace(trace, truth)


def hard() -> tuple[nn.Module, torch.Tensor, LocalLipschitz]:
    """A network that takes hundreds of nodes."""
    torch.manual_seed(4)
    return (
        oracles.mlp(8, 9, 9, 1).double(),
        torch.zeros(1, 8, dtype=torch.float64),
        LocalLipschitz(LinfBall(1.0), Logit(0)),
    )


def run(budget: Budget, start: float = 0.0) -> tuple[engine.SearchOutcome, list[SearchProgress], float]:
    net, x, problem = hard()
    local = frozen_analysis(net, problem, x, None)
    best, trace = [start], []

    def attain(points: torch.Tensor) -> float:
        values = [float(np.abs(oracles.jacobian(net, point.numpy())).sum()) for point in points]
        best[0] = max(best[0], *values)
        return best[0]

    uppers = torch.tensor([1e3], dtype=torch.float64)
    with torch.no_grad():
        return engine.branch_and_bound(local, uppers, start, attain, budget, trace.append), trace, best[0]


def test_every_limit_leaves_a_proved_interval() -> None:
    whole, trace, truth = run(Budget(math.inf))
    assert whole.status is Status.PROVED and whole.nodes > 200
    assert whole.upper == pytest.approx(truth, rel=1e-6)
    check_trace(trace, truth)
    stop = threading.Event()
    stop.set()
    for limits, says in (
        (Budget(math.inf, nodes=100), Status.NODE_LIMIT),
        (Budget(0.0), Status.TIME_LIMIT),
        (Budget(math.inf, stop=stop), Status.INTERRUPTED),
    ):
        ended, steps, lower = run(limits)
        assert ended.status is says
        assert lower <= truth * (1 + 1e-9) <= ended.upper * (1 + 2e-9)
        assert ended.upper == steps[-1].upper
        assert ended.nodes < whole.nodes


@pytest.mark.parametrize("gap", [0.3, 0.05])
def test_a_gap_that_is_good_enough_ends_the_search(gap: float) -> None:
    whole, _, truth = run(Budget(math.inf))
    net, x, problem = hard()
    (found,) = certify(net, problem, x, estimator=ENGINE.name, budget=Budget(600.0, gap=gap))
    assert found.lower <= truth * (1 + 1e-9) <= found.upper * (1 + 2e-9)
    assert found.gap <= gap * (1 + 1e-9)
    assert found.status in (Status.GAP_LIMIT, Status.PROVED)  # it may close on the way
    few, _, _ = run(Budget(math.inf, gap=gap))
    assert few.nodes <= whole.nodes


def test_a_small_memory_changes_the_order_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "BATCH", (4, 4))
    monkeypatch.setattr(engine, "MIN_CHILDREN", 1)
    wide, wide_trace, truth = run(Budget(math.inf))
    narrow, narrow_trace, again = run(Budget(math.inf, memory=8000))
    assert narrow.status is Status.PROVED
    assert again == pytest.approx(truth, rel=1e-9)
    assert narrow.upper == pytest.approx(wide.upper, rel=1e-6)
    assert max(step.open for step in narrow_trace) < max(step.open for step in wide_trace)


@pytest.mark.parametrize("name", ["deep", "residual", "solid", "line_deep"])
def test_tightening_on_the_way_changes_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TIGHTEN_AFTER", 1)
    monkeypatch.setattr(course, "BATCH", (1, 2))
    monkeypatch.setattr(engine, "MIN_CHILDREN", 1)
    net = oracles.network(name)
    x = torch.full((1, oracles.input_size(net)), 0.2, dtype=torch.float64)
    outputs = oracles.evaluate(net, x.numpy()).shape[1]
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() - 0.9, x[0].numpy() + 0.9)
    truth = oracles.regional(oracles.cells(net, domain), np.eye(outputs), math.inf, None)
    trace: list[SearchProgress] = []
    found = solve(net, x, LocalLipschitz(LinfBall(0.9), AllLogits(), p=math.inf), trace)
    assert found.status is Status.PROVED
    assert found.upper == pytest.approx(truth, rel=1.1e-6)
    check_trace(trace, truth)


def test_nodes_are_carried_over_to_fewer_units() -> None:
    """A point keeps its nodes, and nodes that want a stable unit on its other side go."""
    net, x, problem = hard()
    local = frozen_analysis(net, problem, x, None)
    tighter = tighten(local, Budget(600.0))
    old, new = sample(net, local, 200), sample(net, tighter, 200)
    assert new.folded.count < old.folded.count
    nodes = nodes_around(old, torch.arange(50), known=0.5)
    flipped = replace(nodes, phase=-nodes.phase)
    carried = carry_over(nodes, old.folded, new.folded, tighter)
    assert len(carried) == 50
    assert torch.equal(inside(old, nodes), inside(new, carried))
    assert len(carry_over(flipped, old.folded, new.folded, tighter)) < 50


def test_the_same_search_twice_is_the_same() -> None:
    one, first, _ = run(Budget(math.inf))
    two, second, _ = run(Budget(math.inf))
    assert one == two
    assert [replace(step, seconds=0.0) for step in first] == [replace(step, seconds=0.0) for step in second]


def test_every_leaf_of_the_tree_is_counted_by_what_closed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each split makes one leaf more, so a proved search has closed as many nodes as it split, and one a family."""
    split, branch = [0], branching.branch

    def counted(network: FoldedNetwork, nodes: Nodes, cutoff: float) -> Nodes:
        split[0] += len(nodes)
        return branch(network, nodes, cutoff)

    monkeypatch.setattr(branching, "branch", counted)
    found, _, _ = run(Budget(math.inf))
    assert found.status is Status.PROVED and split[0] > 100
    assert sum(found.closings.values()) == split[0] + 1
    assert {Closing.CUTS, Closing.MAX_CUT, Closing.SWITCHES} <= {
        kind for kind, count in found.closings.items() if count
    }
    assert not {Closing.SECANTS, Closing.FORMS, Closing.PIECE} & set(found.closings)


def test_a_bound_that_leaves_cells_out_contradicts_the_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The incumbent's own value must not pass for a proof where the bounds are wrong."""
    net, x, problem = hard()
    (known,) = certify(net, problem, x, estimator="sampling")
    real = gradients.interval_entries
    monkeypatch.setattr(gradients, "interval_entries", lambda *args: tuple(0.1 * end for end in real(*args)))
    with pytest.raises(CrossingBounds):
        certify(net, problem, x, estimator=ENGINE.name, known=(known,))


def test_a_cell_that_no_program_settles_stays_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are taken for empty on proof alone."""
    net, x, problem = hard()
    (right,) = certify(net, problem, x, estimator=ENGINE.name)
    monkeypatch.setattr(engine, "settle_cell", lambda *args: (CellStatus.THIN, None))
    (found,) = certify(net, problem, x, estimator=ENGINE.name)
    assert found.upper >= right.lower
