"""Layers that belong together, how far apart they are, and what follows for slopes and Jacobians, against sampled points."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, Difference, L2Ball, LinfBall, LocalLipschitz, capture
from lipreg.bounds import Analysis, interval_jacobian, layer_pairs, pair_differences
from lipreg.bounds.joint_slopes import slopes_apart
from lipreg.bounds.pairs import find_pairs
from lipreg.estimators import frozen_analysis
from lipreg.testing import domains
from lipreg.testing.networks import Residual, mlp
from lipreg.testing.pieces import cells

X = torch.tensor([[0.2, -0.1], [-0.3, 0.25]], dtype=torch.float64)
REGIONS = {"linf": LinfBall(0.4), "l2": L2Ball(0.4)}


def moved(network: nn.Module, share: float, seed: int = 0) -> nn.Module:
    """A copy whose weights are each multiplied by 1 + share * noise."""
    other, draw = copy.deepcopy(network), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.0 + share * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    return other


def net(seed: int, *widths: int, leak: float | None = None) -> nn.Sequential:
    torch.manual_seed(seed)
    network = mlp(*(widths or (2, 5, 4, 3)), negative_slope=leak).double().eval()
    for module in network:
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(1.8)
    return network


def analysis(module: nn.Module, scope: Any = "regional", region: str = "linf") -> Analysis:
    return frozen_analysis(module, LocalLipschitz(REGIONS[region], AllLogits(), scope=scope), X, None)


def nodes_of(module: nn.Module) -> list[tuple[int, int]]:
    return [(pair.first, pair.second) for pair in find_pairs(capture(module, X).frozen()).values()]


def test_layers_pair_up_in_order_whatever_subtracts_the_networks() -> None:
    first = net(0)
    second = moved(first, 0.1)
    assert nodes_of(Difference(first, second)) == [(2, 6), (4, 8)]

    class Interleaved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f, self.g = first, second

        def forward(self, x: Tensor) -> Tensor:
            h, k = torch.relu(self.g[0](x)), torch.relu(self.f[0](x))
            h, k = torch.relu(self.g[2](h)), torch.relu(self.f[2](k))
            return 2.0 * self.g[4](h) - 2.0 * self.f[4](k)

    assert nodes_of(Interleaved().eval()) == [(2, 4), (6, 8)]


def test_what_only_looks_alike_is_no_pair() -> None:
    first = net(0)
    assert nodes_of(first) == [] and nodes_of(Difference(first, net(1))) == [], "nothing is small between the two"
    assert nodes_of(Difference(first, net(0, 2, 6, 4, 3))) == [], "widths"
    assert nodes_of(Difference(first, net(0, leak=0.1))) == [], "slopes"
    residual = Residual(2, 4, 2).double().eval()
    with torch.no_grad():
        residual.b.weight.copy_(torch.eye(4))
    assert nodes_of(residual) == [], "one reads the other"
    assert len(nodes_of(Difference(residual, moved(residual, 0.1)))) == 2


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("share", [1e-6, 0.05, 0.5])
def test_distances_and_slopes_hold_at_sampled_points(share: float, scope: Any, region: str) -> None:
    for seed, leak in ((0, None), (1, 0.2), (2, None)):
        first = net(seed, leak=leak)
        second = moved(first, share, seed)
        with torch.no_grad():
            second[0].weight[0], second[0].bias[0] = first[0].weight[0], first[0].bias[0]
        own = analysis(Difference(first, second), scope, region)
        points = own.placed.region.sample(500, torch.Generator().manual_seed(seed))
        values, at = own.graph.values(points), own.graph.values(X)
        assert len(layer_pairs(own)) == 2
        for index, pair in layer_pairs(own).items():
            known, sources = (
                pair_differences(own)[index],
                [own.graph.nodes[i].source for i in (pair.first, pair.second)],
            )
            for a, b, lower, upper in (
                (*sources, known.lower, known.upper),
                (pair.first, pair.second, *known.outputs),
            ):
                gap = values[a] - values[b]
                assert (gap >= lower.unsqueeze(1) - 1e-13).all() and (gap <= upper.unsqueeze(1) + 1e-13).all()
            gap = at[sources[0]] - at[sources[1]]
            assert (gap >= known.least - 1e-13).all() and (gap <= known.most + 1e-13).all()
            assert known.same.tolist() == [pair.first == 2 and i == 0 for i in range(len(known.same))]
            if scope == "regional":
                a, b = (torch.where(values[i] > 0, 1.0, leak or 0.0) for i in sources)
            else:
                rises = (values[i] - at[i].unsqueeze(1) for i in (pair.first, sources[0], pair.second, sources[1]))
                a, below, b, other = rises
                a, b = a / below, b / other
            low, high = (end.unsqueeze(1) for end in slopes_apart(own, pair))
            between = a - b
            held = (between >= low - 1e-7) & (between <= high + 1e-7)
            assert (held | between.isnan()).all(), "but at the reference point, where there is no secant"
            if index == 2:
                assert (low[..., 0] == 0).all() and (high[..., 0] == 0).all(), "one unit"


def test_units_that_move_a_millionth_are_a_millionth_apart() -> None:
    first = net(3)
    own = analysis(Difference(first, moved(first, 1e-6)))
    for known in pair_differences(own).values():
        assert (known.upper - known.lower).max() < 5e-5


def test_the_intervals_hold_every_piece_of_the_jacobian() -> None:
    for seed, share in ((0, 0.02), (1, 0.3), (2, 1e-3)):
        first = net(seed, 2, 4, 3, 2)
        module = Difference(first, moved(first, share, seed))
        own = analysis(module)
        low, high = interval_jacobian(own)[0]
        for point in range(len(X)):
            domain = domains.domain_of(REGIONS["linf"], X[point].numpy())
            for cell in cells(module, domain):
                matrix = torch.from_numpy(cell.matrix)
                assert (matrix >= low[point] - 1e-9).all() and (matrix <= high[point] + 1e-9).all()


def test_where_every_pair_is_switched_alike_the_intervals_are_as_small_as_the_weights_differ() -> None:
    first = net(4)
    with torch.no_grad():
        for layer in (first[0], first[2]):
            layer.bias.copy_(torch.where(torch.arange(len(layer.bias)) % 2 == 0, 30.0, -30.0))
    low, high = interval_jacobian(analysis(Difference(first, moved(first, 1e-6))))[0]
    assert torch.maximum(-low, high).max() < 1e-4
