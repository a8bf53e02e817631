"""The exact and the LP estimator on networks whose constants were proved elsewhere by independent programs."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from lipreg.budget import Budget
from lipreg.estimators import certify
from lipreg.outputs import AllLogits, AllPairs, Combination, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box
from lipreg.results import Certificate, CertifiedInterval, Status
from tests.conformance.questions import EVERYTHING, sampled
from tests.conftest import Reference

CASES = (
    *(f"digits_{case}" for case in ("d_p0_e0.02", "l_p0_e0.02", "m_p0_e0.05", "m_p0_e0.1")),
    *(f"digits_s_p0_e{radius}" for radius in ("0.05", "0.1", "0.2")),
    *("rand0", "rand1", "rand2"),
)
NORMS = ("1", "inf")
HARD = {("digits_m_p0_e0.1", "inf"), ("digits_s_p0_e0.2", "inf"), ("rand1", "1"), ("rand2", "1"), ("rand2", "inf")}
"""Cases of up to seven seconds, which ``make test-all`` asks."""
ASKED = [
    (case, norm)
    for place, case in enumerate(CASES)
    for turn, norm in enumerate(NORMS)
    if EVERYTHING or ((case, norm) not in HARD and sampled(2, place, turn))
]
"""Half of the others; branch and bound is asked of another half."""
SECONDS = {("digits_s_p0_e0.2", "inf"): 5.0}
"""Limits of the cases that differ from the usual one: this one has too many unstable units for the plain program."""
USUAL = 90.0
"""Far above the 1 to 7 seconds that the others take, so that a busy machine closes them too."""


def network(arrays: dict[str, np.ndarray]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in itertools.count():
        if f"W{k}" not in arrays:
            return nn.Sequential(*layers[:-1])
        weight, bias = (torch.from_numpy(arrays[f"{name}{k}"]) for name in "Wb")
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.weight.data, layer.bias.data = weight, bias
        layers += [layer, nn.ReLU()]
    raise AssertionError


def ask(
    reference: Reference, case: str, norm: str, output: Output | None, estimator: str, seconds: float
) -> CertifiedInterval:
    arrays = reference.case(case)
    box = Box(arrays["lo"].tolist(), arrays["hi"].tolist())
    kind = output or Combination(tuple(arrays["c"].tolist()))
    problem = LocalLipschitz(box, kind, p=norm, q=1 if kind.joint else None)  # type: ignore[arg-type]
    x = torch.from_numpy(arrays["x0"]).unsqueeze(0)
    (interval,) = certify(network(arrays), problem, x, estimator=estimator, budget=Budget(seconds))
    return interval


@cache
def _closed() -> dict[tuple[str, str], bool]:
    """Which cases were closed, as the tests go along."""
    return {}


def test_the_list_is_complete(reference: Reference) -> None:
    assert set(CASES) == set(reference.exact)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "norm"), ASKED)
def test_mip_is_the_reference(reference: Reference, case: str, norm: str) -> None:
    truth = reference.exact[case][norm]
    interval = ask(reference, case, norm, None, "mip", SECONDS.get((case, norm), USUAL))
    assert interval.lower <= truth * (1 + 1e-6)
    assert interval.upper >= truth * (1 - 1e-6)
    assert interval.status in (Status.PROVED, Status.TIME_LIMIT)
    if interval.status is Status.PROVED:
        assert interval.certificate is Certificate.EXACT
        assert interval.upper == pytest.approx(truth, rel=2e-6)
        assert interval.lower == pytest.approx(truth, rel=1e-6)
    _closed()[case, norm] = interval.status is Status.PROVED


def test_all_cases_close_that_have_the_time(reference: Reference) -> None:
    closed = _closed()
    if len(closed) < len(ASKED):
        pytest.skip("counts the results of all cases above, which were not all run")
    assert {key for key, done in closed.items() if not done} <= set(SECONDS)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("case", CASES)
def test_lp_is_above_the_reference(reference: Reference, case: str, norm: str) -> None:
    truth = reference.exact[case][norm]
    interval = ask(reference, case, norm, None, "lp", 15.0)
    assert truth * (1 - 1e-9) <= interval.upper < math.inf
    cheap = ask(reference, case, norm, None, "fastlip", 15.0)
    assert interval.upper <= cheap.upper * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "kind, case, seconds",
    [
        ("largest_logit", "rand0", 15.0),
        *([("largest_logit", "rand1", 6.0)] if EVERYTHING else []),
        ("largest_pair_of_logits", "rand0", 15.0),
        ("largest_sign_vector", "rand0", 15.0),
    ],
)
def test_vector_valued(reference: Reference, kind: str, case: str, seconds: float, norm: str) -> None:
    known = reference.vector_valued[case][norm][kind]
    asked = {"largest_logit": AllLogits(), "largest_pair_of_logits": AllPairs(), "largest_sign_vector": Vector()}[kind]
    interval = ask(reference, case, norm, asked, "mip", seconds)
    assert interval.lower <= known * (1 + 1e-6)
    assert interval.upper >= known * (1 - 1e-6)
    assert interval.status is Status.PROVED or case == "rand1"
    if interval.status is Status.PROVED:
        assert interval.lower == pytest.approx(known, rel=1e-5)
        assert interval.upper == pytest.approx(known, rel=1e-5)
