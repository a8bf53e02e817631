"""What ``import lipreg`` offers, each name from where it lives."""

from lipreg.audits import AuditResult, audit
from lipreg.budget import Budget
from lipreg.comparisons import NetworkComparison, compare
from lipreg.derivatives import DerivativeRange, DerivativeRanges, derivative_range
from lipreg.errors import LipregError
from lipreg.estimators import Bound, Settings, certify, estimate, general_position
from lipreg.graph import Difference, Select, capture
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Margin, Vector
from lipreg.points import Points
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Polytope, UnitCube, WholeSpace
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.surveys import Population
from lipreg.training import LipschitzPenalty

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
    "NetworkComparison",
    "Points",
    "Polytope",
    "Population",
    "Select",
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
