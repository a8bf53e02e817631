"""The narrow waist: a network is Input, Affine, Relu, MaxPool and Curved nodes; nothing else reaches a bound or a solver."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from lipreg.curves import Curve
from lipreg.linalg import LinearMap, Plain, Shape
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.linalg.numbers import N


@dataclass(frozen=True)
class Input:
    """The network's input x, ``(batch, *shape)``.

    Attributes:
        shape: that of one input, without the batch axis.
    """

    shape: Shape


@dataclass(frozen=True)
class Affine:
    """``sum_i maps[i](node sources[i]) + bias``: a linear layer and all that folds into it, or a residual sum of several.

    Attributes:
        sources: indices of the nodes that it reads.
        maps: one for each source, onto the node's shape.
        bias: of the node's shape, in float64 where something is proved.
        bias_of: maps, None for the identity, and constants that they act on, whose sum the bias is up to rounding; empty
            where the bias is exact.
    """

    sources: tuple[int, ...]
    maps: tuple[LinearMap, ...]
    bias: Tensor
    bias_of: tuple[tuple[LinearMap | None, Tensor], ...] = ()

    @property
    def shape(self) -> Shape:
        """The shape of the node, without the batch axis."""
        return tuple(self.bias.shape)

    def terms(self) -> Iterator[tuple[int, LinearMap]]:
        """Each source with its map."""
        return zip(self.sources, self.maps, strict=True)

    def combine(self, values: Mapping[int, N]) -> N:
        """bias + the terms of those sources that have a value, in the arithmetic of the values."""
        total = self.constant(next(iter(values.values())).like)
        for source, map in self.terms():
            if source in values:
                total = values[source].through(map) + total
        return total

    def constant(self, like: Callable[[Tensor], N]) -> N:
        """The bias in some arithmetic, added up from its exact parts where it is rounded.

        Args:
            like: brings a constant into the arithmetic.
        """
        bias = like(self.bias)
        if not self.bias_of or isinstance(bias, Plain):
            return bias
        parts = [like(part) if map is None else like(part).through(map) for map, part in self.bias_of]
        return sum(parts[1:], start=parts[0])

    def acting(self) -> Iterator[LinearMap]:
        """The exact maps that digits go through: those of the sources, and those of the bias's parts."""
        yield from (map.exact_form for map in self.maps)
        yield from (map for map, _ in self.bias_of if map is not None)

    @property
    def rounded(self) -> bool:
        """Whether weights or bias are rounded products and sums, or will be when they are read."""
        return bool(self.bias_of) or any(map.rounded for map in self.maps)

    @property
    def lengths(self) -> int:
        """How many roundings its sums pass through, forward and back, with the roundings that made its maps."""
        return sum(map.lengths for map in self.maps)

    def bias_rounding(self) -> Tensor:
        """A bound on how far the bias is from the exact sum of its parts, of its shape."""
        if not self.bias_of:
            return torch.zeros_like(self.bias)
        length = SPARE + len(self.bias_of) + sum(map.lengths for map, _ in self.bias_of if map is not None)
        return length * (EPS * self.bias_size() + TINY)

    def bias_size(self) -> Tensor:
        """The sum of the magnitudes of the bias's parts, of its shape."""
        sizes = [part.abs() if map is None else map.sizes()(part.abs()) for map, part in self.bias_of]
        return sum(sizes[1:], start=sizes[0]) if sizes else self.bias.abs()


@dataclass(frozen=True)
class Relu:
    """max(z, slope z) for each entry z of one Affine node, with 0 <= slope < 1.

    Attributes:
        source: the index of the Affine node.
        shape: that of the Affine node.
        slope: the slope on the negative side, 0 for the plain ReLU.
        name: the call that it came from.
    """

    source: int
    shape: Shape
    slope: float = 0.0
    name: str = field(default="", compare=False)

    def __call__(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z, self.slope * z)


@dataclass(frozen=True)
class MaxPool:
    """The largest entry of each window of one Affine node.

    Attributes:
        source: the index of the Affine node.
        windows: for each output the flat positions of its window in the source, ``(outputs, window)`` int64; short windows
            repeat a member.
        in_shape: the shape of the source.
        shape: the shape of the outputs.
        mirrored: whether the source is [z, -z], its second half the negative of the first. Then |z| is the largest of z and
            -z, and the smaller of two numbers the negative of the largest of their negatives.
        name: the call that it came from.
    """

    source: int
    windows: Tensor
    in_shape: Shape
    shape: Shape
    mirrored: bool = False
    name: str = field(default="", compare=False)

    @cached_property
    def partners(self) -> Tensor:
        """For each window of two entries the window of their negatives, -1 where there is none, ``(outputs,)``.

        The outputs of two partners are the larger of two numbers and the negative of the smaller one.
        """
        alone = torch.full((len(self.windows),), -1, device=self.windows.device)
        if not self.mirrored or self.windows.shape[1] != 2:
            return alone
        size = math.prod(self.in_shape)
        keys, mirrored = (
            ends[:, 0] * size + ends[:, 1]
            for ends in (w.sort(1).values for w in (self.windows, (self.windows + size // 2) % size))
        )
        order = keys.argsort()
        if bool((keys[order].diff() == 0).any()):
            return alone  # a window that is there twice would have two partners
        at = order[torch.searchsorted(keys[order], mirrored).clamp(max=len(keys) - 1)]
        two = (self.windows[:, 0] - self.windows[:, 1]) % (size // 2) != 0
        return torch.where((keys[at] == mirrored) & two, at, alone)

    def __call__(self, z: Tensor) -> Tensor:
        largest = self.members(z).amax(-1)
        return largest.reshape(*largest.shape[:-1], *self.shape)

    def members(self, z: Tensor) -> Tensor:
        """The entries of each window: z ``(..., *in_shape)`` to ``(..., outputs, window)``."""
        return z.flatten(-len(self.in_shape)).index_select(-1, self.windows.flatten()).unflatten(-1, self.windows.shape)

    def largest_members(self, z: Tensor) -> Tensor:
        """1 at the largest member of each window, the first of several, and 0 at the others: ``(..., outputs, window)``."""
        members = self.members(z)
        return torch.zeros_like(members).scatter_(-1, members.argmax(-1, keepdim=True), 1.0)

    def scatter(self, parts: Tensor) -> Tensor:
        """Adds the entries of windows up at their positions: ``(..., outputs, window)`` to ``(..., *in_shape)``."""
        size = torch.Size(self.in_shape).numel()
        flat = parts.new_zeros(*parts.shape[:-2], size).index_add(-1, self.windows.flatten(), parts.flatten(-2))
        return flat.reshape(*parts.shape[:-2], *self.in_shape)


@dataclass(frozen=True)
class Curved:
    """f(z) for each entry z of one Affine node, with a curve f that is not piecewise linear.

    Bounds need its ranges of values, of derivatives and of secants, and lines around it (``lipreg.curves``).

    Attributes:
        source: the index of the Affine node.
        shape: that of the Affine node.
        curve: f.
        name: the call that it came from.
    """

    source: int
    shape: Shape
    curve: Curve
    name: str = field(default="", compare=False)

    def __call__(self, z: Tensor) -> Tensor:
        return self.curve.value(z)


Node = Input | Affine | Relu | MaxPool | Curved
"""The closed set of kinds of nodes."""


def node_size(node: Node) -> int:
    """How many entries a node has, without the batch axis."""
    return math.prod(node.shape)


def read_nodes(node: Node) -> tuple[int, ...]:
    """The indices of the nodes that a node reads."""
    if isinstance(node, Input):
        return ()
    return node.sources if isinstance(node, Affine) else (node.source,)


def same_kind(first: Node, second: Node) -> bool:
    """Whether two nodes do the same to what they read: the shape, and the slope, the windows or the curve are the same."""
    match first, second:
        case Relu(), Relu():
            return (first.shape, first.slope) == (second.shape, second.slope)
        case Curved(), Curved():
            return (first.shape, first.curve) == (second.shape, second.curve)
        case MaxPool(), MaxPool():
            shapes = (first.in_shape, first.shape) == (second.in_shape, second.shape)
            return shapes and torch.equal(first.windows, second.windows)
    return False
