"""Ranges of derivatives over regions: certified least and largest values, signs, and what is monotone where."""

from lipreg.derivatives.answers import DerivativeRanges
from lipreg.derivatives.evaluate import derivative_range
from lipreg.ranges import DerivativeRange, RangeEnd

__all__ = ["DerivativeRange", "DerivativeRanges", "RangeEnd", "derivative_range"]
