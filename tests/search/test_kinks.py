"""Curves whose derivatives jump, written out as smooth ones and ReLUs: the same function, and searches that close by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, LinfBall, LocalLipschitz, Vector
from lipreg.budget import Budget
from lipreg.estimators import certify, frozen_analysis
from lipreg.regions import L2Ball
from lipreg.search.curved.bounds import BoxBounder
from lipreg.search.curved.frame import Frame
from lipreg.search.curved.kinks import without_jumps
from tests.sampling import one_in
from tests.search.test_curved import jacobians

Activation = Callable[[], nn.Module]
KINKED: dict[str, Activation] = {
    "SELU": nn.SELU,
    "Hardswish": nn.Hardswish,
    "ELU below": lambda: nn.ELU(0.4),
    "ELU above": lambda: nn.ELU(2.3),
}


class Branched(nn.Module):
    """Kinked curves behind a convolution, in a branch, and beside a ReLU."""

    def __init__(self, act: Activation) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv1d(1, 2, 2), nn.Linear(4, 4), nn.Linear(4, 2)
        self.first, self.second, self.relu = act(), act(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(self.a(x.unsqueeze(1))).flatten(1)
        return self.c(h + self.second(self.b(h)) + self.relu(self.b(h)))


def network(act: Activation, inputs: int = 2, branched: bool = False, seed: int = 0) -> nn.Module:
    """With units about both kinks of Hardswish, and a few far from any."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(inputs, 6), act(), nn.Linear(6, 5), act(), nn.Linear(5, 2)]
        net = (Branched(act) if branched else nn.Sequential(*layers)).double()
        for layer in net.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d):
                layer.weight.data *= 2.5
                layer.bias.data *= 6.0
    return net


@pytest.mark.parametrize("branched", [False, True])
@pytest.mark.parametrize("act", KINKED)
def test_it_is_the_same_function_over_the_region(act: str, branched: bool) -> None:
    count = 3 if branched else 2
    net, x = network(KINKED[act], count, branched), torch.full((1, count), 0.1, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.7), Vector())
    local = frozen_analysis(net, problem, x, None)
    written = without_jumps(local)
    assert written.graph.fingerprint() == local.graph.fingerprint()
    assert len(written.graph.relus()) > len(local.graph.relus())
    points = local.placed.region.sample(3000, torch.Generator().manual_seed(0))[0]
    last = len(local.graph.nodes) - 1, len(written.graph.nodes) - 1
    own, other = local.graph.values(points)[last[0]], written.graph.values(points)[last[1]]
    torch.testing.assert_close(other, own, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(own, net(points).detach(), rtol=1e-13, atol=1e-13)


def test_what_has_no_kink_inside_stays_as_it_is() -> None:
    net, x = network(nn.SELU), torch.full((1, 2), 0.1, dtype=torch.float64)
    near = frozen_analysis(net, LocalLipschitz(LinfBall(1e-6), Vector()), x, None)
    assert without_jumps(near) is near
    smooth = frozen_analysis(network(nn.ELU), LocalLipschitz(LinfBall(1.0), Vector()), x, None)
    assert without_jumps(smooth) is smooth


@pytest.mark.parametrize("act", KINKED)
def test_no_bound_of_a_part_is_below_what_is_met_there(act: str) -> None:
    net, x, draw = network(KINKED[act]), torch.zeros(1, 2, dtype=torch.float64), torch.Generator().manual_seed(0)
    local = without_jumps(frozen_analysis(net, LocalLipschitz(LinfBall(1.0), Vector(), p=2.0, q=2.0), x, None))
    middle = 1.6 * torch.rand(80, 2, generator=draw, dtype=torch.float64) - 0.8
    radius = (0.2 * torch.rand(80, 1, generator=draw, dtype=torch.float64)).minimum(1.0 - middle.abs())
    share = 2.0 * torch.rand(60, 80, 2, generator=draw, dtype=torch.float64) - 1.0
    points = (middle + share * radius).flatten(0, 1)
    values = local.graph.values(points)
    sides = torch.cat([values[node.source].flatten(1).sign() for _, node in local.graph.relus()], 1).to(torch.int8)
    sides = sides.unflatten(0, (60, 80))
    wanted = sides[0] * torch.randint(0, 2, sides[0].shape, generator=draw).to(torch.int8)
    with torch.no_grad():
        found = BoxBounder(local.graph, local.placed, Frame(torch.zeros(2, dtype=torch.float64)))(
            middle - radius, middle + radius, wanted
        )
    held = ((sides == wanted) | (wanted == 0)).all(2)
    met = torch.linalg.matrix_norm(jacobians(net, points), ord=2).unflatten(0, (60, 80))
    assert held.sum() > 1000
    assert (found.upper >= torch.where(held, met, 0.0).amax(0) * (1 - 1e-12)).all()


@pytest.mark.parametrize("act", KINKED)
def test_networks_of_one_input_are_closed(act: str) -> None:
    net, x = network(KINKED[act], 1), torch.zeros(1, 1, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits())
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, gap=1e-4, nodes=20_000))
    grid = torch.linspace(-1, 1, 40001, dtype=torch.float64).unsqueeze(1)
    steepest = float(jacobians(net, grid).abs().max())
    assert found.gap <= 1e-4 and steepest <= found.upper <= steepest * (1 + 3e-4)


@pytest.mark.parametrize("region", [LinfBall(0.5), L2Ball(0.6)])
@pytest.mark.parametrize("act", KINKED)
@one_in(2)
def test_networks_of_two_inputs_are_closed_in_few_parts(act: str, region: LinfBall | L2Ball) -> None:
    """Boxes alone leave them open after tens of thousands."""
    net, x = network(KINKED[act], 2, seed=1), torch.full((1, 2), 0.1, dtype=torch.float64)
    problem = LocalLipschitz(region, Vector(), p=2.0, q=2.0)
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, gap=0.01, nodes=3000))
    points = problem.place(x, net(x).detach()).region.sample(20_000, torch.Generator().manual_seed(0))[0]
    met = float(torch.linalg.matrix_norm(jacobians(net, points), ord=2).max())
    assert found.gap <= 0.01 and found.upper / 1.03 <= met <= found.upper
