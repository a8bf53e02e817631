"""Margin over constant: how far a point is from another class, by what the network's own constant proves.

Logits that are divided by 100 have 0.01 of the margins and of the constant, and decide as before: their quotient stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from statistics import median, median_low
from typing import Any

from lipreg.linalg.rationals import above, below
from lipreg.records import AuditRecord
from lipreg.transfer.radius import question_factor, radius_factor, units_of
from lipreg.transfer.ratios import Interval


def margin_over_constant(record: AuditRecord) -> Interval | None:
    """margin / (k E), E the record's interval and k as in ``radius_factor``: a distance in the question's units.

    As far as that from the reference point, and inside the region, no point has another class. With the largest constant
    over the rivals it is a lower end of the smallest quotient, min over j of margin_j / E_j.

    Returns:
        0 for a point that is classified wrongly; an infinite end where an end of E is 0, which says no more than that the
        region has no other class. None without a class, or for a functional that does not bound the margins.
    """
    factor = margin_factor(record)
    if factor is None or record.margin is None:
        return None
    if not record.margin > 0:
        return Interval(0.0, 0.0)
    ahead, (low, high) = Fraction(record.margin) / Fraction(factor), (record.lower, record.upper)
    return Interval(
        0.0 if high == math.inf else math.inf if high == 0 else below(ahead / Fraction(high)),
        math.inf if low == 0 else above(ahead / Fraction(low)),
    )


def is_certified(record: AuditRecord, upper: float) -> bool | None:
    """Whether an upper end on the constant proves that no point of the whole region has another class: k U eps < margin.

    Returns:
        None without a class, for a functional that does not bound the margins, or a region that is no ball in the norm p of
        input distances, which has no radius eps in it.
    """
    factor = margin_factor(record)
    if factor is None or record.margin is None or not _is_ball(record.question):
        return None
    if not record.margin > 0 or upper == math.inf:
        return False
    smallest, _ = units_of(record.question)
    radius = Fraction(float(record.question["region"]["radius"])) / Fraction(smallest)
    return Fraction(factor) * Fraction(upper) * radius < Fraction(record.margin)


def median_of(intervals: Sequence[Interval]) -> Interval:
    """The median of intervals, one value from each: medians rise with their values, so it lies between those of the ends.

    Of two middle values of which one may be infinite it is the smaller one: there is no middle between.
    """
    ends = [i.lower for i in intervals], [i.upper for i in intervals]
    middle = median_low if median(ends[1]) == math.inf else median
    return Interval(middle(ends[0]), middle(ends[1]))


def margin_factor(record: AuditRecord) -> float | None:
    """``radius_factor`` of functionals that bound the margins over all rivals: ``Margin`` speaks of one. None for others."""
    return None if _of_one_rival(record.question) else radius_factor(record)


def margins_told(question: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a described question can have margins over the constant, and points that the constant certifies."""
    told = not _of_one_rival(question) and question_factor(question) is not None
    return told, told and _is_ball(question)


def _of_one_rival(question: Mapping[str, Any]) -> bool:
    return question.get("output", {}).get("kind") == "Margin"


def _is_ball(question: Mapping[str, Any]) -> bool:
    """Whether the region is a ball in the norm p of input distances."""
    region = question.get("region", {})
    return "radius" in region and float(region["norm"]) == float(question["p"])
