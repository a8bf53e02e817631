"""Two samples whose points need not be the same: one population's figure beside another's."""

from __future__ import annotations

import numpy as np

from lipreg.errors import IncomparableResults
from lipreg.population.between import Between
from lipreg.population.ends import Ends, quotient
from lipreg.population.sample import Sample, check_sign


def ratio_of_quantiles(first: Sample, second: Sample, share: float) -> Between:
    """One population's quantile over another's; each takes half of the level, so the two draws may depend on each other.

    Args:
        first, second: samples of quantities that are not negative, with the same confidence.
        share: of the points that do not exceed the quantile, above 0 and at most 1.

    Raises:
        IncomparableResults: two confidences.
        InvalidInput: a quantity that may be negative at a drawn point.
    """
    for sample in (first, second):
        check_sign(sample.ends[0], "ratio_of_quantiles")
    top, bottom = (sample.quantile(share) for sample in _halves(first, second, "ratio_of_quantiles"))
    low, high = quotient(_ends(top), _ends(bottom))
    return Between(float(low[0]), float(high[0]), first.confidence)


def difference_of_shares(first: Sample, second: Sample, value: float) -> Between:
    """The share of points above a value in one population, less that in another; each takes half of the level.

    Args:
        first, second: samples with the same confidence.
        value: above which points are counted, named before either sample is looked at.

    Returns:
        A difference from -1 to 1.

    Raises:
        IncomparableResults: two confidences.
        InvalidInput: a value that is no number.
    """
    one, other = (sample.share_above(value) for sample in _halves(first, second, "difference_of_shares"))
    low, high = (float(np.nextafter(one.low - other.high, -2)), float(np.nextafter(one.high - other.low, 2)))
    return Between(max(low, -1.0), min(high, 1.0), first.confidence)


def _halves(first: Sample, second: Sample, where: str) -> tuple[Sample, Sample]:
    if first.confidence != second.confidence:
        raise IncomparableResults("two confidences", where=where, accepted="one")
    return first.together(2), second.together(2)


def _ends(of: Between) -> Ends:
    return np.asarray([of.low]), np.asarray([of.high])
