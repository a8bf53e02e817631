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
    """The network's input x, ``(batch, *shape)``."""

    shape: Shape


@dataclass(frozen=True)
class Affine:
    """``sum_i maps[i](node sources[i]) + bias``: a linear layer and all that folds into it, or a residual sum of several.

    Attributes:
        bias: of the node's shape, in float64 where something is proved.
        bias_of: constants and the maps that they go through, None for the identity, whose sum the bias is up to rounding;
            none where it is exact.
    """

    sources: tuple[int, ...]
    maps: tuple[LinearMap, ...]
    bias: Tensor
    bias_of: tuple[tuple[LinearMap | None, Tensor], ...] = ()

    @property
    def shape(self) -> Shape:
        return tuple(self.bias.shape)

    def terms(self) -> Iterator[tuple[int, LinearMap]]:
        return zip(self.sources, self.maps, strict=True)

    def combine(self, values: Mapping[int, N]) -> N:
        """bias + the terms of those sources whose values are given."""
        total = self.constant(next(iter(values.values())).like)
        for source, map in self.terms():
            if source in values:
                total = values[source].through(map) + total
        return total

    def constant(self, like: Callable[[Tensor], N]) -> N:
        """The bias in some arithmetic: of what it was added up from, where that is not exact."""
        found = like(self.bias)
        if not self.bias_of or isinstance(found, Plain):
            return found
        parts = [like(part) if map is None else like(part).through(map) for map, part in self.bias_of]
        return sum(parts[1:], start=parts[0])

    def acting(self) -> Iterator[LinearMap]:
        """The maps that digits go through: those of the sources, and those of the bias's parts."""
        yield from (map.exactly for map in self.maps)
        yield from (map for map, _ in self.bias_of if map is not None)

    @property
    def rounded(self) -> bool:
        """Whether weights or bias are rounded products and sums, or will be when they are read."""
        return bool(self.bias_of) or any(map.rounded for map in self.maps)

    @property
    def lengths(self) -> int:
        """How many roundings its sums pass through, forward and back, with those that made its maps."""
        return sum(map.lengths for map in self.maps)

    def bias_rounding(self) -> Tensor:
        """A bound on how far the bias is from what it was added up from, of its shape."""
        if not self.bias_of:
            return torch.zeros_like(self.bias)
        length = SPARE + len(self.bias_of) + sum(map.lengths for map, _ in self.bias_of if map is not None)
        return length * (EPS * self.bias_size() + TINY)

    def bias_size(self) -> Tensor:
        """The magnitudes of what the bias was added up from, of its shape."""
        sizes = [part.abs() if map is None else map.sizes()(part.abs()) for map, part in self.bias_of]
        return sum(sizes[1:], start=sizes[0]) if sizes else self.bias.abs()


@dataclass(frozen=True)
class Relu:
    """max(z, slope z) of one Affine node, with 0 <= slope < 1; slope 0 is the plain ReLU. Named by the call it came from."""

    source: int
    shape: Shape
    slope: float = 0.0
    name: str = field(default="", compare=False)

    def __call__(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z, self.slope * z)


@dataclass(frozen=True)
class MaxPool:
    """The largest of each window of one Affine node.

    ``windows`` holds, for each output, the flat positions of its window in the source: ``(outputs, window)`` int64, with
    short windows filled up by repeating a member.

    ``mirrored`` says that the source is [z, -z], its second half the negative of the first: |z| is the largest of z and -z,
    and the least of two the negative of the largest of their negatives.
    """

    source: int
    windows: Tensor
    in_shape: Shape
    shape: Shape
    mirrored: bool = False

    @cached_property
    def partners(self) -> Tensor:
        """For each window of two entries, the window of their negatives; -1 for one without: ``(outputs,)``.

        The outputs of partners are the larger of two numbers and the negative of the smaller: both, in order.
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

    def chosen(self, z: Tensor) -> Tensor:
        """1 at the member of each window that is the largest, 0 at the others: ``(..., outputs, window)``."""
        members = self.members(z)
        return torch.zeros_like(members).scatter_(-1, members.argmax(-1, keepdim=True), 1.0)

    def scatter(self, parts: Tensor) -> Tensor:
        """Adds up what each window gives to its members: ``(..., outputs, window)`` to ``(..., *in_shape)``."""
        size = torch.Size(self.in_shape).numel()
        flat = parts.new_zeros(*parts.shape[:-2], size).index_add(-1, self.windows.flatten(), parts.flatten(-2))
        return flat.reshape(*parts.shape[:-2], *self.in_shape)


@dataclass(frozen=True)
class Curved:
    """f(z) of each entry of one Affine node, f a curve: what is not piecewise linear. Named by the call it came from.

    What bounds need of it are ranges of values, of derivatives and of secants, and lines (``lipreg.curves``).
    """

    source: int
    shape: Shape
    curve: Curve
    name: str = field(default="", compare=False)

    def __call__(self, z: Tensor) -> Tensor:
        return self.curve.value(z)


Node = Input | Affine | Relu | MaxPool | Curved


def node_size(node: Node) -> int:
    """How many entries a node has."""
    return math.prod(node.shape)


def read_nodes(node: Node) -> tuple[int, ...]:
    """The indices of the nodes that a node reads."""
    if isinstance(node, Input):
        return ()
    return node.sources if isinstance(node, Affine) else (node.source,)


def same_kind(first: Node, second: Node) -> bool:
    """Whether two nodes do the same to whatever they read: ReLUs of one shape and slope, pools of the same windows,
    one curve."""
    match first, second:
        case Relu(), Relu():
            return (first.shape, first.slope) == (second.shape, second.slope)
        case Curved(), Curved():
            return (first.shape, first.curve) == (second.shape, second.curve)
        case MaxPool(), MaxPool():
            shapes = (first.in_shape, first.shape) == (second.in_shape, second.shape)
            return shapes and torch.equal(first.windows, second.windows)
    return False
