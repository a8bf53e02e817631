"""The layers of a chain as closed forms need them: W, |W| and their transposes on batches, and gradients for W.

All of it is called without autograd; the gradients are written down by hand.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import linear as linear_map

from lipreg.linalg import Convolution, Dense, LinearMap, Shape
from lipreg.linalg.convolution import FORWARD

_SMALL = 2**14
"""Entries up to which reading a whole matrix is quicker than picking rows."""
_NARROW = 16
"""Input channels below which the transpose of a strided convolution is taken by phases: a vector register's floats."""


class Layer(ABC):
    """x -> W x + b, from ``(batch, *in_shape)`` to ``(batch, *out_shape)``.

    Attributes:
        weight: the tensor that W is made of, with its autograd history; gradients are in its shape.
        bias: ``(out,)``, one number a channel, or ``out_shape``; None for 0.
        in_shape: of one input.
        out_shape: of one output.
        size: the magnitudes of ``weight`` as of the last ``measure``, which writes into the same memory again: new memory
            would cost more than the magnitudes.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, in_shape: Shape, out_shape: Shape) -> None:
        self.weight, self.bias, self.in_shape, self.out_shape = weight, bias, in_shape, out_shape
        self.size = weight.new_empty(0)

    def measure(self) -> None:
        """Computes |W|; to be called before its first use in an evaluation."""
        weight, size = self.weight, self.size
        if size.shape != weight.shape or size.dtype != weight.dtype or size.device != weight.device:
            self.size = torch.empty_like(weight, requires_grad=False)
        torch.abs(weight, out=self.size)

    @abstractmethod
    def affine(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """scale * W x + b, ``(batch, *out_shape)``, in new memory."""

    @abstractmethod
    def forward(self, x: Tensor, absolute: bool = False) -> Tensor:
        """W x, or |W| x, ``(batch, *out_shape)``."""

    @abstractmethod
    def back(self, u: Tensor, absolute: bool = False) -> Tensor:
        """W^T u, or |W|^T u, ``(batch, *in_shape)``."""

    @abstractmethod
    def row_sums(self) -> Tensor:
        """|W| 1, ``(1, *out_shape)``."""

    @abstractmethod
    def outer(self, u: Tensor, v: Tensor) -> Tensor:
        """The gradient of sum_i u_i . W v_i with respect to ``weight``; a v of batch size 1 counts for all i."""

    @abstractmethod
    def rows(self, index: Tensor, entries: Tensor | None, share: Tensor) -> Tensor:
        """The gradient of sum_i share_i sum_j |W|[index_i, j] entries_ij with respect to ``weight``.

        Args:
            index: for each point i an output, as a flat position, ``(batch,)``.
            entries: ``(batch or 1, *in_shape)``; None for ones.
            share: factors, ``(batch,)``.
        """


class DenseLayer(Layer):
    """A written-out matrix, ``weight`` ``(prod out_shape, prod in_shape)``."""

    def affine(self, x: Tensor, scale: float = 1.0) -> Tensor:
        bias = x.new_zeros(1) if self.bias is None else self.bias
        bias = bias if bias.dim() == 1 else bias.flatten()
        return self._shaped(torch.addmm(bias, flat(x), self.weight.T, alpha=scale))

    def forward(self, x: Tensor, absolute: bool = False) -> Tensor:
        return self._shaped(linear_map(flat(x), self.size if absolute else self.weight))

    def back(self, u: Tensor, absolute: bool = False) -> Tensor:
        product = flat(u) @ (self.size if absolute else self.weight)
        return product.unflatten(1, self.in_shape) if len(self.in_shape) > 1 else product

    def row_sums(self) -> Tensor:
        return self.size.sum(1).reshape(1, *self.out_shape)

    def outer(self, u: Tensor, v: Tensor) -> Tensor:
        if len(v) == 1 < len(u):
            u = u.sum(0, keepdim=True)
        return flat(u).T @ flat(v)

    def rows(self, index: Tensor, entries: Tensor | None, share: Tensor) -> Tensor:
        weight = self.weight
        if entries is not None:
            entries = flat(entries)
        if 4 * share.shape[0] < weight.shape[0]:  # few points: their rows alone
            part = weight.index_select(0, index).sign_().mul_(share.unsqueeze(1))
            part = part if entries is None else part.mul_(entries)
            return torch.zeros_like(weight).index_add_(0, index, part)
        if entries is None:  # the same entries for all points: shares add up row by row, and most rows have none
            total = weight.new_zeros(weight.shape[0]).index_add_(0, index, share)
            if weight.numel() <= _SMALL:
                return weight.sign().mul_(total.unsqueeze(1))
            picked = total.nonzero().squeeze(1)
            part = weight.index_select(0, picked).sign_().mul_(total.index_select(0, picked).unsqueeze(1))
            return torch.zeros_like(weight).index_copy_(0, picked, part)
        return torch.zeros_like(weight).index_add_(0, index, share.unsqueeze(1) * entries).mul_(weight.sign())

    def _shaped(self, y: Tensor) -> Tensor:
        return y.unflatten(1, self.out_shape) if len(self.out_shape) > 1 else y


class ConvolutionLayer(Layer):
    """A convolution with zero padding; ``weight`` is its kernel, ``(out channels, in channels / groups, *kernel)``.

    Args:
        map: the convolution.
        bias: as of ``Layer``.
    """

    def __init__(self, map: Convolution, bias: Tensor | None) -> None:
        super().__init__(map.weight, bias, map.in_shape, map.out_shape)
        self.map = map
        # padding that torch's convolutions do not have is a call of its own before them
        self._even = all(low == high >= 0 for low, high in map.padding)
        self._ends = [end for pair in reversed(map.padding) for end in pair]
        self._padding = tuple(low if self._even else 0 for low, _ in map.padding)
        self._lattices: tuple[Tensor, Tensor, int] | None = None

    def affine(self, x: Tensor, scale: float = 1.0) -> Tensor:
        kernel = self.weight if scale == 1.0 else self.weight * scale
        if self.bias is None or self.bias.dim() == 1:
            return self._convolve(x, kernel, self.bias)
        return self._convolve(x, kernel).add_(self.bias)

    def forward(self, x: Tensor, absolute: bool = False) -> Tensor:
        return self._convolve(x, self.size if absolute else self.weight)

    def back(self, u: Tensor, absolute: bool = False) -> Tensor:
        kernel, map = self.size if absolute else self.weight, self.map
        if self.in_shape[0] >= _NARROW or map.groups > 1 or any(d > 1 for d in map.dilation) or max(map.stride) == 1:
            return replace(map, weight=kernel).transpose(u)
        return self._back_by_phases(u, kernel)

    def row_sums(self) -> Tensor:
        return self.forward(self.size.new_ones(1, *self.in_shape), absolute=True)

    def outer(self, u: Tensor, v: Tensor) -> Tensor:
        if len(v) == 1 < len(u):
            u = u.sum(0, keepdim=True)
        map, v = self.map, v if self._even else F.pad(v, self._ends)
        geometry = (map.stride, self._padding, map.dilation, False, (0,) * map.dims, map.groups)
        output_mask = (False, True, False)
        return torch.ops.aten.convolution_backward(u, v, self.weight, None, *geometry, output_mask)[1]

    def rows(self, index: Tensor, entries: Tensor | None, share: Tensor) -> Tensor:
        kernel, positions = self.weight, math.prod(self.out_shape[1:])
        channel = index // positions
        gradient = torch.zeros_like(kernel)
        if entries is None and not any(self._ends):  # every window is full
            total = gradient.new_zeros(len(kernel)).index_add_(0, channel, share)
            return gradient.add_(total.reshape(-1, *(1,) * (kernel.dim() - 1))).mul_(kernel.sign())
        if entries is None:
            entries = kernel.new_ones(1, *self.in_shape)
        if any(self._ends):
            entries = F.pad(entries, self._ends)
        starts, taps, size = self._windows(kernel.device)
        group = channel // (len(kernel) // self.map.groups)
        first = starts.index_select(0, index % positions) + group * (size // self.map.groups)
        where = first.unsqueeze(1) + taps
        read = entries.flatten(1).expand(len(where), -1).gather(1, where).mul_(share.unsqueeze(1))
        return gradient.flatten(1).index_add_(0, channel, read).mul_(kernel.flatten(1).sign()).reshape(kernel.shape)

    def _windows(self, device: torch.device) -> tuple[Tensor, Tensor, int]:
        """The windows as flat positions in a padded input.

        Returns:
            Where each begins, ``(positions,)``; the taps from there, ``(taps of a group,)``; how many entries the padded
            input has.
        """
        if self._lattices is None or self._lattices[0].device != device:
            map, kernel = self.map, self.weight.shape
            padded = [n + low + high for n, (low, high) in zip(self.in_shape[1:], map.padding, strict=True)]
            strides = [math.prod(padded[i + 1 :]) for i in range(map.dims)]
            steps = [stride * s for stride, s in zip(strides, map.stride, strict=True)]
            spaces = [stride * d for stride, d in zip(strides, map.dilation, strict=True)]
            area = math.prod(padded)
            starts = _lattice(self.out_shape[1:], steps)
            taps = _lattice((kernel[1], *kernel[2:]), [area, *spaces])
            self._lattices = starts.to(device), taps.to(device), area * self.in_shape[0]
        return self._lattices

    def _back_by_phases(self, u: Tensor, kernel: Tensor) -> Tensor:
        """The transpose for a stride s as a convolution of stride 1, with an output channel for each remainder r modulo s.

        x[s m + r] = sum_j u[m - j] K[s j + r]. Torch's own transpose takes three times as long for a few channels.
        """
        map, dims = self.map, self.map.dims
        taps = [-(-k // s) for k, s in zip(kernel.shape[2:], map.stride, strict=True)]
        missing = [t * s - k for t, s, k in zip(taps, map.stride, kernel.shape[2:], strict=True)]
        kernel = F.pad(kernel, [end for gap in reversed(missing) for end in (0, gap)])
        split = [n for pair in zip(taps, map.stride, strict=True) for n in pair]
        tap_axes, phase_axes = [2 + 2 * i for i in range(dims)], [3 + 2 * i for i in range(dims)]
        phased = kernel.reshape(*kernel.shape[:2], *split).permute(1, *phase_axes, 0, *tap_axes)
        phased = phased.reshape(-1, len(kernel), *taps).flip(tuple(range(2, 2 + dims)))
        phases = FORWARD[dims](u, phased, None, 1, tuple(t - 1 for t in taps))
        phases = phases.unflatten(1, (self.in_shape[0], *map.stride))
        phases = phases.permute(0, 1, *(axis for i in range(dims) for axis in (2 + dims + i, 2 + i)))
        sizes = [m * s for m, s in zip(phases.shape[2::2], map.stride, strict=True)]
        ends = [
            end
            for n, size, (low, _) in zip(self.in_shape[:0:-1], sizes[::-1], map.padding[::-1], strict=True)
            for end in (-low, low + n - size)
        ]
        return F.pad(phases.reshape(len(u), self.in_shape[0], *sizes), ends)

    def _convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        map, x = self.map, x if self._even else F.pad(x, self._ends)
        return FORWARD[map.dims](x, kernel, bias, map.stride, self._padding, map.dilation, map.groups)


def flat(x: Tensor) -> Tensor:
    """x with all axes but the first joined, ``(batch, n)``."""
    return x if x.dim() == 2 else x.flatten(1)


def _lattice(counts: Sequence[int], steps: Sequence[int]) -> Tensor:
    """The sums of multiples i_1 steps_1 + i_2 steps_2 + ... with i < counts, the last index running fastest."""
    total = torch.zeros((), dtype=torch.int64)
    for count, step in zip(counts, steps, strict=True):
        total = total.unsqueeze(-1) + torch.arange(count) * step
    return total.flatten()


def layer_of(map: LinearMap, bias: Tensor | None) -> Layer | None:
    """The layer of a map; None for maps of other kinds."""
    match map:
        case Dense():
            return DenseLayer(map.weight, bias, map.in_shape, map.out_shape)
        case Convolution():
            return ConvolutionLayer(map, bias)
    return None
