"""A network with random rounding errors of a coarser arithmetic: an estimate of their effect on outputs, and no bound."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipreg.graph.nodes import Affine, Curved, MaxPool, Relu
from lipreg.graph.passes import Forward


class Rounded(Forward[Tensor]):
    """The function itself, with a rounding error of random sign at every sum and curve.

    Args:
        eps: of the coarser arithmetic; sums are off by eps times the magnitudes of their terms.
        generator: of the signs.
    """

    def __init__(self, eps: float, generator: torch.Generator) -> None:
        self.eps, self.generator = eps, generator

    def affine(self, index: int, node: Affine, values: Mapping[int, Tensor]) -> Tensor:
        total, size = node.bias, node.bias_size()
        for source, map in node.terms():
            total, size = total + map(values[source]), size + map.sizes()(values[source].abs())
        signs = torch.randint(0, 2, size.shape, generator=self.generator).to(size) * 2.0 - 1.0
        return total + self.eps * signs * size

    def relu(self, index: int, node: Relu, value: Tensor) -> Tensor:
        return node(value)

    def curved(self, index: int, node: Curved, value: Tensor) -> Tensor:
        image = node(value)
        signs = torch.randint(0, 2, image.shape, generator=self.generator).to(image) * 2.0 - 1.0
        # functions with tails are differences of numbers about as large as their argument, or as 1
        return image + self.eps * signs * (image.abs() + value.abs().clamp(max=1.0))

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        return node(value)
