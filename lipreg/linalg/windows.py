"""Rows of which only a window of an image is not 0: what an entry of a convolution reads, and what reads it.

A window goes through a convolution as an image of its own: products with the kernel's taps, shifted and added up. These are
plain sums of the products that the whole image would give. A window that has grown to the image stays one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from lipreg.linalg.convolution import Convolution
from lipreg.linalg.diagonal import Diagonal
from lipreg.linalg.maps import Dense, LinearMap, Shape
from lipreg.linalg.rows import NodeEntries, Rows, WholeRows, entries
from lipreg.linalg.taps import gather_steps, scatter_steps, shifted

CUT = 16
"""How many products take as long as copying one entry of a matrix."""


@dataclass(frozen=True)
class WindowGeometry:
    """The places of the windows of rows.

    Attributes:
        origin: the first position of each window, ``(batch, windows, dims)`` int64; they may hang over the image's edges.
        extent: how many positions every window has in each dimension.
        shape: of the node, ``(channels, *size)``.
    """

    origin: Tensor
    extent: Shape
    shape: Shape

    @property
    def size(self) -> Shape:
        """The size of the image, without channels."""
        return self.shape[1:]

    @cached_property
    def places(self) -> Tensor:
        """The flat position in its image of each place, one past the last outside; ``(batch, windows, *extent)``."""
        return _flat(self.origin, self.extent, self.size)

    @cached_property
    def full(self) -> bool:
        """Whether every window is the image."""
        return self.extent == self.size and not bool(self.origin.any())

    def clipped(self) -> WindowGeometry:
        """The frame with the image's own ends where its windows are at least as long."""
        long = [extent >= size for extent, size in zip(self.extent, self.size, strict=True)]
        if not any(long):
            return self
        origin = self.origin.masked_fill(torch.tensor(long, device=self.origin.device), 0)
        extents = zip(self.extent, self.size, strict=True)
        return WindowGeometry(origin, tuple(min(pair) for pair in extents), self.shape)

    def joined(self, other: WindowGeometry) -> WindowGeometry:
        """The least frame around both."""
        origin = torch.minimum(self.origin, other.origin)
        ends = [frame.origin + torch.tensor(frame.extent, device=origin.device) for frame in (self, other)]
        extent = (torch.maximum(*ends) - origin).flatten(0, 1).amax(0)
        return WindowGeometry(origin, tuple(extent.tolist()), self.shape).clipped()


@dataclass(frozen=True)
class Windows(Rows):
    """Rows over an image, as many to a window.

    Attributes:
        values: the coefficients in the windows, channels last: ``(batch, windows, rows of each, *extent, channels)``. Those
            outside the image are arbitrary.
        frame: the places of the windows.
        clean: whether the coefficients outside the image are 0.
    """

    values: Tensor
    frame: WindowGeometry
    clean: bool = False

    def read(self, entries: NodeEntries) -> Sequence[Tensor]:
        table = entries.table
        if self.frame.full:
            return table[:, :, :-1].reshape(*table.shape[:2], 1, 1, *self.frame.extent, -1).unbind()
        places = self.frame.places
        first = torch.arange(table.shape[:2].numel(), device=places.device).reshape(table.shape[:2]) * table.shape[2]
        index = places + first.reshape(*first.shape, *(1,) * (places.dim() - 1))
        read = table.flatten(0, 2).index_select(0, index.flatten())
        return read.reshape(*index.shape, -1).unsqueeze(3).unbind()

    def replaced(self, values: Tensor) -> Windows:
        return Windows(values, self.frame, clean=True)

    def mirrored(self) -> Windows:
        return replace(self, values=torch.cat([self.values, -self.values], 2))

    def flat(self, parts: Tensor) -> Tensor:
        return parts.flatten(3)

    def act(self, map: LinearMap, transposed: bool) -> Rows:
        match map:
            case Convolution():
                return self._convolved(map, transposed)
            case Diagonal() if map.in_shape == map.out_shape:
                return self if map.unit else replace(self, values=self.values * self._scales(map))
            case Dense() if not transposed and self._few():
                return self._multiplied(map)
        return WholeRows(self.whole()).act(map, transposed)

    def _scales(self, map: Diagonal) -> Tensor:
        channels, *size = map.in_shape
        if map.scale.numel() == 1 or map.scale.shape == (channels, *(1 for _ in size)):
            return map.scale.flatten()
        return self.read(entries(map.scale.expand(1, *map.in_shape)))[0]

    def whole(self) -> Tensor:
        batch, rows, n = len(self.values), self.values.shape[1:3].numel(), math.prod(self.frame.size)
        if self.frame.full:
            return self.values.flatten(1, 2).movedim(-1, 2)
        index = self._numbered(self.frame.places, n + 1)
        image = self.values.new_zeros(batch * rows * (n + 1), self.frame.shape[0])
        image = image.index_copy(0, index.flatten(), self.values.reshape(-1, self.frame.shape[0]))
        image = image.reshape(batch, rows, n + 1, -1)[:, :, :n].transpose(2, 3)
        return image.reshape(batch, rows, *self.frame.shape)

    def _numbered(self, places: Tensor, n: int) -> Tensor:
        """Places in windows, ``(batch, windows, ...)``, as places in all rows one after another, of n numbers each."""
        first = torch.arange(self.values.shape[:3].numel(), device=places.device).reshape(self.values.shape[:3]) * n
        return places.unsqueeze(2) + first.reshape(*first.shape, *(1,) * (places.dim() - 2))

    def __add__(self, other: Rows) -> Rows:
        if not isinstance(other, Windows):
            return other + self
        frame = self.frame.joined(other.frame)
        one, two = self.moved(frame), other.moved(frame)
        return Windows(one.values + two.values, frame, one.clean and two.clean)

    def moved(self, frame: WindowGeometry) -> Windows:
        """The same rows in other windows; coefficients outside of these are dropped."""
        if frame is self.frame:
            return self
        shift, clean = frame.origin - self.frame.origin, self.clean or self.frame.full
        if not bool((shift != shift[:1, :1]).any()):
            first = shift[0, 0].tolist()
            if not any(first) and frame.extent == self.frame.extent:
                return self
            ends = [(-s, s + new - old) for s, new, old in zip(first, frame.extent, self.frame.extent, strict=True)]
            if all(end <= 0 for pair in ends for end in pair):
                common = (slice(-low, size + high) for (low, high), size in zip(ends, self.frame.extent, strict=True))
                return Windows(self.values[(..., *common, slice(None))], frame, clean)
            pads = [0, 0, *(end for pair in reversed(ends) for end in pair)]
            return Windows(F.pad(self.values, pads), frame, clean)
        index, n = _flat(shift, frame.extent, self.frame.extent), math.prod(self.frame.extent)
        inside = (index < n).unsqueeze(2).unsqueeze(-1)
        index = self._numbered(index.clamp(max=n - 1), n)
        values = self.values.reshape(-1, self.values.shape[-1]).index_select(0, index.flatten())
        return Windows(values.reshape(*index.shape, -1) * inside, frame, clean)

    def _cleaned(self) -> Windows:
        if self.clean or self.frame.full:
            return self
        inside = self.frame.places < math.prod(self.frame.size)
        return self.replaced(self.values * inside.unsqueeze(2).unsqueeze(-1))

    def _convolved(self, map: Convolution, transposed: bool) -> Windows:
        rows, kernel = self._cleaned(), map.weight.shape[2:]
        origin, lows = rows.frame.origin.unbind(-1), [low for low, _ in map.padding]
        if transposed:
            steps = [
                scatter_steps(*step) for step in zip(rows.frame.extent, kernel, map.stride, map.dilation, strict=True)
            ]
            origin = [first * stride - low for first, stride, low in zip(origin, map.stride, lows, strict=True)]
            frame = WindowGeometry(torch.stack(origin, -1), tuple(s.extent for s in steps), map.in_shape)
        else:
            # windows are to begin where the kernel does
            late = [(first + low) % stride for first, stride, low in zip(origin, map.stride, lows, strict=True)]
            if set(map.stride) != {1}:
                extents = zip(rows.frame.extent, late, strict=True)
                extent = tuple(length + int(more.amax()) for length, more in extents)
                rows = rows.moved(WindowGeometry(rows.frame.origin - torch.stack(late, -1), extent, map.in_shape))
            extents = zip(rows.frame.extent, kernel, map.stride, map.dilation, strict=True)
            steps, origin = [gather_steps(*step) for step in extents], rows.frame.origin.unbind(-1)
            origin = [
                torch.div(first + low, stride, rounding_mode="floor") - step.before
                for first, stride, low, step in zip(origin, map.stride, lows, steps, strict=True)
            ]
            frame = WindowGeometry(torch.stack(origin, -1), tuple(s.extent for s in steps), map.out_shape)
        weight = map.weight.unflatten(0, (map.groups, -1))
        out = shifted(rows.values, weight if transposed else weight.transpose(1, 2), steps)
        return Windows(out, frame).moved(frame.clipped())

    def _few(self) -> bool:
        """Whether multiplying the columns that windows touch is less work than all, cutting them out included."""
        rows, window = self.values.shape[:3].numel(), math.prod(self.frame.extent)
        places = len(self.frame.origin.flatten(0, 1).unique(dim=0))
        return (rows + CUT * places) * window < rows * math.prod(self.frame.size)

    def _multiplied(self, map: Dense) -> WholeRows:
        """A row for a written-out matrix: rows with the same window share its columns."""
        weight = map.weight.reshape(-1, *map.in_shape)
        rows = self._cleaned()
        values, origins = rows.values.flatten(0, 1), rows.frame.origin.flatten(0, 1)
        places, which = origins.unique(dim=0, return_inverse=True)
        order = which.argsort()
        images = []
        for place, some in zip(places.tolist(), order.split(which.bincount().tolist()), strict=True):
            columns, coefficients = weight, values[some]
            for axis, (first, length, n) in enumerate(zip(place, rows.frame.extent, rows.frame.size, strict=True)):
                low = min(max(first, 0), n)
                count = max(min(first + length, n) - low, 0)
                columns = columns.narrow(2 + axis, low, count)
                coefficients = coefficients.narrow(2 + axis, low - first if count else 0, count)
            images.append(coefficients.movedim(-1, 2).flatten(2) @ columns.flatten(1).T)
        ordered = torch.cat(images)[order.argsort()]
        return WholeRows(ordered.reshape(len(self.values), -1, *map.out_shape))


def _flat(first: Tensor, extent: Shape, size: Shape) -> Tensor:
    """Flat positions in ``size`` of the places from ``first`` on, one past the last where they are outside."""
    flat, inside = first.new_zeros(()), torch.ones((), dtype=torch.bool, device=first.device)
    for axis, (length, n) in enumerate(zip(extent, size, strict=True)):
        at = first[..., axis, None] + torch.arange(length, device=first.device)
        at = at.reshape(*first.shape[:-1], *(1,) * axis, length, *(1,) * (len(size) - axis - 1))
        flat, inside = flat * n + at, inside & (at >= 0) & (at < n)
    return torch.where(inside, flat, math.prod(size))


def unit_windows(places: Tensor, channels: Tensor, shape: Shape, like: Tensor) -> Windows:
    """Rows that read one entry each, in windows of one place.

    Args:
        places: flat positions in the image, ``(batch, windows)`` int64.
        channels: read there, ``(batch, windows, rows of each)`` int64.
        shape: of the node, ``(channels, *size)``.
        like: of the dtype and on the device of the coefficients.
    """
    size = shape[1:]
    steps = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
    origin = torch.stack([places // step % n for step, n in zip(steps, size, strict=True)], -1)
    values = like.new_zeros(*channels.shape, shape[0]).scatter_(3, channels.unsqueeze(-1), 1.0)
    values = values.reshape(*channels.shape, *(1 for _ in size), shape[0])
    return Windows(values, WindowGeometry(origin, tuple(1 for _ in size), shape), clean=True)
