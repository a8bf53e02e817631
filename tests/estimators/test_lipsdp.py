"""LipSDP: above the exact constants, as tight as a second solver says, and a bound whatever the solver does."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lipreg.bounds import Slopes
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.estimators import certify, frozen_analysis, get_estimator
from lipreg.estimators.naming import CUT
from lipreg.estimators.sdp import lipsdp, sector_norms
from lipreg.estimators.sdp.ascent import affordable, ascend
from lipreg.estimators.sdp.multipliers import QuadraticForm
from lipreg.estimators.sdp.sectors import Sectors, sectors, unstable_count
from lipreg.estimators.settings import Settings
from lipreg.outputs import AllMargins, AllPairs, Combination, Logit, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import CertifiedInterval, Status
from tests import oracles
from tests.conftest import Reference
from tests.given import as_asked
from tests.test_reference import CASES, network, point, question

SMALL = [case for case in CASES if case.startswith(("digits_s", "rand"))]
"""Cases whose programs with all units open are small."""


def ask(reference: Reference, case: str, scope: str, name: str = "lipsdp", **given: Any) -> CertifiedInterval:
    arrays = reference.case(case)
    asked = question(arrays, Combination(tuple(arrays["c"].tolist())), "2")
    problem = LocalLipschitz(asked.region, asked.output, scope, 2.0)  # type: ignore[arg-type]
    (found,) = certify(network(arrays), problem, point(arrays), estimator=name, **as_asked(given))
    return found


# ---------------------------------------------------------------- reference networks


@pytest.mark.parametrize("case", CASES)
def test_it_is_above_the_exact_constant_and_as_tight_as_a_second_solver(reference: Reference, case: str) -> None:
    exact = reference.exact[case]["2"]
    found = ask(reference, case, "regional")
    first, second = (ask(reference, case, "regional", sdp_solver=name) for name in ("SCS", "CLARABEL"))
    assert found.status is first.status is second.status is Status.BOUNDED
    assert min(found.upper, first.upper, second.upper) >= exact * (1 - 1e-9)
    assert second.estimate is not None and first.estimate is not None and found.estimate is None
    assert second.estimate * (1 - 1e-5) <= first.upper <= second.estimate * 1.01
    assert f"{first.estimate:.9g} before the repair" in first.detail and "SCS" in first.detail
    assert "by ascent" in found.detail
    assert second.estimate * (1 - 1e-5) <= found.upper <= min(second.estimate * (1 + 2e-4), first.upper * (1 + 1e-5))
    assert found.upper <= 2.3 * exact  # 1.0000 to 1.016 on the trained networks


@pytest.mark.parametrize("case", CASES)
def test_pointed_bounds_are_above_quotients_and_below_regional_ones(reference: Reference, case: str) -> None:
    found = ask(reference, case, "pointed")
    assert found.upper >= ask(reference, case, "pointed", "sampling").lower
    assert found.upper <= ask(reference, case, "regional").upper * (1 + 1e-4)


@pytest.mark.parametrize("case", SMALL)
def test_global_bounds_lie_between_the_local_ones_and_the_spectral_product(reference: Reference, case: str) -> None:
    whole = ask(reference, case, "regional", "lipsdp_global")
    assert whole.upper >= ask(reference, case, "regional").upper * (1 - 1e-4)
    assert whole.upper <= ask(reference, case, "regional", "spectral").upper
    assert whole.upper == pytest.approx(ask(reference, case, "pointed", "lipsdp_global").upper, rel=1e-9)


# ---------------------------------------------------------------- functionals


def small(*widths: int, seed: int = 0, leak: float | None = None) -> torch.nn.Module:
    torch.manual_seed(seed)
    return oracles.mlp(*widths, negative_slope=leak).double()


def bound(net: torch.nn.Module, output: Output, scope: str = "regional", q: float | None = None, **given: Any) -> float:
    x = torch.full((1, oracles.input_size(net)), 0.2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), output, scope, 2.0, q)  # type: ignore[arg-type]
    return certify(net, problem, x, torch.tensor([1]), estimator="lipsdp", **as_asked(given))[0].upper


def test_several_functionals_are_the_largest_of_them() -> None:
    net = small(3, 8, 8, 4)
    margins = [bound(net, Margin(1, other)) for other in (0, 2, 3)]
    assert bound(net, AllMargins()) == pytest.approx(max(margins), rel=1e-3)
    pairs = [bound(net, Margin(*pair)) for pair in itertools.combinations(range(4), 2)]
    assert bound(net, AllPairs()) == pytest.approx(max(pairs), rel=1e-3)
    logits = [bound(net, Logit(k)) for k in range(4)]
    assert bound(net, Vector(), q=math.inf) == pytest.approx(max(logits), rel=1e-3)
    assert max(logits) <= bound(net, Vector(), q=2.0) * 1.001 <= 1.002 * float(np.linalg.norm(logits))


def test_one_unit_is_bounded_by_its_weights() -> None:
    """c relu(w x + b): the constant is |c| |w|, and in pointed scope that times the secant to the end of the region."""
    net = small(2, 1, 1)
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3.0, 4.0]]))  # type: ignore[index, operator]
        net[0].bias.fill_(-2.4)  # type: ignore[index, operator]
        net[2].weight.fill_(2.0)  # type: ignore[index, operator]
    # z = 3 x + 4 y - 2.4 is -1 at (0.2, 0.2) and at most 4.6 within 0.8
    assert bound(net, Logit(0)) == pytest.approx(10.0, rel=1e-6)
    assert bound(net, Logit(0), "pointed") == pytest.approx(10.0 * 4.6 / 5.6, rel=1e-6)


# ---------------------------------------------------------------- the sectors


class Pooled(torch.nn.Module):
    """Overlapping windows between leaky layers, and an input that goes past them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.past = torch.nn.Linear(2, 5), torch.nn.Linear(4, 3), torch.nn.Linear(2, 3)
        self.act, self.pool = torch.nn.LeakyReLU(0.1), torch.nn.MaxPool1d(2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.pool(self.act(self.a(x)))) + self.past(x)


NETS: dict[str, Callable[[], torch.nn.Module]] = {
    "deep": lambda: small(2, 5, 4, 3, 2),
    "leaky": lambda: small(2, 5, 4, 2, leak=0.2),
    "residual": lambda: oracles.network("residual"),
    "pooled": lambda: Pooled().double(),
}


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("kind", NETS)
def test_sectors_say_what_the_network_does(kind: str, scope: str) -> None:
    """Delta z and Delta f between pairs of points, from the network's own units, and every unit in its sector."""
    net = NETS[kind]()
    x = torch.full((1, 2), 0.2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), Vector(), scope, 2.0, 2.0)  # type: ignore[arg-type]
    local = frozen_analysis(net, problem, x, None)
    graph, region = local.graph, local.placed.region
    found = sectors(graph, local.slopes, local.shares, region.movable[0], local.placed.rows[0])
    generator = torch.Generator().manual_seed(0)
    near, far = region.sample(200, generator)[0], region.sample(200, generator)[0]
    if scope == "pointed":
        near = x.expand_as(far)
    before, after = graph.values(near), graph.values(far)
    change = [b - a for a, b in zip(before, after, strict=True)]
    w = []
    for index, node in enumerate(graph.nodes):
        if index in local.slopes:
            low, high = local.slopes[index].lower[0], local.slopes[index].upper[0]
            w.append((change[index] - low * change[node.source])[:, high > low])  # type: ignore[union-attr]
        elif index in local.shares:  # any weights that give the pool's change will do: only their sums are seen
            able = local.shares[index].candidates[0].double()
            members = node.members(change[node.source])  # type: ignore[union-attr]
            mean = (members * able / able.sum(-1, keepdim=True)).sum(-1, keepdim=True)
            first = torch.zeros_like(able)
            first[:, 0] = 1.0
            opened = able.sum(-1) > 1
            rest = (change[index].reshape(mean.shape[:-1]) - mean[..., 0]).unsqueeze(-1) * first
            w.append(rest[:, opened][:, able[opened] > 0])
    units, d = torch.cat(w, 1), far - near
    z = d @ found.unit_input.T + units @ found.unit_unit.T
    assert units.shape[1] == unstable_count(local.slopes, local.shares)
    if kind != "pooled":
        assert (units * (z - units)).min() >= -1e-12
    torch.testing.assert_close(d @ found.row_input.T + units @ found.row_unit.T, change[-1], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- the repair


def drawn(units: int, inputs: int, rows: int, seed: int) -> Sectors:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return Sectors(normal(units, inputs), normal(units, units).tril(-1), normal(rows, inputs), normal(rows, units))


def is_positive_semidefinite(form: QuadraticForm, rho: float, multipliers: np.ndarray) -> bool:
    """Elimination in exact arithmetic, on the matrix of the definition."""
    m, t, rows = ([[Fraction(v) for v in row] for row in part] for part in (form.unit_input, form.unit_unit, form.rows))
    inputs, units = form.unit_input.shape[1], form.units
    size = inputs + units
    matrix = [[-sum((row[i] * row[j] for row in rows), Fraction(0)) for j in range(size)] for i in range(size)]
    for i in range(inputs):
        matrix[i][i] += Fraction(rho)
    for u in range(units):
        value = Fraction(multipliers[u])
        matrix[inputs + u][inputs + u] += value
        for j, entry in enumerate([*m[u], *t[u]]):
            matrix[inputs + u][j] -= value * entry / 2
            matrix[j][inputs + u] -= value * entry / 2
    for k in range(size):
        pivot = matrix[k][k]
        if pivot < 0 or (pivot == 0 and any(matrix[k][j] != 0 for j in range(k, size))):
            return False
        for i in range(k + 1, size):
            if pivot:
                factor = matrix[i][k] / pivot
                matrix[i] = [a - factor * b for a, b in zip(matrix[i], matrix[k], strict=True)]
    return True


@given(
    units=st.integers(1, 4),
    inputs=st.integers(1, 3),
    rows=st.integers(1, 2),
    seed=st.integers(0, 10**6),
    size=st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 1e3]),
    rho=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1e4]),
)
def test_any_multipliers_are_repaired(units: int, inputs: int, rows: int, seed: int, size: float, rho: float) -> None:
    """Feasible in exact arithmetic, and above the norm of every Jacobian that the sectors allow."""
    given_sectors = drawn(units, inputs, rows, seed)
    form = QuadraticForm.of(given_sectors)
    rng = np.random.default_rng(seed)
    multipliers = size * rng.normal(size=units)
    repaired, kept = form.repaired(rho, multipliers)
    assert is_positive_semidefinite(form, repaired, kept)
    upper = form.bound(rho, multipliers)[0]
    m, t, c, g = (
        part.numpy()
        for part in (
            given_sectors.unit_input,
            given_sectors.unit_unit,
            given_sectors.row_input,
            given_sectors.row_unit,
        )
    )
    for _ in range(50):
        s = np.diag(rng.integers(2, size=units) * rng.uniform(0.5, 1.0))
        jacobian = c + g @ np.linalg.solve(np.eye(units) - s @ t, s @ m)
        assert np.linalg.norm(jacobian, 2) <= upper * (1 + 1e-12)


@given(seed=st.integers(0, 10**6), units=st.integers(1, 5))
def test_the_slack_direction_has_no_eigenvalue_below_one(seed: int, units: int) -> None:
    form = QuadraticForm.of(drawn(units, 2, 1, seed))
    rho, kappa = form.slack()
    linear = form.matrix(rho, kappa) + form.rows.T @ form.rows
    assert np.linalg.eigvalsh(linear)[0] >= 1 - 1e-9
    entries, constant = form.coefficients()
    written = (entries @ np.concatenate([[rho], kappa]) + constant).reshape(len(form), len(form))
    np.testing.assert_allclose(written, form.matrix(rho, kappa), rtol=1e-12, atol=1e-12)


def test_multipliers_that_leave_float64_prove_what_none_do() -> None:
    """Another functional's, where the gradients of the two are 1e160 apart."""
    form = QuadraticForm.of(drawn(3, 2, 1, 0))
    none, far = np.zeros(3), replace(form, size=form.size * 1e-160)
    for multipliers in (np.full(3, 1e10), np.array([math.inf, 1.0, 0.0])):
        assert far.bound_by(multipliers) == pytest.approx(form.bound(0.0, none)[0] * 1e-160)


# ---------------------------------------------------------------- solvers and limits


@pytest.mark.parametrize("solver", ["NOPE", "HIGHS", "scs"])
def test_a_solver_that_cannot_is_refused_with_those_that_can(solver: str) -> None:
    with pytest.raises(InvalidInput, match=r"sdp_solver.*CLARABEL, SCS"):
        Settings(sdp_solver=solver)


def stopped(iterations: int, case: str, reference: Reference) -> CertifiedInterval:
    arrays = reference.case(case)
    problem = question(arrays, Combination(tuple(arrays["c"].tolist())), "2")
    analysis = frozen_analysis(network(arrays), problem, point(arrays), None)
    (found,) = lipsdp.LipSDP(iterations).intervals(analysis, Budget(), Settings(sdp_solver="SCS"))
    return found


@pytest.mark.parametrize("iterations", [1, 10, 50])
def test_an_iteration_limit_leaves_a_bound(reference: Reference, iterations: int) -> None:
    for case in ("rand0", "digits_s_p0_e0.1"):
        exact, trivial = reference.exact[case]["2"], ask(reference, case, "regional", "spectral").upper
        found = stopped(iterations, case, reference)
        assert exact <= found.upper <= trivial
        assert "unsolved (optimal_inaccurate)" in found.detail
        assert found.status is (Status.FAILED if found.upper == trivial else Status.BOUNDED)


FEW_PASSES = ("affine_relu", "fastlip", "spectral")


def fail(self: cp.Problem, *args: Any, **options: Any) -> None:
    raise cp.SolverError("it diverged")


def test_a_solver_that_fails_leaves_the_least_of_a_few_passes(reference: Reference, monkeypatch: Any) -> None:
    monkeypatch.setattr(cp.Problem, "solve", fail)
    found = ask(reference, "rand0", "regional", sdp_solver="SCS")
    assert found.status is Status.FAILED and "it diverged" in found.detail
    assert found.proof.removesuffix("-all") in FEW_PASSES and repr(found.proof) in found.detail
    assert found.upper <= min(ask(reference, "rand0", "regional", name).upper for name in FEW_PASSES) * (1 + 1e-12)


def test_no_time_leaves_what_costs_next_to_nothing(reference: Reference) -> None:
    stop = threading.Event()
    stop.set()
    for limits, status in (({"seconds": 0.0}, Status.TIME_LIMIT), ({"stop": stop}, Status.INTERRUPTED)):
        found = ask(reference, "rand0", "regional", **limits)
        assert found.status is status and found.proof.removesuffix(CUT) in ("affine_relu-all", "fastlip-all")
        assert found.upper <= ask(reference, "rand0", "regional", "spectral").upper


# ---------------------------------------------------------------- networks too wide for one program


def test_ascent_goes_before_a_solver_that_may_take_long(reference: Reference, monkeypatch: Any) -> None:
    for case in ("digits_m_p0_e0.1", "rand1", "digits_d_p0_e0.02"):
        alone = ask(reference, case, "regional")
        monkeypatch.setattr(sector_norms, "ASCENT", 0)
        both = ask(reference, case, "regional", sdp_solver="SCS")
        assert alone.upper * (1 - 1e-4) <= both.upper <= alone.upper and both.estimate is not None
        with monkeypatch.context() as patch:
            patch.setattr(cp.Problem, "solve", fail)
            left = ask(reference, case, "regional", sdp_solver="SCS")
        assert left.status is Status.BOUNDED and "it diverged" in left.detail and left.upper == alone.upper
        assert (left.proof, left.estimate) == ("LipSDP", None), "no solver said anything that was repaired"


def least(form: QuadraticForm, multipliers: np.ndarray | None) -> float:
    assert multipliers is not None
    return form.bound(form.smallest(multipliers) or math.inf, multipliers)[0]


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("units", [1, 6, 20])
def test_ascent_ends_at_the_value_of_the_program(units: int, rows: int) -> None:
    form = QuadraticForm.of(drawn(units, 3, rows, units))
    rho, multipliers = cp.Variable(nonneg=True), cp.Variable(units, nonneg=True)
    entries, constant = form.coefficients()
    matrix = cp.reshape(entries @ cp.hstack([rho, multipliers]) + constant, (len(form), len(form)), order="C")
    value = cp.Problem(cp.Minimize(rho), [matrix >> 0]).solve(solver="CLARABEL")
    found = least(form, ascend(form, 0.0, Budget()))
    assert found == pytest.approx(form.size * math.sqrt(value), rel=1e-4)  # type: ignore[arg-type]


def test_ascent_ends_when_it_is_told_to_and_where_it_is_enough() -> None:
    form = QuadraticForm.of(drawn(24, 3, 1, 0))
    whole = least(form, ascend(form, 0.0, Budget()))
    assert least(form, ascend(form, 0.0, Budget(0.0).started())) >= whole * (1 + 1e-6)
    assert whole <= least(form, ascend(form, 2 * whole, Budget())) <= 2 * whole


def test_what_is_affordable_grows_with_time_and_memory() -> None:
    """A factor of a side takes its third power; matrices its square."""
    assert affordable(Budget(1e-6)) < affordable(Budget(1.0)) < affordable(Budget()) <= affordable(Budget(math.inf))
    assert affordable(Budget(1.0)) == pytest.approx(2 * affordable(Budget(1 / 8)), abs=2)
    much, little = (affordable(Budget(math.inf, memory=memory)) for memory in (2**30, 2**28))
    assert much == pytest.approx(2 * little, abs=2)


@pytest.mark.parametrize("solver", [None, "SCS"])
def test_a_chain_is_cut_into_blocks(reference: Reference, monkeypatch: Any, solver: str | None) -> None:
    limit = "LARGEST" if solver else "UNITS"  # of one piece
    for case in ("digits_d_p0_e0.02", "rand0"):
        whole = ask(reference, case, "regional", sdp_solver=solver).upper
        monkeypatch.setattr(lipsdp, "affordable", lambda budget: -(2**20))
        monkeypatch.setattr(lipsdp, "UNITS", 8)
        cut = ask(reference, case, "regional", sdp_solver=solver)
        assert "blocks of the network" in cut.detail
        assert whole * (1 - 1e-4) <= cut.upper <= ask(reference, case, "regional", "spectral").upper
        monkeypatch.setattr(lipsdp, limit, 4)
        partly = ask(reference, case, "regional", sdp_solver=solver)
        assert "by the product of norms" in partly.detail
        assert cut.upper * (1 - 1e-4) <= partly.upper <= ask(reference, case, "regional", "spectral").upper * (1 + 1e-9)
        monkeypatch.setattr(lipsdp, limit, -1)
        products = ask(reference, case, "regional", sdp_solver=solver)
        assert (products.status, products.estimate) == (Status.FAILED, None)
        assert products.proof.removesuffix("-all") in FEW_PASSES
        monkeypatch.undo()


@pytest.mark.parametrize(
    "solver, budget, status",
    [
        ("SCS", Budget(), Status.FAILED),
        (None, Budget(1e9), Status.MEMORY_LIMIT),
        (None, Budget(60.0, memory=2**60), Status.TIME_LIMIT),
    ],
    ids=str,
)
def test_what_cannot_be_cut_says_so(monkeypatch: Any, solver: str | None, budget: Budget, status: Status) -> None:
    monkeypatch.setattr(lipsdp, "affordable", lambda budget: 0)
    monkeypatch.setattr(lipsdp, "UNITS", 1)
    monkeypatch.setattr(lipsdp, "LARGEST", 1)
    net, x = oracles.network("residual"), torch.zeros(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), Logit(0), "regional", 2.0)
    (found,) = certify(net, problem, x, estimator="lipsdp", settings=Settings(sdp_solver=solver), budget=budget)
    assert found.status is status and "too many for one program" in found.detail
    assert found.upper <= min(certify(net, problem, x, estimator=name)[0].upper for name in FEW_PASSES) * (1 + 1e-12)


def test_sectors_of_all_slopes_do_not_depend_on_the_region() -> None:
    estimator = get_estimator("lipsdp_global")
    assert isinstance(estimator, lipsdp.GlobalLipSDP)
    net, x = small(2, 4, 2, leak=0.3), torch.zeros(1, 2, dtype=torch.float64)
    for radius in (1e-6, 10.0):
        local = frozen_analysis(net, LocalLipschitz(LinfBall(radius), Logit(0), p=2.0), x, None)
        slopes, _ = estimator.slopes(local)
        assert all(isinstance(s, Slopes) and (s.lower == 0.3).all() and (s.upper == 1).all() for s in slopes.values())
