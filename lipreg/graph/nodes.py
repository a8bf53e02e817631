"""The narrow waist: a network is Input, Affine, Relu and MaxPool nodes, and nothing else reaches a bound or a solver."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.linalg import LinearMap, Plain, Shape, feed
from lipreg.linalg.numbers import N


@dataclass(frozen=True)
class Input:
    """The network's input x, ``(batch, *shape)``."""

    shape: Shape


@dataclass(frozen=True)
class Affine:
    """sum_i maps[i](node sources[i]) + bias: a linear layer and all that folds into it, or a residual sum of several."""

    sources: tuple[int, ...]
    maps: tuple[LinearMap, ...]
    bias: Tensor

    @property
    def shape(self) -> Shape:
        return tuple(self.bias.shape)

    def terms(self) -> zip[tuple[int, LinearMap]]:
        return zip(self.sources, self.maps, strict=True)

    def combine(self, values: Mapping[int, N]) -> N:
        """bias + the terms of those sources whose values are given."""
        total = next(iter(values.values())).like(self.bias)
        for source, map in self.terms():
            if source in values:
                total = values[source].through(map) + total
        return total


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
    """

    source: int
    windows: Tensor
    in_shape: Shape
    shape: Shape

    def __call__(self, z: Tensor) -> Tensor:
        largest = self.members(z).amax(-1)
        return largest.reshape(*largest.shape[:-1], *self.shape)

    def members(self, z: Tensor) -> Tensor:
        """The entries of each window: z ``(..., *in_shape)`` to ``(..., outputs, window)``."""
        return z.flatten(-len(self.in_shape))[..., self.windows]

    def chosen(self, z: Tensor) -> Tensor:
        """1 at the member of each window that is the largest, 0 at the others: ``(..., outputs, window)``."""
        members = self.members(z)
        return torch.zeros_like(members).scatter_(-1, members.argmax(-1, keepdim=True), 1.0)

    def scatter(self, parts: Tensor) -> Tensor:
        """Adds up what each window gives to its members: ``(..., outputs, window)`` to ``(..., *in_shape)``."""
        size = torch.Size(self.in_shape).numel()
        flat = parts.new_zeros(*parts.shape[:-2], size).index_add(-1, self.windows.flatten(), parts.flatten(-2))
        return flat.reshape(*parts.shape[:-2], *self.in_shape)


Node = Input | Affine | Relu | MaxPool


@dataclass(frozen=True)
class Graph:
    """A piecewise linear network as nodes in topological order: first the Input, last the Affine that is the output.

    Affine nodes never feed Affine nodes: chains of linear layers are folded together, so an Affine's sources are the
    Input, Relus and MaxPools.

    A graph that stands for another over some region has that one's fingerprint as ``original``, and as its own.
    """

    nodes: tuple[Node, ...]
    name: str = field(default="network", compare=False)
    original: str = ""

    @property
    def input_shape(self) -> Shape:
        return self.nodes[0].shape

    @property
    def output(self) -> Affine:
        last = self.nodes[-1]
        assert isinstance(last, Affine)
        return last

    @property
    def dtype(self) -> torch.dtype:
        return self.output.bias.dtype

    @property
    def device(self) -> torch.device:
        return self.output.bias.device

    def relus(self) -> list[tuple[int, Relu]]:
        """Indices and nodes of the Relus, in order."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, Relu)]

    def forward(self, x: N) -> list[N]:
        """The value of every node at x ``(..., *input_shape)``, in x's arithmetic."""
        found: dict[int, N] = {}
        for index, node in enumerate(self.nodes):
            match node:
                case Input():
                    found[index] = x
                case Affine():
                    found[index] = node.combine(found)
                case Relu(source=source, slope=slope):
                    found[index] = found[source].relu(slope)
                case MaxPool(source=source):
                    largest = found[source].moved(node.members).largest()
                    found[index] = largest.moved(lambda t, node=node: t.unflatten(-1, node.shape))
        return list(found.values())

    def backward(self, slopes: Mapping[int, Tensor], rows: N) -> N:
        """rows . J for given slopes of every Relu and MaxPool, in the arithmetic of ``rows``: one pass through the graph.

        Args:
            slopes: for each Relu index, ``(..., 1, *shape)`` or ``(..., rows, *shape)``; for each MaxPool index, the
                weights of the members of its windows, ``(..., 1, outputs, window)``.
            rows: functionals of the output, ``(..., rows, outputs)``.

        Returns:
            ``(..., rows, *input_shape)``.
        """
        flowing: dict[int, N] = {len(self.nodes) - 1: rows}

        def flow(source: int, part: N) -> None:
            flowing[source] = flowing[source] + part if source in flowing else part

        for index in range(len(self.nodes) - 1, 0, -1):
            node = self.nodes[index]
            if index not in flowing:
                continue  # nothing downstream depends on it
            gradient = flowing.pop(index)
            match node:
                case Affine():
                    for source, map in node.terms():
                        flow(source, gradient.back(map))
                case Relu(source=source):
                    flow(source, gradient.times(slopes[index]))
                case MaxPool(source=source):
                    flat = gradient.moved(lambda t, node=node: t.flatten(-len(node.shape)).unsqueeze(-1))
                    parts = flat.times(slopes[index])
                    flow(source, parts.moved(node.scatter, copies=node.windows.numel()))
        if 0 not in flowing:
            zero, _ = rows.rounded()
            return rows.like(zero.new_zeros(*zero.shape[:-1], *self.input_shape))
        return flowing[0]

    def values(self, x: Tensor) -> list[Tensor]:
        """The value of every node at x ``(..., *input_shape)``."""
        self.check_input(x)
        return [node.value for node in self.forward(Plain(x))]

    def __call__(self, x: Tensor) -> Tensor:
        """The network's output at x, ``(..., *output shape)``."""
        return self.values(x)[-1]

    def gradients(self, slopes: Mapping[int, Tensor], rows: Tensor) -> Tensor:
        """rows . J for given slopes of every Relu and MaxPool; see ``backward``."""
        return self.backward(slopes, Plain(rows)).value

    def patterns(self, values: list[Tensor]) -> dict[int, Tensor]:
        """The slopes at the point of ``values``, for ``gradients``.

        Of a Relu, 1 where the pre-activation is positive; of a MaxPool, 1 for the largest member of each window.
        """
        slopes = {}
        for i, node in enumerate(self.nodes):
            if isinstance(node, Relu):
                z = values[node.source]
                slopes[i] = torch.where(z > 0, torch.ones_like(z), torch.full_like(z, node.slope))
            elif isinstance(node, MaxPool):
                slopes[i] = node.chosen(values[node.source])
        return slopes

    def require(self, *kinds: type, who: str) -> None:
        """Raises UnsupportedRequest when the graph holds a node kind that ``who`` does not handle."""
        others = {type(node).__name__ for node in self.nodes if not isinstance(node, (Input, *kinds))}
        if others:
            raise UnsupportedRequest(
                f"the network has {', '.join(sorted(others))} nodes",
                where=who,
                accepted=", ".join(kind.__name__ for kind in kinds),
                todo="Choose another method, or a network without them",
            )

    def check_input(self, x: Tensor) -> None:
        """Raises InvalidInput unless x is ``(batch..., *input_shape)`` in the graph's dtype."""
        depth = len(self.input_shape)
        if x.dim() <= depth or tuple(x.shape[x.dim() - depth :]) != self.input_shape:
            raise InvalidInput(
                f"input of shape {tuple(x.shape)}",
                where=self.name,
                accepted=f"(batch, {', '.join(map(str, self.input_shape))})",
            )
        if x.dtype != self.dtype:
            raise InvalidInput(f"input of dtype {x.dtype}", where=self.name, accepted=str(self.dtype))

    def fingerprint(self) -> str:
        """A hash of structure and weights: equal fingerprints mean the same function was asked about."""
        if self.original:
            return self.original
        digest = hashlib.sha256()
        for node in self.nodes:
            match node:
                case Input(shape=shape):
                    digest.update(f"input {shape};".encode())
                case Affine(bias=bias):
                    digest.update(f"affine {node.sources} {node.shape};".encode())
                    for map in node.maps:
                        map.feed(digest)
                    feed(digest, bias)
                case Relu(source=source, shape=shape, slope=slope):
                    digest.update(f"relu {source} {shape} {slope!r};".encode())
                case MaxPool(source=source, windows=windows):
                    digest.update(f"maxpool {source} {node.in_shape} {node.shape};".encode())
                    feed(digest, windows)
        return digest.hexdigest()[:16]
