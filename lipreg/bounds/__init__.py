"""Bounds over a region: pre-activations, slopes and Jacobian entries."""

from lipreg.bounds.analysis import METHODS, Analysis, Reach, analyse, pool_factor
from lipreg.bounds.jacobian import absolute_chain, interval_jacobian
from lipreg.bounds.relaxation import crown, linear_upper_bound, relax
from lipreg.bounds.slopes import Slopes, slope_bounds

__all__ = [
    "METHODS",
    "Analysis",
    "Reach",
    "Slopes",
    "absolute_chain",
    "analyse",
    "crown",
    "interval_jacobian",
    "linear_upper_bound",
    "pool_factor",
    "relax",
    "slope_bounds",
]
