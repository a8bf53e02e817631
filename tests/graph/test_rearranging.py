"""Calls that put entries somewhere else: what they say of where is read off torch, and points stay apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.errors import UnsupportedModel
from lipreg.graph import capture
from tests.graph.functions import Function


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: F.pixel_shuffle(x, 2).flatten(1), (4, 2, 3)),
        (lambda x: F.unfold(x, (2, 3), dilation=(1, 1), padding=(0, 1), stride=2).flatten(1), (2, 4, 5)),
        (lambda x: torch.cat(x.tensor_split(3, dim=1)[::-1], 1), (7,)),
        (lambda x: torch.repeat_interleave(x, torch.tensor([2, 0, 1]), dim=1), (3,)),
        (lambda x: x.unfold(1, 3, 2).flatten(1), (9,)),
        (lambda x: x.triu(-1).flatten(1) - x.tril(1).flatten(1), (4, 3)),
        (lambda x: x.diagonal(-1, 1, 2), (4, 3)),
        (lambda x: x.moveaxis((1, 3), (3, 2)).flatten(1), (2, 3, 4)),
    ],
)
def test_every_entry_is_the_module_s(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    module, generator = Function(function), torch.Generator().manual_seed(0)
    graph = capture(module, torch.zeros(1, *shape)).frozen()
    for points in (1, 2, 3, 7):
        x = torch.randn(points, *shape, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(graph(x), module(x), rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: x.rot90(2, (0, 1)), (3,)),
        (lambda x: x.movedim(0, 1), (3,)),
        (lambda x: x.triu(-2), (3,)),  # of three points it keeps all
        (lambda x: x.tril(), (1,)),
        (lambda x: x.diagonal(), (3,)),
        (lambda x: x.repeat_interleave(2, 0), (3,)),
        (lambda x: x.unfold(0, 2, 1).flatten(1), (3,)),
        (lambda x: torch.tensor_split(x, 3, 0)[0], (3,)),
        (lambda x: F.pixel_shuffle(x, 2).flatten(1), (3, 2, 2)),
    ],
)
def test_points_are_not_mixed(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModel, match=r"batch axis|mixes the points|pixel_shuffle expects"):
        capture(Function(function), torch.zeros(1, *shape))


def test_a_network_in_double_precision_may_return_single() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.double()).float()

    x = torch.rand(3, 4)
    graph = capture(Casts(), x).frozen_at(x)
    assert graph.dtype == torch.float64
