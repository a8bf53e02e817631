"""Networks whose weights are a few coarse numbers: no digit of a claim is lost to how few bits whole numbers need there."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from lipreg.checking import check
from lipreg.checking.file import parse
from lipreg.outputs import AllLogits, Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball, LinfBall
from tests.certificates.cases import certified
from tests.checking.by_fractions import agrees

ZEROS = {
    "a layer in the region's corner": (
        [[[-1, 0], [1, 0.5]], [[1, -1]]],
        [0.0, -0.5],
        [0.5, 1.0],
        LinfBall(0.5, 0.0, 1.0),
        2,
    ),
    "a sum of both": ([[[-1, 1], [0, 1]], [[-1, -1]]], [0.0, 0.0], [0.0, 0.5], LinfBall(0.5, 0.0, 1.0), 1),
    "a ball": ([[[1, -1], [1, 0]], [[-1, 1]]], [0.0, -1.0], [1.0, 0.0], L2Ball(0.75, 0.0, 1.0), float("inf")),
}


@pytest.mark.parametrize("case", ZEROS)
def test_bounds_that_are_0_to_the_last_digit_are_seen(case: str) -> None:
    """Data at the end of their range and no biases: a unit's largest value is 0, and rounding leaves it a hair above."""
    weights, bias, x, region, p = ZEROS[case]
    layers = nn.Linear(2, 2), nn.Linear(2, 1), nn.Linear(1, 1)
    with torch.no_grad():
        for layer, weight in zip(layers, [*weights, [[1.0]]], strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.zero_()
        layers[0].bias.copy_(torch.tensor(bias))
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).double()
    interval, file = certified(net, LocalLipschitz(region, Logit(0), p=p), torch.tensor([x]).double())
    assert check(parse(file.plain)).upper == interval.upper == 0


@pytest.mark.parametrize("p", [2, float("inf")])
@pytest.mark.parametrize("step", [0.25, 1.0])
def test_a_proof_with_next_to_nothing_to_spare_holds(step: float, p: float) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for weights in net.parameters():
            weights.copy_((weights * 2).div(step).round() * step if step < 1 else (weights * 4).round().clamp(-1, 1))
    interval, file = certified(net, LocalLipschitz(LinfBall(0.3), AllLogits(), p=p), torch.full((1, 4), 0.4).double())
    assert interval.upper > 0
    assert check(parse(file.plain)).upper == interval.upper == check(parse(file.plain), mode="rounded").upper


def whole_numbers(seed: int, *widths: int) -> nn.Sequential:
    """A network whose weights and biases are whole numbers from -2 to 2."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1]).double()
    with torch.no_grad():
        for weights in net.parameters():
            weights.copy_(torch.randint(-2, 3, weights.shape))
    return net


def assert_written_and_held(seed: int, problem: LocalLipschitz) -> None:
    """A certificate about such a network at 0 is written, and both modes and fractions give its upper end."""
    net, x = whole_numbers(seed, 2, 4, 4, 2), torch.zeros(1, 2).double()
    interval, file = certified(net, problem, x)
    assert interval.upper > 0 and agrees(file.plain)
    assert check(parse(file.plain)).upper == interval.upper == check(parse(file.plain), mode="rounded").upper


@pytest.mark.parametrize("p", [1, 2, float("inf")])
def test_lengths_of_whole_numbers_are_no_longer_than_radii_say(p: float) -> None:
    """Over a disc a form as (1, 2) counts by its length, which a whole number is far above."""
    assert_written_and_held(6, LocalLipschitz(L2Ball(0.5), Logit(0), p=p))


@pytest.mark.parametrize("p", [1, 2, float("inf")])
def test_a_part_that_touches_the_regions_side_alone_is_empty_in_either_mode(p: float) -> None:
    """Two units add up to -1 - 2 d, which is 0 at d = -1/2, the end of the region, and below 0 in all of it."""
    assert_written_and_held(4, LocalLipschitz(LinfBall(0.5), Logit(0), p=p))
