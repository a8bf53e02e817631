"""Bounds on either side of each switch, against every pattern of the others."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lipreg.bounds import Exclusive, MixingVectors, Switches, lifted_bound


def _drawn(count: int, first: int, second: int, outputs: int, scale: float = 1.0) -> Switches:
    """Two levels of switches behind one number."""
    generator = torch.Generator().manual_seed(first + 10 * second + 100 * outputs)
    u = first + second
    unit_unit = torch.zeros(count, u, u, dtype=torch.float64)
    unit_unit[:, first:, :first] = torch.randn(count, second, first, generator=generator, dtype=torch.float64)
    free = scale * torch.randn(count, u, 1, generator=generator, dtype=torch.float64)
    out = torch.randn(count, outputs, u, generator=generator, dtype=torch.float64)
    return Switches(
        unit_unit, free, out, scale * torch.randn(count, outputs, 1, generator=generator, dtype=torch.float64), 2
    )


def _sides(network: Switches, absolute: bool, target: float = 0.0) -> tuple[Tensor, Tensor]:
    count, u, _ = network.unit_free.shape
    vectors = MixingVectors.start(count, u, 1, torch.zeros(1))
    if network.exclusive is not None:
        vectors.exclusive = torch.zeros(network.exclusive.first.shape)
    found = lifted_bound(network, vectors, absolute, False, target, torch.ones(count, dtype=torch.bool))
    return found.bound, found.sides


def _attained(network: Switches, on: tuple[int, ...], absolute: bool) -> Tensor:
    a = torch.tensor(on, dtype=torch.float64)
    y = w = torch.zeros_like(network.unit_free.squeeze(-1))
    for _ in range(network.depth):
        y = network.unit_free.squeeze(-1) + (network.unit_unit @ w.unsqueeze(-1)).squeeze(-1)
        w = a * y
    x = (network.out_unit @ w.unsqueeze(-1) + network.out_free).squeeze(-1)
    return x.abs().sum(-1) if absolute else x.norm(dim=-1)


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e9])
def test_no_pattern_exceeds_the_bounds_of_its_sides(absolute: bool, scale: float) -> None:
    network = _drawn(6, 4, 3, 5, scale)
    whole, sides = _sides(network, absolute)
    largest = torch.zeros_like(sides)
    for on in itertools.product((0, 1), repeat=7):
        value = _attained(network, on, absolute)
        for unit, active in enumerate(on):
            at = largest[:, 1 - active, unit]
            largest[:, 1 - active, unit] = torch.maximum(at, value)
    assert (sides >= largest).all()
    proved = torch.isfinite(
        sides
    )  # of a few the last digits, which hang on the processor, decide whether a proof holds
    assert proved.double().mean() > 0.8, "nearly every side has a bound"
    assert (sides <= whole.reshape(-1, 1, 1) * (1 + 1e-6))[proved].all(), "never above that of both"
    assert (sides.amin((1, 2)) < 0.98 * whole).any(), "of some switch one side is much less"


def test_the_bound_of_a_side_is_that_of_the_multipliers_there() -> None:
    """One switch and one output: x = w + s, w in {0, y}; both sides are known."""
    y, s = torch.tensor([3.0, -2.0]).double(), torch.tensor([1.0, 5.0]).double()
    one = torch.ones(2, 1, 1, dtype=torch.float64)
    network = Switches(0.0 * one, y.reshape(2, 1, 1), one, s.reshape(2, 1, 1), 1)
    whole, sides = _sides(network, False)
    assert torch.allclose(whole, torch.tensor([4.0, 5.0]).double(), rtol=1e-3)
    assert (sides[:, 0, 0] >= (y + s).abs()).all() and (sides[:, 1, 0] >= s.abs()).all()
    assert float(sides[0, 1, 0]) < 4.0 and float(sides[1, 0, 0]) < 5.0


def test_sides_that_exclude_each_other_count() -> None:
    network = _drawn(4, 4, 3, 5)
    first = torch.tensor([[0, 1]]).expand(4, -1)
    second = torch.tensor([[1, 2]]).expand(4, -1)
    pairs = Exclusive(first, second, torch.ones(4, 2, dtype=torch.bool))
    network = replace(network, exclusive=pairs)
    _, sides = _sides(network, True)
    for on in itertools.product((0, 1), repeat=7):
        if (on[0] and on[1]) or (on[1] and on[2]):
            continue
        value = _attained(network, on, True)
        for unit, active in enumerate(on):
            assert (sides[:, 1 - active, unit] >= value).all(), (on, unit)


def test_sides_are_not_sought_of_what_is_below_the_target() -> None:
    _, sides = _sides(_drawn(3, 4, 3, 5), True, target=1e6)
    assert torch.isinf(sides).all()
