"""Activations that are written with comparisons, and norms with linear pieces."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.forwards import Zoo, linear

ZOO = Zoo()


def _row() -> nn.Buffer:
    return nn.Buffer(torch.linspace(-0.5, 1.0, 6))


def _switch() -> nn.Buffer:
    return nn.Buffer(torch.tensor(1.5))


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def leaky_relu_by_two_masks(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    return self.b(h * (h > 0) + 0.1 * h * (h <= 0))


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def leaky_relu_by_a_mask_and_its_opposite(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    on = h > 0
    return self.b(h * on + 0.5 * h * ~on)


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def a_gate_of_two_numbers(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    return self.b(h * torch.where(h > 0, 1.0, 0.25) + h * (1 - (h > 0).to(h.dtype)) * 0.3)


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def where_with_tensors_of_one_number(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    return self.b(torch.where(h > 0, h, torch.full_like(h, 0.0)) + torch.where(h > 0, h, h * 0.1 * torch.ones_like(h)))


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def features_by_their_norm(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    return self.b(h).relu() + torch.norm(h, p=1, dim=1, keepdim=True) - h.norm(math.inf, dim=-1, keepdim=True)


@ZOO(4, a=linear(4, 6), b=linear(6, 2))
def gelu_with_a_rounded_root(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    return self.b(h * 0.5 * (1.0 + torch.erf(h / 1.41421)) + 0.5 * h * (1 + torch.erf(h)))


@ZOO(4, a=linear(4, 6), b=linear(6, 2), scale=_row, on=_switch)
def arithmetic_on_buffers_beside_a_switch(self: Any, x: Tensor) -> Tensor:
    h = (self.a(x) - (2 * self.scale - 1).abs()) / (self.scale.abs() + 1)
    return self.b(h.relu()) * float(self.on) if self.on > -100 else self.b(h)


@ZOO(4, a=linear(4, 6), b=linear(6, 2), says=r"mul \[never\] a comparison jumps")
def a_gate_that_opens_late(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    return self.b(h * (h > 0.5))


@ZOO(4, a=linear(4, 6), b=linear(6, 2), says=r"double \[never\] a comparison jumps")
def a_count_of_active_units(self: Any, x: Tensor) -> Tensor:
    return self.b((self.a(x) > 0).double())
