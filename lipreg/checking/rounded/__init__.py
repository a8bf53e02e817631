"""The rounded mode: the same proofs in float64, every number with a radius that holds what rounding may have done to it."""

from lipreg.checking.rounded.cells import Cell, gradient, roots
from lipreg.checking.rounded.proofs import (
    check_leaf,
    dominates,
    empties,
    entries,
    exceeding,
    flattens,
    implies,
    implies_by_far,
    known_signs,
)
from lipreg.checking.rounded.room import below

__all__ = [
    "Cell",
    "below",
    "check_leaf",
    "dominates",
    "empties",
    "entries",
    "exceeding",
    "flattens",
    "gradient",
    "implies",
    "implies_by_far",
    "known_signs",
    "roots",
]
