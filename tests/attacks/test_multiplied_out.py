"""Layers in a row whose products cancel: what multiplying them out in float64 loses is no part of the network.

Truths are products of rationals. Between two linear layers stands nothing, or a max pool whose windows are decided.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from math import prod

import pytest
import torch
from torch import Tensor, nn

from lipreg import Difference, LinfBall, LocalLipschitz, Logit, certify, derivative_range
from lipreg.bounds import analyse
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import ESTIMATORS
from lipreg.graph import capture
from lipreg.graph.accurate import precisions
from tests.sampling import one_in

PATHS = {
    "near weights": ((390.0, 43780.85434436798, 100.0), (390.0 + 1e-8, 43780.85434436798, 100.0)),
    "last places": ((1 / 3, 1 / 7, 1.1), (1 / 3 + 1e-12, 1 / 7, 1.1)),
    "one layer": ((3.1, 43780.85434436798, 1.0), (3.1, 43780.85434436798 + 1e-7, 1.0)),
}


class Pool(nn.Module):
    """The larger of each pair of features."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool1d(x.unsqueeze(1), 2).flatten(1)


def path(weights: tuple[float, float, float], kind: str) -> nn.Module:
    """The product of three weights where the input is above 0."""
    first, second, third = weights
    layers: list[nn.Module] = [nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)]
    rows = [[[first]], [[second]], [[third]]]
    if kind == "pools":
        layers[0], rows[0] = nn.Linear(1, 2), [[-1e5], [first]]
        layers.insert(1, Pool())
    if kind == "normed":
        norm = nn.BatchNorm1d(1, eps=0.0).double()  # of variance 1: its scale is its weight
        norm.weight.data.fill_(third)
        layers[2] = norm
    net = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for layer, weight in zip((m for m in net if isinstance(m, nn.Linear)), rows, strict=False):
            layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
            assert layer.bias is not None
            layer.bias.zero_()
    return net


@pytest.mark.parametrize("kind", ["chain", "pools", "normed"])
@pytest.mark.parametrize("name", PATHS)
@one_in(3)
def test_no_end_is_false_where_products_cancel(name: str, kind: str) -> None:
    f, g = (path(weights, kind) for weights in PATHS[name])
    derivative = prod(map(Fraction, PATHS[name][0])) - prod(map(Fraction, PATHS[name][1]))
    net, x = Difference(f, g), torch.tensor([[2.0]], dtype=torch.float64)
    for scope in ("regional", "pointed"):
        problem = LocalLipschitz(LinfBall(1.0), Logit(0), scope=scope)
        for estimator in ESTIMATORS:
            try:
                found = certify(net, problem, x, estimator=estimator)[0]
            except UnsupportedRequest:
                continue
            assert found.lower <= abs(derivative) <= found.upper, estimator
    found = derivative_range(net, LocalLipschitz(LinfBall(1.0), Logit(0)), x).ranges[0]
    assert found.lower <= derivative <= found.upper


def test_a_bias_is_what_it_was_added_up_from() -> None:
    """W b + c at the reference point, where all but the last places cancel."""
    torch.manual_seed(0)
    for _ in range(20):
        first, second = nn.Linear(2, 3).double(), nn.Linear(3, 2).double()
        with torch.no_grad():
            first.bias.copy_(1e6 * torch.randn(3, dtype=torch.float64))
            second.bias.copy_(-second.weight @ first.bias)
        net = nn.Sequential(first, second, nn.ReLU(), nn.Linear(2, 1).double())
        x = torch.zeros(1, 2, dtype=torch.float64)
        graph = capture(net, x).frozen()
        reach = analyse(graph, LocalLipschitz(LinfBall(1e-12), Logit(0)).place(x, graph(x))).value_bounds[1]
        for i in range(2):
            parts = zip(second.weight[i].tolist(), first.bias.tolist(), strict=True)
            truth = sum((Fraction(w) * Fraction(b) for w, b in parts), start=Fraction(second.bias[i].item()))
            low, high = (Fraction(end[0, i].item()) for end in reach.at)
            assert low <= truth <= high
            assert high - low <= abs(truth) / 10**6


def test_what_cancels_to_the_last_place_is_nothing() -> None:
    """The same layers in a row, once with each sign: no rounding is charged."""
    torch.manual_seed(1)
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(3, 2)).double()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.rest = layers, nn.Linear(3, 2).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.own(x) - self.own(x) + torch.relu(self.rest(x)) * 0.0

    x = torch.randn(1, 3, dtype=torch.float64)
    assert certify(Difference(layers, layers), LocalLipschitz(LinfBall(1.0), Logit(0)), x)[0].upper == 0.0
    graph = capture(Twice(), x).frozen()
    assert all(not map.entries[0].any() or not map.rounded for map in graph.output.maps)


def normed(at: float, first: nn.Linear, norm: nn.BatchNorm1d, last: nn.Linear) -> Fraction:
    """The value of a network of one input and one unit in rationals, with batch norm's scale as float64 has it."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt() * norm.weight
    z = Fraction(first.weight.item()) * Fraction(at) + Fraction(first.bias.item())
    z = (z - Fraction(norm.running_mean.item())) * Fraction(scale.item()) + Fraction(norm.bias.item())
    return Fraction(last.weight.item()) * max(z, Fraction(0))


def test_a_batch_norm_s_mean_and_shift_are_what_they_are() -> None:
    """A quotient at the witness in rationals, where the mean takes nearly all of a large pre-activation away."""
    met = 0
    for seed in range(20):
        torch.manual_seed(seed)
        first, norm, last = nn.Linear(1, 1).double(), nn.BatchNorm1d(1).double(), nn.Linear(1, 1).double()
        x = torch.full((1, 1), 1e4 / 3, dtype=torch.float64)
        with torch.no_grad():
            first.weight.mul_(300.0)
            norm.weight.uniform_(0.5, 2.0)
            norm.bias.uniform_(-1.0, 1.0)
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.copy_(first(x)[0] + torch.randn(1, dtype=torch.float64))
            norm.running_var.uniform_(0.5, 2.0)
        net = nn.Sequential(first, norm, nn.ReLU(), last).eval()
        problem = LocalLipschitz(LinfBall(0.05), Logit(0), scope="pointed", p=1)
        found = certify(net, problem, x, estimator="branch_and_bound")[0]
        if found.witness is None:
            continue
        (at,) = found.witness.point
        rise = abs(normed(at, first, norm, last) - normed(x.item(), first, norm, last))
        assert found.lower <= rise / abs(Fraction(at) - Fraction(x.item())) <= found.upper, seed
        met += 1
    assert met > 5


def test_a_constant_may_go_through_longer_sums_than_the_input_does() -> None:
    """W (A x + c) - W A x is W c, to the last place: thousands of terms, where what the input goes through has two."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.w, self.own, self.end = (
                nn.Linear(2, 3000),
                nn.Linear(3000, 3),
                nn.Linear(2, 3),
                nn.Linear(3, 1),
            )
            self.c = nn.Parameter(1e3 * torch.randn(3000))

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            return self.end(torch.relu(self.own(x) + self.w(a + self.c) - self.w(a)))

    torch.manual_seed(0)
    net, x = Shifted().double(), torch.rand(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1e-13), Logit(0))
    found = certify(net, problem, x, estimator="branch_and_bound")[0]
    assert 0 < found.lower <= found.upper < 10.0
    by_hand = [
        sum(Fraction(w) * Fraction(c) for w, c in zip(row, net.c.tolist(), strict=True))
        for row in net.w.weight.tolist()
    ]
    (_, node) = capture(net, x).frozen().affines()[0]
    shown = node.combine({0: next(islice(precisions(capture(net, x).frozen(), 0 * x), 1, None))}).rounded()[0][0]
    own = [Fraction(b) for b in net.own.bias.tolist()]
    for got, shift, bias in zip(shown.tolist(), by_hand, own, strict=True):
        assert abs(Fraction(got) - shift - bias) <= abs(shift) / 10**15
