"""Tiny networks with questions about their derivatives, and the exact ranges by enumeration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lipreg import AllLogits, Box, L1Ball, L2Ball, LinfBall, LocalLipschitz
from lipreg.regions import Region
from lipreg.testing.domains import domain_of
from lipreg.testing.oracle import Enumeration
from tests.oracles import mlp

LEAKS = (None, 0.1, 0.3)
WIDTHS = ((5,), (3, 3), (2, 2, 2))


@dataclass(frozen=True)
class Case:
    """A network, a question about it, and a point."""

    net: nn.Module
    problem: LocalLipschitz
    x: Tensor

    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest value of every entry, ``(outputs, inputs)`` each, over all linear pieces."""
        found = Enumeration(self.net, domain_of(self.problem.region, self.x[0].numpy()))
        units = np.array(1.0 if self.problem.scale is None else self.problem.scale)
        pieces = np.stack([cell.matrix for cell in found.cells]) * units
        return pieces.min(0), pieces.max(0)


def case(seed: int) -> Case:
    """One of many: one to three inputs and layers, leaky or not, every kind of bounded region, one-sided ones among them."""
    inputs, leak, widths = 1 + seed % 3, LEAKS[seed // 3 % 3], WIDTHS[seed // 9 % 3]
    net = steep(mlp(inputs, *widths, 1 + seed % 2, negative_slope=leak).double(), seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, inputs, generator=generator, dtype=torch.float64)
    regions: list[Region] = [
        LinfBall(0.5),
        LinfBall(0.4, low=float(x.min()), high=1.0),  # one-sided in some input
        L2Ball(0.6),
        L1Ball(0.7),
        Box([0.0] * inputs, [1.0] * inputs),
    ]
    scale = None if seed % 4 else (0.5 + torch.rand(inputs, generator=generator)).tolist()
    return Case(net, LocalLipschitz(regions[seed % 5], AllLogits(), scale=scale), x)


def steep(net: nn.Module, seed: int) -> nn.Module:
    """The network with other weights, twice as large as PyTorch's, so that regions hold many pieces."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                size = 2.0 * layer.in_features**-0.5
                for tensor in (layer.weight, layer.bias):
                    tensor.copy_(size * (2.0 * torch.rand(tensor.shape, generator=generator).double() - 1.0))
    return net
