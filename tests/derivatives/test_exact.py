"""Ranges of derivatives against the enumeration, and against questions about constants that know no signs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg import (
    AllLogits,
    Certificate,
    LinfBall,
    LocalLipschitz,
    Logit,
    WholeSpace,
    certify,
    derivative_range,
)
from lipreg.derivatives import DerivativeRange
from lipreg.results import EXACT_TOLERANCE
from lipreg.testing.everywhere import everywhere
from lipreg.testing.networks import JUDGED, input_size, network
from tests.conformance.questions import EVERYTHING
from tests.derivatives.cases import case, steep
from tests.oracles import mlp

NETS = 200


def check(found: DerivativeRange, least: float, largest: float) -> None:
    """Both ends of a range, the proved and the attained side of each, against the exact range."""
    size = max(abs(least), abs(largest))
    assert found.certificate is Certificate.EXACT, found
    assert found.lower <= least + 1e-12 * size and found.upper >= largest - 1e-12 * size, found
    assert found.least.upper >= least - 1e-12 * size and found.largest.lower <= largest + 1e-12 * size, found
    near = pytest.approx((least, largest), abs=2 * EXACT_TOLERANCE * size + 1e-14)
    assert (found.lower, found.upper) == near
    assert (found.least.upper, found.largest.lower) == near


@pytest.mark.parametrize("first", range(0, NETS if EVERYTHING else NETS // 8, 20))
def test_many_networks_have_the_ranges_of_their_pieces(first: int) -> None:
    for seed in range(first, first + 20):
        given = case(seed)
        least, largest = given.exact()
        ranges = derivative_range(given.net, given.problem, given.x)
        assert len(ranges) == least.size
        for found in ranges:
            row = int(found.output.removeprefix("logit "))
            check(found, least[row, found.input], largest[row, found.input])


def test_the_sign_alone_is_that_of_the_range() -> None:
    seen = set()
    for seed in range(0, 60, 2):
        given = case(seed)
        least, largest = given.exact()
        for found in derivative_range(given.net, given.problem, given.x, until="sign"):
            low, high = least[0, found.input], largest[0, found.input]
            truth = "increasing" if low >= 0 else "decreasing" if high <= 0 else "both signs"
            assert found.sign == ("constant" if low == high == 0 else truth), found
            assert found.lower <= low and found.upper >= high
            seen.add(truth)
    assert seen == {"increasing", "decreasing", "both signs"}


def test_programs_prove_the_same() -> None:
    for seed in (10, 18):
        given = case(seed)
        least, largest = given.exact()
        for found in derivative_range(given.net, given.problem, given.x, estimator="mip"):
            check(found, least[0, found.input], largest[0, found.input])


class Tilted(nn.Module):
    """sign f_0(x) + slope x_j."""

    def __init__(self, net: nn.Module, sign: float, slope: float, input: int) -> None:
        super().__init__()
        self.net, self.sign, self.skip = net, sign, nn.Linear(3, 1, bias=False).double()
        with torch.no_grad():
            self.skip.weight.zero_()
            self.skip.weight[0, input] = slope

    def forward(self, x: Tensor) -> Tensor:
        return self.sign * self.net(x) + self.skip(x)


def test_constants_of_tilted_networks_are_the_ends() -> None:
    """Of f + k x_j in x_j alone, k no less than any derivative: a question about a magnitude, with any k."""
    net, x = steep(mlp(3, 6, 6, 1).double(), 5), torch.full((1, 3), 0.2, dtype=torch.float64)
    problem, slope = LocalLipschitz(LinfBall(0.6), Logit(0)), 32.0
    for found in derivative_range(net, problem, x, input=[0, 2]):
        asked = LocalLipschitz(LinfBall(0.6), Logit(0), measured=[found.input])
        ends = []
        for sign in (-1.0, 1.0):
            (constant,) = certify(Tilted(net, sign, slope, found.input), asked, x, estimator="branch_and_bound")
            ends.append(sign * (constant.upper - slope))
        assert ends == pytest.approx((found.lower, found.upper), abs=1e-4)
        (size,) = certify(net, asked, x, estimator="branch_and_bound")
        assert max(-found.lower, found.upper) == pytest.approx(size.upper, rel=1e-5)


@pytest.mark.parametrize("name", sorted(JUDGED))
def test_networks_of_every_kind(name: str) -> None:
    """The larger magnitude is the constant in that input, and autograd sees the witnesses' derivatives."""
    net = network(name)
    x = torch.full((1, input_size(net)), 0.3, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.5), Logit(0))
    points = x + 0.5 * (
        2 * torch.rand(500, x.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    )
    seen = gradients(net, points)
    for found in derivative_range(net, problem, x, input=0):
        (size,) = certify(net, LocalLipschitz(LinfBall(0.5), Logit(0), measured=[0]), x)
        # what stands for a pool may have a kink all over a part of the region, whose pattern no point has
        assert found.certificate is Certificate.EXACT or name.startswith("pooled")
        assert max(-found.lower, found.upper) == pytest.approx(size.upper, rel=1e-5)
        assert found.lower <= float(seen[:, 0].min()) and found.upper >= float(seen[:, 0].max())
        for end in (found.least, found.largest):
            assert end.witness is not None
            own = gradients(net, torch.tensor([end.witness.point], dtype=torch.float64))
            assert float(own[0, 0]) == pytest.approx(end.witness.attained, abs=1e-12)


def gradients(net: nn.Module, x: Tensor) -> Tensor:
    """Of the first output."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(net(x)[:, 0].sum(), x)[0]


def test_all_of_space() -> None:
    for seed in (0, 1, 3):
        net = steep(mlp(2, 4, 3, 1, negative_slope=0.1 * seed or None).double(), seed)
        x, pieces = torch.zeros(1, 2, dtype=torch.float64), np.stack(everywhere(net, 2))
        for found in derivative_range(net, LocalLipschitz(WholeSpace(), Logit(0)), x):
            check(found, pieces[:, 0, found.input].min(), pieces[:, 0, found.input].max())


def test_several_outputs_and_points_at_once() -> None:
    net = steep(mlp(2, 5, 3).double(), 1)
    x = torch.rand(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = derivative_range(net, LocalLipschitz(LinfBall(0.3), AllLogits()), x)
    assert [(found.point, found.output, found.input) for found in together] == [
        (point, f"logit {row}", column) for point in range(3) for row in range(3) for column in range(2)
    ]
    for found in together:
        row = int(found.output.removeprefix("logit "))
        problem = LocalLipschitz(LinfBall(0.3))
        alone = derivative_range(net, problem, x[found.point : found.point + 1], output=row, input=found.input)
        assert (alone[0].lower, alone[0].upper) == pytest.approx((found.lower, found.upper), abs=1e-5)
        assert alone[0].subject == found.subject and alone[0].question == found.question
