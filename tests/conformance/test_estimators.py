"""Every registered estimator against the exact constants of tiny networks: soundness first, then what each one promises.

A new estimator is judged by all of this as soon as it is registered; its class attributes say which questions it covers.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lipreg.bounds import METHODS, Analysis
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import (
    ESTIMATORS,
    Bound,
    BoundEstimator,
    certify,
    estimate,
    frozen_analysis,
    get_estimator,
)
from lipreg.estimators.base import Settings
from lipreg.estimators.evaluate import Network
from lipreg.graph import MaxPool, capture
from lipreg.outputs import AllLogits, AllMargins, Logit, Margin, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall
from lipreg.results import Certificate, CertifiedInterval
from tests import oracles
from tests.conformance.questions import (
    NORMS,
    POINTS,
    REGIONS,
    SCOPES,
    Question,
    domain,
    output,
    outputs_for,
    sampled,
)
from tests.oracles import ZOO

TOLERANCE = 1e-8
"""Relative slack for the rounding of both sides; solvers widen their own answers by their own tolerances."""
ABSOLUTE = 1e-12
"""Slack where the constant is 0 and the reference holds rounding alone."""
BUDGET = Budget(60.0)

BOUNDS = [name for name, method in ESTIMATORS.items() if isinstance(method, BoundEstimator)]
SEARCHES = [name for name in ESTIMATORS if name not in BOUNDS]
DIFFERENTIABLE = [name for name in BOUNDS if ESTIMATORS[name].differentiable]

each_net = pytest.mark.parametrize("net", ZOO)
each_estimator = pytest.mark.parametrize("name", ESTIMATORS)
each_bound = pytest.mark.parametrize("name", BOUNDS)
each_scope = pytest.mark.parametrize("scope", SCOPES)
each_norm = pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)


def covered(name: str, scope: str, p: float, vector: bool = False) -> bool:
    """What the class attributes of an estimator promise."""
    method = ESTIMATORS[name]
    return scope in method.scopes and p in method.norms and (method.vector or not vector)


def each_covered(names: Iterable[str]) -> pytest.MarkDecorator:
    """Every estimator with every scope and norm that it covers."""
    grid = itertools.product(names, SCOPES, NORMS.items())
    kept = [
        pytest.param(name, scope, p, id=f"{name}-{scope}-{label}")
        for name, scope, (label, p) in grid
        if covered(name, scope, p)
    ]
    return pytest.mark.parametrize(("name", "scope", "p"), kept)


def each_covered_with(factor: str, values: Sequence[Any], names: Iterable[str]) -> pytest.MarkDecorator:
    """Every estimator with each value of another factor, under two or three of the scopes and norms it covers, in turn."""
    kept = []
    for name in names:
        own = each_covered([name]).args[1]
        for (k, case), (j, value) in itertools.product(enumerate(own), enumerate(values)):
            if sampled(max(1, len(own) // 2), k, j):
                kept.append(pytest.param(*case.values, value, id=f"{case.id}-{value}"))
    return pytest.mark.parametrize(("name", "scope", "p", factor), kept)


REGIONAL = [name for name in ESTIMATORS if covered(name, "regional", math.inf)]


def takes(name: str, question: Question) -> bool:
    """Whether an estimator takes the question; beyond its attributes only a region that is no polytope may be refused."""
    if not covered(name, question.scope, question.p, question.output.startswith("vector")):
        return False
    if question.problem.q is not None and question.problem.q not in ESTIMATORS[name].output_norms:
        return False
    try:
        ESTIMATORS[name].check(question.problem)
    except UnsupportedRequest:
        assert isinstance(question.problem.region, L2Ball), f"{name} refuses {question}, which its attributes cover"
        return False
    return True


def check_sound(question: Question, name: str, results: list[CertifiedInterval]) -> None:
    """Each end of each interval against the reference, and what its certificate promises."""
    assert len(results) == POINTS
    for point, result in enumerate(results):
        low, high = question.truth(point)
        where = f"{name}: {question} at point {point}: [{result.lower}, {result.upper}] against [{low}, {high}]"
        assert result.upper >= low * (1 - TOLERANCE) - ABSOLUTE, where
        assert result.lower <= high * (1 + TOLERANCE) + ABSOLUTE, where
        match ESTIMATORS[name].certificate:
            case Certificate.UPPER:
                assert result.upper < math.inf and result.lower == 0.0, where
            case Certificate.LOWER:
                assert result.upper == math.inf, where
            case Certificate.ESTIMATE:
                assert result.estimate is not None and math.isfinite(result.estimate), where
        if result.certificate is Certificate.EXACT and low == high:
            assert result.upper == pytest.approx(high, rel=2e-5, abs=1e-9), where
        if result.witness is not None:
            check_witness(question, point, result)


def check_witness(question: Question, point: int, result: CertifiedInterval) -> None:
    """The witness lies in the region and attains what it says, by autograd on the module itself."""
    assert result.witness is not None
    x0 = question.x[point].numpy()
    where, x = domain(question.region, x0), np.array(result.witness.point)
    assert ((x >= where.lower - 1e-9) & (x <= where.upper + 1e-9)).all()
    assert np.linalg.norm(x - x0, where.norm) <= where.radius + 1e-9
    a, b = where.facets()
    assert (a @ (x - x0)[where.free] <= b + 1e-9).all()
    _, rows, q = output(question.output, oracles.evaluate(question.module, x[None]).shape[1])
    if question.scope == "pointed":
        attained = float(oracles.quotients(question.module, where, x[None], rows, question.p, q)[0])
    else:
        attained = oracles.slope_norm(oracles.jacobian(question.module, x)[:, where.free], rows, question.p, q)
    assert result.witness.attained == pytest.approx(attained, rel=1e-9)
    assert result.lower <= result.witness.attained


@functools.cache
def questions(net: str, scope: str, p: float) -> tuple[Question, ...]:
    """Regions and outputs for one network, scope and norm; two sets of weights take turns.

    A third of all pairs, another third for each network and norm: every region with two or three outputs, every output with
    two or three regions. ``make test-all`` takes them all.
    """
    start = zlib.crc32(f"{net} {p}".encode())  # not of the scope: both scopes are compared question by question
    return tuple(
        Question(net, region, scope, p, kind, seed=turn % 2)
        for turn, region in enumerate(REGIONS)
        for place, kind in enumerate(outputs_for(p))
        if sampled(3, start, turn, place)
    )


@functools.cache
def analysis_of(net: str, seed: int, region: str, scope: str) -> Analysis:
    question = Question(net, region, scope, math.inf, "logit", seed)
    return frozen_analysis(question.module, question.problem, question.x, None)


@functools.cache
def answer(question: Question, name: str) -> list[CertifiedInterval]:
    """``certify``, with the pre-activation bounds kept: they do not depend on the norm or the output."""
    analysis = analysis_of(question.net, question.seed, question.region, question.scope)
    with torch.no_grad():
        placed = question.problem.place(question.x, question.module(question.x))
    return ESTIMATORS[name].intervals(analysis.asking(placed), BUDGET)


# ---------------------------------------------------------------- soundness


@each_net
@each_covered(BOUNDS)
def test_closed_form_bound_is_above_the_exact_constant(name: str, net: str, scope: str, p: float) -> None:
    for question in questions(net, scope, p):
        if takes(name, question):
            check_sound(question, name, answer(question, name))


EACH_SEARCH = each_covered_with("net", list(ZOO), SEARCHES)


@functools.cache
def drawn() -> dict[tuple[str, str, float, str], Question]:
    """One of the questions that a search takes for each case: the one whose region and output it was asked about least."""
    asked: Counter[tuple[str, str]] = Counter()
    kept = {}
    for case in EACH_SEARCH.args[1]:
        name, scope, p, net = case.values
        taken = (question for question in questions(net, scope, p) if takes(name, question))
        question = min(taken, key=lambda q: asked[name, q.region] + asked[name, q.output])
        asked.update(((name, question.region), (name, question.output)))
        kept[name, scope, p, net] = question
    return kept


@EACH_SEARCH
def test_search_is_on_its_side_of_the_exact_constant(name: str, net: str, scope: str, p: float) -> None:
    question = drawn()[name, scope, p, net]
    results = certify(question.module, question.problem, question.x, estimator=name, budget=BUDGET)
    check_sound(question, name, results)
    if ESTIMATORS[name].certificate is Certificate.BRACKET:  # networks this small are searched to the end
        assert all(result.certificate is Certificate.EXACT for result in results), [result.status for result in results]
    for bound in BOUNDS:  # raises where two proofs contradict each other, however slightly
        if takes(bound, question):
            for found, proved in zip(results, answer(question, bound), strict=True):
                found.intersect(proved)


@each_covered_with("net", ["line", "deep", "residual"], SEARCHES)
def test_a_search_within_one_linear_piece(name: str, scope: str, p: float, net: str) -> None:
    """No unit is undecided, so there is nothing to search; the constant is the Jacobian's own norm."""
    module = oracles.network(net)
    x = torch.full((1, oracles.input_size(module)), 0.21, dtype=torch.float64)
    own = oracles.jacobian(module, x[0].numpy())
    exact = oracles.slope_norm(own, np.eye(len(own)), p, None)
    for region in (LinfBall(1e-6), LinfBall(1e-3), L1Ball(1e-6), L1Ball(1e-3)):
        problem = LocalLipschitz(region, AllLogits(), scope, p)  # type: ignore[arg-type]
        (result,) = certify(module, problem, x, estimator=name, budget=BUDGET)
        assert result.upper >= exact * (1 - TOLERANCE) and result.lower <= exact * (1 + TOLERANCE)
        if ESTIMATORS[name].certificate is Certificate.BRACKET:
            assert result.certificate is Certificate.EXACT


@each_covered(SEARCHES)
def test_a_search_that_may_not_spend_anything_is_sound(name: str, scope: str, p: float) -> None:
    stopped = threading.Event()
    stopped.set()
    question = Question("deep", "linf_cut", scope, p, "margin")
    for budget in (Budget(0.0), Budget(10.0, stop=stopped)):
        results = certify(question.module, question.problem, question.x, estimator=name, budget=budget)
        check_sound(question, name, results)


@each_covered(SEARCHES)
def test_a_search_may_start_from_what_is_known(name: str, scope: str, p: float) -> None:
    question = Question("residual", "l1_cut", scope, p, "all_logits")
    known = tuple(
        low.intersect(high)
        for low, high in zip(
            certify(question.module, question.problem, question.x, estimator="sampling"),
            answer(question, "fastlip"),
            strict=True,
        )
    )
    results = certify(question.module, question.problem, question.x, estimator=name, budget=10.0, known=known)
    check_sound(question, name, results)
    if ESTIMATORS[name].certificate is Certificate.BRACKET:
        for start, result in zip(known, results, strict=True):
            assert result.lower >= start.lower and result.upper <= start.upper * (1 + 1e-6)


RANDOM_REGIONS = {"linf": (LinfBall, math.inf), "l2": (L2Ball, 2.0), "l1": (L1Ball, 1.0)}


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    widths=st.tuples(st.integers(1, 3), st.lists(st.integers(1, 5), min_size=0, max_size=3), st.integers(1, 3)),
    leak=st.sampled_from([None, 0.01, 0.3]),
    kind=st.sampled_from(list(RANDOM_REGIONS)),
    radius=st.sampled_from([0.05, 0.5, 2.0]),
    scope=st.sampled_from(SCOPES),
    p=st.sampled_from(list(NORMS.values())),
)
def test_random_networks(
    seed: int, widths: tuple[int, list[int], int], leak: float | None, kind: str, radius: float, scope: str, p: float
) -> None:
    """Any shape of network, any ball: bounds above the exact constant, sampling below it, and they never cross."""
    inputs, hidden, outputs = widths
    torch.manual_seed(seed)
    net = oracles.mlp(inputs, *hidden, outputs, leak=leak).double()
    x = torch.randn(1, inputs, dtype=torch.float64)
    region, norm = RANDOM_REGIONS[kind]
    where = oracles.Domain(
        x[0].numpy(), x[0].numpy() - radius, x[0].numpy() + radius, norm, math.inf if norm == math.inf else radius
    )
    found = oracles.cells(net, where)
    rows = np.eye(outputs)
    high = low = oracles.regional(found, rows, p, None)
    if scope == "pointed":
        low = oracles.sampled_pointed(net, where, rows, p, None, count=300)
        if p != 2 and where.polyhedral:
            at = oracles.candidates(found, where, p)
            high = low = float(oracles.quotients(net, where, at, rows, p, None).max())
    problem = LocalLipschitz(region(radius), AllLogits(), scope, p)  # type: ignore[arg-type]
    analysis = frozen_analysis(net, problem, x, None)
    asked = [name for name in (*BOUNDS, "sampling") if covered(name, scope, p)]
    results = [ESTIMATORS[name].intervals(analysis, BUDGET)[0] for name in asked]
    whole = functools.reduce(CertifiedInterval.intersect, results)
    assert whole.upper >= low * (1 - TOLERANCE) - ABSOLUTE
    assert whole.lower <= high * (1 + TOLERANCE) + ABSOLUTE


@each_norm
@each_scope
@each_estimator
def test_what_is_not_covered_is_refused(name: str, scope: str, p: float) -> None:
    net, x = oracles.network("shallow"), torch.zeros(1, 2, dtype=torch.float64)
    for kind in (Logit(0), Vector()):
        problem = LocalLipschitz(LinfBall(0.5), kind, scope, p, math.inf if kind.joint else None)  # type: ignore[arg-type]
        if covered(name, scope, p, kind.joint):
            ESTIMATORS[name].check(problem)
            continue
        with pytest.raises(UnsupportedRequest, match=name) as refusal:
            certify(net, problem, x, estimator=name, budget=BUDGET)
        able = [other for other in ESTIMATORS if covered(other, scope, p, kind.joint)]
        assert all(other in str(refusal.value) for other in able)


def test_sampling_comes_close_to_the_exact_constant() -> None:
    """A lower end of 0 would be sound too; most of the constant must be found on networks this small."""
    shares = []
    for net, scope in itertools.product(ZOO, SCOPES):
        question = Question(net, "linf", scope, math.inf, "margin")
        results = certify(question.module, question.problem, question.x, estimator="sampling")
        shares += [result.lower / question.truth(i)[0] for i, result in enumerate(results)]
    assert min(shares) > 0.6 and np.mean(shares) > 0.95, sorted(shares)[:5]


# ---------------------------------------------------------------- the two scopes


def test_the_counter_example_that_tells_the_scopes_apart() -> None:
    """f(x) = relu(x - 1) at x0 = 0, radius 2: the quotient against x0 is at most 1/2, the slope on [1, 2] is 1."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(-1.0)
        net[2].weight.fill_(1.0)
    x = torch.zeros(1, 1, dtype=torch.float64)
    where = oracles.Domain(np.zeros(1), np.array([-2.0]), np.array([2.0]))
    assert oracles.segments(net, where, np.eye(1), None) == pytest.approx((1.0, 0.5))
    exact = {"regional": 1.0, "pointed": 0.5}
    for (scope, value), name in itertools.product(exact.items(), ESTIMATORS):
        for p in NORMS.values():
            if not covered(name, scope, p):
                continue
            problem = LocalLipschitz(LinfBall(2.0), Logit(0), scope, p)  # type: ignore[arg-type]
            (result,) = certify(net, problem, x, estimator=name, budget=BUDGET)
            assert result.upper >= value * (1 - TOLERANCE) and result.lower <= value * (1 + TOLERANCE), name
            if name in ("affine_relu", "abs_chain", "fastlip"):
                assert result.upper == pytest.approx(value, rel=1e-6), f"{name} is exact here in {scope} scope"
            if name == "sampling":
                assert result.lower == pytest.approx(value, rel=1e-2 if scope == "pointed" else 1e-9)


@each_norm
@each_net
@each_bound
def test_pointed_bound_is_at_most_the_regional_bound(name: str, net: str, p: float) -> None:
    for pair in zip(questions(net, "pointed", p), questions(net, "regional", p), strict=True):
        if not all(takes(name, question) for question in pair):
            continue
        for pointed, regional in zip(*(answer(question, name) for question in pair), strict=True):
            assert pointed.upper <= regional.upper * (1 + 1e-12)


# ---------------------------------------------------------------- order between bounds


@each_scope
@each_net
@pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])
def test_abs_chain_is_at_most_affine_relu(net: str, scope: str, p: float) -> None:
    for question in questions(net, scope, p):
        if p == math.inf and question.output == "vector_q1":
            continue  # the affine-ReLU bound has the exact norm of its last map, the chain that of its magnitudes
        for chain, product in zip(answer(question, "abs_chain"), answer(question, "affine_relu"), strict=True):
            assert chain.upper <= product.upper * (1 + 1e-12), str(question)


@each_norm
@each_scope
@each_net
def test_fastlip_is_at_most_abs_chain(net: str, scope: str, p: float) -> None:
    for question in questions(net, scope, p):
        for fast, chain in zip(answer(question, "fastlip"), answer(question, "abs_chain"), strict=True):
            assert fast.upper <= chain.upper * (1 + 1e-12), str(question)


@each_norm
@each_scope
@each_net
def test_jacobian_crown_is_at_most_fastlip(net: str, scope: str, p: float) -> None:
    for question in questions(net, scope, p):
        for linear, fast in zip(answer(question, "jacobian_crown"), answer(question, "fastlip"), strict=True):
            assert linear.upper <= fast.upper * (1 + 1e-12), str(question)


@each_norm
@each_scope
@each_net
def test_affine_relu_is_at_most_the_spectral_product(net: str, scope: str, p: float) -> None:
    for question in questions(net, scope, p):
        for local, whole in zip(answer(question, "affine_relu"), answer(question, "spectral"), strict=True):
            assert local.upper <= whole.upper * (1 + 1e-12), str(question)


def bounds_of(name: str, net: Network, problem: LocalLipschitz, x: Tensor, methods: tuple[str, ...] | None) -> Tensor:
    with torch.no_grad():
        return estimate(net, problem, x, bound=Bound(name, methods or "all", "exact"))


NESTED = [
    (small, large)
    for n in range(1, len(METHODS))
    for small in itertools.combinations(METHODS, n)
    for large in itertools.combinations(METHODS, n + 1)
    # CROWN picks its lower lines by the bounds it is given, so a tighter start may give it a looser end
    if set(small) < set(large) and "crown" not in small
]


@each_norm
@each_scope
@pytest.mark.parametrize(("small", "large"), NESTED, ids=lambda methods: "+".join(methods))
def test_fewer_preactivation_methods_are_never_tighter(
    small: tuple[str, ...], large: tuple[str, ...], scope: str, p: float
) -> None:
    local = [name for name in BOUNDS if name != "spectral" and covered(name, scope, p)]
    turn = NESTED.index((small, large)) + SCOPES.index(scope) + list(NORMS.values()).index(p)
    pairs = (("deep", "linf"), ("leaky", "l2_cut"), ("residual", "l1"))
    asked = [pair for place, pair in enumerate(pairs) if sampled(len(pairs), turn, place)]
    for (net, region), name in itertools.product(asked, local):
        question = Question(net, region, scope, p, "all_margins")
        few = bounds_of(name, question.module, question.problem, question.x, small)
        many = bounds_of(name, question.module, question.problem, question.x, large)
        assert (many <= few * (1 + 1e-12)).all(), f"{name}: {question}"


@each_covered_with("methods", [("interval",), ("ball",), ("ball", "interval")], BOUNDS)
def test_a_larger_region_never_gives_a_smaller_bound(name: str, methods: tuple[str, ...], scope: str, p: float) -> None:
    for net, kind in (("deep", LinfBall), ("leaky", L1Ball), ("residual", L2Ball)):
        x = torch.full((1, 2), 0.2, dtype=torch.float64)
        module = capture(oracles.network(net), x)
        previous = torch.zeros(1, dtype=torch.float64)
        for radius in (0.02, 0.1, 0.3, 1.0, 4.0):
            problem = LocalLipschitz(kind(radius), Margin(0, 1), scope, p)  # type: ignore[arg-type]
            bound = bounds_of(name, module, problem, x, methods)
            assert (bound >= previous * (1 - 1e-12)).all(), f"{net}, {kind.__name__}({radius})"
            previous = bound


def test_bounds_meet_the_exact_constant_where_every_unit_is_decided() -> None:
    """On a region within one linear piece fastlip is the Jacobian's own norm, in both scopes."""
    for net in ("deep", "leaky", "residual", "batch_norm", "solid"):
        module = oracles.network(net)
        x = torch.full((1, oracles.input_size(module)), 0.21, dtype=torch.float64)
        own = oracles.jacobian(module, x[0].numpy())
        for scope, p in itertools.product(SCOPES, NORMS.values()):
            problem = LocalLipschitz(LinfBall(1e-6), Logit(1), scope, p)  # type: ignore[arg-type]
            bound = bounds_of("fastlip", module, problem, x, None)
            assert float(bound) == pytest.approx(oracles.slope_norm(own, np.eye(len(own))[1:2], p, None), rel=1e-9)


# ---------------------------------------------------------------- invariances


def with_last_layer_scaled(net: nn.Module, factor: float) -> nn.Module:
    last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(factor)
        assert last.bias is not None
        last.bias.mul_(factor)
    return net


@pytest.mark.parametrize("factor", [3.0, -0.25])
@each_covered(ESTIMATORS)
def test_scaling_the_last_layer_scales_the_result(name: str, factor: float, scope: str, p: float) -> None:
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.6), Margin(0, 1), scope, p)  # type: ignore[arg-type]
    (plain,) = certify(oracles.network("shallow"), problem, x, estimator=name, budget=BUDGET)
    changed = with_last_layer_scaled(oracles.network("shallow"), factor)
    (scaled,) = certify(changed, problem, x, estimator=name, budget=BUDGET)
    assert scaled.upper == pytest.approx(abs(factor) * plain.upper, rel=1e-4)
    assert scaled.lower == pytest.approx(abs(factor) * plain.lower, rel=1e-4)


@each_covered(BOUNDS)
def test_a_batch_is_a_loop_over_its_points(name: str, scope: str, p: float) -> None:
    for net, region in (("deep", "linf_cut"), ("leaky", "l2"), ("residual", "l1_cut"), ("batch_norm", "l2_cut")):
        x = torch.rand(4, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64) - 0.3
        module = capture(oracles.network(net), x)
        y = torch.tensor([0, 1, 1, 0])
        problem = LocalLipschitz(REGIONS[region](2), AllMargins(), scope, p)  # type: ignore[arg-type]
        whole = [result.upper for result in certify(module, problem, x, y, estimator=name)]
        single = [certify(module, problem, x[i : i + 1], y[i : i + 1], estimator=name)[0].upper for i in range(len(x))]
        assert whole == pytest.approx(single, rel=1e-12)
        batched = estimate(module, problem, x, y, bound=name).tolist()
        assert batched == pytest.approx(whole, rel=2e-9)


@each_covered(ESTIMATORS)
def test_shaped_inputs_are_flat_inputs(name: str, scope: str, p: float) -> None:
    """Images and vectors of the same numbers have the same constant."""
    flat = oracles.mlp(4, 4, 3, 2).double()
    shaped = nn.Sequential(nn.Flatten(), *flat)
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    problem = LocalLipschitz(L1Ball(0.5, low=0.0, high=1.0), Margin(0, 1), scope, p)  # type: ignore[arg-type]
    vectors = certify(flat, problem, x, estimator=name, budget=BUDGET)
    images = certify(shaped, problem, x.reshape(2, 2, 1, 2), estimator=name, budget=BUDGET)
    for vector, image in zip(vectors, images, strict=True):
        assert image.upper == pytest.approx(vector.upper, rel=1e-9)
        assert image.lower == pytest.approx(vector.lower, rel=1e-9)


@each_bound
def test_a_slice_of_an_analysis_is_the_analysis_of_the_slice(name: str) -> None:
    question = Question("deep", "l2_cut", "pointed", 2.0, "all_margins")
    analysis = frozen_analysis(question.module, question.problem, question.x, None)
    whole = ESTIMATORS[name].intervals(analysis, BUDGET)
    for i in range(POINTS):
        (part,) = ESTIMATORS[name].intervals(analysis[i : i + 1], BUDGET)
        assert part.upper == pytest.approx(whole[i].upper, rel=1e-12)


@pytest.mark.parametrize("name", REGIONAL)
def test_results_repeat_for_the_same_seed(name: str) -> None:
    question = Question("deep", "linf", "regional", math.inf, "margin")
    first, second = (
        certify(
            question.module, question.problem, question.x, estimator=name, budget=Budget(30), settings=Settings(seed=3)
        )
        for _ in range(2)
    )
    assert [(r.lower, r.upper) for r in first] == [(r.lower, r.upper) for r in second]


@each_bound
def test_float32_networks_give_the_float64_bound_to_rounding(name: str) -> None:
    question = Question("deep", "linf", "pointed", 2.0, "all_margins")
    single = oracles.network("deep").float()
    bound = estimate(single, question.problem, question.x.float(), bound=name)
    assert bound.dtype == torch.float32
    own = [result.upper for result in certify(question.module, question.problem, question.x, estimator=name)]
    assert bound.tolist() == pytest.approx(own, rel=1e-4)


# ---------------------------------------------------------------- the doors


def test_a_module_a_capture_and_a_frozen_graph_are_one_network() -> None:
    question = Question("deep", "linf", "pointed", 2.0, "all_margins")
    captured = capture(question.module, question.x)
    networks = (question.module, captured, captured.frozen())
    ends = [[r.upper for r in certify(net, question.problem, question.x, estimator="fastlip")] for net in networks]
    assert ends[0] == ends[1] == ends[2]
    bounds = [estimate(net, question.problem, question.x, bound="fastlip") for net in (*networks[:2], captured.live())]
    assert all(torch.equal(bound, bounds[0]) for bound in bounds)
    with pytest.raises(InvalidInput, match="live"):
        certify(captured.live(), question.problem, question.x, estimator="fastlip")


def test_both_doors_take_float32_points_at_the_end_of_the_data_range() -> None:
    """0.1 in single precision is above 0.1; what the penalty takes, the audit must take."""
    net = oracles.mlp(1, 3, 2)
    x = torch.tensor([[0.1]])
    problem = LocalLipschitz(LinfBall(0.05, low=0.0, high=0.1), Logit(0))
    assert x.double().item() > 0.1
    assert estimate(net, problem, x).shape == (1,)
    assert len(certify(net, problem, x, estimator="fastlip")) == 1


def test_labels_are_asked_for_where_they_are_needed() -> None:
    net, x = oracles.network("shallow"), torch.zeros(2, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.1), AllMargins())
    with pytest.raises(InvalidInput, match="labels"):
        estimate(net, problem, x)
    assert estimate(net, problem, x, torch.tensor([0, 2])).shape == (2,)


# ---------------------------------------------------------------- degenerate networks


def cancelled(scale: float) -> nn.Module:
    """scale * relu(h1 - h2) / 4 + relu(x) on x in R, with h1 = h2: the first unit has no room, though its inputs move."""
    net = oracles.mlp(1, 3, 2, 1).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([5.0, 5.0, 0.0]))
        net[2].weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]))
        net[2].bias.zero_()
        net[4].weight.copy_(torch.tensor([[scale, 1.0]]))
        net[4].bias.zero_()
    return net


@each_covered(ESTIMATORS)
def test_a_unit_that_cancels_to_zero_does_not_loosen_soundness(name: str, scope: str, p: float) -> None:
    """The pre-activation is 0 on all of X while its sources move, so both its bounds are 0."""
    for scale in (0.25, 1.0, -2.0):
        problem = LocalLipschitz(LinfBall(1.0), Logit(0), scope, p)  # type: ignore[arg-type]
        (result,) = certify(
            cancelled(scale), problem, torch.zeros(1, 1, dtype=torch.float64), estimator=name, budget=BUDGET
        )
        assert result.upper >= 1.0 - TOLERANCE and result.lower <= 1.0 + TOLERANCE, f"{result.lower}, {result.upper}"


@pytest.mark.parametrize("name", [name for name in SEARCHES if ESTIMATORS[name].certificate is not Certificate.UPPER])
@each_scope
def test_a_points_draws_do_not_depend_on_the_other_points(name: str, scope: str) -> None:
    """Alone, or last among others: the same random points, so the same end or estimate to rounding."""
    if scope not in ESTIMATORS[name].scopes or name in ("mip", "lipmip", "mip_pointed"):
        pytest.skip("another scope, or it draws nothing of its own")
    p = 2.0 if 2.0 in ESTIMATORS[name].norms else math.inf
    problem = LocalLipschitz(LinfBall(0.8), AllLogits(), scope, p)  # type: ignore[arg-type]
    x = torch.tensor([[0.3, -0.2], [0.1, 0.5], [-0.4, 0.2]], dtype=torch.float64)
    net = oracles.network("deep")
    given: dict[str, Any] = {"budget": Budget(nodes=1), "settings": Settings(seed=3)}
    (alone,) = certify(net, problem, x[:1], estimator=name, **given)  # a search says what it started from
    last = certify(net, problem, x.flip(0), estimator=name, **given)[-1]
    assert last.lower == pytest.approx(alone.lower, rel=1e-9)
    assert last.estimate is None if alone.estimate is None else last.estimate == pytest.approx(alone.estimate, rel=1e-6)


@pytest.mark.parametrize("name", REGIONAL)
def test_a_kink_on_the_border_of_the_region_is_not_inside_it(name: str) -> None:
    """relu(x - b) on (-inf, b], where rounding puts random border points a hair above b: the constant is 0."""
    center, radius = -0.999, 0.7
    border = center + radius
    lower = center - radius
    assert lower + (border - lower) > border, "the example needs this rounding"
    net = oracles.mlp(1, 1, 1).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(-border)
        net[2].weight.fill_(1.0)
    x = torch.tensor([[center]], dtype=torch.float64)
    (result,) = certify(net, LocalLipschitz(LinfBall(radius), Logit(0)), x, estimator=name, budget=BUDGET)
    assert result.lower <= TOLERANCE, result


@pytest.mark.parametrize("seed", [26, 194, 248])
@pytest.mark.parametrize("name", REGIONAL)
def test_a_kink_that_only_rounding_crosses_is_no_witness(name: str, seed: int) -> None:
    """relu(w . x - b) on [0, 1]^n with b just above sum(w), in exact arithmetic: the unit is off on the whole box.

    At the corner x = 1 the sum rounds to above b, and being the only unit of its layer it is no small number there.
    """
    rng = random.Random(seed)
    weights = [rng.uniform(0.05, 1.0) for _ in range(5)]
    exact = sum(map(Fraction, weights))
    bias = float(exact)
    while Fraction(bias) < exact:
        bias = math.nextafter(bias, math.inf)
    net = oracles.mlp(5, 1, 1).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([weights], dtype=torch.float64))
        net[0].bias.fill_(-bias)
        net[2].weight.fill_(1.0)
    problem = LocalLipschitz(Box(0.0, 1.0), Logit(0))
    x = torch.full((1, 5), 0.5, dtype=torch.float64)
    (result,) = certify(net, problem, x, estimator=name, budget=BUDGET)
    assert result.lower <= TOLERANCE, result


def test_rounding_of_a_dead_network_proves_nothing() -> None:
    """The output is constant, but its rounding differs between batches: 1e-17 over a small step is no slope."""
    x = torch.tensor([[0.3]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.05), AllLogits(), "pointed")
    for seed in range(40):
        torch.manual_seed(seed)
        net = oracles.mlp(1, 1, 1, 2, 3).double()
        with torch.no_grad():
            net[0].bias.fill_(-100.0)
        (proved,) = certify(net, problem, x, estimator="fastlip")
        assert proved.upper == 0.0
        proved.intersect(certify(net, problem, x, estimator="sampling")[0])


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_pointed_results_of_a_network_that_cancels_meet(size: float) -> None:
    """3 s relu(x + 5) - s relu(3 x + 15) + x / 1000: large terms cancel within one affine map, and leave their rounding."""
    net = oracles.mlp(1, 3, 1).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [3.0], [1.0]]))
        net[0].bias.copy_(torch.tensor([5.0, 15.0, 5.0]))
        net[2].weight.copy_(torch.tensor([[3.0 * size, -size, 1e-3]], dtype=torch.float64))
        net[2].bias.zero_()
    problem = LocalLipschitz(LinfBall(0.1), Logit(0), "pointed")
    x = torch.tensor([[0.3]], dtype=torch.float64)
    (proved,) = certify(net, problem, x, estimator="fastlip")
    assert proved.upper == pytest.approx(1e-3, rel=1e-6)
    whole = proved.intersect(certify(net, problem, x, estimator="sampling")[0])
    assert whole.lower <= 1e-3 * (1 + 1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_pointed_results_of_a_shifted_affine_map_meet(offset: float) -> None:
    """A large constant in the output must not lend its rounding to the quotient."""
    net = nn.Sequential(nn.Linear(1, 1)).double()
    with torch.no_grad():
        net[0].weight.fill_(1e-3)
        net[0].bias.fill_(offset)
    problem = LocalLipschitz(LinfBall(0.01), Logit(0), "pointed")
    x = torch.tensor([[0.3]], dtype=torch.float64)
    results = [
        certify(net, problem, x, estimator=name, budget=BUDGET)[0]
        for name in ESTIMATORS
        if covered(name, "pointed", math.inf)
    ]
    whole = functools.reduce(CertifiedInterval.intersect, results)
    assert whole.lower <= 1e-3 * (1 + 1e-12) and whole.upper >= 1e-3 * (1 - 1e-12)


@each_estimator
def test_a_constant_network_has_constant_zero(name: str) -> None:
    net = oracles.mlp(2, 3, 2).double()
    with torch.no_grad():
        net[2].weight.zero_()
    for scope in SCOPES:
        if covered(name, scope, math.inf):
            problem = LocalLipschitz(LinfBall(0.5), Logit(0), scope, math.inf)  # type: ignore[arg-type]
            (result,) = certify(net, problem, torch.zeros(1, 2, dtype=torch.float64), estimator=name, budget=BUDGET)
            assert result.lower == 0.0
            assert result.upper == math.inf or result.upper <= 1e-6


# ---------------------------------------------------------------- max pooling


class Pooled(nn.Module):
    """Max pooling of neighbours as a layer, or written out by ReLUs: max(a, b) = b + relu(a - b)."""

    def __init__(self, stride: int, written_out: bool) -> None:
        super().__init__()
        self.a, self.act1, self.act2 = nn.Linear(2, 4), nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool1d(2, stride=stride)
        self.b = nn.Linear(4 // stride if stride == 2 else 3, 3)
        self.stride, self.written_out = stride, written_out

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.a(x))
        if not self.written_out:
            return self.b(self.pool(h))
        left = h[:, :-1][:, :: self.stride]
        right = h[:, 1:][:, :: self.stride]
        return self.b(right + self.act2(left - right))


@pytest.mark.parametrize("stride", [1, 2], ids=["overlapping", "apart"])
@each_covered(ESTIMATORS)
def test_max_pooling_is_refused_or_bounded(name: str, stride: int, scope: str, p: float) -> None:
    net, twin = Pooled(stride, False).double(), Pooled(stride, True).double()
    twin.load_state_dict(net.state_dict())
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    torch.testing.assert_close(net(x), twin(x))
    where = oracles.Domain(x[0].numpy(), x[0].numpy() - 1.5, x[0].numpy() + 1.5)
    rows = np.array([[1.0, -1.0, 0.0]])
    regional = oracles.regional(oracles.cells(twin, where), rows, p, None)
    low = regional if scope == "regional" else oracles.sampled_pointed(twin, where, rows, p, None)
    problem = LocalLipschitz(LinfBall(1.5), Margin(0, 1), scope, p)  # type: ignore[arg-type]
    searched = ESTIMATORS[name].certificate is Certificate.BRACKET
    if MaxPool not in ESTIMATORS[name].kinds:
        assert not searched
        with pytest.raises(UnsupportedRequest, match="MaxPool"):
            certify(net, problem, x, estimator=name, budget=BUDGET)
        return
    (result,) = certify(net, problem, x, estimator=name, budget=BUDGET)
    assert result.upper >= low * (1 - TOLERANCE)
    assert result.lower <= regional * (1 + TOLERANCE)
    if searched and scope == "regional":
        assert result.certificate is Certificate.EXACT
        assert result.upper == pytest.approx(regional, rel=1e-5)


# ---------------------------------------------------------------- gradients


def bound_as_function_of_parameters(net: nn.Module, problem: LocalLipschitz, x: Tensor, name: str):
    """(function, parameters) for gradcheck: the live graph reads whatever tensors stand in the module."""
    captured = capture(net, x)
    places = [(m, key) for m in net.modules() for key, value in m._parameters.items() if value is not None]
    parameters = tuple(m._parameters[key].detach().clone().requires_grad_() for m, key in places)

    def function(*values: Tensor) -> Tensor:
        for (module, key), value in zip(places, values, strict=True):
            module._parameters[key] = value  # type: ignore[assignment]
        return estimate(captured, problem, x, bound=name)

    return function, parameters


@each_covered_with("net", ["deep", "leaky", "residual", "batch_norm"], DIFFERENTIABLE)
def test_differentiable_bounds_have_the_right_gradient(name: str, net: str, scope: str, p: float) -> None:
    x = torch.tensor([[0.13, -0.21], [-0.05, 0.4]], dtype=torch.float64)
    region = {1.0: REGIONS["l1_cut"], 2.0: REGIONS["l2"], math.inf: REGIONS["linf"]}[p](2)
    problem = LocalLipschitz(region, Margin(0, 1), scope, p)  # type: ignore[arg-type]
    function, parameters = bound_as_function_of_parameters(oracles.network(net, seed=3), problem, x, name)
    assert torch.autograd.gradcheck(function, parameters, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("name", ["spectral", "affine_relu"])
def test_gradients_through_max_pooling(name: str) -> None:
    x = torch.tensor([[0.13, -0.21]], dtype=torch.float64)
    for scope, p in itertools.product(SCOPES, NORMS.values()):
        problem = LocalLipschitz(LinfBall(0.7), Margin(0, 1), scope, p)  # type: ignore[arg-type]
        torch.manual_seed(1)
        function, parameters = bound_as_function_of_parameters(Pooled(1, False).double(), problem, x, name)
        assert torch.autograd.gradcheck(function, parameters, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_stay_finite_on_degenerate_networks(name: str) -> None:
    """Zero rows, dead units and constant layers: square roots and norms have no slope there, and must give 0, not NaN."""
    for net, scope, p in itertools.product(("dead_units", "affine"), SCOPES, NORMS.values()):
        if not covered(name, scope, p):
            continue
        module = oracles.network(net)
        with torch.no_grad():
            next(m for m in module.modules() if isinstance(m, nn.Linear)).weight[0] = 0.0
        problem = LocalLipschitz(L2Ball(0.5), Margin(0, 1), scope, p)  # type: ignore[arg-type]
        estimate(module, problem, torch.zeros(3, 2, dtype=torch.float64), bound=name).sum().backward()
        for parameter in module.parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_no_penalty(name: str) -> None:
    with pytest.raises(UnsupportedRequest, match="not differentiable"):
        estimate(oracles.network("line"), LocalLipschitz(LinfBall(0.1), Logit(0)), torch.zeros(1, 1), bound=name)


def test_an_unknown_estimator_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="affine_relu"):
        get_estimator("no_such_method")
