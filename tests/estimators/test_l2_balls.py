"""The exact engines and the LP over l2 balls: enumeration, boxes inside and around, growing radii, kinks at the sphere."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, AllMargins, AllPairs, Box, L2Ball, LocalLipschitz, Logit, Vector, certify
from lipreg.outputs import Output
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.testing import exact_constants
from tests.sampling import one_in

INF = math.inf
ENGINES = {1.0: ("branch_and_bound", "mip", "lp"), 2.0: ("branch_and_bound",), INF: ("branch_and_bound", "mip", "lp")}
OUTPUTS: tuple[tuple[Output, float | None], ...] = (
    (Logit(1), None),
    (AllLogits(), None),
    (AllMargins(0), None),
    (AllPairs(), None),
    (Vector(), 1.0),
    (Vector(), INF),
)
Y = torch.tensor([0])


def network(seed: int, inputs: int, width: int = 6) -> nn.Sequential:
    torch.manual_seed(seed)
    between = nn.LeakyReLU(0.1) if seed % 2 else nn.ReLU()
    layers = nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width - 1), between, nn.Linear(width - 1, 3)
    return nn.Sequential(*layers).double()


def point(inputs: int, seed: int = 0) -> Tensor:
    return torch.rand(1, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ask(net: nn.Module, problem: LocalLipschitz, x: Tensor, engine: str) -> CertifiedInterval:
    (found,) = certify(net, problem, x, Y, estimator=engine, budget=60.0)
    return found


def exactly(found: CertifiedInterval) -> float:
    assert found.status is Status.PROVED and found.certificate is Certificate.EXACT, found
    return found.upper


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("p", [1.0, 2.0, INF])
@one_in(2)
def test_it_is_the_enumeration(p: float, cut: bool) -> None:
    for seed, (output, q) in list(enumerate(OUTPUTS))[cut::2]:
        inputs = 1 + (seed + cut) % 3
        net, x = network(seed, inputs), point(inputs, seed)
        radius = (0.3, 1.0, 2.5)[seed % 3]
        region = L2Ball(radius, low=0.0, high=1.0) if cut else L2Ball(radius)
        problem = LocalLipschitz(region, output, p=p, q=q)  # type: ignore[arg-type]
        ((low, high),) = exact_constants(net, problem, x, Y)
        assert low == high
        for engine in ENGINES[p]:
            found = ask(net, problem, x, engine)
            assert found.upper >= low * (1 - 1e-9), (engine, output)
            if engine == "lp":
                continue
            assert exactly(found) == pytest.approx(low, rel=2e-5), (engine, output)
            assert found.lower <= low * (1 + 1e-9)
            assert found.witness is not None
            witness = torch.tensor(found.witness.point, dtype=torch.float64)
            assert problem.region.place(x).contains(witness.reshape(1, 1, -1)).all()


@pytest.mark.parametrize("p", [1.0, 2.0, INF])
def test_it_grows_with_the_radius_between_the_box_inside_and_the_box_around(p: float) -> None:
    net, x, output = network(4, 4, 8), point(4), AllMargins(0)
    before = 0.0
    for radius in (0.05, 0.2, 0.5, 1.0):
        ball = exactly(ask(net, LocalLipschitz(L2Ball(radius), output, p=p), x, "branch_and_bound"))  # type: ignore[arg-type]
        inner, outer = (
            exactly(
                ask(net, LocalLipschitz(Box((x - side)[0], (x + side)[0]), output, p=p), x, "branch_and_bound")  # type: ignore[arg-type]
            )
            for side in (radius / 2.0 * (1 - 1e-12), radius)
        )
        assert before * (1 - 1e-5) <= ball and inner * (1 - 1e-5) <= ball <= outer * (1 + 1e-5)
        before = ball


def touched(radius: float, inputs: int, beyond: float) -> nn.Sequential:
    """x_1 + 3 relu(w . x - level): its kink is |w| radius (1 + beyond) along w from 0."""
    net = nn.Sequential(nn.Linear(inputs, 2), nn.ReLU(), nn.Linear(2, 3)).double()
    w = torch.arange(1.0, inputs + 1.0, dtype=torch.float64)
    with torch.no_grad():
        net[0].weight.copy_(torch.stack([w, torch.eye(inputs, dtype=torch.float64)[0]]))  # type: ignore[union-attr]
        level = float(w.norm()) * radius * (1.0 + beyond)
        net[0].bias.copy_(torch.tensor([-level, 10.0 * radius]))  # type: ignore[union-attr]
        net[2].weight.copy_(torch.tensor([[3.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))  # type: ignore[union-attr]
    return net


@pytest.mark.parametrize("engine, p", [("branch_and_bound", 2.0), ("branch_and_bound", INF), ("mip", INF)])
@pytest.mark.parametrize("radius", [1e-9, 1.0, 1e6])
def test_a_kink_at_the_sphere(engine: str, p: float, radius: float) -> None:
    """Behind the sphere the steep side is out of reach; a little before it is in; on it either end may stay open."""
    x, flat = torch.zeros(1, 3, dtype=torch.float64), 1.0
    steep = math.hypot(4.0, 6.0, 9.0) if p == 2.0 else 19.0
    for beyond in (1e-6, 0.0, -1e-6):
        problem = LocalLipschitz(L2Ball(radius), Logit(0), p=p)  # type: ignore[arg-type]
        found = ask(touched(radius, 3, beyond), problem, x, engine)
        if beyond == 0.0:
            assert flat * (1 - 1e-9) <= found.lower and found.upper >= flat
            continue
        assert exactly(found) == pytest.approx(flat if beyond > 0 else steep, rel=1e-8)


def test_tiny_and_huge_balls_and_inputs_beside_a_range() -> None:
    net, x = network(6, 3), torch.tensor([[0.0, 1.0, 0.5]], dtype=torch.float64)
    for radius, (low, high) in itertools.product((1e-12, 1e4), ((None, None), (0.0, 1.0))):
        problem = LocalLipschitz(L2Ball(radius, low=low, high=high), AllLogits())
        found = exactly(ask(net, problem, x, "branch_and_bound"))
        if radius < 1.0:
            jacobian: Any = torch.autograd.functional.jacobian(net, x)
            assert found == pytest.approx(float(jacobian[0, :, 0].norm(dim=-1).amax()), rel=1e-8)
        elif low is not None:  # all of the range
            box = exactly(ask(net, LocalLipschitz(Box(0.0, 1.0), AllLogits(), p=2.0), x, "branch_and_bound"))  # type: ignore[arg-type]
            assert found == pytest.approx(box, rel=1e-5)


def test_more_tangents_lower_the_bound_of_the_lp() -> None:
    net, x = network(8, 6, 16), point(6)
    ball, box = (
        LocalLipschitz(region, Logit(0), p="inf")  # type: ignore[arg-type]
        for region in (L2Ball(0.4), Box((x - 0.4)[0], (x + 0.4)[0]))
    )
    exact = exactly(ask(net, ball, x, "branch_and_bound"))
    assert exact <= ask(net, ball, x, "lp").upper < ask(net, box, x, "lp").upper
