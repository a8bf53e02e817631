"""Maps that share their parts: each part acts once, and what comes of it is right to the last digit."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

import lipreg
from lipreg.graph.capture import capture
from lipreg.graph.nodes import Affine
from lipreg.linalg import Composed, Dense, Limbs, LinearMap, Running, Sum, add, compose, digit_bits, identity
from lipreg.linalg.joined import CompositeMap
from tests.linalg.test_limbs import dot, exact, random

SIZE = 3


def skips(count: int) -> tuple[list[Dense], LinearMap]:
    """Layers, and what ``x + layer(x)`` makes of x after all of them."""
    layers = [Dense(random(SIZE, SIZE, seed=seed) / 4, (SIZE,), (SIZE,)) for seed in range(count)]
    whole: LinearMap = identity((SIZE,), (SIZE,), layers[0].weight)
    for layer in layers:
        whole = add(whole, compose(layer, whole))
    return layers, whole


def truth(layers: list[Dense], x: list[Fraction], back: bool = False) -> list[Fraction]:
    for layer in layers[::-1] if back else layers:
        rows = [exact(row) for row in (layer.weight.T if back else layer.weight)]
        x = [own + dot(row, x) for own, row in zip(x, rows, strict=True)]
    return x


@pytest.mark.parametrize("back", [False, True], ids=["through", "back"])
def test_chains_of_skips_cost_one_act_a_layer_and_are_right(back: bool) -> None:
    layers, whole = skips(40)
    made_of = whole.exact_form
    assert isinstance(made_of, CompositeMap) and len(made_of.steps) <= 2 * len(layers) + 1
    assert whole.lengths < 20 * len(layers) * SIZE and len(made_of.entries) <= len(layers) + 1
    assert len(made_of.description) < 200 * len(layers)
    x = random(SIZE, seed=99)
    right = truth(layers, exact(x), back)
    for start in (Running.of(x), Limbs.of(x, digit_bits(made_of.roundings), 40)):
        value, error = (start.back(whole) if back else start.through(whole)).rounded()
        off = [abs(own - other) for own, other in zip(exact(value), right, strict=True)]
        assert all(one <= bound for one, bound in zip(off, exact(error), strict=True))
    sizes = whole.sizes()
    of_abs = [Dense(layer.weight.abs(), (SIZE,), (SIZE,)) for layer in layers]
    got = sizes.transpose(x.abs()) if back else sizes(x.abs())
    assert exact(got) == pytest.approx(truth(of_abs, exact(x.abs()), back), rel=1e-12)


def test_a_sum_that_parts_and_meets_again_counts_every_addition() -> None:
    """Back through (A + B) C the two flows meet before C; through C (A + B) forth they do."""
    a, b, c = (Dense(random(SIZE, SIZE, seed=seed), (SIZE,), (SIZE,)) for seed in range(3))
    both = Sum(a, b)
    for map in (Composed(both, c), Composed(c, both)):
        assert map.roundings == a.roundings + c.roundings + 2
        assert len(map.steps) == 4
        weight = map.dense()
        torch.testing.assert_close(
            weight, (a.weight + b.weight) @ c.weight if map.inner is c else c.weight @ (a.weight + b.weight)
        )
        torch.testing.assert_close(map.transpose(torch.eye(SIZE).double()), weight)


def test_the_same_map_with_other_entries_shares_as_much() -> None:
    _, whole = skips(30)
    made_of = whole.exact_form
    calls = []

    def change(entries: Tensor) -> Tensor:
        calls.append(entries)
        return 2.0 * entries

    other = made_of.with_entries(change)
    assert isinstance(made_of, CompositeMap) and isinstance(other, CompositeMap)
    assert len(other.steps) == len(made_of.steps) and len(calls) <= 31
    assert other.description == made_of.description and made_of.exact_form is made_of


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(SIZE, SIZE)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


def test_biases_of_chains_of_skips_have_one_part_a_constant() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*[Skip() for _ in range(20)], nn.ReLU(), nn.Linear(SIZE, 1)).double()
    x = torch.randn(1, SIZE, dtype=torch.float64)
    graph = capture(net, x).frozen()
    first = graph.nodes[1]
    assert isinstance(first, Affine) and len(first.bias_of) == 20
    (interval,) = lipreg.certify(
        net, lipreg.LocalLipschitz(lipreg.LinfBall(1e-3), output=lipreg.Logit(0)), x, budget=0.0
    )
    slope = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(slope).sum(), slope)
    size = float(gradient.abs().sum())
    assert interval.lower <= size * (1 + 1e-9)
    assert interval.upper >= float(gradient.abs().sum()) * (1 - 1e-9)
