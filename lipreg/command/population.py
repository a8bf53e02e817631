"""The data set about which a command makes statements: which of its points are drawn, and until when."""

from __future__ import annotations

import argparse

from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.population import MeanWithin, QuantileWithin, Rule, ShareWithin
from lipreg.surveys import Population

_ACCEPTED = "a number of points, quantile:0.9:0.1, mean:0.1 or above:260:0.05"


def population_of(options: argparse.Namespace, x: Tensor, y: Tensor | None) -> Population | None:
    """All points as a data set of which some are drawn; None where every point is to be audited.

    Args:
        options: the flags of the command line.
        x, y: all points ``(N, *shape)`` and their labels ``(N,)``, where there are some.

    Raises:
        InvalidInput: flags that have no effect, or a rule that is none.
    """
    if options.until is None:
        beside = [
            ("--confidence", options.confidence is not None),
            ("--above", options.above),
            ("--together", options.together),
        ]
        for flag in (name for name, is_set in beside if is_set):
            raise InvalidInput(f"{flag} without --until", where="population", accepted="both, or neither")
        return None
    confidence = 0.95 if options.confidence is None else options.confidence
    above = tuple(options.above or ())
    return Population(x, y, _until(options.until), confidence, options.seed, above, options.together)


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
