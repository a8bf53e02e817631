"""Operators of ONNX over windows of images and signals: convolutions, pools and padding."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lipreg.loading.onnx_node import NotRead, OnnxNode

_PADS: dict[int, Any] = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d}
_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d}
_MAX: dict[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_MEAN: dict[int, Any] = {1: nn.AvgPool1d, 2: nn.AvgPool2d}
_WHOLE: dict[int, Any] = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}


def convolution(node: OnnxNode) -> nn.Module:
    """A convolution, behind a module for padding where the two sides differ.

    Raises:
        NotRead: more than two spatial dimensions, or sizes that do not fit.
    """
    weight, bias = node.weight(1), node.constant(2)
    sizes = _spatial(node)
    kernel = list(weight.shape[2:])
    if node.numbers("kernel_shape") not in (None, kernel):
        raise NotRead(f"kernel_shape={node.numbers('kernel_shape')} for a weight of shape {tuple(weight.shape)}")
    before, after = _padding(node, sizes, kernel)
    groups, strides = node.flag("group", 1), _each(node, "strides", sizes)
    even = before == after
    layer = _CONVOLUTIONS[len(sizes)](
        weight.shape[1] * groups,
        weight.shape[0],
        kernel,
        stride=strides,
        padding=before if even else 0,
        dilation=_each(node, "dilations", sizes),
        groups=groups,
        bias=bias is not None,
        dtype=weight.dtype,
    )
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer if even else nn.Sequential(_padded(before, after, 0.0), layer)


def max_pool(node: OnnxNode) -> nn.Module:
    """The largest entry of each window.

    Raises:
        NotRead: another padding on either side, or more than two spatial dimensions.
    """
    sizes = _spatial(node)
    kernel, before = _pool(node, sizes)
    own = {"stride": _each(node, "strides", sizes), "padding": before, "dilation": _each(node, "dilations", sizes)}
    return _MAX[len(sizes)](kernel, **own, ceil_mode=bool(node.flag("ceil_mode")))


def average_pool(node: OnnxNode) -> nn.Module:
    """The mean of each window.

    Raises:
        NotRead: dilated windows, another padding on either side, or a last window that hangs over with padding.
    """
    sizes = _spatial(node)
    if set(_each(node, "dilations", sizes)) != {1}:
        raise NotRead("dilated")
    kernel, before = _pool(node, sizes)
    if node.flag("ceil_mode") and any(before):
        raise NotRead("ceil_mode with padding")
    own = {"stride": _each(node, "strides", sizes), "padding": before, "ceil_mode": bool(node.flag("ceil_mode"))}
    return _MEAN[len(sizes)](kernel, **own, count_include_pad=bool(node.flag("count_include_pad")))


def global_average_pool(node: OnnxNode) -> nn.Module:
    """The mean of each channel.

    Raises:
        NotRead: more than two spatial dimensions.
    """
    return _WHOLE[len(_spatial(node))](1)


def padding(node: OnnxNode) -> nn.Module:
    """A constant around the image.

    Raises:
        NotRead: another mode, padding of the batch or of channels, or entries that are cut off.
    """
    node.refuse(mode="constant")
    example = node.activation()
    pads = node.numbers("paddings") if "paddings" in node.attributes else node.numbers("pads", 1)
    value = node.constant(2)
    filled = float(value) if value is not None else float(node.attributes.get("value", 0.0))
    if pads is None:
        raise NotRead("no pads")
    axes = node.numbers("axes", 3) or list(range(example.dim()))
    before, after = [0] * example.dim(), [0] * example.dim()
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    dims = example.dim() - 2
    if any((*before[:2], *after[:2])) or dims not in _PADS or min(*before, *after) < 0:
        raise NotRead("of the batch, of channels, or by a negative amount")
    return _padded(before[2:], after[2:], filled)


def _pool(node: OnnxNode, sizes: list[int]) -> tuple[list[int], list[int]]:
    """The kernel and the padding of a pool, which has to be the same on both sides."""
    kernel = node.numbers("kernel_shape")
    if kernel is None:
        raise NotRead("no kernel_shape")
    if len(kernel) != len(sizes):
        raise NotRead(f"kernel_shape={kernel} in {len(sizes)} dimensions")
    before, after = _padding(node, sizes, kernel)
    if before != after:
        raise NotRead("another padding on either side")
    return kernel, before


def _padding(node: OnnxNode, sizes: list[int], kernel: list[int]) -> tuple[list[int], list[int]]:
    """The padding before and after each dimension, also where only a rule for it is given (``auto_pad``)."""
    rule, dims = node.attributes.get("auto_pad", "NOTSET"), len(sizes)
    pads = node.numbers("pads") or [0] * (2 * dims)
    if len(pads) != 2 * dims:
        raise NotRead(f"pads={pads} in {dims} dimensions")
    if rule == "NOTSET":
        return pads[:dims], pads[dims:]
    if rule == "VALID":
        return [0] * dims, [0] * dims
    if rule not in ("SAME_UPPER", "SAME_LOWER"):
        raise NotRead(f"auto_pad={rule!r}")
    strides, dilations = _each(node, "strides", sizes), _each(node, "dilations", sizes)
    before, after = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        whole = max(0, (-(-size // stride) - 1) * stride + dilation * (width - 1) + 1 - size)
        small, large = whole // 2, whole - whole // 2
        before.append(small if rule == "SAME_UPPER" else large)
        after.append(large if rule == "SAME_UPPER" else small)
    return before, after


def _padded(before: list[int], after: list[int], value: float) -> nn.Module:
    pairs = [side for pair in zip(before[::-1], after[::-1], strict=True) for side in pair]
    return _PADS[len(before)](tuple(pairs), value)


def _each(node: OnnxNode, name: str, sizes: list[int]) -> list[int]:
    values = node.numbers(name) or [1] * len(sizes)
    if len(values) != len(sizes):
        raise NotRead(f"{name}={values} in {len(sizes)} dimensions")
    return values


def _spatial(node: OnnxNode) -> list[int]:
    """The sizes of an image or signal.

    Raises:
        NotRead: it has more than two dimensions.
    """
    example: Tensor = node.activation()
    sizes = list(example.shape[2:])
    if len(sizes) not in _CONVOLUTIONS:
        raise NotRead(f"of {len(sizes)} spatial dimensions")
    return sizes
