"""The operators of exported programs that are read, each as the torch call that has a lowering.

Source: the operators' declarations, pytorch/aten/src/ATen/native/native_functions.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lipreg.loading.onnx_node import NotRead

Call = Callable[..., Any]


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float, _: bool
) -> Tensor:
    if training:
        raise NotRead("in training mode")
    return F.batch_norm(x, mean, variance, weight, bias, False, momentum, eps)


def _addmm(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return torch.matmul(x, weight) + bias


def _reshaped(x: Tensor, sizes: Sequence[Any]) -> Tensor:
    """Each point in another shape: the first size is the batch's, and that of the example it was exported with."""
    return torch.reshape(x, (x.size(0), *sizes[1:]))


def _unflattened(x: Tensor, dim: int, sizes: Sequence[Any]) -> Tensor:
    if dim not in (1, -1) or (isinstance(x, Tensor) and x.dim() != 2):  # no tensor while it is traced, after the check
        raise NotRead("of points that are no rows")
    return torch.reshape(x, (x.size(0), *sizes))


def _of_windows(call: Call) -> Call:
    """A call whose sizes may be lists of one number for all dimensions, or empty ones for what they are by default."""

    def one(given: Any) -> Any:
        if not isinstance(given, list) or len(given) > 1:
            return given
        return given[0] if given else None

    return lambda *given, **named: call(*map(one, given), **{name: one(value) for name, value in named.items()})


def _dropout(x: Tensor, p: float, train: bool) -> Tensor:
    if train:
        raise NotRead("in training mode")
    return x


def _same(x: Tensor, **_: Any) -> Tensor:
    return x


OPERATORS: dict[str, Call] = {
    "adaptive_avg_pool1d.default": _of_windows(F.adaptive_avg_pool1d),
    "adaptive_avg_pool2d.default": _of_windows(F.adaptive_avg_pool2d),
    "add.Tensor": torch.add,
    "addmm.default": _addmm,
    "avg_pool1d.default": _of_windows(F.avg_pool1d),
    "avg_pool2d.default": _of_windows(F.avg_pool2d),
    "batch_norm.default": _batch_norm,
    "cat.default": torch.cat,
    "clamp.default": torch.clamp,
    "clamp_max.default": torch.clamp_max,
    "clamp_min.default": torch.clamp_min,
    "clone.default": _same,
    "contiguous.default": _same,
    "conv1d.default": _of_windows(F.conv1d),
    "conv2d.default": _of_windows(F.conv2d),
    "conv2d.padding": _of_windows(F.conv2d),
    "conv_transpose2d.input": _of_windows(F.conv_transpose2d),
    "div.Tensor": torch.div,
    "dropout.default": _dropout,
    "elu.default": F.elu,
    "flatten.using_ints": torch.flatten,
    "gelu.default": F.gelu,
    "hardtanh.default": F.hardtanh,
    "leaky_relu.default": F.leaky_relu,
    "linear.default": F.linear,
    "matmul.default": torch.matmul,
    "max_pool1d.default": _of_windows(F.max_pool1d),
    "max_pool2d.default": _of_windows(F.max_pool2d),
    "mean.dim": torch.mean,
    "mm.default": torch.mm,
    "mul.Tensor": torch.mul,
    "neg.default": torch.neg,
    "pad.default": F.pad,
    "permute.default": torch.permute,
    "relu.default": torch.relu,
    "relu_.default": torch.relu,
    "relu6.default": F.relu6,
    "reshape.default": _reshaped,
    "selu.default": F.selu,
    "sigmoid.default": torch.sigmoid,
    "silu.default": F.silu,
    "softplus.default": F.softplus,
    "squeeze.dim": torch.squeeze,
    "sub.Tensor": torch.sub,
    "sum.dim_IntList": torch.sum,
    "sym_size.int": lambda x, dim: x.size(dim),
    "tanh.default": torch.tanh,
    "transpose.int": torch.transpose,
    "unsqueeze.default": torch.unsqueeze,
    "unflatten.int": _unflattened,
    "view.default": _reshaped,
}
"""By the name behind ``torch.ops.aten``."""
