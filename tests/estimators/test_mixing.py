"""The max-cut relaxation against the semidefinite program itself, against all sign vectors, and where it steps aside."""

from __future__ import annotations

import itertools
import math
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch

from lipreg import AllMargins, LinfBall, LocalLipschitz, Margin, certify
from lipreg.bounds import deviation
from lipreg.bounds.deviation import deviations
from lipreg.bounds.semidefinite import deviating_bound
from lipreg.budget import Budget, OutOfBudget
from lipreg.estimators import frozen_analysis
from lipreg.estimators.jacobians import mixing
from lipreg.estimators.jacobians.deviation import row_bounds
from lipreg.estimators.jacobians.mixing import relaxed_rows
from lipreg.results import CertifiedInterval
from tests import oracles

X = torch.tensor([[0.2, -0.1, 0.3]], dtype=torch.float64)


def net(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return oracles.mlp(3, 6, 5, 3).double()


def ask(
    network: torch.nn.Module, output: Any, p: float, scope: Any = "regional", name: str = "mixing"
) -> CertifiedInterval:
    problem = LocalLipschitz(LinfBall(0.6), output, scope, p)
    return certify(network, problem, X, torch.tensor([1]), estimator=name)[0]


def program(matrix: np.ndarray, p: float) -> tuple[float, float]:
    """The relaxation's optimum and the largest value over all signs, for columns that are the center and the deviations."""
    rows, columns = matrix.shape
    if p == math.inf:  # signs of the rows too: s^T M t
        form = np.block([[np.zeros((rows, rows)), matrix / 2], [matrix.T / 2, np.zeros((columns, columns))]])
    else:
        form = matrix.T @ matrix
    gram = cp.Variable(form.shape, PSD=True)
    problem = cp.Problem(cp.Maximize(cp.trace(form @ gram)), [cp.diag(gram) == 1])
    problem.solve(solver="CLARABEL")
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=columns))).T
    truth = np.linalg.norm(matrix @ signs, ord=1 if p == math.inf else 2, axis=0).max()
    return float(problem.value if p == math.inf else math.sqrt(problem.value)), float(truth)  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("p", [2.0, math.inf])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_program_that_a_solver_solves(seed: int, p: float, scope: Any) -> None:
    network = net(seed)
    problem = LocalLipschitz(LinfBall(0.6), Margin(1, 0), scope, p)
    found = deviations(frozen_analysis(network, problem, X, None))
    spread = (found.bounds[0].unsqueeze(1) * found.rows).T
    optimum, truth = program(torch.cat([found.centre.T, spread], 1).numpy(), p)
    upper = ask(network, Margin(1, 0), p, scope).upper
    assert truth <= upper
    assert optimum * (1 - 1e-5) <= upper <= 1.02 * optimum
    assert upper <= ask(network, Margin(1, 0), p, scope, "deviation").upper * (1 + 1e-9)


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_several_functionals_are_the_largest_of_them_whatever_fits_into_a_batch(
    p: float,
) -> None:
    network = net(5)
    each = [ask(network, Margin(1, other), p).upper for other in (0, 2)]
    assert ask(network, AllMargins(), p).upper == pytest.approx(max(each), rel=1e-9)
    assert ask(network, Margin(0, 1), p).upper == pytest.approx(each[0], rel=1e-9), "norms are even"
    problem = LocalLipschitz(LinfBall(0.6), AllMargins(), p=p)
    analysis = frozen_analysis(network, problem, X, torch.tensor([1]))
    found = deviations(analysis)
    whole, missing = relaxed_rows(analysis.placed, found, Budget())
    parts, missing_parts = relaxed_rows(analysis.placed, found, Budget(memory=1))  # a row each
    assert missing == missing_parts == 0
    assert float(parts.amax()) == pytest.approx(float(whole.amax()), rel=1e-9)
    assert (parts >= whole * (1 - 1e-9)).all(), "rows that cannot be the largest keep their deviations"


@pytest.mark.parametrize("name", ["mixing", "deviation"])
@pytest.mark.parametrize("p", [2.0, math.inf])
def test_what_does_not_fit_into_memory_has_the_next_best_bound(p: float, name: str) -> None:
    """And not a product of norms, where bounds on the Jacobian say more."""
    network, problem = net(0), LocalLipschitz(LinfBall(0.6), AllMargins(), p=p)
    (found,) = certify(network, problem, X, torch.tensor([1]), estimator=name, budget=Budget(memory=1))
    others = {other: ask(network, AllMargins(), p, name=other).upper for other in ("jacobian_crown", "affine_relu")}
    assert found.proof in others and found.upper == pytest.approx(min(others.values()), rel=1e-12)
    assert "too many to write down" in found.detail and found.proof in found.detail


def test_passes_that_go_too_slowly_to_end_in_time_are_not_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they leave is for another bound: all units have to be there for one of theirs."""
    analysis = frozen_analysis(net(0), LocalLipschitz(LinfBall(0.6), AllMargins()), X, torch.tensor([1]))
    now, done, carried = [0.0], [], deviation._carried_units

    def slow(*given: Any) -> Any:
        done.append(given)
        now[0] += 60.0
        return carried(*given)

    monkeypatch.setattr(deviation, "_carried_units", slow)
    with pytest.raises(OutOfBudget):
        deviations(analysis, Budget(100.0, clock=lambda: now[0]).started())
    assert len(done) == 1 and now[0] == 60.0, "the second layer's passes are dearer than the first's"


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_rows_without_time_for_a_program_keep_their_deviations(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two rows is relaxed, and then time is over."""
    network, now = net(5), [0.0]

    def late(*given: Any) -> torch.Tensor:
        now[0] += 100.0
        return deviating_bound(*given)

    analysis = frozen_analysis(network, LocalLipschitz(LinfBall(0.6), AllMargins(), p=p), X, torch.tensor([1]))
    found, apart = deviations(analysis), row_bounds(analysis.placed, deviations(analysis))
    budget = Budget(10.0, memory=1, clock=lambda: now[0]).started()
    with monkeypatch.context() as patched:
        patched.setattr(mixing, "deviating_bound", late)
        bounds, missing = relaxed_rows(analysis.placed, found, budget)
    relaxed, _ = relaxed_rows(analysis.placed, found, Budget())
    first, second = apart.argsort(descending=True).tolist()
    assert bounds[second] == apart[second] and bounds[first] == pytest.approx(float(relaxed[first]), rel=1e-9)
    assert missing == int(apart[second] > bounds[first])
    none, missing = relaxed_rows(analysis.placed, found, Budget(0.0).started())
    assert torch.equal(none, apart) and missing == 2


@pytest.mark.parametrize("p", [2.0, math.inf])
@pytest.mark.parametrize("memory", [1, 2**28])
def test_rows_that_cannot_matter_beside_a_known_bound_are_not_relaxed(p: float, memory: int) -> None:
    """Whatever is known, the smaller of it and the rows' largest bound stays what it is with all of them relaxed."""
    problem = LocalLipschitz(LinfBall(0.6), AllMargins(), p=p)
    analysis = frozen_analysis(net(5), problem, X, torch.tensor([1]))
    found, budget = deviations(analysis), Budget(memory=memory)
    whole, _ = relaxed_rows(analysis.placed, found, Budget())
    apart, most = row_bounds(analysis.placed, found), float(whole.amax())
    for known in (0.5 * most, 0.99 * most, 1.01 * most, 2.0 * float(apart.amax())):
        bounds, missing = relaxed_rows(analysis.placed, found, budget, known)
        assert missing == 0 and min(known, float(bounds.amax())) == pytest.approx(min(known, most), rel=1e-9)
    bounds, _ = relaxed_rows(analysis.placed, found, budget, 0.5 * most)
    assert int((bounds < apart * (1 - 1e-9)).sum()) == 1, "one row shows it"
