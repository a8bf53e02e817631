"""What a lowering builds a graph with: constants in the graph's arithmetic, and nonlinear nodes of expressions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lipreg.curves import Curve
from lipreg.errors import InvalidInput
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Affine, Curved, Input, MaxPool, Node, Relu, same_kind
from lipreg.graph.registry import JUMPS, Refusal
from lipreg.graph.repeats import same_affine, without_unread_nodes
from lipreg.graph.symbols import Indices, Mask, Symbol
from lipreg.linalg import Shape, identity
from lipreg.linalg.broadcasting import broadcast

T = TypeVar("T")


class Context:
    """The means of a lowering: it brings constants into the graph's arithmetic, and adds nonlinear nodes.

    Args:
        shape: of one input, without the batch axis.
        like: a tensor of the dtype and on the device that the graph is to have.
        frozen: whether every constant is copied, detached (an audit's graph), instead of referred to (training).

    Attributes:
        nodes: those so far.
        call: the name of the call that is being lowered, which its nodes are named by.
        training: whether the call runs in training mode, and that was not waived.
        moving: whether the call runs in training mode, that was waived, and gradients are wanted.
        constant_weights: whether the call runs under ``torch.no_grad``.
    """

    def __init__(self, shape: Shape, like: Tensor, frozen: bool) -> None:
        self.like, self.frozen = like, frozen
        self.nodes: list[Node] = [Input(shape)]
        self.call = ""
        self.training = self.differentiates_statistics = self.no_grad = False
        self._moments: dict[int, Tensor] = {}
        self._once: dict[Hashable, tuple[tuple[Symbol, ...], Any]] = {}

    def memoised(self, symbols: tuple[Symbol, ...], how: Hashable, make: Callable[[], T]) -> T:
        """The result of ``make`` for these expressions in any order, made once.

        It is looked up by the expressions themselves, for equal weights of live graphs are not recognised.

        Args:
            symbols: what it is made of.
            how: tells what is made of them.
            make: makes it.
        """
        key = how, *sorted(map(id, symbols))
        if key not in self._once:
            self._once[key] = symbols, make()  # the symbols are kept, so that no other one gets their ids
        return self._once[key][1]

    def tensor(self, value: Tensor | float) -> Tensor:
        """A parameter, buffer or number in the dtype and on the device of the graph; live graphs keep its autograd history.

        Raises:
            Refusal: it is a comparison, or the indices of sorted or largest entries, which jump.
        """
        if isinstance(value, Indices):
            raise Refusal("never", "the places of the largest or sorted entries jump: they have no Lipschitz constant")
        if isinstance(value, Mask):
            raise Refusal("never", JUMPS)
        if isinstance(value, Tensor) and self.frozen:
            # a copy even of float64 parameters, which would train on otherwise
            return value.detach().to(self.like.device, self.like.dtype, copy=True)
        if isinstance(value, Tensor) and self.no_grad:
            value = value.detach()
        return torch.as_tensor(value, dtype=self.like.dtype, device=self.like.device)

    def check_width(self, x: Symbol, got: int, takes: int, what: str, weight: Tensor) -> None:
        """Refuses activations of another number of features, or channels, than a layer takes.

        Args:
            x: the activations.
            got: their number.
            takes: that of the layer.
            what: what is counted, "features" or "channels".
            weight: of the layer, for messages.

        Raises:
            InvalidInput: the activations are the points themselves, so the network may be right.
            Refusal: they come from within the network.
        """
        if got == takes:
            return
        if x.is_input:
            raise InvalidInput(
                f"points of shape {self.nodes[0].shape} have {got} {what} where the network's first layer, {self.call!r}, "
                f"takes {takes}",
                where="network and points",
                todo="Give points as the network takes them, (batch, *shape)",
            )
        shapes = f"activations of shape {x.shape} meet a weight of shape {tuple(weight.shape)}"
        raise Refusal("settings", shapes)

    def constant(self, value: Tensor | float, shape: Shape) -> Tensor:
        """A constant operand beside an expression of ``shape``, without its batch axis of size one.

        Raises:
            Refusal: it does not broadcast to ``shape``.
        """
        constant = self.tensor(value)
        if constant.dim() == len(shape) + 1 and constant.shape[0] == 1:
            constant = constant[0]
        try:
            fits = broadcast(constant.shape, torch.Size(shape)) == torch.Size(shape)
        except ValueError:
            fits = False
        if not fits:
            raise Refusal("settings", f"a constant of shape {tuple(constant.shape)} does not fit activations {shape}")
        return constant

    def input(self) -> Symbol:
        """The network's input as an expression."""
        shape = self.nodes[0].shape
        return self._symbol(0, shape)

    def affine(self, symbol: Symbol) -> int:
        """Adds the Affine node of an expression, and gives its index."""
        sources = tuple(symbol.terms)
        self.nodes.append(Affine(sources, tuple(symbol.terms.values()), symbol.bias, symbol.rounded_parts))
        return len(self.nodes) - 1

    def relu(self, symbol: Symbol, slope: float = 0.0) -> Symbol:
        """max(z, slope z), entry by entry.

        Raises:
            Refusal: the slope is not in [0, 1].
        """
        if not 0.0 <= slope <= 1.0:
            raise Refusal("settings", f"a ReLU with negative slope {slope:g}; 0 to 1 is covered")
        if slope == 1.0:
            return symbol
        return self._nonlinear(symbol, Relu(-1, symbol.shape, float(slope), self.call))

    def max_pool(self, symbol: Symbol, windows: Tensor, shape: Shape, mirrored: bool = False) -> Symbol:
        """The largest entry of each window; see ``MaxPool``.

        Args:
            symbol: what the windows lie in.
            windows: flat positions, ``(outputs, window)``.
            shape: of the result, without the batch axis.
            mirrored: whether the second half of ``symbol`` is the negative of the first.
        """
        return self._nonlinear(symbol, MaxPool(-1, windows, symbol.shape, shape, mirrored, self.call))

    def curved(self, symbol: Symbol, curve: Curve) -> Symbol:
        """f(z), entry by entry; factors and shifts around it are made by ``Symbol.scaled`` and ``shifted``."""
        return self._nonlinear(symbol, Curved(-1, symbol.shape, curve, self.call))

    def _nonlinear(self, symbol: Symbol, node: Relu | MaxPool | Curved) -> Symbol:
        """The expression of a nonlinear node, which is added unless one like it reads the same expression already.

        So what two networks on the same inputs both compute is one part. Where an activation is one number a point, the node
        holds a row of one entry.
        """
        if not symbol.terms:  # a constant
            return Symbol({}, node(symbol.bias))
        if 0 in node.shape:
            raise Refusal("settings", f"a layer without entries, of shape {node.shape}")
        if node.shape == ():
            row = symbol if symbol.shape else symbol.reshape((1,))
            return self._nonlinear(row, replace(node, shape=(1,))).reshape(())
        for affine in same_affine(self.nodes, symbol.terms, symbol.bias, symbol.rounded_parts):
            for index, other in enumerate(self.nodes):
                if same_kind(other, node) and getattr(other, "source", None) == affine:
                    return self._symbol(index, node.shape)
        self.nodes.append(replace(node, source=self.affine(symbol)))
        return self._symbol(len(self.nodes) - 1, node.shape)

    def moment(self, symbol: Symbol) -> Tensor:
        """The second moment of an expression without its bias, of its shape, if inputs and units were uncorrelated.

        That of an input is taken as 1, and that of a ReLU, a pool or a curve as the one of what it reads: it is used for
        its growth with the weights, which is that of the variance.
        """
        total = torch.zeros_like(symbol.bias)
        for index, map in symbol.terms.items():
            total = total + map.with_entries(torch.square)(self._node_moment(index))
        return total

    def _node_moment(self, index: int) -> Tensor:
        if index not in self._moments:
            match self.nodes[index]:
                case Input(shape=shape):
                    moment = self.like.new_ones(shape)
                case Affine() as node:
                    moment = self.moment(Symbol(dict(node.terms()), node.bias)) + node.bias.square()
                case Relu(source=source) | Curved(source=source):
                    moment = self._node_moment(source)
                case MaxPool(source=source) as node:
                    moment = node.members(self._node_moment(source)).mean(-1).reshape(node.shape)
            self._moments[index] = moment
        return self._moments[index]

    def graph(self, output: Symbol, name: str, of: str = "") -> Graph:
        # a network that squeezes its one output away returns one number a point: one output
        """The graph of all nodes that an output needs.

        Args:
            output: an expression; one of shape ``()`` becomes a row of one output.
            name: of the network.
            of: whose outputs they are, in words, where it is not one network.
        """
        self.affine(output.reshape((1,)) if output.shape == () else output)
        return Graph(without_unread_nodes(self.nodes), name, of=of)

    def _symbol(self, index: int, shape: Shape) -> Symbol:
        return Symbol({index: identity(shape, shape, self.like)}, self.like.new_zeros(shape))
