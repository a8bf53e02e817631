"""Constants of f - g: sound and exact on tiny pairs, 0 for f - f, near 0 where they are, and what shares a unit."""

from __future__ import annotations

import copy
import itertools
import math
from fractions import Fraction
from operator import mul
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import (
    AllLogits,
    Box,
    Budget,
    Certificate,
    Difference,
    L2Ball,
    LinfBall,
    LocalLipschitz,
    Logit,
    Status,
    Vector,
    WholeSpace,
    capture,
    certify,
    estimate,
)
from lipreg.bounds.deviation import deviations
from lipreg.bounds.joint_deviation import joint_count, joint_deviations
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.estimators.jacobians.deviation import deviation_bound
from lipreg.testing import exact_constants
from lipreg.testing.networks import mlp
from tests.bounds.test_pairs import moved, net
from tests.conformance.questions import EVERYTHING

X = torch.tensor([[0.2, -0.1]], dtype=torch.float64)
PAIRS = 110 if EVERYTHING else 20
"""In each scope."""
CLOSED = ("fastlip", "jacobian_crown", "deviation", "mixing")


def pruned(network: nn.Module, share: float) -> nn.Module:
    """A copy without the smallest weights of each layer."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for layer in other.modules():
            if isinstance(layer, nn.Linear):
                least = layer.weight.abs().flatten().quantile(share)
                layer.weight.mul_(layer.weight.abs() > least)
    return other


def tiny(seed: int) -> tuple[nn.Module, nn.Module]:
    """One of all kinds of pairs: moved by more and less, behind a shared first layer, pruned, and of another seed."""
    first = net(seed, 2, 3, 3, 2, leak=0.2 if seed % 7 == 3 else None)
    kind = seed % 5
    if kind == 4:
        return first, net(seed + 1000, 2, 3, 3, 2)
    second = pruned(first, 0.4) if kind == 3 else moved(first, (0.01, 0.1, 0.5)[kind], seed)
    if seed % 4 == 0:
        second[0] = first[0]
    return first, second


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_no_bound_is_below_the_constant_of_any_pair(scope: Any) -> None:
    judged = smaller = 0
    for seed in range(PAIRS):
        first, second = tiny(seed + 110 * (scope == "pointed"))
        module = Difference(first, second)
        region = (LinfBall(0.4), Box([-0.5, -0.5], [0.5, 0.4]), L2Ball(0.4))[seed % 3]
        problem = LocalLipschitz(region, AllLogits() if seed % 2 else Vector(), scope)
        try:
            ((low, _),) = exact_constants(module, problem, X)
        except UnsupportedRequest:  # pieces, or vertices, that float64 does not tell apart
            continue
        judged += 1
        analysis = frozen_analysis(module, problem, X, None)
        for name in ("fastlip", "jacobian_crown", "mixing"):
            if ESTIMATORS[name].uncovered(problem, analysis.graph) is None:
                (found,) = ESTIMATORS[name].intervals(analysis, Budget(30.0))
                assert found.upper >= low * (1 - 1e-9), (seed, name, found.upper, low)
        if joint_count(analysis):
            apart, together = deviations(analysis), joint_deviations(analysis)
            bounds = [float(deviation_bound(analysis.placed, each)) for each in (apart, together)]
            assert bounds[1] >= low * (1 - 1e-9), (seed, bounds, low)
            smaller += bounds[1] < 0.99 * bounds[0]
    assert judged >= 0.9 * PAIRS and smaller > PAIRS // (40 if scope == "regional" else 5)


def test_the_search_is_exact_on_pairs_with_units_in_common() -> None:
    for seed in (3, 8, 4):
        module = Difference(*tiny(seed))
        problem = LocalLipschitz(LinfBall(0.4), AllLogits())
        ((truth, _),) = exact_constants(module, problem, X)
        (found,) = certify(module, problem, X, estimator="branch_and_bound")
        assert found.certificate is Certificate.EXACT, (seed, found)
        assert found.lower == pytest.approx(truth, rel=1e-6)


def test_pointed_programs_are_exact_with_units_kept_close() -> None:
    for seed in (1, 11):
        module = Difference(*tiny(seed))
        problem = LocalLipschitz(LinfBall(0.4), AllLogits(), "pointed")
        ((low, high),) = exact_constants(module, problem, X)
        (found,) = certify(module, problem, X, estimator="mip_pointed")
        assert found.lower <= high * (1 + 1e-9) and found.upper >= low * (1 - 1e-9)
        assert found.upper == pytest.approx(low, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("region", [LinfBall(0.4), WholeSpace()], ids=["linf", "everywhere"])
def test_of_a_network_minus_itself_every_estimator_says_zero(region: Any) -> None:
    first = net(0, 2, 3, 2)
    module, asked = Difference(first, copy.deepcopy(first)), 0
    graph = capture(module, X).frozen()
    assert graph.fingerprint() == capture(Difference(first, first), X).frozen().fingerprint()
    for name, method in ESTIMATORS.items():
        for scope in ("regional", "pointed"):
            problem = LocalLipschitz(region, AllLogits(), scope)
            if method.uncovered(problem, graph) is not None:
                continue
            (found,) = certify(module, problem, X, estimator=name, budget=Budget(5.0))
            asked += 1
            proves = method.certificate in (Certificate.UPPER, Certificate.BRACKET)
            assert found.lower == 0.0 and found.upper == (0.0 if proves else math.inf), (name, scope, found)
            assert not found.estimate, (name, scope)
    assert asked > 10
    problem = LocalLipschitz(region, AllLogits())
    for bound in ("affine_relu", "fastlip"):
        assert estimate(Difference(first, first), problem, X, bound=bound).item() == 0.0


def test_near_networks_have_near_zero_pointed_constants_and_a_jump_in_the_regional_one() -> None:
    first = net(5, 2, 6, 5, 2)
    module = Difference(first, moved(first, 1e-6))
    pointed, regional = (LocalLipschitz(LinfBall(0.4), AllLogits(), scope) for scope in ("pointed", "regional"))
    (own,) = certify(first, regional, X, estimator="branch_and_bound")
    for name in CLOSED:
        assert certify(module, pointed, X, estimator=name)[0].upper < 3e-4 * own.lower, name
    (jump,) = certify(module, regional, X, estimator="branch_and_bound")
    assert jump.lower > 0.1 * own.lower


def rational_jacobian(network: nn.Sequential, on: list[Tensor]) -> list[list[Fraction]]:
    """The Jacobian of a network whose units are switched so, in exact arithmetic."""
    matrices = [[[Fraction(v) for v in row] for row in layer.weight.tolist()] for layer in network[::2]]  # type: ignore[union-attr]
    product = matrices[0]
    for matrix, active in zip(matrices[1:], on, strict=True):
        product = [[v * int(a) for v in row] for row, a in zip(product, active.tolist(), strict=True)]
        product = [[sum(map(mul, row, column), Fraction(0)) for column in zip(*product, strict=True)] for row in matrix]
    return product


def test_differences_as_small_as_rounding_are_bounded_in_exact_arithmetic() -> None:
    """Weights of eleven orders of magnitude, moved by 1e-9 to 1e-14, and no unit near its kink."""
    for seed, share in enumerate((1e-9, 1e-12, 1e-14)):
        torch.manual_seed(seed)
        first = mlp(2, 4, 4, 2).double()
        on = [torch.rand(4) > 0.4, torch.rand(4) > 0.4]
        with torch.no_grad():
            for layer in first[::2]:
                layer.weight.mul_(10.0 ** torch.randint(-5, 6, layer.weight.shape))  # type: ignore[union-attr,operator]
        second = moved(first, share, seed)
        with torch.no_grad():
            for network in (first, second):
                for layer, active, far in zip(network[:3:2], on, (1e7, 1e16), strict=True):  # type: ignore[index]
                    layer.bias.copy_(torch.where(active, far, -far))
        ours, theirs = (rational_jacobian(network, on) for network in (first, second))  # type: ignore[arg-type]
        truth = max(sum(abs(a - b) for a, b in zip(r, s, strict=True)) for r, s in zip(ours, theirs, strict=True))
        for scope, name in itertools.product(("regional", "pointed"), CLOSED):
            problem = LocalLipschitz(LinfBall(1e-3), AllLogits(), scope)
            (found,) = certify(Difference(first, second), problem, torch.zeros(1, 2), estimator=name)
            assert Fraction(found.upper) >= truth, (seed, scope, name)


class Slab(nn.Module):
    """relu(x) - relu(x + shift): where the shift is small all is 0 but a slab of that width."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) - torch.relu(x + self.shift)


def test_the_jump_between_two_kinks_is_the_whole_of_it_however_near_they_are() -> None:
    at = torch.tensor([[0.3]], dtype=torch.float64)
    for shift in (1e-6, 1e-3):
        (found,) = certify(Slab(shift), LocalLipschitz(LinfBall(0.5), Logit(0)), at, estimator="branch_and_bound")
        assert found.status is Status.PROVED and (found.lower, found.upper) == pytest.approx((1.0, 1.0))
        (near,) = certify(Slab(shift), LocalLipschitz(LinfBall(0.5), Logit(0), "pointed"), at, estimator="mip_pointed")
        assert near.upper < 5 * shift


def test_the_bound_of_a_student_beside_its_teacher_can_be_trained() -> None:
    torch.manual_seed(0)
    teacher, student = mlp(2, 8, 6, 2), mlp(2, 8, 6, 2)
    student.load_state_dict(moved(teacher, 0.2).state_dict())
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    module, problem = Difference(student, teacher), LocalLipschitz(LinfBall(0.1), AllLogits(), "pointed")
    optimizer, bounds = torch.optim.Adam(student.parameters(), 3e-3), []
    for _ in range(25):
        bound = estimate(module, problem, X.float(), bound="fastlip").mean()
        optimizer.zero_grad()
        bound.backward()
        optimizer.step()
        bounds.append(bound.item())
    assert bounds[-1] < 0.5 * bounds[0]
    assert all(parameter.grad is None for parameter in teacher.parameters())
