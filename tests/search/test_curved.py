"""The search over boxes of inputs: its bounds against dense points, and its intervals against what is known otherwise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, LinfBall, LocalLipschitz, Vector
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify, frozen_analysis
from lipreg.outputs import Logit
from lipreg.regions import L1Ball, L2Ball, Polytope, WholeSpace
from lipreg.results import Status
from lipreg.search.curved.bounds import BoxBounder
from lipreg.search.curved.engine import bending_frame
from lipreg.search.curved.frame import Frame
from lipreg.testing.networks import Mixed
from tests.sampling import one_in

ACTIVATIONS = [nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU, nn.Mish, nn.SELU, nn.ELU, nn.Softsign, nn.Hardswish]


def network(act: type[nn.Module], inputs: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(inputs)
        net = nn.Sequential(nn.Linear(inputs, 7), act(), nn.Linear(7, 6), act(), nn.Linear(6, 2)).double()
        for layer in net[::2]:
            layer.weight.data *= 2.5
    return net


def jacobians(net: nn.Module, points: Tensor) -> Tensor:
    """``(points, outputs, inputs)`` by autograd."""
    z = points.clone().requires_grad_()
    rows = [torch.autograd.grad(output.sum(), z, retain_graph=True)[0] for output in net(z).unbind(1)]
    return torch.stack(rows, 1)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("act", [*ACTIVATIONS, None])
@one_in(3)
def test_no_bound_of_a_box_is_below_what_is_met_there(act: type[nn.Module] | None, p: float) -> None:
    net = Mixed().double() if act is None else network(act)
    count = 2 if act is None else 3
    x, draw = torch.zeros(1, count, dtype=torch.float64), torch.Generator().manual_seed(0)
    for output in (AllLogits(), Vector()):
        local = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), output, p=p), x, None)
        frames = {"inputs": Frame(torch.zeros(count, dtype=torch.float64)), "own": bending_frame(local)}
        for frame in frames.values():
            middle = 1.6 * torch.rand(12, count, generator=draw, dtype=torch.float64) - 0.8
            radius = 10.0 ** (2.5 * torch.rand(12, 1, generator=draw, dtype=torch.float64) - 3.0)
            with torch.no_grad():
                found = BoxBounder(local.graph, local.placed, frame)(middle - radius, middle + radius)
            share = 2.0 * torch.rand(200, 12, count, generator=draw, dtype=torch.float64) - 1.0
            share[:8] = share[:8].sign()
            inside = frame.points((middle + share * radius).flatten(0, 1))
            met = local.placed.combine_flat(jacobians(net, inside)).reshape(200, 12).amax(0)
            assert (found.upper >= met * (1 - 1e-12)).all()
            assert (
                (found.upper <= met * 1.2 + 0.02) | (radius[:, 0] > 5e-3) | (act in (None, nn.SELU, nn.Hardswish))
            ).all()


def test_the_mean_value_form_is_off_by_the_square_of_the_box() -> None:
    net, x = network(nn.Tanh), torch.full((1, 3), 0.2, dtype=torch.float64)
    local = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), Logit(0), p=2.0), x, None)
    bounding, excess = BoxBounder(local.graph, local.placed, Frame(torch.zeros(3, dtype=torch.float64))), []
    for radius in (0.02, 0.01, 0.005):
        with torch.no_grad():
            upper = float(bounding(x - radius, x + radius).upper)
        corners = torch.cartesian_prod(*[torch.linspace(-1, 1, 9, dtype=torch.float64)] * 3)
        met = float(jacobians(net, x + radius * corners)[:, 0].norm(dim=1).max())
        excess.append(upper - met)
    assert excess[0] > 0 and excess[1] < excess[0] / 3 and excess[2] < excess[1] / 3


@pytest.mark.parametrize("act", [nn.Tanh, nn.SiLU, nn.ELU])
def test_networks_of_one_input_are_closed(act: type[nn.Module]) -> None:
    net, x = network(act, 1), torch.zeros(1, 1, dtype=torch.float64)
    (found,) = certify(
        net, LocalLipschitz(LinfBall(1.0), AllLogits()), x, estimator="branch_and_bound", budget=Budget(60.0, gap=1e-4)
    )
    grid = torch.linspace(-1, 1, 40001, dtype=torch.float64).unsqueeze(1)
    steepest = float(jacobians(net, grid).abs().max())
    assert found.gap <= 1e-4 and found.lower <= steepest * (1 + 1e-6) and found.upper >= steepest
    assert found.upper <= steepest * (1 + 2e-4)


@pytest.mark.parametrize(
    "region",
    [
        LinfBall(0.5),
        LinfBall(0.5, high=0.2),
        L2Ball(0.6),
        L1Ball(0.7),
        Polytope([[1.0, 1.0]], [0.2], low=-0.6, high=0.6),
    ],
)
def test_every_region_is_closed(region) -> None:
    net, x = network(nn.Tanh, 2), torch.zeros(1, 2, dtype=torch.float64)
    for p in (2.0, math.inf):
        problem = LocalLipschitz(region, AllLogits(), p=p)
        (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, gap=0.02))
        assert found.gap <= 0.02 and found.witness is not None
        placed = problem.place(x, net(x).detach()).region
        points = placed.sample(4000, torch.Generator().manual_seed(0))[0]
        dual = 2.0 if p == 2.0 else 1.0
        assert found.upper >= float(torch.linalg.vector_norm(jacobians(net, points), dual, dim=2).max())


def test_what_a_limit_leaves_is_an_interval() -> None:
    net, x = network(nn.GELU), torch.zeros(1, 3, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), AllLogits())
    (short,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, nodes=40))
    (longer,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, nodes=600))
    assert short.status is Status.NODE_LIMIT and 0 < short.lower <= longer.upper < short.upper
    (from_known,) = certify(
        net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, nodes=40), known=[longer]
    )
    assert from_known.upper <= longer.upper and from_known.lower >= longer.lower


def test_what_it_does_not_take_is_refused() -> None:
    net, x = network(nn.Tanh), torch.zeros(1, 3, dtype=torch.float64)
    for problem in (LocalLipschitz(LinfBall(0.1), AllLogits(), "pointed"), LocalLipschitz(WholeSpace(), AllLogits())):
        with pytest.raises(UnsupportedRequest, match=r"Curved nodes.*fastlip"):
            certify(net, problem, x, estimator="branch_and_bound")
    (found,) = certify(net, LocalLipschitz(LinfBall(0.1), AllLogits(), "pointed"), x, budget=20.0)
    assert 0 < found.lower < found.upper < 1.5 * found.lower
