"""lipreg: train ReLU networks on a bound of their local Lipschitz constant, and see how far the true constant moved.

The question is a ``LocalLipschitz``; ``estimate`` bounds it differentiably, ``certify`` encloses it with certificates,
``audit`` does so at many points under one budget, with a table, records and a page,
``compare`` says how far bound and constant moved between two networks, ``derivative_range`` between which values a
derivative lies, and ``certify`` of ``Difference(f, g)`` how fast two networks can part.
The Lightning callbacks are in ``lipreg.callbacks``. Importing this package loads torch and nothing heavier; solvers and
Lightning load when they are first used.
"""

from lipreg.auditing.compare import compare
from lipreg.audits import AuditResult, audit
from lipreg.budget import Budget
from lipreg.derivatives import DerivativeRange, DerivativeRanges, derivative_range
from lipreg.errors import LipregError
from lipreg.estimators import Bound, Settings, certify, estimate, general_position
from lipreg.graph import Difference, capture
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Margin, Vector
from lipreg.points import Points
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Polytope, UnitCube, WholeSpace
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.training import LipschitzPenalty

__version__ = "0.1.0"

__all__ = [
    "AllLogits",
    "AllMargins",
    "AllPairs",
    "AuditResult",
    "Bound",
    "Box",
    "Budget",
    "Certificate",
    "CertifiedInterval",
    "Combination",
    "DerivativeRange",
    "DerivativeRanges",
    "Difference",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "LipregError",
    "LipschitzPenalty",
    "LocalLipschitz",
    "Logit",
    "Margin",
    "Points",
    "Polytope",
    "Settings",
    "Status",
    "UnitCube",
    "Vector",
    "WholeSpace",
    "audit",
    "capture",
    "certify",
    "compare",
    "derivative_range",
    "estimate",
    "general_position",
]
