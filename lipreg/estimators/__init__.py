"""Every method under one interface. Importing this package registers them all; solvers load when they are first used.

Methods are grouped by family, one module each: ``products``, ``jacobians``, ``sdp``, ``relaxations``, ``exact``,
``witnesses``; those of ``yardsticks`` are loaded when one of them is asked for by name.
"""

from lipreg.estimators import exact, jacobians, products, relaxations, sdp, witnesses
from lipreg.estimators.answers import Answer, answered
from lipreg.estimators.base import ESTIMATORS, Estimator, EstimatorTask, lower_interval, register, upper_interval
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.closed_form import Constants, PenaltyQuestion
from lipreg.estimators.evaluate import (
    certify,
    differentiable_bound,
    differentiable_names,
    estimate,
    frozen_analysis,
    general_position,
    live_analysis,
)
from lipreg.estimators.norm_equivalence import get_estimator
from lipreg.estimators.recipe import Bound
from lipreg.estimators.settings import Settings
from lipreg.estimators.usual import usual_estimators

ESTIMATORS.elsewhere(
    "lipreg.estimators.yardsticks", "clever", "frobenius", "lipmip", "lp_no_triangle", "seqlip", "seqlip_greedy"
)

__all__ = [
    "ESTIMATORS",
    "Answer",
    "Bound",
    "BoundEstimator",
    "Constants",
    "Estimator",
    "EstimatorTask",
    "PenaltyQuestion",
    "Settings",
    "answered",
    "certify",
    "differentiable_bound",
    "differentiable_names",
    "estimate",
    "exact",
    "frozen_analysis",
    "general_position",
    "get_estimator",
    "jacobians",
    "live_analysis",
    "lower_interval",
    "products",
    "register",
    "relaxations",
    "sdp",
    "upper_interval",
    "usual_estimators",
    "witnesses",
]
