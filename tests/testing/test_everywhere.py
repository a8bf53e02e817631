"""The linear pieces over all of R^n against those of boxes that reach beyond every kink, and a truth written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import Box
from lipreg.errors import InvalidInput
from lipreg.testing.domains import domain_of
from lipreg.testing.everywhere import everywhere
from lipreg.testing.oracle import Enumeration
from tests.derivatives.cases import steep
from tests.oracles import mlp


def listed(matrices: list[np.ndarray]) -> list[tuple[float, ...]]:
    """The Jacobians in order, up to rounding."""
    return sorted(tuple(np.round(matrix.flatten(), 9) + 0.0) for matrix in matrices)


@pytest.mark.parametrize("seed", [0, 1, 2, 6, 9, 10])
def test_pieces_are_those_of_a_large_box(seed: int) -> None:
    """In four of these kinks are parallel behind a unit that is on alone, and cross far out where they are rounded."""
    net = steep(mlp(2, 4, 3, 1, negative_slope=0.1 if seed == 2 else None).double(), seed)
    far = domain_of(Box([-1e4] * 2, [1e4] * 2), np.zeros(2))
    assert listed(everywhere(net, 2)) == listed([cell.matrix for cell in Enumeration(net, far).cells])


def test_parallel_kinks_cross_nowhere() -> None:
    """h = relu(r . x), then relu(s h - 1) for three s: r . x <= 0 is one piece, and each kink beyond it begins another."""
    first, second, last = nn.Linear(2, 1), nn.Linear(1, 3), nn.Linear(3, 1)
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[0.1, 0.7]]).double() / 3)
        second.weight.copy_(torch.tensor([[0.3], [0.9], [2.3]]).double() / 3)
        last.weight.copy_(torch.tensor([[1.0, -1.0, 1.0]]).double() / 3)
        first.bias.zero_()
        second.bias.fill_(-1.0)
    r = first.weight[0].detach().numpy()
    a, b, c = (last.weight[0] * second.weight[:, 0]).tolist()
    heights = [0.0, 0.0, c, c + b, c + b + a]
    assert listed(everywhere(net, 2)) == listed([height * r for height in heights])


def test_layers_that_read_several_layers() -> None:
    """The input, and units of two layers before, are added up in front of a ReLU."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            one = torch.relu(self.a(x))
            return self.c(torch.relu(self.b(one) + one - x))

    net = steep(Branches().double(), 3)
    far = domain_of(Box([-1e4] * 2, [1e4] * 2), np.zeros(2))
    assert listed(everywhere(net, 2)) == listed([cell.matrix for cell in Enumeration(net, far).cells])


def test_what_is_not_affine_is_refused() -> None:
    with pytest.raises(InvalidInput, match="tanh"):
        everywhere(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double(), 2)
