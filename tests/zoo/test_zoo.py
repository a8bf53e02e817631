"""Forwards as people write them are read as they are, and bounded truly; or refused with words that say what to do."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

import lipreg
from lipreg.errors import UnsupportedModel
from lipreg.graph import capture, check_agreement
from tests.zoo import architectures, arrangements, known_shapes, one_number, several, sides, steps, written_out
from tests.zoo.forwards import Written

ALL = {
    name: written
    for part in (known_shapes, arrangements, architectures, one_number, several, sides, steps, written_out)
    for name, written in part.ZOO.items()
}
READ = {name: written for name, written in ALL.items() if not written.says}
REFUSED = {name: written for name, written in ALL.items() if written.says}
RADIUS = 0.3

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array_wrap__:DeprecationWarning"
)  # arrays beside tensors, torch's own


def built(written: Written, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return written.build().to(dtype).eval()


def points(written: Written, count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, *written.shape, generator=torch.Generator().manual_seed(count), dtype=dtype)


@pytest.mark.parametrize("name", READ)
def test_the_graph_is_the_network(name: str) -> None:
    """At every batch size, with the network's gradients, and in single precision."""
    module = built(READ[name])
    graph = capture(module, points(READ[name], 1)).frozen()
    for count in (1, 2, 3, 7):
        x = points(READ[name], count)
        own = module(x).detach().reshape(count, -1)
        torch.testing.assert_close(graph(x).reshape(count, -1), own, rtol=1e-12, atol=1e-12)
    single, x = built(READ[name], torch.float32), points(READ[name], 3, torch.float32)
    check_agreement(capture(single, x).live(torch.float32), single, x)


@pytest.mark.parametrize("name", READ)
def test_no_two_points_are_further_apart_than_is_proved(name: str) -> None:
    module, x = nn.Sequential(built(READ[name]), _Rows()), points(READ[name], 2)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS), lipreg.AllLogits())
    draw = torch.Generator().manual_seed(3)
    moves = RADIUS * (2 * torch.rand(64, *x.shape, generator=draw, dtype=torch.float64) - 1).sign()
    moves = moves * torch.rand(64, len(x), *(1,) * len(READ[name].shape), generator=draw, dtype=torch.float64)
    with torch.no_grad():
        at = [(x + share * moves).flatten(0, 1) for share in (1.0, 0.5)]
        ends = [module(points).unflatten(0, moves.shape[:2]) for points in at]
    met = (ends[0] - ends[1]).abs().amax(-1) / (0.5 * moves).flatten(2).abs().amax(-1)
    captured = capture(module, x)
    proved = lipreg.certify(captured.frozen(), problem, x, estimator="affine_relu")
    for found, slope in zip(proved, met.amax(0), strict=True):
        assert found.upper >= float(slope) * (1 - 1e-9) and math.isfinite(found.upper)
    assert lipreg.estimate(captured, problem, x).isfinite().all()


class _Rows(nn.Module):
    """Outputs as one row a point."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], -1)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(name: str) -> None:
    with pytest.raises(UnsupportedModel, match=re.compile(REFUSED[name].says, re.DOTALL)):
        capture(built(REFUSED[name]), points(REFUSED[name], 2))
