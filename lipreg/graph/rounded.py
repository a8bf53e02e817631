"""A network in a coarser arithmetic, by random signs: what rounding may do to its outputs, as a yardstick and no bound."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipreg.graph.nodes import Affine, Curved, MaxPool, Relu
from lipreg.graph.passes import Forward


class Rounded(Forward[Tensor]):
    """The function itself, with the rounding of a coarser arithmetic."""

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
        found = node(value)
        signs = torch.randint(0, 2, found.shape, generator=self.generator).to(found) * 2.0 - 1.0
        # functions with tails are differences of numbers about as large as their argument, or as 1
        return found + self.eps * signs * (found.abs() + value.abs().clamp(max=1.0))

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        return node(value)
