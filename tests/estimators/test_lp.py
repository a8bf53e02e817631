"""The LP relaxation at size: what is refused, and how a program is solved on which the simplex method takes long."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lipreg.budget import Budget
from lipreg.estimators import certify, frozen_analysis
from lipreg.milp import encode, families, get_solver, highs, program_size
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Status
from tests import oracles

NAMES = ("deep", "leaky", "residual")
X = torch.full((1, 2), 0.2, dtype=torch.float64)


def problem(p: float) -> LocalLipschitz:
    return LocalLipschitz(LinfBall(0.8), AllLogits(), p=p)


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_has_no_more_rows_than_was_said(name: str, p: float) -> None:
    local = frozen_analysis(oracles.network(name), problem(p), X, None)
    asked, chosen = families(local)
    size, encoding = program_size(asked), encode(asked, chosen[0])
    folded = encoding.folded
    assert size.units == folded.count
    assert size.rows / 4 <= len(encoding.program.right) <= size.rows
    forms = (folded.z.on_input, folded.z.on_unit, folded.g_unit, folded.j_unit)  # type: ignore[attr-defined]
    assert size.entries == sum(form.numel() for form in forms)


def test_what_does_not_fit_is_refused_and_keeps_the_bound_of_the_jacobian() -> None:
    net = oracles.network("deep")
    (refused,) = certify(net, problem(math.inf), X, estimator="lp", budget=Budget(memory=64))
    assert refused.status is Status.MEMORY_LIMIT and "rows" in refused.detail and "Budget(memory=" in refused.detail
    assert refused.upper == certify(net, problem(math.inf), X, estimator="jacobian_crown")[0].upper
    enough = int(refused.detail.partition("Budget(memory=")[2].partition(")")[0])
    (found,) = certify(net, problem(math.inf), X, estimator="lp", budget=Budget(memory=enough))
    assert found.status is Status.BOUNDED and found.upper <= refused.upper


@pytest.mark.parametrize("ways", [1, 2], ids=["interior points", "interior points that fail"])
@pytest.mark.parametrize("name", NAMES)
def test_every_way_to_solve_a_linear_program_proves_the_same(name: str, ways: int, monkeypatch: Any) -> None:
    local = frozen_analysis(oracles.network(name), problem(math.inf), X, None)
    asked, chosen = families(local)
    program, solver = encode(asked, chosen[0]).program.relaxed(), get_solver("highs")
    usual = solver.solve(program, Budget())
    _, interior, again = highs._linear(1)
    failing = {**interior, "ipm_iteration_limit": 0}
    monkeypatch.setattr(highs, "_linear", lambda rows: (interior,) if ways == 1 else (failing, again))
    found = solver.solve(program, Budget())
    assert found.status is usual.status is Status.PROVED
    assert found.dual_bound == pytest.approx(usual.dual_bound, rel=1e-6)
    assert found.incumbent <= usual.dual_bound * (1 + 1e-9)
