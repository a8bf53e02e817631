"""Certificates of numbers near the ends of float64's range: what underflows proves nothing."""

from __future__ import annotations

import base64
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lipreg.checking import Refused, check
from lipreg.checking.file import parse

LAYERS = [(1000, -1.0), (-390, -1.0), (-390, -1.0), (-390, -(2.0**-171)), (590, 0.0)]
"""Powers of two and constants of layers with a ReLU between each two, over [0, 1]: all units are on at 1."""


def array(value: Any) -> dict[str, Any]:
    numbers = np.asarray(value, dtype="<f8")
    return {"shape": list(numbers.shape), "float64": base64.b64encode(numbers.tobytes()).decode()}


def claimed(upper: Fraction, p: str) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = []
    for power, constant in LAYERS:
        if nodes:
            nodes.append({"kind": "relu", "source": len(nodes), "slope": array([0.0])})
        terms = [[len(nodes), array([[2.0**power]])]]
        nodes.append({"kind": "affine", "size": 1, "terms": terms, "bias": [[None, array([constant])]]})
    region = {"kind": "box", "lower": array([0.0]), "upper": array([1.0])}
    question = {"scope": "regional", "p": p, "q": None, "region": region, "rows": array([[1.0]]), "counts": None}
    return {
        "format": "lipreg certificate",
        "version": 2,
        "producer": {},
        "question": question,
        "network": {"inputs": 1, "nodes": nodes},
        "claim": {"lower": "0/1", "upper": f"{upper.numerator}/{upper.denominator}"},
        "lower": None,
        "upper": [[["gradient"]]],
    }


def slope_at_one() -> Fraction:
    x, slope = Fraction(1), Fraction(1)
    for number, (power, constant) in enumerate(LAYERS):
        assert x > 0, number
        x, slope = Fraction(2.0**power) * x + Fraction(constant), slope * Fraction(2.0**power)
    return slope


@pytest.mark.parametrize("mode", ["exact", "rounded"])
@pytest.mark.parametrize("p", ["inf", "2", "1"])
def test_a_unit_is_not_off_because_what_it_reads_underflows(mode: str, p: str) -> None:
    truth = slope_at_one()
    assert truth > 10**126
    for share in (Fraction(0), Fraction(1, 10**120), Fraction(1, 2)):
        with pytest.raises(Refused, match="not kept at or below"):
            check(parse(claimed(truth * share, p)), mode=mode)
