"""The grid of questions of ``lipreg.testing``, and which share of each product of cases a run takes."""

from __future__ import annotations

import numpy as np
import pytest

from lipreg.outputs import Output, Vector
from lipreg.testing.domains import Array, Domain, domain_of, rows_of
from lipreg.testing.questions import NORMS, OUTPUTS, REGIONS, SCALARS, SCOPES, SPARSE, Q, Question, Questions
from tests.sampling import EVERYTHING, sampled

of_test_all = pytest.mark.skipif(not EVERYTHING, reason="make test-all: the same of another engine takes long")


QUESTIONS = Questions(one_in=1 if EVERYTHING else 2 * SPARSE + 1)
"""Those of the whole suite, which share their truths; at most two a network, scope and norm, unless all are asked."""


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
