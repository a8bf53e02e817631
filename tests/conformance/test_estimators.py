"""Every registered estimator against the exact constants of tiny networks: soundness first, then what each one promises.

A new estimator is judged by all of this as soon as it is registered; its class attributes say which questions it covers.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lipreg.bounds import METHODS
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import ESTIMATORS, BoundEstimator, certify, estimate, frozen_analysis, get_estimator, yardsticks
from lipreg.graph import capture
from lipreg.outputs import AllLogits, AllMargins, Logit, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall
from lipreg.results import CertifiedInterval
from lipreg.testing import check_estimator
from lipreg.testing.estimators import ASPECTS
from lipreg.testing.invariance import proved_bound
from lipreg.testing.judged import ABSOLUTE, TOLERANCE, EstimatorUnderTest
from tests import oracles
from tests.conformance.questions import EVERYTHING, NORMS, QUESTIONS, SCOPES, Question, sampled
from tests.oracles import ZOO
from tests.sampling import one_in

BUDGET = Budget(60.0)

YARDSTICKS = [name for name, method in ESTIMATORS.items() if type(method).__module__.startswith(yardsticks.__name__)]
"""Nobody audits with them."""
OFFERED = [name for name in ESTIMATORS if name not in YARDSTICKS]
SHARED = ("one piece", "units", "batch", "images", "limits", "no budget", "what is known", "single precision")
"""What estimators have less from their own code than from that around them: how they are asked, scaled and stopped."""
BOUNDS = [name for name, method in ESTIMATORS.items() if isinstance(method, BoundEstimator)]

each_net = pytest.mark.parametrize("net", ZOO)
each_estimator = pytest.mark.parametrize("name", ESTIMATORS)
each_scope = pytest.mark.parametrize("scope", SCOPES)
each_norm = pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)


def covered(name: str, scope: str, p: float, vector: bool = False) -> bool:
    """What the class attributes of an estimator promise."""
    method = ESTIMATORS[name]
    return scope in method.scopes and p in method.norms and (method.vector or not vector)


@pytest.fixture
def short_hunts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kinds of turns find shows in the truth alone; elsewhere two of them do."""
    if request.node.callspec.params["aspect"] != "truth":
        monkeypatch.setattr(ESTIMATORS["sampling"], "turns", 2)


def answer(question: Question, name: str) -> list[CertifiedInterval]:
    return EstimatorUnderTest(name, ESTIMATORS[name], QUESTIONS, BUDGET).answer(question)


# ---------------------------------------------------------------- what each one promises


@pytest.mark.usefixtures("short_hunts")
@pytest.mark.parametrize("aspect", [aspect for aspect in ASPECTS if aspect not in SHARED])
@pytest.mark.parametrize("name", OFFERED)
def test_it_keeps_what_it_says(name: str, aspect: str) -> None:
    check_estimator(name, aspects=[aspect], questions=QUESTIONS, budget=BUDGET)


@one_in(2)
@pytest.mark.usefixtures("short_hunts")
@pytest.mark.parametrize("aspect", SHARED)
@pytest.mark.parametrize("name", OFFERED)
def test_it_keeps_what_it_shares_with_others(name: str, aspect: str) -> None:
    check_estimator(name, aspects=[aspect], questions=QUESTIONS, budget=BUDGET)


@pytest.mark.parametrize("name", YARDSTICKS)
def test_a_yardstick_is_true(name: str) -> None:
    check_estimator(name, aspects=["truth"], questions=QUESTIONS, budget=BUDGET)


@one_in(5)
@pytest.mark.parametrize("aspect", [aspect for aspect in ASPECTS if aspect != "truth"])
@pytest.mark.parametrize("name", YARDSTICKS)
def test_a_yardstick_keeps_what_it_says(name: str, aspect: str) -> None:
    check_estimator(name, aspects=[aspect], questions=QUESTIONS, budget=BUDGET)


# ---------------------------------------------------------------- soundness


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
    net = oracles.mlp(inputs, *hidden, outputs, negative_slope=leak).double()
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
def test_a_refusal_names_what_covers_the_question(name: str, scope: str, p: float) -> None:
    net, x = oracles.network("shallow"), torch.zeros(1, 2, dtype=torch.float64)
    for kind in (Logit(0), Vector()):
        if covered(name, scope, p, kind.joint):
            continue
        problem = LocalLipschitz(LinfBall(0.5), kind, scope, p, math.inf if kind.joint else None)  # type: ignore[arg-type]
        with pytest.raises(UnsupportedRequest, match=name) as refusal:
            certify(net, problem, x, estimator=name, budget=BUDGET)
        able = [other for other in ESTIMATORS.offered() if covered(other, scope, p, kind.joint)]
        assert all(other in str(refusal.value) for other in able)


def test_sampling_comes_close_to_the_exact_constant() -> None:
    """A lower end of 0 would be sound too; most of the constant must be found on networks this small."""
    shares = []
    for (place, net), (turn, scope) in itertools.product(enumerate(ZOO), enumerate(SCOPES)):
        if not sampled(2, place, turn):
            continue
        question = QUESTIONS.one(net, "linf", scope, math.inf, "margin")
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


# ---------------------------------------------------------------- order between bounds


@each_scope
@each_net
@pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])
def test_abs_chain_is_at_most_affine_relu(net: str, scope: str, p: float) -> None:
    for question in QUESTIONS.about(net, scope, p):
        if p == math.inf and question.output in ("vector_q1", "vector_q2"):
            continue  # the affine-ReLU bound has the exact norm of its last map, the chain that of its magnitudes
        for chain, product in zip(answer(question, "abs_chain"), answer(question, "affine_relu"), strict=True):
            assert chain.upper <= product.upper * (1 + 1e-12), str(question)


@each_norm
@each_scope
@each_net
def test_fastlip_is_at_most_abs_chain(net: str, scope: str, p: float) -> None:
    for question in QUESTIONS.about(net, scope, p):
        for fast, chain in zip(answer(question, "fastlip"), answer(question, "abs_chain"), strict=True):
            assert fast.upper <= chain.upper * (1 + 1e-12), str(question)


@each_norm
@each_scope
@each_net
def test_jacobian_crown_is_at_most_fastlip(net: str, scope: str, p: float) -> None:
    for question in QUESTIONS.about(net, scope, p):
        for linear, fast in zip(answer(question, "jacobian_crown"), answer(question, "fastlip"), strict=True):
            assert linear.upper <= fast.upper * (1 + 1e-12), str(question)


@each_norm
@each_scope
@each_net
def test_affine_relu_is_at_most_the_spectral_product(net: str, scope: str, p: float) -> None:
    for question in QUESTIONS.about(net, scope, p):
        for local, whole in zip(answer(question, "affine_relu"), answer(question, "spectral"), strict=True):
            assert local.upper <= whole.upper * (1 + 1e-12), str(question)


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
@one_in(2)
def test_fewer_preactivation_methods_are_never_tighter(
    small: tuple[str, ...], large: tuple[str, ...], scope: str, p: float
) -> None:
    local = [name for name in BOUNDS if name != "spectral" and covered(name, scope, p)]
    turn = NESTED.index((small, large)) + SCOPES.index(scope) + list(NORMS.values()).index(p)
    pairs = (("deep", "linf"), ("leaky", "l2_cut"), ("residual", "l1"))
    asked = [pair for place, pair in enumerate(pairs) if sampled(len(pairs), turn, place)]
    for (net, region), name in itertools.product(asked, local):
        question = QUESTIONS.one(net, region, scope, p, "all_margins")
        few = proved_bound(name, question.module, question.problem, question.x, small)
        many = proved_bound(name, question.module, question.problem, question.x, large)
        assert (many <= few * (1 + 1e-12)).all(), f"{name}: {question}"


def test_bounds_meet_the_exact_constant_where_every_unit_is_decided() -> None:
    """On a region within one linear piece fastlip is the Jacobian's own norm, in both scopes."""
    for net in ("deep", "leaky", "residual", "batch_norm", "solid"):
        module = oracles.network(net)
        x = torch.full((1, oracles.input_size(module)), 0.21, dtype=torch.float64)
        own = oracles.jacobian(module, x[0].numpy())
        for scope, p in itertools.product(SCOPES, NORMS.values()):
            problem = LocalLipschitz(LinfBall(1e-6), Logit(1), scope, p)  # type: ignore[arg-type]
            bound = proved_bound("fastlip", module, problem, x, None)
            assert float(bound) == pytest.approx(oracles.slope_norm(own, np.eye(len(own))[1:2], p, None), rel=1e-9)


# ---------------------------------------------------------------- the doors


def test_a_module_a_capture_and_a_frozen_graph_are_one_network() -> None:
    question = QUESTIONS.one("deep", "linf", "pointed", 2.0, "all_margins")
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


def test_rounding_of_a_dead_network_proves_nothing() -> None:
    """The output is constant, but its rounding differs between batches: 1e-17 over a small step is no slope."""
    x = torch.tensor([[0.3]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.05), AllLogits(), "pointed")
    for seed in range(40 if EVERYTHING else 15):
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


def test_an_unknown_estimator_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="affine_relu"):
        get_estimator("no_such_method")
