"""For people who add something: what their estimator, layer, solver, executor, penalty, quantity or schedule has to keep.

``check_estimator("mine")`` and the others raise ``CheckFailed`` with network, question and numbers where something is wrong;
``exact_constants`` is the truth that they rest on, for tests of one's own. Nothing here needs a test framework.
"""

from lipreg.testing.estimators import check_estimator
from lipreg.testing.executors import check_executor
from lipreg.testing.failures import CheckFailed
from lipreg.testing.lowerings import check_lowering
from lipreg.testing.oracle import exact_constants
from lipreg.testing.penalties import check_penalty, check_schedule
from lipreg.testing.quantities import check_quantity
from lipreg.testing.questions import Questions
from lipreg.testing.solvers import check_solver

__all__ = [
    "CheckFailed",
    "Questions",
    "check_estimator",
    "check_executor",
    "check_lowering",
    "check_penalty",
    "check_quantity",
    "check_schedule",
    "check_solver",
    "exact_constants",
]
