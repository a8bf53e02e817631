"""The rounded mode: the same proofs in float64, every number with a radius that holds what rounding may have done to it."""

from lipreg.checking.rounded.cells import Cell, gradient, roots
from lipreg.checking.rounded.proofs import (
    dominates,
    empties,
    empties_by_far,
    entries,
    exceeding,
    has_empty_interior,
    implies,
    implies_by_far,
    one_signed,
    steep,
)
from lipreg.checking.rounded.region import below
from lipreg.checking.rounded.zeros import NEAR, at_zero, scaled, touching

__all__ = [
    "NEAR",
    "Cell",
    "at_zero",
    "below",
    "dominates",
    "empties",
    "empties_by_far",
    "entries",
    "exceeding",
    "gradient",
    "has_empty_interior",
    "implies",
    "implies_by_far",
    "one_signed",
    "roots",
    "scaled",
    "steep",
    "touching",
]
