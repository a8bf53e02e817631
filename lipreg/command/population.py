"""The data set of which a command is to say what holds: which of its points are drawn, and until when."""

from __future__ import annotations

import argparse

from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.population import MeanWithin, QuantileWithin, Rule, ShareWithin
from lipreg.surveys import Population

_ACCEPTED = "a number of points, quantile:0.9:0.1, mean:0.1 or above:260:0.05"


def population_of(asked: argparse.Namespace, x: Tensor, y: Tensor | None) -> Population | None:
    """All points as a data set of which some are drawn; None where every point is to be audited.

    Raises:
        InvalidInput: flags that mean nothing.
    """
    if asked.until is None:
        beside = [
            ("--confidence", asked.confidence is not None),
            ("--above", asked.above),
            ("--together", asked.together),
        ]
        for flag in (name for name, given in beside if given):
            raise InvalidInput(f"{flag} without --until", where="population", accepted="both, or neither")
        return None
    confidence = 0.95 if asked.confidence is None else asked.confidence
    above = tuple(asked.above or ())
    return Population(x, y, _until(asked.until), confidence, asked.seed, above, asked.together)


def _until(text: str) -> int | Rule:
    """When a draw ends, from its short text."""
    if text.isdecimal():
        return int(text)
    kind, *parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if kind == "quantile" and len(numbers) == 2:
        return QuantileWithin(*numbers)
    if kind == "mean" and len(numbers) == 1:
        return MeanWithin(*numbers)
    if kind == "above" and len(numbers) == 2:
        return ShareWithin(*numbers)
    raise InvalidInput(f"--until {text}", where="population", accepted=_ACCEPTED)
