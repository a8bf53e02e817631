"""Activations that are written out, and products, choices and mixtures with constants, as people write them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.forwards import Zoo, linear, numbers

ZOO = Zoo()


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def gelu_of_a_transformer(self: Any, x: Tensor) -> Tensor:
    x = self.a(x)
    return self.b(0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def gelu_with_its_factor_inside(self: Any, x: Tensor) -> Tensor:
    x = self.a(x)
    cdf = 0.5 * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * torch.pow(x, 2))))
    return self.b(x * cdf)


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def gelu_with_rounded_constants(self: Any, x: Tensor) -> Tensor:
    x = self.a(x)
    return self.b(0.5 * x * (1 + torch.tanh(0.79788456 * (x + 0.044715 * x**3))))


@ZOO(4, a=linear(4, 6), b=linear(6, 2), says=r"not nearly those of GELU")
def gelu_with_other_constants(self: Any, x: Tensor) -> Tensor:
    x = self.a(x)
    return self.b(0.5 * x * (1 + torch.tanh(0.8 * (x + 0.05 * x**3))))


@ZOO(4, a=linear(4, 6), b=linear(6, 2), says=r"1 unsupported call\s*forward: pow \[never\]")
def a_square(self: Any, x: Tensor) -> Tensor:
    return self.b(self.a(x) ** 2).relu()


@ZOO(4, a=linear(4, 6), b=linear(6, 2), threshold=numbers())
def shrinkage_of_a_sparse_code(self: Any, x: Tensor) -> Tensor:
    code = self.a(x)
    return self.b(torch.sign(code) * F.relu(torch.abs(code) - 0.1)) + self.threshold


@ZOO(4, a=linear(4, 6), says=r"2 unsupported calls.*softmax \[never\].*mul \[never\]")
def products_behind_a_softmax(self: Any, x: Tensor) -> Tensor:
    weights = torch.softmax(self.a(x), 1)
    return weights * self.a(x)


@ZOO(3, 2, a=linear(2, 4), mixing=numbers(1, 3, 3))
def neighbours_of_each_point(self: Any, x: Tensor) -> Tensor:
    return torch.bmm(self.mixing.expand(x.shape[0], -1, -1), self.a(x).relu()).mT.flatten(1)


@ZOO(4, a=linear(4, 6), b=linear(6, 2), mask=lambda: nn.Buffer(torch.arange(6) % 2 == 0))
def a_masked_layer(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    return self.b(torch.where(self.mask, h.relu(), h).masked_fill(self.mask, 0.5))


@ZOO(4, a=linear(4, 4), b=linear(4, 4))
def a_moving_average_of_layers(self: Any, x: Tensor) -> Tensor:
    h = F.leaky_relu_(self.a(x), 0.2)
    return torch.lerp(h, F.hardtanh_(self.b(h)), 0.3)


@ZOO(2, 5, norm=lambda: nn.InstanceNorm1d(2, affine=True, track_running_stats=True), b=linear(5, 2))
def norm_of_each_series(self: Any, x: Tensor) -> Tensor:
    return self.b(self.norm(x)).relu().flatten(1)


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def heads_by_slices(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    y = torch.zeros_like(h)
    y[:, :2] = torch.sigmoid(h[:, :2])
    y[:, 2:] = h[:, 2:].relu()
    h[:, 0] *= 0.5
    return self.b(y + h)
