"""Which networks an estimator covers: refused before any work where it does not, narrow where it does not say."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllMargins, LinfBall, LipschitzPenalty, LocalLipschitz, Logit, certify, compare
from lipreg.auditing import AuditPlan, audit
from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import ESTIMATORS, BoundEstimator, Estimator, PenaltyQuestion, estimate, get_estimator, register
from lipreg.estimators.products.affine_relu import AffineRelu
from lipreg.estimators.radius import certified_radii
from lipreg.graph import Affine, Graph, Input, MaxPool, Relu, capture
from lipreg.results import CertifiedInterval
from tests import oracles
from tests.conformance.questions import sampled

REGIONAL = LocalLipschitz(LinfBall(0.1), Logit(0), p=2.0)
X = torch.tensor([[0.1, -0.2], [0.3, 0.4]], dtype=torch.float64)


class Pooled(nn.Module):
    def __init__(self, residual: bool) -> None:
        super().__init__()
        self.one, self.two, self.residual = nn.Linear(2, 4), nn.Linear(2, 2), residual

    def forward(self, x: Tensor) -> Tensor:
        pooled = nn.functional.max_pool1d(torch.relu(self.one(x)), 2)
        return self.two(pooled + x if self.residual else pooled)


class Left(nn.Module):
    """Computes what nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.aside, self.two = nn.Linear(2, 4), nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.one(x))
        torch.relu(self.aside(x))
        return self.two(x)


class Twice(nn.Module):
    """Two units read one layer: a ReLU and a leaky one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(2, 4), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = self.one(x)
        return self.two(torch.cat([torch.relu(z), nn.functional.leaky_relu(z, 0.1)], 1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], set[type], bool]] = {
    "affine": (lambda: oracles.network("affine"), {Affine}, False),
    "deep": (lambda: oracles.network("deep"), {Affine, Relu}, False),
    "leaky": (lambda: oracles.network("leaky"), {Affine, Relu}, False),
    "residual": (lambda: oracles.network("residual"), {Affine, Relu}, True),
    "read twice": (Twice, {Affine, Relu}, True),
    "left aside": (Left, {Affine, Relu}, False),  # what nobody reads is no part of it
    "pooled": (lambda: Pooled(False), {Affine, Relu, MaxPool}, False),
    "pooled residual": (lambda: Pooled(True), {Affine, Relu, MaxPool}, True),
}
each_network = pytest.mark.parametrize("network", NETWORKS)


def made(network: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[network][0]().double().eval()


@pytest.fixture
def registered() -> Iterator[None]:
    before = dict(ESTIMATORS)
    yield
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


@pytest.fixture
def plain(registered: None) -> str:
    """A method that says nothing of networks, and fails where it is asked to work all the same."""

    @register("plain")
    class Plain(BoundEstimator):
        def bound(self, analysis: Analysis) -> Tensor:
            assert not analysis.graph.branches and not analysis.graph.pools()
            return ESTIMATORS["affine_relu"].bound(analysis)  # type: ignore[attr-defined]

    return "plain"


@each_network
def test_what_a_network_consists_of(network: str) -> None:
    graph = capture(made(network), X).frozen()
    _, kinds, branches = NETWORKS[network]
    assert set(graph.kinds) == kinds and graph.branches is branches


def test_a_constant_is_no_chain() -> None:
    assert Graph((Input((2,)), Affine((), (), torch.ones(2)))).branches


def test_a_method_that_says_nothing_covers_chains_alone() -> None:
    assert Estimator.kinds == (Affine, Relu) and not Estimator.branches


@functools.cache
def captured(network: str) -> Graph:
    """Captured once for all estimators."""
    return capture(made(network), X).frozen()


@functools.cache
def others(network: str, problem: LocalLipschitz) -> tuple[list[CertifiedInterval], ...]:
    """What the usual methods and the sampling say."""
    return certify(captured(network), problem, X), certify(captured(network), problem, X, estimator="sampling")


@each_network
@pytest.mark.parametrize("name", ESTIMATORS)
def test_each_covers_what_it_says(name: str, network: str) -> None:
    """The bracket of an engine, or a witness and a product of norms, tells whether what it proves is true."""
    method, (_, kinds, branches) = ESTIMATORS[name], NETWORKS[network]
    problem = LocalLipschitz(LinfBall(0.3), Logit(0), method.scopes[0], p=method.norms[-1])  # type: ignore[arg-type]
    net, covered = made(network), kinds <= set(method.kinds) and (method.branches or not branches)
    graph = captured(network)
    assert (method.uncovered(problem, graph) is None) is covered
    if not covered:
        with pytest.raises(UnsupportedRequest):
            certify(graph, problem, X, estimator=name)
        return
    if not sampled(4, list(ESTIMATORS).index(name), list(NETWORKS).index(network)):
        return  # some of the answers are looked at
    answers = certify(net, problem, X, estimator=name, budget=Budget(600.0))
    for found, *known in zip(answers, *others(network, problem), strict=True):
        for one in known:
            assert found.lower <= one.upper * (1 + 1e-9) and one.lower <= found.upper * (1 + 1e-9)


def test_what_ours_cover() -> None:
    narrow = {name for name, method in ESTIMATORS.items() if not {Affine, Relu, MaxPool} <= set(method.kinds)}
    assert narrow == {"seqlip", "seqlip_greedy"}
    assert all(set(ESTIMATORS[name].kinds) == {Affine, Relu} for name in narrow)
    assert all(method.branches for method in ESTIMATORS.values())


@pytest.mark.parametrize("network", ["residual", "read twice", "pooled", "pooled residual"])
def test_every_door_refuses_before_any_work(plain: str, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*given: Any, **named: Any) -> None:
        raise AssertionError("work")

    net, margins = made(network), LocalLipschitz(LinfBall(0.1), AllMargins(0))
    graph = capture(net, X).frozen()
    chain = made("deep")
    for module in ("evaluate", "radius"):
        monkeypatch.setattr(f"lipreg.estimators.{module}.analyse", work)
    doors: list[Callable[[], Any]] = [
        lambda: get_estimator(plain).check(margins, graph),
        lambda: certify(net, margins, X, estimator=plain),
        lambda: certify(graph, margins, X, estimator=plain),
        lambda: certify(net, LocalLipschitz(LinfBall(0.1), Logit(0)), X, estimator=f"{plain}@l2"),
        lambda: estimate(net, margins, X, bound=plain),
        lambda: LipschitzPenalty(net, margins, bound=plain)(X),
        lambda: certified_radii(net, X, bounds=["affine_relu", plain]),
        lambda: audit(net, AuditPlan(margins, ["affine_relu", plain, "sampling"]), X),
        lambda: compare(net, chain, margins, X, bound=plain, estimators=["affine_relu"]),
        lambda: compare(chain, net, margins, X, estimators=["affine_relu", plain]),
    ]
    for door in doors:
        with pytest.raises(UnsupportedRequest) as refusal:
            door()
        text = str(refusal.value)
        assert "networks of Affine and Relu nodes that do not branch" in text
        assert ("MaxPool nodes" in text) is ("pooled" in network)
        able = text.partition("Estimators that cover the question and the network: ")[2]
        assert "affine_relu" in able and "plain" not in able and not ("pooled" in network and "seqlip" in able)


def test_a_method_alone_refuses_too(plain: str) -> None:
    """Whoever has an analysis and asks for intervals comes through no other door."""
    net = made("residual")
    graph = capture(net, X).frozen()
    placed = REGIONAL.place(X, graph(X))
    with pytest.raises(UnsupportedRequest, match="branches"):
        ESTIMATORS[plain].intervals(analyse(graph, placed), Budget())


def test_seqlip_is_refused_for_max_pools_by_an_audit_and_answers_for_chains_and_branches() -> None:
    net = made("pooled")
    plan = AuditPlan(REGIONAL, ["affine_relu", "seqlip", "sampling"])
    with pytest.raises(UnsupportedRequest, match=r"'seqlip': a network of Affine, Relu and MaxPool nodes"):
        audit(net, plan, X)
    for network in ("deep", "residual", "read twice", "left aside"):
        for point in audit(made(network), plan, X):
            assert point.intervals["seqlip"].upper < float("inf"), network


def test_a_penalty_asks_again_when_the_network_is_another(plain: str) -> None:
    penalty = LipschitzPenalty(made("deep"), LocalLipschitz(LinfBall(0.1), Logit(0)), bound=plain)
    assert penalty(X) > 0
    penalty.network = made("residual")
    for _ in range(2):
        with pytest.raises(UnsupportedRequest, match="branches"):
            penalty(X)
    penalty.network = made("leaky")
    assert penalty(X) > 0


def test_a_method_in_another_norm_covers_the_networks_of_the_method() -> None:
    for name in ("seqlip", "mip", "frobenius"):
        for norm in ("l1", "l2", "linf"):
            converted = get_estimator(f"{name}@{norm}")
            assert (converted.kinds, converted.branches) == (ESTIMATORS[name].kinds, ESTIMATORS[name].branches)
    graph = capture(made("pooled"), X).frozen()
    with pytest.raises(UnsupportedRequest, match="MaxPool"):
        get_estimator("seqlip@l2").check(LocalLipschitz(LinfBall(0.1), Logit(0)), graph)
    with pytest.raises(UnsupportedRequest) as refusal:
        get_estimator("seqlip").check(LocalLipschitz(LinfBall(0.1), Logit(0)), graph)
    assert "seqlip@l2" not in str(refusal.value), "nor does it cover the network in its own norm"


# ---------------------------------------------------------------- closed forms


def test_the_closed_form_of_a_third_estimator_is_what_a_penalty_takes(registered: None) -> None:
    asked = []

    @register("doubled")
    class Doubled(BoundEstimator):
        """Twice the affine-ReLU bound, by its own closed form."""

        def bound(self, analysis: Analysis) -> Tensor:
            asked.append("bound")
            return 2 * AffineRelu().bound(analysis)

        def closed_form(self, step: PenaltyQuestion) -> Tensor | None:
            found = AffineRelu().closed_form(step)
            asked.append("closed form" if found is not None else "none")
            return None if found is None else 2 * found

    net, y = oracles.mlp(2, 5, 4, 3), torch.tensor([0, 2])
    for p in (float("inf"), 1.0):
        problem = LocalLipschitz(LinfBall(0.1), p=p)
        penalty = LipschitzPenalty(net, problem, bound="doubled", weight=1.0)
        for _ in range(2):
            asked.clear()
            term = penalty(X.float(), y)
            assert asked == (["closed form"] if p == float("inf") else ["none", "bound"])
            expected = estimate(net, problem, X.float(), y, bound="doubled")
            assert penalty.last is not None
            torch.testing.assert_close(penalty.last.bounds, expected.detach())
            weights = [w for w in net.parameters() if w.dim() == 2]
            for ours, theirs in zip(*(torch.autograd.grad(t, weights) for t in (term, expected.mean())), strict=True):
                torch.testing.assert_close(ours, theirs)
    asked.clear()
    LipschitzPenalty(made("residual"), REGIONAL, bound="affine_relu")(X)
    assert asked == []


def test_a_bound_of_ones_own_does_not_inherit_the_closed_form_of_another(registered: None) -> None:
    @register("tripled")
    class Tripled(AffineRelu):
        def bound(self, analysis: Analysis) -> Tensor:
            return 3 * super().bound(analysis)

    class Ninefold:
        def bound(self, analysis: Analysis) -> Tensor:
            return 9 * super().bound(analysis)  # type: ignore[misc]

    @register("mixed")
    class Mixed(Ninefold, AffineRelu):
        source = "of a mixin"

    @register("same")
    class Same(AffineRelu):
        source = "another name"

    net, problem, y = oracles.mlp(2, 5, 3).double(), LocalLipschitz(LinfBall(0.1)), torch.tensor([0, 2])
    once, thrice, same = (LipschitzPenalty(net, problem, bound=b)(X, y) for b in ("affine_relu", "tripled", "same"))
    torch.testing.assert_close(thrice, 3 * once)
    torch.testing.assert_close(LipschitzPenalty(net, problem, bound="mixed")(X, y), 9 * once)
    assert Same.closed_form is AffineRelu.closed_form and same == once
