"""Every bound against proved regional constants of trained and random networks (the setting LIPREG_REFERENCE)."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, Bound, BoundEstimator, certify, frozen_analysis
from lipreg.estimators.norm_equivalence import nearest
from lipreg.outputs import AllLogits, AllPairs, Combination, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box
from lipreg.results import Certificate, CertifiedInterval
from tests.conformance.questions import sampled
from tests.conftest import Reference
from tests.sampling import one_in

CASES = [
    "digits_d_p0_e0.02",
    "digits_l_p0_e0.02",
    "digits_m_p0_e0.05",
    "digits_m_p0_e0.1",
    "digits_s_p0_e0.05",
    "digits_s_p0_e0.1",
    "digits_s_p0_e0.2",
    "rand0",
    "rand1",
    "rand2",
]
NORMS = {"1": 1.0, "2": 2.0, "inf": math.inf}
BOUNDS = [name for name, method in ESTIMATORS.items() if isinstance(method, BoundEstimator)]
ROUNDING = 1e-9

each_case = pytest.mark.parametrize("case", CASES)
each_norm = pytest.mark.parametrize("norm", NORMS)


def network(arrays: dict[str, np.ndarray]) -> nn.Sequential:
    """The case's network as a module in float64."""
    layers: list[nn.Module] = []
    for k in itertools.count():
        if f"W{k}" not in arrays:
            break
        weight, bias = arrays[f"W{k}"], arrays[f"b{k}"]
        linear = nn.Linear(weight.shape[1], weight.shape[0]).double()
        linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def question(arrays: dict[str, np.ndarray], output: Output, norm: str, q: float | None = None) -> LocalLipschitz:
    return LocalLipschitz(Box(arrays["lo"].tolist(), arrays["hi"].tolist()), output, "regional", NORMS[norm], q)


def point(arrays: dict[str, np.ndarray]) -> Tensor:
    return torch.from_numpy(arrays["x0"]).double().unsqueeze(0)


def in_norm(name: str, norm: str) -> str:
    """The name, or that of the method in a norm of its own where it does not have this one."""
    method = ESTIMATORS[name]
    return name if NORMS[norm] in method.norms else nearest(method, NORMS[norm]).name


@functools.cache
def results(reference: Reference, case: str, norm: str, name: str | Bound) -> tuple[float, float]:
    arrays = reference.case(case)
    problem = question(arrays, Combination(tuple(arrays["c"].tolist())), norm)
    (result,) = certify(network(arrays), problem, point(arrays), estimator=name)
    return result.lower, result.upper


def test_every_case_is_listed(reference: Reference) -> None:
    assert sorted(reference.exact) == CASES
    assert all(set(values) == set(NORMS) for values in reference.exact.values())


@each_norm
@each_case
@pytest.mark.parametrize("name", BOUNDS)
@one_in(3)
def test_upper_bounds_are_above(reference: Reference, name: str, case: str, norm: str) -> None:
    exact = reference.exact[case][norm]
    _, upper = results(reference, case, norm, in_norm(name, norm))
    assert upper >= exact * (1 - ROUNDING)


@each_norm
@each_case
@one_in(2)
def test_fastlip_is_within_ten_times_the_constant(reference: Reference, case: str, norm: str) -> None:
    _, upper = results(reference, case, norm, Bound("fastlip", "all"))
    assert upper <= 10 * reference.exact[case][norm]


@each_norm
@each_case
@one_in(2)
def test_jacobian_crown_is_close_and_never_above_fastlip(reference: Reference, case: str, norm: str) -> None:
    _, upper = results(reference, case, norm, "jacobian_crown")
    assert upper <= results(reference, case, norm, "fastlip")[1] * (1 + 1e-12)
    assert upper <= (5.1 if case.startswith("rand") else 1.5) * reference.exact[case][norm]


@each_norm
@each_case
@one_in(2)
def test_sampling_is_below_and_close(reference: Reference, case: str, norm: str) -> None:
    exact = reference.exact[case][norm]
    lower, _ = results(reference, case, norm, "sampling")
    assert 0.8 * exact <= lower <= exact * (1 + ROUNDING)


@functools.cache
def analysed(reference: Reference, case: str, scope: str) -> Analysis:
    arrays = reference.case(case)
    problem = LocalLipschitz(Box(arrays["lo"].tolist(), arrays["hi"].tolist()), _functional(arrays), scope)  # type: ignore[arg-type]
    return frozen_analysis(network(arrays), problem, point(arrays), None)


def _functional(arrays: dict[str, np.ndarray]) -> Combination:
    return Combination(tuple(arrays["c"].tolist()))


ASKED = [
    (scope, case, norm)
    for place, scope in enumerate(("regional", "pointed"))
    for turn, case in enumerate(CASES)
    for k, norm in enumerate(NORMS)
    if sampled(len(NORMS), turn, k, place)
]
"""Both constants of every case in one of the norms, in turn, and in all with ``make test-all``."""


@pytest.mark.parametrize(("scope", "case", "norm"), ASKED)
def test_every_method_without_a_search_is_on_its_side(reference: Reference, scope: str, case: str, norm: str) -> None:
    """Regional ends against the constant; pointed ones against each other, and the lower ones against it too."""
    exact, analysis = reference.exact[case][norm], analysed(reference, case, scope)
    problem = replace(analysis.placed.problem, p=NORMS[norm])
    analysis = analysis.for_question(replace(analysis.placed, problem=problem))
    found: dict[str, CertifiedInterval] = {}
    for name, method in ESTIMATORS.items():
        if method.certificate is Certificate.BRACKET or method.uncovered(problem) is not None:
            continue
        (found[name],) = method.intervals(analysis, Budget(600.0))  # which none of them spends
    assert {"jacobian_crown", "deviation", "random_points", "sampling", "clever"} <= set(found)
    assert ("lp_no_triangle" in found) == (scope == "regional" and norm != "2")
    functools.reduce(CertifiedInterval.intersect, found.values())  # raises where two contradict each other
    for name, result in found.items():
        assert result.lower <= exact * (1 + ROUNDING), name
        if scope == "regional":
            assert result.upper >= exact * (1 - ROUNDING), name
    estimate = found["clever"].estimate
    assert estimate is not None and found["random_points"].lower * 0.8 <= estimate < math.inf
    assert found["random_points"].lower <= found["sampling"].lower * (1 + ROUNDING)
    assert found["spectral"].upper <= (found["frobenius"].upper if norm == "2" else math.inf) * (1 + ROUNDING)
    if "mixing" in found:
        assert found["mixing"].upper <= found["deviation"].upper * (1 + ROUNDING)
        if scope == "regional" and case.startswith("digits"):  # where it is the tightest of the cheap ones
            cheap = min(found[name].upper for name in ("deviation", "jacobian_crown", "fastlip"))
            assert found["mixing"].upper <= min(cheap, 1.2 * exact)
    assert ("mixing" in found) == (norm != "1")
    if "lp" in found:
        assert found["lp"].upper <= found["lp_no_triangle"].upper * (1 + 1e-7)
        assert found["lp_no_triangle"].upper <= found["jacobian_crown"].upper * (1 + 1e-9)


VECTOR_VALUED = [
    *itertools.product(["largest_logit", "largest_pair_of_logits", "largest_sign_vector"], ["1", "inf"]),
]


@pytest.mark.parametrize("case", ["rand0", "rand1"])
@pytest.mark.parametrize(("kind", "norm"), VECTOR_VALUED)
@one_in(2)
def test_vector_valued_constants(reference: Reference, kind: str, case: str, norm: str) -> None:
    """Enumeration over all linear pieces: the largest logit, the largest pair of logits, and the output norm q = 1."""
    exact = reference.vector_valued[case][norm][kind]
    arrays = reference.case(case)
    if kind == "largest_sign_vector":
        problem = question(arrays, Vector(), norm, 1.0)
    else:
        problem = question(arrays, AllLogits() if kind == "largest_logit" else AllPairs(), norm)
    net, x0 = network(arrays), point(arrays)
    for name in BOUNDS:
        assert certify(net, problem, x0, estimator=in_norm(name, norm))[0].upper >= exact * (1 - ROUNDING), name
    lower = certify(net, problem, x0, estimator="sampling")[0].lower
    assert 0.8 * exact <= lower <= exact * (1 + ROUNDING)
