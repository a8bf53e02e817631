"""A bound is its recipe: one name means one number wherever it is asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import lipreg
from lipreg import AllMargins, Bound, Budget, L2Ball, LinfBall, LipschitzPenalty, LocalLipschitz
from lipreg.auditing import AuditPlan, audit
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, BoundEstimator

DIFFERENTIABLE = [name for name, e in ESTIMATORS.items() if isinstance(e, BoundEstimator) and e.differentiable]


def deep(seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network on which interval pre-activations and all methods give different bounds."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)
    )
    return net.double(), torch.rand(5, 6, dtype=torch.float64), torch.randint(3, (5,))


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_one_name_is_one_number_everywhere(name: str, scope: Any) -> None:
    net, x, y = deep()
    problem = LocalLipschitz(LinfBall(0.1), AllMargins(), scope=scope)
    if ESTIMATORS[name].uncovered(problem) is not None:
        pytest.skip("does not cover the question")
    estimated = lipreg.estimate(net, problem, x, y, bound=name).tolist()
    penalty = LipschitzPenalty(net, problem, bound=name)
    penalty(x, y)
    assert penalty.last is not None
    certified = [interval.upper for interval in lipreg.certify(net, problem, x, y, estimator=name)]
    audited = [p.intervals[name].upper for p in audit(net, AuditPlan(problem, (name,)), x, y)]
    assert penalty.last.bounds.tolist() == pytest.approx(estimated, rel=1e-9)
    assert certified == pytest.approx(estimated, rel=1e-8)
    assert audited == certified


def test_pre_activations_decide_the_number_and_are_told_apart() -> None:
    net, x, y = deep()
    problem = LocalLipschitz(LinfBall(0.1), AllMargins())
    recipes = [Bound("affine_relu"), Bound("affine_relu", "all"), Bound("affine_relu", ["crown", "interval"])]
    assert [recipe.label for recipe in recipes] == ["affine_relu", "affine_relu-all", "affine_relu-interval-crown"]
    (point, *_) = audit(net, AuditPlan(problem, (*recipes, "affine_relu")), x, y)
    uppers = [point.intervals[recipe.label].upper for recipe in recipes]
    assert uppers[0] > 1.01 * uppers[1]  # the fault this is about: two numbers under one name
    assert uppers[1] <= uppers[2] * (1 + 1e-12)
    recorded = {r.estimator: r.recipe for r in point.records("run", 0)}
    for recipe in recipes:
        assert recorded[recipe.label] == recipe.certified.describe()
        (interval, *_) = lipreg.certify(net, problem, x, y, estimator=recipe)
        assert interval.upper == point.intervals[recipe.label].upper


def test_estimated_norms_lie_below_proved_ones_and_the_penalty_comes_to_the_estimate() -> None:
    net, x, y = deep()
    problem = LocalLipschitz(L2Ball(0.1), AllMargins())
    exact = lipreg.estimate(net, problem, x, y, bound=Bound("affine_relu", spectral_norms="exact"))
    estimated = lipreg.estimate(net, problem, x, y)
    proved = [i.upper for i in lipreg.certify(net, problem, x, y, estimator="affine_relu")]
    assert exact.tolist() == pytest.approx(proved, rel=1e-8)
    assert (estimated <= exact * (1 + 1e-12)).all()
    assert (estimated >= exact * (1 - 1e-3)).all()
    penalty = LipschitzPenalty(net, problem, points=(x, y))
    for _ in range(200):
        penalty(x, y)
    assert penalty.last is not None
    assert torch.allclose(penalty.last.bounds, exact, rtol=1e-4)


def test_estimates_of_a_batch_are_those_of_its_points() -> None:
    net, x, y = deep()
    problem = LocalLipschitz(L2Ball(0.1), AllMargins())
    together = lipreg.estimate(net, problem, x, y)
    alone = torch.cat([lipreg.estimate(net, problem, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert torch.allclose(together, alone, rtol=1e-12)


def test_recipes_are_values() -> None:
    assert Bound("affine_relu") == Bound("affine_relu", ["interval"]) == Bound.of({"estimator": "affine_relu"})
    assert Bound("affine_relu", ["crown", "ball"]) == Bound("affine_relu", ("ball", "crown"))
    assert Bound("affine_relu") != Bound("affine_relu", "all")
    assert Bound(**Bound("mip").describe()) == Bound("mip")
    assert Bound("affine_relu").certified.describe() == {
        "estimator": "affine_relu",
        "preactivations": ["interval"],
        "spectral_norms": "exact",
    }


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("affine",), "affine_relu"),
        (("affine_relu", ["box"]), "ball, interval, crown"),
        (("affine_relu", "ball"), "list"),
        (("affine_relu", []), "ball, interval, crown"),
        (("affine_relu", None, "svd"), "estimate"),
    ],
)
def test_arguments_are_checked(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Bound(*arguments)
    with pytest.raises(InvalidInput, match="bound"):
        Bound.of(3)  # type: ignore[arg-type]


def scaled(net: nn.Module, factor: float) -> nn.Module:
    copy = nn.Sequential(*net.children()).requires_grad_(False)
    last = nn.Linear(12, 3).double().requires_grad_(False)
    last.weight.copy_(net[6].weight * factor)  # type: ignore[index]
    last.bias.copy_(net[6].bias * factor)  # type: ignore[index]
    return nn.Sequential(*list(copy.children())[:-1], last)


def test_one_network_against_itself_has_not_moved() -> None:
    net, x, y = deep()
    problem = LocalLipschitz(LinfBall(0.1), AllMargins())
    found = lipreg.compare(net, net, problem, x, y, budget=600.0)
    assert found.movement.bound == pytest.approx(1.0, rel=1e-12)
    assert found.movement.combined is not None
    assert found.movement.combined.lower <= 1.0 <= found.movement.combined.upper
    assert found.movement.transfer is None  # neither moved, so there is nothing to have been transferred


def test_dividing_the_outputs_moves_bound_and_constant_alike() -> None:
    net, x, y = deep()
    problem = LocalLipschitz(LinfBall(0.05), AllMargins())
    found = lipreg.compare(scaled(net, 0.25), net, problem, x, y, bound=Bound("affine_relu", "all"), names=("a", "b"))
    assert (found.regularised.run, found.twin.run, found.bound_name) == ("a", "b", "affine_relu-all")
    assert found.movement.bound == pytest.approx(0.25, rel=1e-9)
    assert found.movement.combined is not None and found.movement.transfer is not None
    assert found.movement.combined.lower * (1 - 1e-9) <= 0.25 <= found.movement.combined.upper * (1 + 1e-9)
    assert found.movement.transfer.lower <= 1.0 <= found.movement.transfer.upper
    assert math.isclose(found.movement.transfer.midpoint, 1.0, rel_tol=1e-4)


def test_what_is_compared_must_be_an_upper_bound() -> None:
    net, x, y = deep()
    problem = LocalLipschitz(LinfBall(0.05), AllMargins())
    with pytest.raises(InvalidInput, match="upper"):
        lipreg.compare(net, net, problem, x, y, bound="sampling")
    with pytest.raises(InvalidInput, match="different names"):
        lipreg.compare(net, net, problem, x, y, names=("a", "a"))


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_a_proof_in_place_of_another_is_called_by_its_recipe(p: Any) -> None:
    """So that whoever asks for it by that name gets the same number."""
    net, x, y = deep()
    problem, recipes = LocalLipschitz(LinfBall(0.1), AllMargins(), p=p), {}
    for name in ("affine_relu", "fastlip", "jacobian_crown"):
        for methods in (None, "all", ["interval"]):
            recipe = Bound(name, methods)  # type: ignore[arg-type]
            recipes[recipe.label] = recipe
    for asked in ("mixing", Bound("mixing", ["interval"])):
        for i, found in enumerate(lipreg.certify(net, problem, x, y, estimator=asked, budget=Budget(memory=1))):
            assert found.proof in recipes and repr(found.proof) in found.detail
            again = lipreg.certify(net, problem, x[i : i + 1], y[i : i + 1], estimator=recipes[found.proof])
            assert again[0].upper == pytest.approx(found.upper, rel=1e-9) and again[0].proof == found.proof
