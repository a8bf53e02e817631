"""Every method under one interface. Importing this package registers them all; solvers load when they are first used."""

from lipreg.estimators import (
    abs_chain,
    affine_relu,
    branch_and_bound,
    clever,
    deviation,
    fastlip,
    frobenius,
    jacobian_crown,
    lipmip,
    lipsdp,
    lp,
    mip,
    mip_pointed,
    mixing,
    sampling,
    seqlip,
    spectral,
)
from lipreg.estimators.base import ESTIMATORS, Estimator, Settings, Work, register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.closed_form import Constants, Step
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
from lipreg.estimators.usual import usual_estimators

__all__ = [
    "ESTIMATORS",
    "Bound",
    "BoundEstimator",
    "Constants",
    "Estimator",
    "Settings",
    "Step",
    "Work",
    "abs_chain",
    "affine_relu",
    "branch_and_bound",
    "certify",
    "clever",
    "deviation",
    "differentiable_bound",
    "differentiable_names",
    "estimate",
    "fastlip",
    "frobenius",
    "frozen_analysis",
    "general_position",
    "get_estimator",
    "jacobian_crown",
    "lipmip",
    "lipsdp",
    "live_analysis",
    "lp",
    "mip",
    "mip_pointed",
    "mixing",
    "register",
    "sampling",
    "seqlip",
    "spectral",
    "usual_estimators",
]
