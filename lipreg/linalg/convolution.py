"""Convolution as a linear map, of one to three spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lipreg.linalg.maps import LinearMap, Shape, Weighted, leading

FORWARD: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
BACKWARD: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

WINDOWS = 2**20
"""Numbers of the windows that torch writes out at a time."""


@dataclass(frozen=True)
class Convolution(Weighted):
    """Cross-correlation with zero padding, as torch's Conv layers compute it.

    |K| and K * K convolve as K does, so norms of rows and columns cost one convolution of the weights of their entries.

    Attributes:
        weight: K, ``(out channels, in channels / groups, *kernel)``.
        stride, dilation: one number a spatial dimension.
        padding: zeros before and after each spatial dimension; negative numbers crop.
        groups: channels are split into so many independent groups.
        in_shape: ``(in channels, *size)``.
        made_of: as of ``Dense``.
    """

    weight: Tensor
    stride: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    groups: int
    in_shape: Shape
    made_of: LinearMap | None = field(default=None, compare=False, repr=False)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # the geometry decides it
        """``(out channels, *size)``."""
        kernel = self.weight.shape[2:]
        spatial = zip(self.in_shape[1:], kernel, self.stride, self.padding, self.dilation, strict=True)
        sizes = ((n + low + high - d * (k - 1) - 1) // s + 1 for n, k, s, (low, high), d in spatial)
        return (self.weight.shape[0], *sizes)

    @property
    def dims(self) -> int:
        """The number of spatial dimensions."""
        return len(self.stride)

    @property
    def _even(self) -> bool:
        """Whether torch's own padding covers the padding."""
        return all(low == high >= 0 for low, high in self.padding)

    def __call__(self, x: Tensor) -> Tensor:
        batch, flat = leading(x, self.in_shape), x.reshape(-1, *self.in_shape)
        padding = tuple(low for low, _ in self.padding)
        if not self._even:
            flat, padding = F.pad(flat, [end for pair in reversed(self.padding) for end in pair]), (0,) * self.dims
        y = self._in_parts(
            lambda x: FORWARD[self.dims](x, self.weight, None, self.stride, padding, self.dilation, self.groups), flat
        )
        return y.reshape(*batch, *self.out_shape)

    def transpose(self, y: Tensor) -> Tensor:
        batch, flat = leading(y, self.out_shape), y.reshape(-1, *self.out_shape)
        padding = tuple(low for low, _ in self.padding) if self._even else (0,) * self.dims
        # entries at the far end that no window reads, because of the stride
        unread = tuple(
            n + low + high - ((out - 1) * s + d * (k - 1) + 1)
            for n, (low, high), out, s, d, k in zip(
                self.in_shape[1:],
                self.padding,
                self.out_shape[1:],
                self.stride,
                self.dilation,
                self.weight.shape[2:],
                strict=True,
            )
        )
        x = self._in_parts(
            lambda y: BACKWARD[self.dims](
                y, self.weight, None, self.stride, padding, unread, self.groups, self.dilation
            ),
            flat,
        )
        if not self._even:
            x = F.pad(x, [-end for pair in reversed(self.padding) for end in pair])
        return x.reshape(*batch, *self.in_shape)

    def _in_parts(self, convolve: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """The convolution of a batch, in float64 on the CPU a part of the batch at a time.

        There torch writes out every window of the whole batch: as many times the batch as a kernel has taps. Windows that
        stay in a processor's cache take half of the time.
        """
        plain = x.dtype == torch.float64 and x.device.type == "cpu"
        windows = self.weight[0].numel() * self.groups * math.prod(self.out_shape[1:])
        at_once = max(1, WINDOWS // max(1, windows))
        recorded = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if not plain or recorded or len(x) <= at_once:
            return convolve(x)
        result: Tensor | None = None
        for start in range(0, len(x), at_once):
            part = convolve(x[start : start + at_once])
            result = part.new_empty(len(x), *part.shape[1:]) if result is None else result
            result[start : start + at_once] = part
        assert result is not None
        return result

    @property
    def layout(self) -> str:
        return f"{tuple(self.weight.shape)} {self.stride} {self.padding} {self.dilation} {self.groups} {self.in_shape}"

    @property
    def roundings(self) -> int:
        taps = math.prod(self.weight.shape[2:])
        return taps * (self.weight.shape[1] + self.weight.shape[0] // self.groups)

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        if order != math.inf:
            return super().row_norms(order, columns)
        # the largest weighted tap of each window: windows side by side, one output channel after another
        read, kernel = self._windows(columns), self.weight.abs().flatten(1)
        per_group = self.weight.shape[0] // self.groups
        rows = [(read[:, o // per_group] * kernel[o].unsqueeze(-1)).amax(1) for o in range(len(kernel))]
        return torch.stack(rows, 1).reshape(-1, *self.out_shape)

    def _windows(self, x: Tensor) -> Tensor:
        """The entries that each output reads: ``(batch, groups, taps of a group, positions)``."""
        padded = F.pad(x, [end for pair in reversed(self.padding) for end in pair])
        kernel, batch = self.weight.shape[2:], len(x)
        for axis, (k, s, d) in enumerate(zip(kernel, self.stride, self.dilation, strict=True)):
            starts = torch.arange(self.out_shape[1 + axis], device=x.device) * s
            index = starts.unsqueeze(0) + torch.arange(k, device=x.device).unsqueeze(1) * d
            padded = padded.index_select(2 + 2 * axis, index.flatten()).unflatten(2 + 2 * axis, index.shape)
        # (batch, channels, k, out, k, out): all taps before all positions
        axes = [2 + 2 * i for i in range(self.dims)] + [3 + 2 * i for i in range(self.dims)]
        return padded.permute(0, 1, *axes).reshape(batch, self.groups, -1, math.prod(self.out_shape[1:]))


def channel_scaled(map: Convolution, factor: Tensor, outputs: bool) -> Convolution:
    """The convolution after (outputs) or before a scaling by one factor a channel.

    Args:
        map: the convolution.
        factor: ``(channels,)``, or one number for all.
        outputs: whether it scales the output channels, or else the input channels.
    """
    weight, spatial = map.weight, (1,) * map.dims
    if factor.numel() == 1:
        return replace(map, weight=weight * factor.reshape(()), made_of=None)
    if outputs:
        return replace(map, weight=weight * factor.reshape(-1, 1, *spatial), made_of=None)
    grouped = weight.unflatten(0, (map.groups, -1)) * factor.reshape(map.groups, 1, -1, *spatial)
    return replace(map, weight=grouped.flatten(0, 1), made_of=None)


def chained(outer: Convolution, inner: Convolution) -> Convolution | None:
    """outer after inner as one convolution; None where the outer's padding makes it none (zeros, not images of zeros)."""
    if any(low or high for low, high in outer.padding) or outer.dims != inner.dims:
        return None
    first, second = _ungrouped(inner), _ungrouped(outer)
    flipped = first.transpose(0, 1).flip(tuple(range(2, first.dim())))
    kernel = _dilated(second, _product(outer.dilation, inner.stride))
    taps = _dilated(flipped, inner.dilation)
    overlap = tuple(k - 1 for k in taps.shape[2:])
    fused = FORWARD[inner.dims](kernel, taps, None, 1, overlap)
    one = (1,) * inner.dims
    return Convolution(fused, _product(outer.stride, inner.stride), inner.padding, one, 1, inner.in_shape)


def parallel(first: Convolution, second: Convolution) -> Convolution | None:
    """The sum of two convolutions as one; None where their windows do not step alike."""
    if (first.stride, first.in_shape, first.out_shape) != (second.stride, second.in_shape, second.out_shape):
        return None
    if first.layout == second.layout and first.weight.shape == second.weight.shape:
        return replace(first, weight=first.weight + second.weight, made_of=None)
    kernels = [_dilated(_ungrouped(map), map.dilation) for map in (first, second)]
    pads = [[max(a[end], b[end]) for end in (0, 1)] for a, b in zip(first.padding, second.padding, strict=True)]
    grown = []
    for map, kernel in zip((first, second), kernels, strict=True):
        lows = [want[0] - have[0] for want, have in zip(pads, map.padding, strict=True)]
        grown.append((kernel, lows))
    size = [max(k.shape[2 + i] + lows[i] for k, lows in grown) for i in range(first.dims)]
    total = sum(
        F.pad(k, [e for i in reversed(range(first.dims)) for e in (lows[i], size[i] - lows[i] - k.shape[2 + i])])
        for k, lows in grown
    )
    assert isinstance(total, Tensor)
    needed = [
        (low, (out - 1) * s + k - n - low)
        for (low, _), out, s, k, n in zip(
            pads, first.out_shape[1:], first.stride, size, first.in_shape[1:], strict=True
        )
    ]
    return Convolution(total, first.stride, tuple(needed), (1,) * first.dims, 1, first.in_shape)


def as_convolution(scale: Tensor, shape: Shape) -> Convolution | None:
    """A scaling by one number a channel as a convolution of kernel size 1; None for other scalings."""
    channels, dims = shape[0], len(shape) - 1
    if not 1 <= dims <= 3 or math.prod(scale.shape[-dims:]) != 1:
        return None
    weight = scale.flatten().expand(channels).reshape(channels, 1, *(1,) * dims)
    one = (1,) * dims
    return Convolution(weight, one, ((0, 0),) * dims, one, channels, shape)


def _product(a: Shape, b: Shape) -> Shape:
    return tuple(x * y for x, y in zip(a, b, strict=True))


def _ungrouped(map: Convolution) -> Tensor:
    """The weight of the same convolution with one group: zeros between channels of different groups."""
    if map.groups == 1:
        return map.weight
    blocks = map.weight.unflatten(0, (map.groups, -1))
    eye = torch.eye(map.groups, dtype=blocks.dtype, device=blocks.device)
    full = torch.einsum("gh,goi...->gohi...", eye, blocks)
    return full.flatten(2, 3).flatten(0, 1)


def _dilated(kernel: Tensor, dilation: Shape) -> Tensor:
    """The kernel with zeros in place of its dilation."""
    if all(d == 1 for d in dilation):
        return kernel
    extent = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape[2:], strict=True))
    out = kernel.new_zeros(*kernel.shape[:2], *extent)
    out[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = kernel
    return out
