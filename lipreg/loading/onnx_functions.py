"""ONNX's functions of entries, of several values, and over axes, each as a torch call that has a lowering."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.loading.onnx_node import NotRead, OnnxNode


class Applied(nn.Module):
    """A function of activations.

    Args:
        function: takes tensors; it can be pickled.
        *constants: its further arguments, behind the activations.
    """

    def __init__(self, function: Callable[..., Tensor], *constants: Tensor) -> None:
        super().__init__()
        self.function, self.count = function, len(constants)
        for place, constant in enumerate(constants):
            self.register_buffer(f"constant_{place}", constant)

    def forward(self, *parts: Tensor) -> Tensor:
        return self.function(*parts, *(getattr(self, f"constant_{place}") for place in range(self.count)))


def _of_entries(function: Callable[..., Tensor], **named: float) -> Callable[[OnnxNode], nn.Module]:
    """The reader of a function of every entry, whose attributes are numbers with these defaults."""

    def reader(node: OnnxNode) -> nn.Module:
        node.activation()
        values = {name: float(node.attributes.get(name, default)) for name, default in named.items()}
        return Applied(partial(function, **values))

    return reader


def _selu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    return gamma * F.elu(x, alpha)


def _hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


def _leaky(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def _prelu(node: OnnxNode) -> nn.Module:
    node.activation()
    return Applied(_leaky, node.weight(1))


def _gelu(node: OnnxNode) -> nn.Module:
    node.activation()
    form = node.attributes.get("approximate", b"none")
    form = form.decode() if isinstance(form, bytes) else form
    return Applied(partial(F.gelu, approximate=form))


def _power(node: OnnxNode) -> nn.Module:
    node.activation()
    exponent = node.weight(1)
    if exponent.numel() != 1:
        raise NotRead("by several exponents")
    return Applied(partial(torch.pow, exponent=float(exponent)))


def _one_by_one(function: Callable[[Any, Any], Tensor], *parts: Tensor) -> Tensor:
    return reduce(function, parts)


def _along(function: Callable[..., Tensor], axes: tuple[int, ...], kept: bool, x: Tensor) -> Tensor:
    return function(x, axes, kept)


def _of_several(function: Callable[[Any, Any], Tensor]) -> Callable[[OnnxNode], nn.Module]:
    """The reader of a function of two values, applied to any number of activations and constants one after the other."""

    def reader(node: OnnxNode) -> nn.Module:
        constants = [node.weight(i) for i, operand in enumerate(node.operands) if not isinstance(operand, Tensor)]
        dims = max(operand.dim() for operand in node.operands if isinstance(operand, Tensor))
        if any(one.dim() > dims or (one.dim() == dims and one.shape[0] != 1) for one in constants):
            raise NotRead("with a constant for each point")
        return Applied(partial(_one_by_one, function), *constants)

    return reader


def _over_axes(function: Callable[..., Tensor]) -> Callable[[OnnxNode], nn.Module]:
    """The reader of a function over axes, none of which is the batch axis."""

    def reader(node: OnnxNode) -> nn.Module:
        axes, dims, kept = node.numbers("axes", 1), node.activation().dim(), node.flag("keepdims", 1)
        if not axes or any(axis % dims == 0 for axis in axes):
            raise NotRead("over points")
        return Applied(partial(_along, function, tuple(axes), bool(kept)))

    return reader


FUNCTIONS: dict[str, Callable[[OnnxNode], nn.Module]] = {
    "Abs": _of_entries(torch.abs),
    "Celu": _of_entries(F.celu, alpha=1.0),
    "Elu": _of_entries(F.elu, alpha=1.0),
    "Erf": _of_entries(torch.erf),
    "Exp": _of_entries(torch.exp),
    "Gelu": _gelu,
    "HardSigmoid": _of_entries(_hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": _of_entries(F.hardswish),
    "Log": _of_entries(torch.log),
    "Max": _of_several(torch.maximum),
    "Min": _of_several(torch.minimum),
    "Mish": _of_entries(F.mish),
    "Neg": _of_entries(torch.neg),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _of_entries(torch.reciprocal),
    "ReduceMax": _over_axes(torch.amax),
    "ReduceMean": _over_axes(torch.mean),
    "ReduceMin": _over_axes(torch.amin),
    "ReduceSum": _over_axes(torch.sum),
    "Selu": _of_entries(_selu, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Sigmoid": _of_entries(torch.sigmoid),
    "Sign": _of_entries(torch.sign),
    "Softplus": _of_entries(F.softplus),
    "Softsign": _of_entries(F.softsign),
    "Sum": _of_several(torch.add),
    "Tanh": _of_entries(torch.tanh),
}
"""The readers by ONNX's names; the defaults are those of its declarations."""
