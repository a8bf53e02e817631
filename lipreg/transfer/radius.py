"""The certified radius margin / L: how far a reference point can move before its class can change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from lipreg.graph import Difference
from lipreg.linalg.rationals import below
from lipreg.records import AuditRecord


def radius_factor(record: AuditRecord) -> float | None:
    """k such that the logit margins of the point change by at most k L |x - x0|_p; None when L does not bound them.

    Distances are those of the question, in its units; a constant between some inputs alone bounds no change of the others,
    and the outputs of a difference of two networks are no logits.
    1 for the margins of the point's own class, 2 for single logits (f_i - f_j moves by at most twice as much), and
    |e_i - e_j|_{q*} for the whole output. A ``Margin`` bounds one rival only, so the radius holds against that rival.
    """
    target = record.question.get("output", {}).get("target")
    if record.functional.endswith(f" of {Difference.outputs_of}") or target not in (None, record.label):
        return None
    return question_factor(record.question)


def question_factor(question: Mapping[str, Any]) -> float | None:
    """``radius_factor`` by the described question alone, at points whose label is the target, if it has one."""
    kind = question.get("output", {}).get("kind")
    if "measured" in question:
        return None
    if kind == "Vector":
        return {"1": 1.0, "2": math.sqrt(2.0), "inf": 2.0}.get(str(question.get("q")))
    return {"AllMargins": 1.0, "Margin": 1.0, "AllLogits": 2.0}.get(str(kind))


def units_of(question: Mapping[str, Any]) -> tuple[float, float]:
    """The smallest and the largest unit in which a described question measures inputs: its ``scale``."""
    scale: Any = question.get("scale", 1.0)
    if isinstance(scale, Mapping):  # of too many inputs to be written out
        return float(scale["least"]), float(scale["most"])
    numbers = list(_flat(scale))
    return min(numbers), max(numbers)


def radius_in_units(question: Mapping[str, Any]) -> float | None:
    """The radius of a described question over its largest unit, rounded down: in these units, so far its ball goes in every
    direction. None for a region without a radius."""
    radius = question.get("region", {}).get("radius")
    if not isinstance(radius, int | float):
        return None
    _, largest = units_of(question)
    return float(radius) if largest == 1.0 else below(Fraction(float(radius)) / Fraction(largest))


def certified_radius(record: AuditRecord) -> float | None:
    """margin / (k L), L the record's upper end, cut to the region's radius: L says nothing about points outside it.

    Returns:
        The radius in the norm p of the question and in its units, for points in the data range; 0 when no upper end was
        proved. None for a misclassified point, a functional that does not bound the margins (``radius_factor``), a region
        without a radius (``Box``), or a ball in a norm below p, which does not contain the p-ball of the same radius.
    """
    region, factor, limit = record.question.get("region", {}), radius_factor(record), radius_in_units(record.question)
    if factor is None or record.margin is None or not record.margin > 0 or limit is None:
        return None
    if float(region["norm"]) < float(record.question["p"]):
        return None
    if record.upper in (0.0, math.inf):
        return limit if record.upper == 0 else 0.0
    return min(limit, below(Fraction(record.margin) / (Fraction(factor) * Fraction(record.upper))))  # never rounded up


def radius_meaning(record: AuditRecord) -> str:
    """What the radius is a certificate against, in words."""
    kind = record.question.get("output", {}).get("kind")
    return "against one rival class only" if kind == "Margin" else "against every other class"


def _flat(numbers: Any) -> Iterator[float]:
    if isinstance(numbers, list | tuple):
        for part in numbers:
            yield from _flat(part)
    else:
        yield float(numbers)
