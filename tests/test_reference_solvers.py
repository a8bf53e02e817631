"""Every installed solver on the reference networks: one value, whoever proves it.

The usual solver is asked in ``test_reference_exact``.
"""

from __future__ import annotations

import itertools

import pytest
import torch

from lipreg.budget import Budget
from lipreg.estimators import certify
from lipreg.estimators.settings import Settings
from lipreg.milp import installed_solvers
from lipreg.outputs import Combination
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box
from lipreg.results import Certificate, Status
from tests.conformance.questions import sampled
from tests.conftest import Reference
from tests.test_reference_exact import CASES, NORMS, network

OTHERS = [solver for solver in installed_solvers() if solver != Settings().solver]
SLOWER = {
    ("digits_m_p0_e0.1", "inf"),
    ("digits_s_p0_e0.1", "inf"),
    ("digits_s_p0_e0.2", "inf"),
    *((case, norm) for case in ("rand1", "rand2") for norm in NORMS),
}
"""Cases that take the free solvers more than a few seconds. Gurobi is asked all of them."""
QUICK = [
    (solver, case, norm)
    for (turn, solver), (place, case), (k, norm) in itertools.product(*map(enumerate, (OTHERS, CASES, NORMS)))
    if (solver == "gurobi" or (case, norm) not in SLOWER) and sampled(3, turn, place, k)
]


@pytest.mark.parametrize(("solver", "case", "norm"), QUICK)
def test_every_solver_proves_the_reference_value(reference: Reference, solver: str, case: str, norm: str) -> None:
    truth, arrays = reference.exact[case][norm], reference.case(case)
    box = Box(arrays["lo"].tolist(), arrays["hi"].tolist())
    problem = LocalLipschitz(box, Combination(tuple(arrays["c"].tolist())), p=norm)  # type: ignore[arg-type]
    x = torch.from_numpy(arrays["x0"]).unsqueeze(0)
    (found,) = certify(
        network(arrays), problem, x, estimator="mip", budget=Budget(600.0), settings=Settings(solver=solver)
    )
    assert found.status is Status.PROVED, found.detail
    assert found.certificate is Certificate.EXACT
    assert found.lower == pytest.approx(truth, rel=1e-6)
    assert truth * (1 - 1e-9) <= found.upper <= truth * (1 + 2e-6)  # widened by 1e-6 for the solver's tolerances
