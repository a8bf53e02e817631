"""Certificates that somebody has changed: none is accepted whose claim the enumeration does not confirm."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lipreg.certificates import encoding
from lipreg.testing.networks import network
from tests.certificates.cases import certified, numbers, places, truth
from tests.certificates.changes import QUESTIONS, accepted, change, eval_fraction, holds, written
from tests.conformance.questions import EVERYTHING


@settings(
    max_examples=40 if EVERYTHING else 20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(st.data())
def test_no_changed_file_is_accepted_whose_claim_is_false(data: st.DataObject) -> None:
    plain = copy.deepcopy(written(data.draw(st.sampled_from(list(QUESTIONS)))))
    part = data.draw(st.sampled_from(["network", "question", "claim", "lower", "upper", "upper"]))
    for _ in range(data.draw(st.integers(1, 2))):
        own = [path for path in places(plain[part], (part,)) if path != (part,)]
        change(plain, data.draw(st.sampled_from(own)), lambda options: data.draw(st.sampled_from(options)))
    if accepted(plain):
        assert holds(plain)


def test_the_samples_have_leaves_of_every_kind() -> None:
    kinds = {node[0] for name in QUESTIONS for tree in written(name)["upper"] for node in tree}
    assert kinds >= {"split", "gradient", "empty", "square", "known", "flat"}


def test_the_enumeration_confirms_the_samples() -> None:
    for name in QUESTIONS:
        low, high = truth(written(name))
        lower, upper = (eval_fraction(written(name)["claim"][end]) for end in ("lower", "upper"))
        assert math.isclose(lower, high, rel_tol=1e-9) and math.isclose(upper, low, rel_tol=1e-5)


def test_the_certificate_of_another_network_is_refused() -> None:
    other = certified(network("deep", 2), QUESTIONS["inf"], torch.full((1, 2), 0.1, dtype=torch.float64))[1].plain
    for part in ("network", "lower", "upper", "claim"):
        mixed = copy.deepcopy(written("inf")) | {part: other[part]}
        assert not accepted(mixed) or holds(mixed)


def test_numbers_keep_their_bits() -> None:
    array = np.array([0.1, -5e-324, 1e308, 3.0])
    assert (numbers(encoding.numbers(array)) == array).all()
