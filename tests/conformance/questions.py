"""The grid of questions of ``lipreg.testing``, and which share of each product of cases a run takes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from lipreg.outputs import Output, Vector
from lipreg.testing.domains import Array, Domain, domain_of, rows_of
from lipreg.testing.questions import NORMS, OUTPUTS, REGIONS, SCALARS, SCOPES, Q, Question, Questions

EVERYTHING = os.environ.get("LIPREG_TESTS") == "all"
"""Whether full products are run (``make test-all``), not only the samples of them that reach every value of every factor."""


of_test_all = pytest.mark.skipif(not EVERYTHING, reason="make test-all: the same of another engine takes long")


def sampled(one_in: int, *places: int) -> bool:
    """Whether a combination is run, of values that stand at these places of their factors.

    All of them with ``make test-all``; else one in so many, in diagonals through the product, which reach each value of each
    factor, and every pair of values of two factors where a third has so many.
    """
    return EVERYTHING or sum(places) % one_in == 0


QUESTIONS = Questions(one_in=1 if EVERYTHING else 12)
"""Those of the whole suite, which share their truths."""


def domain(region: str, x0: Array) -> Domain:
    """The region of that name around one point."""
    return domain_of(REGIONS[region](len(x0)), x0)


def output(name: str, count: int) -> tuple[Output, Array | None, float | None]:
    """The output functional of that name, its rows (None: the whole output), and q."""
    kind = SCALARS[name](count) if name in SCALARS else Vector()
    return kind, rows_of(kind, np.zeros(count)), Q.get(name)


__all__ = [
    "EVERYTHING",
    "NORMS",
    "OUTPUTS",
    "QUESTIONS",
    "REGIONS",
    "SCOPES",
    "Q",
    "Question",
    "domain",
    "output",
    "sampled",
]
