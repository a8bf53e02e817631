"""The enumeration of ``lipreg.testing`` and its networks, under the name that the tests call them by."""

from lipreg.testing.domains import Array, Domain, operator_norm, rise_norm, slope_norm
from lipreg.testing.networks import ZOO, Residual, input_size, mlp, network
from lipreg.testing.pieces import INTERIOR, Cell, affine_forms, cells, evaluate, jacobian, preactivations, regional
from lipreg.testing.quotients import breakpoints, candidates, quotients, sampled_pointed, segments

__all__ = [
    "INTERIOR",
    "ZOO",
    "Array",
    "Cell",
    "Domain",
    "Residual",
    "affine_forms",
    "breakpoints",
    "candidates",
    "cells",
    "evaluate",
    "input_size",
    "jacobian",
    "mlp",
    "network",
    "operator_norm",
    "preactivations",
    "quotients",
    "regional",
    "rise_norm",
    "sampled_pointed",
    "segments",
    "slope_norm",
]
