"""Networks of ReLUs and curves: bounds of parts with phases against points of them, and intervals against what is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, AllMargins, LinfBall, LocalLipschitz, Vector
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import certify, frozen_analysis
from lipreg.estimators.exact.branch_and_bound import BranchAndBound
from lipreg.estimators.settings import Settings
from lipreg.outputs import Logit
from lipreg.regions import L1Ball, L2Ball
from lipreg.search.curved.bounds import BoxBounder
from lipreg.search.curved.composed import composed
from lipreg.search.curved.engine import bending_frame
from lipreg.search.curved.frame import Frame
from lipreg.search.curved.steeper import LastCurves
from lipreg.testing import exact_constants
from tests.sampling import one_in
from tests.search.test_curved import jacobians

Activation = Callable[[], nn.Module]
ORDERS: dict[str, list[Activation]] = {
    "curve at the end": [nn.ReLU, nn.ReLU, nn.Tanh],
    "curve first": [nn.Tanh, nn.ReLU, nn.ReLU],
    "in turn": [lambda: nn.LeakyReLU(0.2), nn.GELU, nn.ReLU, nn.Softplus],
}


def network(order: list[Activation], inputs: int = 3, outputs: int = 2, seed: int = 0) -> nn.Sequential:
    """With a last layer behind the last activation, unless that is at the end."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        widths = [inputs, *[6] * (len(order) - 1), outputs]
        for width, after, act in zip(widths, widths[1:], order, strict=False):
            layers += [nn.Linear(width, after), act()]
        net = nn.Sequential(*layers, *([] if order[-1] is nn.Tanh else [nn.Linear(outputs, outputs)])).double()
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.weight.data *= 2.0
    return net


def phases(local: Analysis, points: Tensor) -> Tensor:
    """The sides of all ReLUs at points, ``(points, units)``."""
    values = local.graph.values(points)
    return torch.cat([values[node.source].flatten(1).sign() for _, node in local.graph.relus()], 1).to(torch.int8)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("order", ORDERS)
def test_no_bound_of_a_part_is_below_what_is_met_there_and_no_cut_takes_its_points(order: str, p: float) -> None:
    net, x, draw = network(ORDERS[order]), torch.zeros(1, 3, dtype=torch.float64), torch.Generator().manual_seed(0)
    for output in (AllLogits(), Vector()):
        local = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), output, p=p), x, None)
        for frame in (Frame(torch.zeros(3, dtype=torch.float64)), bending_frame(local)):
            middle = 1.6 * torch.rand(120, 3, generator=draw, dtype=torch.float64) - 0.8
            radius = 10.0 ** (2.0 * torch.rand(120, 1, generator=draw, dtype=torch.float64) - 2.0)
            share = 2.0 * torch.rand(60, 120, 3, generator=draw, dtype=torch.float64) - 1.0
            inside = middle + share * radius
            points = frame.points(inside.flatten(0, 1))
            sides = phases(local, points).unflatten(0, (60, 120))
            # the sides of a point of the box, of about half of the units, the middle's own or not
            wanted = sides[0] * torch.randint(0, 2, sides[0].shape, generator=draw).to(torch.int8)
            with torch.no_grad():
                found = BoxBounder(local.graph, local.placed, frame)(middle - radius, middle + radius, wanted)
            held = ((sides == wanted) | (wanted == 0)).all(2)
            assert held.sum() > 1000
            met = local.placed.combine_flat(jacobians(net, points)).unflatten(0, (60, 120))
            assert (found.upper >= torch.where(held, met, 0.0).amax(0) * (1 - 1e-12)).all()
            kept = ((found.ends[0] <= inside) & (inside <= found.ends[1])).all(2)
            assert kept[held].all()
            assert not kept.all()


def test_a_part_without_points_is_seen_to_be_empty() -> None:
    net, x = network(ORDERS["curve first"]), torch.zeros(1, 3, dtype=torch.float64)
    local = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), AllLogits(), p=2.0), x, None)
    found = BoxBounder(local.graph, local.placed, Frame(torch.zeros(3, dtype=torch.float64)))(
        x - 1e-3, x + 1e-3, -phases(local, x)
    )
    assert float(found.upper) == 0.0


@pytest.mark.parametrize("act", [nn.Tanh, nn.GELU, nn.Softplus])
@pytest.mark.parametrize("last", [False, True])
@one_in(2)
def test_networks_of_one_input_are_closed(act: type[nn.Module], last: bool) -> None:
    inner: list[nn.Module] = [nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 6), act(), nn.Linear(6, 6), nn.ReLU()]
    if last:
        inner = [nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU()]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential(*inner, nn.Linear(6, 2), *([act()] if last else []))
        for layer in net:
            layer.reset_parameters() if isinstance(layer, nn.Linear) else None
    net, x = net.double(), torch.zeros(1, 1, dtype=torch.float64)
    (found,) = certify(
        net, LocalLipschitz(LinfBall(1.0), AllLogits()), x, estimator="branch_and_bound", budget=Budget(60.0, gap=1e-4)
    )
    grid = torch.linspace(-1, 1, 40001, dtype=torch.float64).unsqueeze(1)
    steepest = float(jacobians(net, grid).abs().max())
    assert found.gap <= 1e-4 and found.upper >= steepest and found.upper <= steepest * (1 + 3e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("region", [LinfBall(0.4), L2Ball(0.5), L1Ball(0.6)])
@one_in(3)
def test_networks_of_both_are_closed_to_a_hundredth(order: str, region: LinfBall | L2Ball | L1Ball) -> None:
    net, x = network(ORDERS[order]), torch.full((1, 3), 0.1, dtype=torch.float64)
    problem = LocalLipschitz(region, Vector(), p=2.0, q=2.0)
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, gap=0.01))
    points = problem.place(x, net(x).detach()).region.sample(20_000, torch.Generator().manual_seed(0))[0]
    met = torch.linalg.matrix_norm(jacobians(net, points), ord=2).max()
    assert found.gap <= 0.01 and found.witness is not None and float(met) <= found.upper


@pytest.mark.parametrize("output", [Logit(1), AllLogits(), Vector()])
@pytest.mark.parametrize("act", [nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU])
@one_in(2)
def test_steeper_networks_lie_between_the_network_and_its_head_times_the_largest_slope(act, output) -> None:
    first, x = network([nn.ReLU], 2, 5)[0], torch.zeros(1, 2, dtype=torch.float64)
    head = nn.Sequential(first, nn.ReLU(), nn.Linear(5, 2)).double()
    net, problem = nn.Sequential(head, act()), LocalLipschitz(LinfBall(0.8), output, p=2.0)
    local = frozen_analysis(net, problem, x, None)
    curves = LastCurves.of(local)
    assert curves is not None
    with torch.no_grad():
        found = []
        for meets in ([at[:0] for at in curves.start()], curves.start()):
            steep = curves.steeper(meets)
            interval, _ = BranchAndBound().at_point(steep, Budget(30.0).started(), Settings())
            found.append(interval.upper)
    points = problem.place(x, net(x).detach()).region.sample(20_000, torch.Generator().manual_seed(0))[0]
    rows = local.placed.rows
    met = float(local.placed.combine_flat(rows @ jacobians(net, points)).max())
    ((_, exact),) = exact_constants(head, problem, x)
    low, high = (end[0] for end in (local.value_bounds[-3].lower, local.value_bounds[-3].upper))
    reached = [
        torch.linspace(a, b, 20_001, dtype=torch.float64) for a, b in zip(low.tolist(), high.tolist(), strict=True)
    ]
    slope = max(float(jacobians(act(), z.unsqueeze(1)).abs().max()) for z in reached)
    assert met <= found[1] <= found[0] * (1 + 1e-9)
    assert found[0] <= exact * slope * (1 + 1e-6)


@pytest.mark.parametrize("act", [nn.Tanh, nn.GELU])
def test_margins_of_curves_are_bounded_at_the_vertices_of_their_slopes(act: type[nn.Module]) -> None:
    net, x = network([nn.ReLU, act], 2, 3), torch.zeros(1, 2, dtype=torch.float64)
    net = nn.Sequential(*net[:4])
    problem = LocalLipschitz(LinfBall(0.6), AllMargins(target=1), p=2.0)
    local = frozen_analysis(net, problem, x, None)
    with torch.no_grad():
        question = composed(local)
        assert question is not None
        interval, _ = BranchAndBound().at_point(question, Budget(30.0).started(), Settings())
    points = problem.place(x, net(x).detach()).region.sample(20_000, torch.Generator().manual_seed(0))[0]
    met = float(local.placed.combine_flat(local.placed.rows @ jacobians(net, points)).max())
    # the same by enumeration of the part before the curves, for each choice of slopes
    (low, high) = (end[0] for end in act_slopes(local))
    exact = 0.0
    for sides in range(8):
        slope = torch.stack([(low, high)[sides >> k & 1][k] for k in range(3)])
        scaled = nn.Sequential(net[:3], nn.Linear(3, 3)).double()
        scaled[1].weight.data, scaled[1].bias.data = slope.diag(), torch.zeros(3, dtype=torch.float64)
        exact = max(exact, exact_constants(scaled, problem, x)[0][1])
    assert met <= interval.upper and interval.upper == pytest.approx(exact, rel=1e-6)


def act_slopes(local: Analysis) -> tuple[Tensor, Tensor]:
    """The range of the slopes of the last curves."""
    ((_, node),) = local.graph.curves()
    return node.curve.slopes(local.value_bounds[node.source].lower, local.value_bounds[node.source].upper)


def test_margins_of_curves_have_no_steeper_network() -> None:
    net, x = network(ORDERS["curve at the end"], outputs=3), torch.zeros(1, 3, dtype=torch.float64)
    local = frozen_analysis(net, LocalLipschitz(LinfBall(0.3), AllMargins(), p=2.0), x, torch.tensor([1]))
    assert LastCurves.of(local) is None
    smooth = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()
    assert LastCurves.of(frozen_analysis(smooth, LocalLipschitz(LinfBall(0.3), Vector()), x, None)) is None


def test_a_limit_of_nodes_counts_those_of_steeper_networks() -> None:
    net, x = network(ORDERS["curve at the end"]), torch.zeros(1, 3, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), AllLogits(), p=2.0)
    (short,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, nodes=4))
    (longer,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, nodes=2000, gap=0.01))
    assert 0 < short.lower <= longer.upper <= short.upper
    (from_known,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0, nodes=4), known=[longer])
    assert from_known.upper <= longer.upper and from_known.lower >= longer.lower
