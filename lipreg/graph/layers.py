"""The layers of a chain as closed forms need them: W, |W| and their transposes on batches, and what pulls back to W.

Everything here is to be called without autograd recording; the gradients are written down by hand.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import linear as linear_map

from lipreg.linalg import Convolution, Dense, LinearMap, Shape
from lipreg.linalg.convolution import FORWARD


class Layer(ABC):
    """x -> W x + b, from ``(batch, *in_shape)`` to ``(batch, *out_shape)``.

    Attributes:
        weight: the tensor that W is made of, with its autograd history; gradients are in its shape.
        bias: ``(out,)``, one number a channel, or ``out_shape``; None for 0.
        size: |W|'s own tensor as of the last ``measure``, in memory that the next one writes over: fresh memory costs
            more than the magnitudes.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, in_shape: Shape, out_shape: Shape) -> None:
        self.weight, self.bias, self.in_shape, self.out_shape = weight, bias, in_shape, out_shape
        self.size = weight.new_empty(0)

    def measure(self) -> None:
        """Reads |W|: before the first use of it in an evaluation."""
        like, own = self.weight, self.size
        if (own.shape, own.dtype, own.device) != (like.shape, like.dtype, like.device):
            self.size = torch.empty_like(like, requires_grad=False)
        torch.abs(like.detach(), out=self.size)

    @abstractmethod
    def affine(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """scale * W x + b, in fresh memory."""

    @abstractmethod
    def forward(self, x: Tensor, absolute: bool = False) -> Tensor:
        """W x, or |W| x."""

    @abstractmethod
    def back(self, u: Tensor, absolute: bool = False) -> Tensor:
        """W^T u, or |W|^T u."""

    @abstractmethod
    def row_sums(self) -> Tensor:
        """|W| 1, ``(1, *out_shape)``."""

    @abstractmethod
    def outer(self, u: Tensor, v: Tensor) -> Tensor:
        """The gradient of sum_i u_i . W v_i with respect to ``weight``; a factor of batch size 1 is meant for all."""

    @abstractmethod
    def rows(self, index: Tensor, entries: Tensor | None, share: Tensor) -> Tensor:
        """The gradient of sum_i share_i sum_j |W|[index_i, j] entries_ij with respect to ``weight``.

        Args:
            index: a flat output of each point, ``(batch,)``.
            entries: ``(batch or 1, *in_shape)``; None for ones.
            share: ``(batch,)``.
        """


class DenseLayer(Layer):
    """A written-out matrix, ``weight`` ``(prod out_shape, prod in_shape)``."""

    def affine(self, x: Tensor, scale: float = 1.0) -> Tensor:
        flat = x.flatten(1) if len(self.in_shape) > 1 else x
        bias = flat.new_zeros(1) if self.bias is None else self.bias.flatten()
        return self._shaped(torch.addmm(bias, flat, self.weight.T, alpha=scale))

    def forward(self, x: Tensor, absolute: bool = False) -> Tensor:
        flat = x.flatten(1) if len(self.in_shape) > 1 else x
        return self._shaped(linear_map(flat, self.size if absolute else self.weight))

    def back(self, u: Tensor, absolute: bool = False) -> Tensor:
        found = u.flatten(1) @ (self.size if absolute else self.weight)
        return found.unflatten(1, self.in_shape) if len(self.in_shape) > 1 else found

    def row_sums(self) -> Tensor:
        return self.size.sum(1).reshape(1, *self.out_shape)

    def outer(self, u: Tensor, v: Tensor) -> Tensor:
        if len(v) == 1 < len(u):
            u = u.sum(0, keepdim=True)
        return u.flatten(1).T @ v.flatten(1)

    def rows(self, index: Tensor, entries: Tensor | None, share: Tensor) -> Tensor:
        weight = self.weight
        if entries is not None:
            entries = entries.flatten(1)
        if 4 * len(share) < len(weight):  # few points: their rows alone
            part = weight.index_select(0, index).sign_().mul_(share.unsqueeze(1))
            part = part if entries is None else part.mul_(entries)
            return torch.zeros_like(weight).index_add_(0, index, part)
        if entries is None:  # the same inputs for all points: shares add up row by row
            total = torch.zeros_like(weight[:, 0]).index_add_(0, index, share)
            return weight.sign().mul_(total.unsqueeze(1))
        return torch.zeros_like(weight).index_add_(0, index, share.unsqueeze(1) * entries).mul_(weight.sign())

    def _shaped(self, y: Tensor) -> Tensor:
        return y.unflatten(1, self.out_shape) if len(self.out_shape) > 1 else y


class ConvolutionLayer(Layer):
    """A convolution with zero padding; ``weight`` is its kernel, ``(out channels, in channels / groups, *kernel)``."""

    def __init__(self, map: Convolution, bias: Tensor | None) -> None:
        super().__init__(map.weight, bias, map.in_shape, map.out_shape)
        self.map = map
        # what torch's own padding does not cover is padded before
        self._even = all(low == high >= 0 for low, high in map.padding)
        self._ends = [end for pair in reversed(map.padding) for end in pair]
        self._padding = tuple(low if self._even else 0 for low, _ in map.padding)

    def affine(self, x: Tensor, scale: float = 1.0) -> Tensor:
        kernel = self.weight if scale == 1.0 else self.weight * scale
        by_channel = self.bias is None or self.bias.dim() == 1
        found = self._convolve(x, kernel, self.bias if by_channel else None)
        return found if by_channel else found.add_(self.bias)

    def forward(self, x: Tensor, absolute: bool = False) -> Tensor:
        return self._convolve(x, self.size if absolute else self.weight)

    def back(self, u: Tensor, absolute: bool = False) -> Tensor:
        return replace(self.map, weight=self.size if absolute else self.weight).transpose(u)

    def row_sums(self) -> Tensor:
        return self.forward(self.size.new_ones(1, *self.in_shape), absolute=True)

    def outer(self, u: Tensor, v: Tensor) -> Tensor:
        if len(v) == 1 < len(u):
            u = u.sum(0, keepdim=True)
        map, v = self.map, v if self._even else F.pad(v, self._ends)
        geometry = (map.stride, self._padding, map.dilation, False, (0,) * map.dims, map.groups)
        asked = (False, True, False)
        return torch.ops.aten.convolution_backward(u, v, self.weight, None, *geometry, asked)[1]

    def rows(self, index: Tensor, entries: Tensor | None, share: Tensor) -> Tensor:
        map, positions = self.map, math.prod(self.out_shape[1:])
        channel, place = index // positions, index % positions
        if entries is None:
            entries = self.weight.new_ones(1, *self.in_shape)
        windows = F.pad(entries, self._ends) if any(self._ends) else entries
        for axis, (k, s, d) in enumerate(zip(self.weight.shape[2:], map.stride, map.dilation, strict=True)):
            windows = windows.unfold(2 + axis, d * (k - 1) + 1, s)[..., ::d]
        windows = windows.unflatten(1, (map.groups, -1))  # (batch or 1, groups, channels, *positions, *kernel): a view
        point = torch.arange(len(index), device=index.device) if len(entries) > 1 else torch.zeros_like(index)
        group = channel // (self.weight.shape[0] // map.groups)
        where = torch.unravel_index(place, self.out_shape[1:])
        seen = windows[(point, group, slice(None), *where)]  # (batch, channels, *kernel)
        seen = seen * share.reshape(-1, *(1,) * (seen.dim() - 1))
        return torch.zeros_like(self.weight).index_add_(0, channel, seen).mul_(self.weight.sign())

    def _convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        map, x = self.map, x if self._even else F.pad(x, self._ends)
        return FORWARD[map.dims](x, kernel, bias, map.stride, self._padding, map.dilation, map.groups)


def layer_of(map: LinearMap, bias: Tensor | None) -> Layer | None:
    """The layer of a map; None for maps of other kinds."""
    match map:
        case Dense():
            return DenseLayer(map.weight, bias, map.in_shape, map.out_shape)
        case Convolution():
            return ConvolutionLayer(map, bias)
    return None
