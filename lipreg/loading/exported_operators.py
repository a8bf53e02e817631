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
"""A function of an operator's arguments, of tensors and plain values."""
_END = 2**62
"""From here on the end of a slice is that of the axis."""
_DTYPES = {7: torch.float32, 8: torch.float64}
"""The dtypes that a program may cast to, by their numbers in it."""


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float, _: bool
) -> Tensor:
    if training:
        raise NotRead("in training mode")
    return F.batch_norm(x, mean, variance, weight, bias, False, momentum, eps)


def _addmm(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return torch.matmul(x, weight) + bias


def _reshaped(x: Tensor, sizes: Sequence[Any]) -> Tensor:
    """Each point in another shape; the first size is the batch of the example at export, and is replaced."""
    return torch.reshape(x, (x.size(0), *sizes[1:]))


def _unflattened(x: Tensor, dim: int, sizes: Sequence[Any]) -> Tensor:
    if dim not in (1, -1) or (isinstance(x, Tensor) and x.dim() != 2):  # a traced value, after the check, is no tensor
        raise NotRead("of points that are no rows")
    return torch.reshape(x, (x.size(0), *sizes))


def _of_windows(call: Call) -> Call:
    """A call whose sizes may be lists of one number for all dimensions, or empty lists for the defaults."""

    def one(given: Any) -> Any:
        if not isinstance(given, list) or len(given) > 1:
            return given
        return given[0] if given else None

    return lambda *given, **named: call(*map(one, given), **{name: one(value) for name, value in named.items()})


def _dropout(x: Tensor, p: float, train: bool) -> Tensor:
    if train:
        raise NotRead("in training mode")
    return x


def _part(x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """Every ``step``-th entry along an axis; along the batch axis only all of them are read."""
    index = slice(start or None, None if end is not None and end >= _END else end, None if step == 1 else step)
    if index == slice(None):
        return x
    if dim == 0:
        raise NotRead("of points")
    return x[(slice(None),) * (dim % x.dim()) + (index,)]


def _indexed(x: Tensor, index: Sequence[Any]) -> Tensor:
    return x[tuple(slice(None) if one is None else one for one in index)]


def _expanded(x: Tensor, sizes: Sequence[Any]) -> Tensor:
    if x.dim() != len(sizes):
        raise NotRead("by a new axis")
    return x.expand(-1, *sizes[1:])


def _reversed_sub(x: Tensor, other: float, alpha: float = 1) -> Tensor:
    return other - (x if alpha == 1 else alpha * x)


def _alike(call: Call) -> Call:
    """A call that makes a tensor, of sizes or like another one, without its options for memory."""
    return lambda *given, **_: call(*given)


def _cast(x: Tensor, dtype: int, *_: Any, **__: Any) -> Tensor:
    if dtype not in _DTYPES:
        raise NotRead("to another dtype than float32 and float64")
    return x.to(_DTYPES[dtype])


def _upsampled(mode: str) -> Call:
    def call(x: Tensor, size: Any, *given: Any) -> Tensor:
        *aligned, scales = given
        return F.interpolate(x, size, scales, mode=mode, **({"align_corners": aligned[0]} if aligned else {}))

    return call


def _norm(x: Tensor, order: float | str = 2, *given: Any, **_: Any) -> Tensor:
    return torch.linalg.vector_norm(x, float(order), *given)  # a file has "Infinity"


def _and_places(call: Call) -> Call:
    """A pooling call with a second result in place of its indices, which no covered network reads."""
    return lambda x, size: (call(x, size), None)


def _elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, inner: float = 1.0) -> Tensor:
    """scale x where x > 0 and scale alpha (e^(inner x) - 1) elsewhere: SELU and CELU are written so too."""
    result = F.elu(x if inner == 1 else inner * x, alpha * inner)
    return result if scale == inner else result * (scale / inner)


def _elu_in_place(x: Tensor, alpha: float = 1.0, scale: float = 1.0, inner: float = 1.0) -> Tensor:
    if scale != 1 or inner != 1:
        raise NotRead("in place, with a scale")
    return F.elu(x, alpha, inplace=True)


def _in_place(call: Call) -> Call:
    """A call that writes its result into its first argument; see ``lipreg.graph.inplace``."""
    return lambda x, *given: call(x, *given, inplace=True)


def _same(x: Tensor, **_: Any) -> Tensor:
    return x


OPERATORS: dict[str, Call] = {
    "abs.default": torch.abs,
    "adaptive_avg_pool1d.default": _of_windows(F.adaptive_avg_pool1d),
    "adaptive_avg_pool2d.default": _of_windows(F.adaptive_avg_pool2d),
    "adaptive_max_pool1d.default": _and_places(F.adaptive_max_pool1d),
    "adaptive_max_pool2d.default": _and_places(F.adaptive_max_pool2d),
    "add.Scalar": torch.add,
    "add.Tensor": torch.add,
    "add_.Tensor": lambda x, other, **named: x.add_(other, **named),
    "addmm.default": _addmm,
    "amax.default": torch.amax,
    "amin.default": torch.amin,
    "avg_pool1d.default": _of_windows(F.avg_pool1d),
    "avg_pool2d.default": _of_windows(F.avg_pool2d),
    "batch_norm.default": _batch_norm,
    "bitwise_not.default": torch.logical_not,
    "bmm.default": torch.matmul,  # a constant that was repeated for each point is one again
    "cat.default": torch.cat,
    "celu.default": F.celu,
    "celu_.default": _in_place(F.celu),
    "chunk.default": torch.chunk,
    "clamp.default": torch.clamp,
    "clamp_.default": lambda x, *ends: x.clamp_(*ends),
    "clamp_max.default": torch.clamp_max,
    "clamp_min.default": torch.clamp_min,
    "clip.default": torch.clamp,
    "clip_.default": lambda x, *ends: x.clamp_(*ends),
    "clone.default": _same,
    "contiguous.default": _same,
    "conv1d.default": _of_windows(F.conv1d),
    "conv2d.default": _of_windows(F.conv2d),
    "conv2d.padding": _of_windows(F.conv2d),
    "conv_transpose1d.default": _of_windows(F.conv_transpose1d),
    "conv_transpose2d.input": _of_windows(F.conv_transpose2d),
    "cumsum.default": torch.cumsum,
    "detach.default": lambda x: x.detach(),
    "detach_.default": lambda x: x.detach(),
    "div.Scalar": torch.div,
    "div.Tensor": torch.div,
    "dropout.default": _dropout,
    "einsum.default": lambda equation, parts, **_: torch.einsum(equation, *parts),
    "elu.default": _elu,
    "elu_.default": _elu_in_place,
    "erf.default": torch.erf,
    "erfc.default": torch.erfc,
    "exp.default": torch.exp,
    "expand.default": _expanded,
    "expm1.default": torch.expm1,
    "flatten.using_ints": torch.flatten,
    "flip.default": torch.flip,
    "full.default": _alike(torch.full),
    "full_like.default": _alike(torch.full_like),
    "ge.Scalar": torch.ge,
    "gelu.default": F.gelu,
    "gt.Scalar": torch.gt,
    "hardsigmoid.default": F.hardsigmoid,
    "hardsigmoid_.default": _in_place(F.hardsigmoid),
    "hardswish.default": F.hardswish,
    "hardswish_.default": _in_place(F.hardswish),
    "hardtanh.default": F.hardtanh,
    "hardtanh_.default": _in_place(F.hardtanh),
    "index.Tensor": _indexed,
    "le.Scalar": torch.le,
    "leaky_relu.default": F.leaky_relu,
    "leaky_relu_.default": F.leaky_relu_,
    "lerp.Scalar": torch.lerp,
    "lift_fresh_copy.default": _same,
    "linalg_vector_norm.default": _norm,
    "linear.default": F.linear,
    "log.default": torch.log,
    "log1p.default": torch.log1p,
    "log_sigmoid.default": F.logsigmoid,
    "logaddexp.default": torch.logaddexp,
    "logical_not.default": torch.logical_not,
    "lt.Scalar": torch.lt,
    "masked_fill.Scalar": torch.masked_fill,
    "matmul.default": torch.matmul,
    "max.dim": torch.max,
    "max_pool1d.default": _of_windows(F.max_pool1d),
    "max_pool2d.default": _of_windows(F.max_pool2d),
    "maximum.default": torch.maximum,
    "mean.dim": torch.mean,
    "min.dim": torch.min,
    "minimum.default": torch.minimum,
    "mish.default": F.mish,
    "mish_.default": _in_place(F.mish),
    "mm.default": torch.mm,
    "mul.Scalar": torch.mul,
    "mul.Tensor": torch.mul,
    "mul_.Tensor": lambda x, other: x.mul_(other),
    "neg.default": torch.neg,
    "new_ones.default": _alike(lambda x, sizes: x.new_ones(sizes)),
    "new_zeros.default": _alike(lambda x, sizes: x.new_zeros(sizes)),
    "ones.default": _alike(torch.ones),
    "ones_like.default": _alike(torch.ones_like),
    "pad.default": F.pad,
    "permute.default": torch.permute,
    "pow.Tensor_Scalar": torch.pow,
    "prelu.default": torch.prelu,
    "reciprocal.default": torch.reciprocal,
    "relu.default": torch.relu,
    "relu6.default": F.relu6,
    "relu6_.default": _in_place(F.relu6),
    "relu_.default": torch.relu_,
    "repeat.default": lambda x, counts: x.repeat(*counts),
    "reshape.default": _reshaped,
    "roll.default": torch.roll,
    "rsub.Scalar": _reversed_sub,
    "select.int": torch.select,
    "selu.default": F.selu,
    "selu_.default": _in_place(F.selu),
    "sigmoid.default": torch.sigmoid,
    "sigmoid_.default": torch.sigmoid_,
    "sign.default": torch.sign,
    "silu.default": F.silu,
    "silu_.default": _in_place(F.silu),
    "slice.Tensor": _part,
    "softplus.default": F.softplus,
    "softshrink.default": F.softshrink,
    "sort.default": torch.sort,
    "special_log1p.default": torch.log1p,
    "special_ndtr.default": torch.special.ndtr,
    "split.Tensor": torch.split,
    "sqrt.default": torch.sqrt,
    "square.default": torch.square,
    "squeeze.dim": torch.squeeze,
    "stack.default": torch.stack,
    "sub.Scalar": torch.sub,
    "sub.Tensor": torch.sub,
    "sum.dim_IntList": torch.sum,
    "sym_size.int": lambda x, dim: x.size(dim),
    "tanh.default": torch.tanh,
    "tanh_.default": torch.tanh_,
    "threshold.default": F.threshold,
    "threshold_.default": _in_place(F.threshold),
    "to.dtype": _cast,
    "transpose.int": torch.transpose,
    "unbind.int": torch.unbind,
    "unflatten.int": _unflattened,
    "unsqueeze.default": torch.unsqueeze,
    "upsample_bilinear2d.vec": _upsampled("bilinear"),
    "upsample_nearest1d.vec": _upsampled("nearest"),
    "upsample_nearest2d.vec": _upsampled("nearest"),
    "view.default": _reshaped,
    "where.ScalarOther": torch.where,
    "where.ScalarSelf": torch.where,
    "where.self": torch.where,
    "zeros.default": _alike(torch.zeros),
    "zeros_like.default": _alike(torch.zeros_like),
}
"""By the name of the operator behind ``torch.ops.aten``."""
SEVERAL = frozenset(
    "adaptive_max_pool1d.default adaptive_max_pool2d.default chunk.default max.dim min.dim sort.default split.Tensor "
    "unbind.int".split()
)
"""The operators that make more than one value."""
