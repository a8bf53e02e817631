"""Lower lines chosen for each bound: sound at points, never looser than CROWN's, nearly the linear program's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from lipreg import AllLogits, Bound, L2Ball, LinfBall, LocalLipschitz, certify, estimate
from lipreg.bounds import Analysis, analyse
from lipreg.errors import InvalidInput
from lipreg.graph import Graph, capture
from lipreg.problem import PlacedProblem
from lipreg.regions import Region
from tests.bounds.test_unit_bounds import NETS


def placed(name: str, region: Region, points: int = 2) -> tuple[Graph, PlacedProblem]:
    torch.manual_seed(3)
    build, shape = NETS[name]
    net = build().double().eval()
    x = torch.rand(points, *shape, dtype=torch.float64)
    graph = capture(net, x).frozen()
    return graph, LocalLipschitz(region, AllLogits()).place(x, graph(x))


def widths(analysis: Analysis, graph: Graph) -> Tensor:
    ends = [analysis.value_bounds[i] for i, _ in graph.affines()[:-1]]
    return torch.cat([(reach.upper - reach.lower).flatten(1) for reach in ends], 1)


@pytest.mark.parametrize(
    ("name", "region"),
    [(name, LinfBall(0.2)) for name in NETS]
    + [(name, L2Ball(0.5, low=0.0, high=1.0)) for name in ("pools", "signals")],
    ids=str,
)
def test_they_hold_at_points_and_are_never_looser(name: str, region: Region) -> None:
    graph, question = placed(name, region)
    crown, alpha = (analyse(graph, question, ("interval", method)) for method in ("crown", "alpha"))
    points = question.region.sample(40, torch.Generator().manual_seed(0)).flatten(0, 1)
    repeats = len(points) // question.batch
    for index, _ in graph.affines():
        low, high = (
            end.repeat_interleave(repeats, 0)
            for end in (alpha.value_bounds[index].lower, alpha.value_bounds[index].upper)
        )
        values = graph.values(points)[index]
        assert bool(((low <= values) & (values <= high)).all())
    wide, narrow = widths(crown, graph), widths(alpha, graph)
    assert bool((narrow <= wide + 1e-9).all())


def test_a_layer_after_one_of_relus_comes_close_to_the_linear_program() -> None:
    """Behind one layer the best choice is the linear program's value: most of the way from CROWN's is gone."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    x = torch.randn(1, 6, dtype=torch.float64)
    graph = capture(net, x).frozen()
    question = LocalLipschitz(LinfBall(0.7), AllLogits()).place(x, graph(x))
    first, second = net[0], net[2]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    W, b = first.weight.detach().numpy(), first.bias.detach().numpy()
    middle, radius = W @ x[0].numpy() + b, 0.7 * np.abs(W).sum(1)
    l, u = middle - radius, middle + radius
    # over (x, h): h >= 0, h >= z, and h below the chord; a stable unit's lines are the function
    rows, right = [], []
    for i in range(24):
        e = np.zeros(24)
        e[i] = 1.0
        chord = 1.0 if l[i] >= 0 else 0.0 if u[i] <= 0 else u[i] / (u[i] - l[i])
        offset = -chord * l[i] if l[i] < 0 < u[i] else 0.0
        rows += [np.r_[W[i], -e], np.r_[0 * W[i], -e], np.r_[-chord * W[i], e]]
        right += [-b[i], 0.0, chord * b[i] + offset]
    limits = [(v - 0.7, v + 0.7) for v in x[0].tolist()] + [(None, None)] * 24
    V, c = second.weight.detach().numpy(), second.bias.detach().numpy()
    best = []
    for sign in (1, -1):
        found = [linprog(-sign * np.r_[np.zeros(6), row], np.array(rows), right, bounds=limits) for row in V]
        best.append(np.array([-program.fun for program in found]) + sign * c)
    at = graph.affines()[1][0]
    crown, alpha = (analyse(graph, question, (method,)).value_bounds[at] for method in ("crown", "alpha"))
    for program, one, other in zip(best, (crown.upper, -crown.lower), (alpha.upper, -alpha.lower), strict=True):
        one, other = one[0].detach().numpy(), other[0].detach().numpy()
        assert (other >= program - 1e-7).all()
        assert ((other - program) <= 0.1 * (one - program).max() + 1e-9).all()
        assert (one - program).max() > 0.1  # there is something to gain


def test_each_point_and_entry_has_its_own() -> None:
    graph, question = placed("signals", LinfBall(0.2), points=3)
    together = analyse(graph, question, ("alpha",))
    for i in range(3):
        alone = analyse(graph, question[i : i + 1], ("alpha",))
        for index, _ in graph.affines()[:-1]:
            assert torch.allclose(alone.value_bounds[index].upper[0], together.value_bounds[index].upper[i], atol=1e-7)


def test_a_penalty_has_its_gradient() -> None:
    """The gradient is that of the bound with the lines that were found: the value moves as it says."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    question, bound = (
        LocalLipschitz(LinfBall(0.4), AllLogits()),
        Bound("jacobian_crown", preactivations=["interval", "alpha"]),
    )
    value = estimate(net, question, x, bound=bound).sum()
    value.backward()
    weight = net[0].weight
    assert weight.grad is not None and bool(weight.grad.abs().amax() > 0)
    step = 1e-6 * weight.grad / weight.grad.norm()
    with torch.no_grad():
        weight += step
        moved = estimate(net, question, x, bound=bound).sum()
    assert float(moved - value) == pytest.approx(1e-6 * float(weight.grad.norm()), rel=0.05)


def test_a_recipe_names_them() -> None:
    net = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 2)).double()
    x, question = torch.randn(1, 4, dtype=torch.float64), LocalLipschitz(LinfBall(0.5), AllLogits())
    plain, chosen = Bound("mixing"), Bound("mixing", preactivations=["ball", "interval", "alpha"])
    assert chosen.label == "mixing-ball-interval-alpha"
    exact = certify(net, question, x, estimator="branch_and_bound")[0]
    upper = certify(net, question, x, estimator=chosen)[0].upper
    assert exact.upper <= upper <= certify(net, question, x, estimator=plain)[0].upper * (1 + 1e-9)
    with pytest.raises(InvalidInput, match="alpha"):
        Bound("mixing", preactivations=["beta"])
