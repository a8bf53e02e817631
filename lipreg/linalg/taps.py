"""Small images through a kernel: products with its taps, shifted and added up, many images at once.

torch's convolutions of float64 take images one by one, which for windows of a few places costs more than the products.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LANES = 4
"""Numbers that a processor computes with together, at the least."""


@dataclass(frozen=True)
class KernelSteps:
    """How a kernel moves along one dimension.

    Attributes:
        extent: the number of results.
        taps: for each tap the places that it reads and the results that it adds to.
        before: the number of results before the one at the first place.
        stride, dilation: of the convolution.
        collects: whether it is a convolution, or else a transposed one.
    """

    extent: int
    taps: list[tuple[slice, slice]]
    before: int
    stride: int
    dilation: int
    collects: bool


def scatter_steps(length: int, taps: int, stride: int, dilation: int) -> KernelSteps:
    """The steps of a transposed convolution: place i of the window goes to stride i + dilation t for tap t.

    Args:
        length: of the window.
        taps: of the kernel.
        stride, dilation: of the convolution.
    """
    last = (length - 1) * stride
    places = [(slice(None), slice(dilation * t, dilation * t + last + 1, stride)) for t in range(taps)]
    return KernelSteps(last + dilation * (taps - 1) + 1, places, 0, stride, dilation, collects=False)


def gather_steps(length: int, taps: int, stride: int, dilation: int) -> KernelSteps:
    """The steps of a convolution: place i of the window goes to (i - dilation t) / stride for tap t, if that is whole.

    Args:
        length: of the window, which begins where the kernel does at some step.
        taps: of the kernel.
        stride, dilation: of the convolution.
    """
    before, extent, places = dilation * (taps - 1) // stride, 0, []
    for t in range(taps):
        first = dilation * t % stride
        count, target = len(range(first, length, stride)), before - dilation * t // stride
        places.append((slice(first, None, stride), slice(target, target + count)))
        extent = max(extent, target + count)
    return KernelSteps(extent, places, before, stride, dilation, collects=True)


def shifted(values: Tensor, weight: Tensor, steps: list[KernelSteps]) -> Tensor:
    """Images through a kernel, ``(..., *extents of the steps, channels)``.

    Args:
        values: ``(..., *extent, channels)``.
        weight: ``(groups, from, to, *kernel)``.
        steps: in each dimension.
    """
    last = steps[-1]
    if len(weight) == 1 and all(s.stride == s.dilation == 1 for s in steps):
        backwards = tuple(3 + axis for axis, s in enumerate(steps) if s.collects)
        return _packed(values, weight.flip(backwards)[0])
    if len(weight) == 1 and last.dilation == 1 and not last.collects:
        return _striding(values, weight[0], steps)
    return _tapped(values, weight, steps)


def _tapped(values: Tensor, weight: Tensor, steps: list[KernelSteps]) -> Tensor:
    """``shifted`` in general: one product a tap."""
    groups, _, channels = weight.shape[:3]
    out = values.new_zeros(*values.shape[: -1 - len(steps)], *(s.extent for s in steps), groups * channels)
    for taps in itertools.product(*(enumerate(s.taps) for s in steps)):
        one = weight[(..., *(tap for tap, _ in taps))]
        read = values[(..., *(source for _, (source, _) in taps), slice(None))]
        if groups == 1:
            read = read @ one[0]
        elif one[0].numel() == 1:
            read = read * one.flatten()
        else:
            read = torch.einsum("...gi,gij->...gj", read.unflatten(-1, (groups, -1)), one).flatten(-2)
        out[(..., *(target for _, (_, target) in taps), slice(None))] += read
    return out


def _striding(values: Tensor, weight: Tensor, steps: list[KernelSteps]) -> Tensor:
    """``shifted`` of a transposed convolution, not dilated along its last dimension: the taps along it are one product.

    Each place goes to a run of numbers, added to the results a stride at a time.
    """
    channels, length, stride = weight.shape[1], values.shape[-2], steps[-1].stride
    strides, run = -(-weight.shape[-1] // stride), stride * channels
    *outer, last = steps
    extent = (*(s.extent for s in outer), length + strides - 1, run)
    out = values.new_zeros(*values.shape[: -1 - len(steps)], *extent)
    for taps in itertools.product(*(enumerate(s.taps) for s in outer)):
        row = weight[(slice(None), slice(None), *(tap for tap, _ in taps))].transpose(1, 2).flatten(1)
        parts = (values @ row).split(run, dim=-1)
        for first, part in enumerate(parts):
            place = (*(target for _, (_, target) in taps), slice(first, first + length), slice(part.shape[-1]))
            out[(..., *place)] += part
    return out.unflatten(-1, (stride, channels)).flatten(-3, -2)[..., : last.extent, :]


def _packed(values: Tensor, weight: Tensor) -> Tensor:
    """``shifted`` without strides and dilation: the taps along the last dimension are one product, added in place.

    In a grid of the results' size all windows are one sequence of positions, and each position adds to its own and the ones
    after it: a run of numbers. Of every so many positions as there are taps these runs are apart, so that they are the rows
    of a matrix.
    """
    kernel, wanted = weight.shape[2:], weight.shape[1]
    channels = -(-wanted // LANES) * LANES  # of zeros: with ragged rows products take twice as long
    weight = F.pad(weight, [0] * (2 * len(kernel)) + [0, channels - wanted])
    leading, window = values.shape[: -1 - len(kernel)], values.shape[-1 - len(kernel) : -1]
    width, extent = kernel[-1], [n + taps - 1 for n, taps in zip(window, kernel, strict=True)]
    positions = leading.numel() * math.prod(extent)
    runs = -(-positions // width)
    grid = values.new_zeros(runs * width, values.shape[-1])
    inside = grid[:positions].view(*leading, *extent, -1)
    inside[(..., *(slice(n) for n in window), slice(None))] = values
    grid = grid.view(runs, width, -1)
    last = sum((taps - 1) * math.prod(extent[axis + 1 :]) for axis, taps in enumerate(kernel))
    length = runs * width * channels
    out = values.new_empty(length + last * channels)
    out[length:] = 0.0
    for taps in itertools.product(*(range(n) for n in kernel[:-1])):
        row = weight[(slice(None), slice(None), *taps)].transpose(1, 2).flatten(1)
        shift = sum(tap * math.prod(extent[axis + 1 :]) for axis, tap in enumerate(taps))
        for first in range(width):
            start = (shift + first) * channels
            out[start : start + length].view(runs, -1).addmm_(
                grid[:, first], row, beta=float(start > 0)
            )  # the first is new
    return out[: positions * channels].view(*leading, *extent, channels)[..., :wanted]
