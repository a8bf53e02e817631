"""A network as a graph: its values, its gradients, its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, assert_never

import torch
from torch import Tensor

from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.graph.nodes import Affine, Curved, Input, MaxPool, Node, Relu, read_nodes
from lipreg.graph.passes import Backward, Forward, backward, forward
from lipreg.graph.sharing import Flow, SharedBackward, SharedForward
from lipreg.linalg import LinearMap, Numbers, Plain, Shape, feed
from lipreg.linalg.numbers import N

V = TypeVar("V")


@dataclass(frozen=True)
class Graph:
    """A network as nodes in topological order: first the Input, last the Affine that is the output.

    Affine nodes never feed Affine nodes: chains of linear layers are folded together, so an Affine's sources are the
    Input, Relus, MaxPools and Curveds.

    Attributes:
        nodes: each reads nodes in front of it.
        name: the class of the module, for messages.
        original: the fingerprint of the network that this one stands for over some region, which is then its own too;
            empty where it stands for itself.
        of: whose outputs they are, in words, where it is not one network: "f - g" of a difference.
    """

    nodes: tuple[Node, ...]
    name: str = field(default="network", compare=False)
    original: str = ""
    of: str = field(default="", compare=False)

    @property
    def input_shape(self) -> Shape:
        """The shape of one input, without the batch axis."""
        return self.nodes[0].shape

    @property
    def output(self) -> Affine:
        """The last node, which is the output."""
        last = self.nodes[-1]
        assert isinstance(last, Affine)
        return last

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all weights and biases."""
        return self.output.bias.dtype

    @property
    def device(self) -> torch.device:
        """The device of all weights and biases."""
        return self.output.bias.device

    @property
    def kinds(self) -> tuple[type[Node], ...]:
        """The kinds of node it holds beside the Input: some of Affine, Relu, MaxPool and Curved, in this order."""
        return tuple(
            kind for kind in (Affine, Relu, MaxPool, Curved) if any(isinstance(node, kind) for node in self.nodes)
        )

    @property
    def branches(self) -> bool:
        """Whether the graph is anything but a chain, in which each node reads the node just before it and nothing else.

        Sums and several readers of one node branch. A constant, which reads nothing, and a node that nobody reads count as
        branches too: to take the nodes one after another would be wrong there as well.
        """
        return any(read_nodes(node) != (before,) for before, node in enumerate(self.nodes[1:]))

    def affines(self) -> list[tuple[int, Affine]]:
        """Indices and nodes of the Affines, in order."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, Affine)]

    def relus(self) -> list[tuple[int, Relu]]:
        """Indices and nodes of the Relus, in order."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, Relu)]

    def pools(self) -> list[tuple[int, MaxPool]]:
        """Indices and nodes of the MaxPools, in order."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, MaxPool)]

    def curves(self) -> list[tuple[int, Curved]]:
        """Indices and nodes of the Curveds, in order."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, Curved)]

    def entrywise(self) -> list[tuple[int, Relu | Curved]]:
        """Indices and nodes of the Relus and Curveds, whose units have one slope each, in order."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, Relu | Curved)]

    def affine(self, index: int) -> Affine:
        """Node ``index``, which is an Affine."""
        node = self.nodes[index]
        assert isinstance(node, Affine)
        return node

    def read_by(self, index: int) -> Affine:
        """The Affine node that node ``index``, a Relu, a MaxPool or a Curved, reads."""
        node = self.nodes[index]
        assert isinstance(node, Relu | MaxPool | Curved)
        return self.affine(node.source)

    def forward(self, seed: Mapping[int, V], rules: Forward[V], until: int | None = None) -> dict[int, V]:
        """A pass from the input on; see ``lipreg.graph.passes``.

        Args:
            seed: values of some nodes by index, of the Input as a rule.
            rules: what happens at each kind of node.
            until: the last node of the pass; None for all.

        Returns:
            By index, the values of all nodes that the seed reaches.
        """
        return forward(self.nodes, seed, rules, until)

    def backward(self, seed: Iterable[tuple[int, V]], rules: Backward[V]) -> V | None:
        """A pass from the output back; see ``lipreg.graph.passes``.

        Args:
            seed: values that flow into some nodes, by index, into the output as a rule.
            rules: what happens at each kind of node.

        Returns:
            The value that flows into the Input; None where nothing does.
        """
        return backward(self.nodes, seed, rules)

    def evaluate(self, x: N) -> list[N]:
        """The value of every node at x ``(..., *input_shape)``, in x's arithmetic."""
        return list(self.forward({0: x}, _Values(x)).values())

    def differentiate(self, slopes: Mapping[int, Tensor | Numbers], functionals: N, at: int | None = None) -> N:
        """functionals . J with given slopes of all units, in the arithmetic of the functionals: one pass through the graph.

        Args:
            slopes: for each Relu and Curved, ``(..., 1, *shape)`` or ``(..., k, *shape)``; for each MaxPool, the
                weights of the members of its windows, ``(..., 1, outputs, window)``. Tensors are the exact numbers that
                they hold.
            functionals: k functionals of the outputs, ``(..., k, outputs)``.
            at: the node whose entries they are functionals of; None for the output.

        Returns:
            ``(..., k, *input_shape)``.
        """
        start = len(self.nodes) - 1 if at is None else at
        flow = self.backward([(start, Flow.of(functionals))], _Gradients(slopes))
        if flow is None:
            zero, _ = functionals.rounded()
            shape = self.nodes[-1 if at is None else at].shape
            return functionals.like(zero.new_zeros(*zero.shape[: zero.dim() - len(shape)], *self.input_shape))
        return flow.total()

    def values(self, x: Tensor) -> list[Tensor]:
        """The value of every node at x ``(..., *input_shape)``."""
        self.check_input(x)
        return [node.value for node in self.evaluate(Plain(x))]

    def __call__(self, x: Tensor) -> Tensor:
        """The network's output at x ``(..., *input_shape)``, ``(..., *output shape)``."""
        return self.values(x)[-1]

    def gradients(self, slopes: Mapping[int, Tensor | Numbers], functionals: Tensor) -> Tensor:
        """functionals . J in torch's own arithmetic, with its gradient; see ``differentiate``."""
        return self.differentiate(slopes, Plain(functionals)).value

    def patterns(self, values: list[Tensor]) -> dict[int, Tensor]:
        """The slopes of all units at the points of ``values``, for ``gradients``.

        They are 1 or the negative slope at a Relu, 1 for the largest member of each window and 0 for the others at a
        MaxPool, and the derivative at a Curved.

        Args:
            values: of every node, as ``values`` returns them.
        """
        slopes = {}
        for i, node in self.relus():
            z = values[node.source]
            slopes[i] = torch.where(z > 0, torch.ones_like(z), torch.full_like(z, node.slope))
        for i, node in self.pools():
            slopes[i] = node.largest_members(values[node.source])
        for i, node in self.curves():
            slopes[i] = node.curve.slope(values[node.source])
        return slopes

    def require(self, *kinds: type, who: str) -> None:
        """Raises UnsupportedRequest where the graph holds a kind of node that a method does not handle.

        Args:
            *kinds: the kinds that it handles, beside the Input.
            who: the method, for the message.
        """
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
        """A hash of structure and weights: networks with equal fingerprints are the same function."""
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
                case Curved(source=source, shape=shape, curve=curve):
                    digest.update(f"curved {source} {shape} {curve!r};".encode())
                case _:
                    assert_never(node)
        return digest.hexdigest()[:16]


class _Values(Forward[N], Generic[N]):
    """The rules of ``evaluate``: the function itself, in the arithmetic of x."""

    def __init__(self, x: N) -> None:
        self.x, self.products = x, SharedForward[N]()

    def affine(self, index: int, node: Affine, values: Mapping[int, N]) -> N:
        return self.products.combine(node, values or {0: self.x})  # a constant has no sources

    def relu(self, index: int, node: Relu, value: N) -> N:
        return value.relu(node.slope)

    def max_pool(self, index: int, node: MaxPool, value: N) -> N:
        return value.reindexed(node.members).amax().reindexed(lambda t: t.unflatten(-1, node.shape))

    def curved(self, index: int, node: Curved, value: N) -> N:
        return value.applied(node.curve)


class _Gradients(Backward[Flow[N]], Generic[N]):
    """The rules of ``differentiate``: functionals carried back with given slopes, in any arithmetic."""

    def __init__(self, slopes: Mapping[int, Tensor | Numbers]) -> None:
        self.slopes, self.products = slopes, SharedBackward[N]()

    def join(self, one: Flow[N], other: Flow[N]) -> Flow[N]:
        return self.products.join(one, other)

    def back(self, map: LinearMap, value: Flow[N]) -> Flow[N]:
        return Flow.of(value.total().back(map))

    def affine(self, index: int, node: Affine, value: Flow[N]) -> Iterable[tuple[int, Flow[N]]]:
        return self.products.flows(node, value.total())

    def relu(self, index: int, node: Relu, value: Flow[N]) -> Flow[N]:
        return Flow.of(value.total().times(self.slopes[index]))

    def max_pool(self, index: int, node: MaxPool, value: Flow[N]) -> Flow[N]:
        flat = value.total().reindexed(lambda t: t.flatten(-len(node.shape)).unsqueeze(-1))
        return Flow.of(flat.times(self.slopes[index]).reindexed(node.scatter, copies=node.windows.numel()))

    def curved(self, index: int, node: Curved, value: Flow[N]) -> Flow[N]:
        return Flow.of(value.total().times(self.slopes[index]))
