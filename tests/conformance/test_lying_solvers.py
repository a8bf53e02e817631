"""Solvers that lie, in every way that an answer can be wrong: no upper end below the truth, whoever is asked.

A solver of programs is code of others. Reports on public solvers have wrong optima on programs of four to six variables, so
each estimator is asked here with engines that are wrong on purpose, and the pieces that prove are asked with multipliers and
rays that are noise.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array
from torch import nn

import lipreg.milp.relaxations as relaxations
import lipreg.search.engine as engine
from lipreg import AllLogits, LinfBall, LocalLipschitz, certify
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS
from lipreg.estimators.exact import mip
from lipreg.estimators.relaxations.lp import ProgramEstimator
from lipreg.estimators.settings import Settings
from lipreg.milp import (
    SOLVERS,
    Found,
    Highs,
    Options,
    Program,
    Solver,
    get_solver,
    installed_solvers,
    prove,
    register_solver,
)
from lipreg.milp.relaxations import ProgramRelaxation
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles
from tests.conftest import Unsound
from tests.sampling import sampled

Lie = Callable[[Found, Program, np.random.Generator], Found]


def _nonsense(found: Found, program: Program, rng: np.random.Generator) -> Found:
    """Of a MIP a point that breaks every rule; of an LP multipliers without sense."""
    point = rng.uniform(program.lower, program.upper)
    point[program.integer] = np.round(point[program.integer])
    return replace(found, point=point, bound=float(program.cost @ point) - 0.5, multipliers=_noise(program, rng))


def _noise(program: Program, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=len(program.right)) * 10.0 ** rng.uniform(-3, 3, size=len(program.right))
    noise[rng.random(len(noise)) < 0.1] = math.nan
    return noise


LIES: dict[str, Lie] = {
    "a dual bound that is too low": lambda f, p, r: replace(f, bound=None if f.bound is None else 0.3 * f.bound - 0.1),
    "no point at all": lambda f, p, r: Found(Status.PROVED, "Infeasible", infeasible=True),
    "optimal, with a point that is none": _nonsense,
    "proved, without a point": lambda f, p, r: Found(Status.PROVED, "Optimal", bound=-1e3, multipliers=np.full(3, 1e9)),
    "a poor point is the best": lambda f, p, r: replace(f, point=np.maximum(p.lower, 0.0), bound=0.0),
    "nothing below zero": lambda f, p, r: replace(f, bound=-math.inf, multipliers=np.full(len(p.right), math.inf)),
}


class Liar(Solver):
    """HiGHS, with its answers changed."""

    package, finest = "highspy", 1e-10
    lie: Lie

    def version(self) -> str:
        return "Liar 1"

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        return type(self).lie(Highs().run(program, budget, options), program, np.random.default_rng(len(program.cost)))


@pytest.fixture(params=LIES)
def liar(request: pytest.FixtureRequest) -> Iterator[str]:
    register_solver("liar")(type("ThisLiar", (Liar,), {"lie": staticmethod(LIES[request.param])}))
    yield "liar"
    del SOLVERS["liar"]


X = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
RADIUS = 0.7
DOMAIN = oracles.Domain(X[0].numpy(), X[0].numpy() - RADIUS, X[0].numpy() + RADIUS)


def network(seed: int, *widths: int) -> nn.Sequential:
    """Small, and in every second layer with rows of very different sizes."""
    torch.manual_seed(seed)
    net = oracles.mlp(*widths).double()
    generator = torch.Generator().manual_seed(seed)
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    for layer in linear[1:-1:2]:
        scale = 10.0 ** (4 * torch.rand(len(layer.weight), generator=generator, dtype=torch.float64) - 2)
        layer.weight.data *= scale[:, None]
        layer.bias.data *= scale
    return net


def truth(net: nn.Module, scope: str, p: float) -> float:
    """The constant by enumeration; of the pointed scope a lower end by sampling: enough to find a false upper end."""
    if scope == "regional":
        return oracles.regional(oracles.cells(net, DOMAIN), np.eye(2), p, None)
    x = np.random.default_rng(0).uniform(DOMAIN.lower, DOMAIN.upper, size=(400, 2))
    return float(oracles.quotients(net, DOMAIN, x, np.eye(2), p, None).max())


PROGRAMS = [name for name, method in ESTIMATORS.items() if isinstance(method, ProgramEstimator)]


def check(name: str, p: float, solver: str = "highs", seed: int = 7) -> CertifiedInterval:
    """The interval, which holds the truth, and is the truth where it says so."""
    net = network(seed, 2, 6, 5, 2)
    scope = ESTIMATORS[name].scopes[0]
    problem = LocalLipschitz(LinfBall(RADIUS), AllLogits(), scope, p)  # type: ignore[arg-type]
    true = truth(net, scope, p)
    (found,) = certify(net, problem, X, estimator=name, budget=Budget(600.0), settings=Settings(solver=solver))
    assert found.upper >= true * (1 - 1e-9), found
    if scope == "regional":
        assert found.lower <= true * (1 + 1e-9), found
        if found.certificate is Certificate.EXACT:
            assert found.upper == pytest.approx(true, rel=2e-5)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_upper_end_below_the_truth(liar: str, name: str, request: pytest.FixtureRequest) -> None:
    turn = [*LIES].index(request.node.callspec.params["liar"]) + PROGRAMS.index(name)
    for p in (p for place, p in enumerate((1.0, math.inf)) if sampled(2, turn, place)):
        check(name, p, liar)


def test_a_claim_that_a_point_refutes_is_named_and_the_answer_is_proved_without_it() -> None:
    register_solver("liar")(type("ThisLiar", (Liar,), {"lie": staticmethod(LIES["a dual bound that is too low"])}))
    try:
        for name in ("mip", "lipmip"):
            found = check(name, math.inf, "liar")
            assert (found.certificate, found.status) == (Certificate.EXACT, Status.PROVED)
            assert "Liar 1" in found.detail and "is wrong: a point attains more" in found.detail
            assert "MIP" not in found.proof or "branch and bound" in found.proof
    finally:
        del SOLVERS["liar"]


def test_a_claim_that_nothing_confirms_is_no_upper_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time left for the proof the claim stays what it is, and the interval is that of the relaxation."""
    monkeypatch.setattr(mip, "confirm", lambda search, encoding: "LP dual bound")
    found, (relaxed,) = check("mip", math.inf), [check("lp", math.inf)]
    assert found.upper == pytest.approx(relaxed.upper) and found.certificate is not Certificate.EXACT
    claim = re.search(r"The solver's claim, at most ([0-9.e+-]+), is unconfirmed", found.detail)
    assert claim is not None and found.lower <= float(claim[1]) * (1 + 1e-6) < found.upper


@pytest.mark.parametrize("lie", LIES)
def test_no_upper_end_below_the_truth_where_the_embedded_solver_lies_everywhere(
    monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """In programs, in the cells of branch and bound, in tightening, and in every linear program of a tree."""
    rng, run = np.random.default_rng(0), Highs.run
    monkeypatch.setattr(Highs, "run", lambda self, asked, limits: LIES[lie](run(self, asked, limits), asked, rng))

    def said(self: ProgramRelaxation) -> object:
        asked = self.program
        point = rng.uniform(-2, 2, size=len(asked.cost)) * (math.nan if rng.random() < 0.3 else 1.0)
        return relaxations._Answer(bool(rng.random() < 0.3), _noise(asked, rng), point)

    monkeypatch.setattr(ProgramRelaxation, "_answer", said)
    monkeypatch.setattr(engine, "TIGHTEN_AFTER", 0)
    monkeypatch.setattr(mip, "TIGHTEN_FROM", 0)
    for name in ("mip", "mip_pointed", "branch_and_bound"):
        check(name, math.inf)


# ---------------------------------------------------------------- tiny programs


def tiny(seed: int) -> tuple[Program, float]:
    """Four binaries and two variables below big-M rows whose sizes differ by six orders, and the optimum in rationals.

    The rows of a variable y_k are y_k <= b_i + sum_j m_ij a_j, so that its best value is their minimum for every choice of
    the binaries: programs of the kind of ours, and of the size of the public reports.
    """
    rng = np.random.default_rng(seed)
    binaries, variables, each = 4, 2, 3
    rows, right, kept = [], [], []
    for k in range(variables):
        for _ in range(each):
            scale = 10.0 ** rng.uniform(-3, 3)
            m, b = rng.normal(size=binaries) * scale * 10.0 ** rng.uniform(-2, 2, binaries), abs(rng.normal()) * scale
            size = 10.0 ** rng.uniform(-3, 3)
            row = np.concatenate([-m * size, np.zeros(variables)])
            row[binaries + k] = size
            rows.append(row)
            right.append(b * size)
            kept.append(k)
    knapsack = np.concatenate([rng.integers(1, 5, binaries), np.zeros(variables)]).astype(float)
    rows.append(knapsack)
    right.append(float(rng.integers(2, 8)))
    ends = 10.0 ** rng.uniform(2, 4, variables)
    cost = np.concatenate([rng.normal(size=binaries) * 10.0 ** rng.uniform(-3, 2, binaries), np.ones(variables)])
    asked = Program(
        cost, 0.0, csc_array(np.array(rows)), np.array(right), 0,
        np.concatenate([np.zeros(binaries), -ends]), np.concatenate([np.ones(binaries), ends]), np.arange(binaries),
    )  # fmt: skip
    matrix = [[Fraction(v) for v in row] for row in rows]
    best = None
    for choice in itertools.product((0, 1), repeat=binaries):
        room = [
            Fraction(b) - sum(v * a for v, a in zip(row, choice, strict=False))
            for row, b in zip(matrix, right, strict=True)
        ]
        value = sum(Fraction(c) * a for c, a in zip(cost.tolist(), choice, strict=False))
        possible = room[-1] >= 0
        for k in range(variables):
            top = min([Fraction(ends[k]), *(room[i] / matrix[i][binaries + k] for i, of in enumerate(kept) if of == k)])
            possible &= top >= -Fraction(ends[k])
            value += top
        if possible and (best is None or value > best):
            best = value
    return asked, -math.inf if best is None else float(best)


@pytest.mark.parametrize("solver", installed_solvers())
def test_what_is_proved_of_tiny_programs_does_not_lean_on_a_solver(solver: str) -> None:
    """Whatever an installed solver claims, its ``dual_bound`` is true; and the tree's bound is the optimum."""
    for seed in range(20):
        asked, best = tiny(seed)
        outcome = get_solver(solver).solve(asked, Budget(600.0))
        assert outcome.dual_bound >= best
        proof = prove(asked, -math.inf, Budget(600.0))
        assert proof.status is Status.PROVED and proof.bound >= best
        assert proof.bound <= best + 1e-6 * max(1.0, abs(best))


def test_a_tree_whose_linear_programs_are_noise_still_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    honest = ProgramRelaxation._answer

    def said(self: ProgramRelaxation) -> object:
        true = honest(self)
        if rng.random() < 0.5:
            noise = _noise(self.program, rng)
            return replace(true, infeasible=bool(rng.random() < 0.5), multipliers=noise)
        return replace(true, infeasible=not true.infeasible)  # a vector of the other kind

    monkeypatch.setattr(ProgramRelaxation, "_answer", said)
    for seed in range(20):
        asked, best = tiny(seed)
        assert prove(asked, -math.inf, Budget(600.0)).bound >= best
        assert prove(asked, best + 1.0, Budget(600.0, nodes=3)).bound >= best


def test_a_tree_finds_that_there_is_no_point() -> None:
    asked, best = tiny(0)
    assert best > -math.inf
    impossible = asked.at_least(best + 1e-3 * abs(best))
    assert prove(impossible, -math.inf, Budget(600.0)).bound == -math.inf
    assert prove(asked.at_least(best - 1e-3 * abs(best)), -math.inf, Budget(600.0)).bound >= best


# ---------------------------------------------------------------- networks on which a solver was wrong


@pytest.mark.parametrize("solver", installed_solvers())
def test_a_badly_scaled_network_on_which_a_presolve_cut_off_the_optimum(unsound: Unsound, solver: str) -> None:
    (found,) = certify(unsound.network, unsound.problem, unsound.x, estimator="mip", settings=Settings(solver=solver))
    assert (found.certificate, found.status) == (Certificate.EXACT, Status.PROVED)
    assert found.lower == pytest.approx(131.5514391538, rel=1e-9)


def test_a_badly_scaled_network_on_which_the_usual_settings_are_wrong_by_a_little() -> None:
    """HiGHS 1.15 says at most 259748.2 of it, with its tolerances at 1e-8 and started from the best witness."""
    rng, widths = np.random.default_rng(261), (2, 7, 7, 7, 1)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        scale = 10.0 ** rng.uniform(-3, 3, size=b)
        layer = nn.Linear(a, b).double()
        layer.weight.data = torch.from_numpy(rng.normal(size=(b, a)) * scale[:, None])
        layer.bias.data = torch.from_numpy(rng.normal(size=b) * 0.3 * scale)
        layers += [layer, nn.ReLU()]
    net, x = nn.Sequential(*layers[:-1]), torch.from_numpy(rng.normal(size=(1, 2)) * 0.5)
    problem = LocalLipschitz(LinfBall(10.0 ** rng.uniform(-1, 0.7)), AllLogits(), p=1.0)
    (found,) = certify(net, problem, x, estimator="mip")
    assert (found.certificate, found.status) == (Certificate.EXACT, Status.PROVED)
    assert found.witness is not None
    slope = np.abs(oracles.jacobian(net, np.array(found.witness.point))).max()
    assert slope == pytest.approx(259750.05558913, rel=1e-12)
    assert found.upper >= slope
