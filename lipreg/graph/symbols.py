"""Symbolic tensors: during lowering, a value is an affine expression over the nodes built so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lipreg.curves import Curve
from lipreg.errors import InvalidInput
from lipreg.graph.batches import BatchSize
from lipreg.graph.bias_parts import Parts, added_up, constant_parts, mapped
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Affine, Curved, Input, MaxPool, Node, Relu, same_kind
from lipreg.graph.registry import JUMPS, Refusal
from lipreg.graph.repeats import same_affine, without_unread_nodes
from lipreg.linalg import Diagonal, LinearMap, Shape, add, compose, identity
from lipreg.linalg.broadcasting import broadcast

T = TypeVar("T")


@dataclass(frozen=True)
class Symbol:
    """sum over terms of map(node) + bias, of ``shape`` without the batch axis.

    Linear layers extend the expression; only a nonlinearity turns it into an Affine node. So chains of linear layers
    fold themselves, and parallel branches over the same node add up to one map.
    """

    terms: dict[int, LinearMap]
    bias: Tensor
    bias_of: Parts = ()
    """As of ``Affine``: what the bias was added up from, where something can be proved of it."""
    multiple_of: tuple[Symbol, Tensor] | None = field(default=None, compare=False, repr=False)
    """The expression and the factor that it was made of by ``scaled``, and nothing since: choices by signs ask for it."""
    formula: tuple[str, Symbol, Any] | None = field(default=None, compare=False, repr=False)
    """What it is of another one, with a constant or None, as a step to what is written out (``lowerings.gates``)."""

    @property
    def shape(self) -> Shape:
        return tuple(self.bias.shape)

    @property
    def ndim(self) -> int:
        """Dimensions as the module sees them, with the batch axis."""
        return len(self.shape) + 1

    @property
    def is_input(self) -> bool:
        """Whether it is the network's input itself, or that in another shape."""
        return bool(self.terms) and all(
            i == 0 and isinstance(map, Diagonal) and map.unit for i, map in self.terms.items()
        )

    def then(self, map: LinearMap, bias: Tensor | None = None) -> Symbol:
        """map(self) + bias."""
        moved = map(self.bias)
        terms = {i: compose(map, old) for i, old in self.terms.items()}
        parts = tuple(mapped(map, own, part) for own, part in self._parts)
        if bias is None:
            return Symbol(terms, moved, parts)
        return Symbol(terms, moved + bias, parts + constant_parts(bias.expand(map.out_shape)))

    def reshape(self, shape: Shape) -> Symbol:
        return self.then(identity(self.shape, shape, self.bias))

    def scaled(self, factor: Tensor) -> Symbol:
        """self * factor, for a constant that broadcasts to ``shape``."""
        factor = factor.reshape((1,) * (len(self.shape) - factor.dim()) + tuple(factor.shape))
        return replace(self.then(Diagonal(factor, self.shape, self.shape)), multiple_of=(self, factor))

    def shifted(self, offset: Tensor) -> Symbol:
        """self + offset, for a constant that broadcasts to ``shape``."""
        return Symbol(self.terms, self.bias + offset, self._parts + constant_parts(offset.expand(self.shape)))

    def plus(self, other: Symbol) -> Symbol:
        """self + other, merging maps from the same node."""
        terms = dict(self.terms)
        for i, map in other.terms.items():
            terms[i] = add(terms[i], map) if i in terms else map
        return Symbol(terms, self.bias + other.bias, added_up(self._parts + other._parts, self.shape))

    @property
    def rounded_parts(self) -> Parts:
        """``bias_of``, where the bias is not exact."""
        exact = len(self.bias_of) < 2 and all(map is None for map, _ in self.bias_of)
        return () if exact else self.bias_of

    @property
    def _parts(self) -> Parts:
        return self.bias_of or constant_parts(self.bias)


class Unknown:
    """The value of a call that is not lowered: later calls are still checked, but not built."""


def is_zero(value: Any) -> bool:
    """Whether a constant is 0 everywhere, and not trained."""
    if isinstance(value, Tensor):
        return not value.requires_grad and not bool(value.any())
    return isinstance(value, int | float) and value == 0


class Places:
    """Where the largest entries lie, or in which order entries are, as ``torch.max`` and ``torch.sort`` tell: they jump."""


@dataclass(frozen=True, eq=False)
class Mask:
    """Where left > right, or where left < right; what holds where both are equal is not told.

    Attributes:
        right: an expression, or a constant as the module has it.
    """

    left: Symbol
    right: Any
    above: bool


@dataclass(frozen=True, eq=False)
class Part:
    """A step to an activation that is written out, without bounded slopes: a sum of ``terms`` of x with their factors
    (``lowerings.parts``). Where nothing comes of it, it is refused for ``why`` at the call that made it, ``at``.
    """

    x: Symbol
    terms: dict[str, float]
    why: str
    dtype: torch.dtype | None = None  # in which torch holds its numbers, where that is not the activations'
    curve: Curve | None = None  # that x times it makes, of a gate
    at: tuple[Any, str] | None = None


Symbolic = Symbol | Unknown | BatchSize | Places | Mask | Part
"""What stands for something that depends on the input while lowering."""


class Context:
    """What a lowering may do: bring constants into the graph's arithmetic, and add nonlinear nodes.

    Args:
        shape: input shape without the batch axis.
        like: a tensor in the dtype and on the device the graph is to have.
        frozen: detach and convert every constant (an audit's copy) instead of referring to it (training).
    """

    def __init__(self, shape: Shape, like: Tensor, frozen: bool) -> None:
        self.like, self.frozen = like, frozen
        self.nodes: list[Node] = [Input(shape)]
        self.call = ""  # the call that is being lowered, which names its nodes
        self.training = False  # whether it runs in training mode, and that was not waived
        self.moving = False  # whether it runs in training mode, that was waived, and gradients are asked for
        self.constant_weights = False  # whether it runs under torch.no_grad
        self._moments: dict[int, Tensor] = {}
        self._once: dict[Hashable, tuple[tuple[Symbol, ...], Any]] = {}

    def once(self, symbols: tuple[Symbol, ...], how: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives of these symbols in any order, made once: live weights do not tell what is the same."""
        key = how, *sorted(map(id, symbols))
        if key not in self._once:
            self._once[key] = symbols, make()  # which are kept, so that no other gets their ids
        return self._once[key][1]

    def tensor(self, value: Tensor | float) -> Tensor:
        """A parameter, buffer or number in the arithmetic of the graph; live graphs keep its autograd history."""
        if isinstance(value, Places):
            raise Refusal("never", "the places of the largest or sorted entries jump: they have no Lipschitz constant")
        if isinstance(value, Mask):
            raise Refusal("never", JUMPS)
        if isinstance(value, Tensor) and self.frozen:
            # a copy even of float64 parameters, which would train on otherwise
            return value.detach().to(self.like.device, self.like.dtype, copy=True)
        if isinstance(value, Tensor) and self.constant_weights:
            value = value.detach()
        return torch.as_tensor(value, dtype=self.like.dtype, device=self.like.device)

    def check_width(self, x: Symbol, got: int, takes: int, what: str, weight: Tensor) -> None:
        """Refuses activations of another number of features, or channels, than a layer takes.

        Raises:
            InvalidInput: they are the points themselves, so the network may be right.
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
        """A constant operand beside a symbol of ``shape``, without its batch axis of size one."""
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
        shape = self.nodes[0].shape
        return self._symbol(0, shape)

    def affine(self, symbol: Symbol) -> int:
        """Adds the Affine node of an expression; returns its index."""
        sources = tuple(symbol.terms)
        self.nodes.append(Affine(sources, tuple(symbol.terms.values()), symbol.bias, symbol.rounded_parts))
        return len(self.nodes) - 1

    def relu(self, symbol: Symbol, slope: float = 0.0) -> Symbol:
        """max(z, slope z), for 0 <= slope <= 1."""
        if not 0.0 <= slope <= 1.0:
            raise Refusal("settings", f"a ReLU with negative slope {slope:g}; 0 to 1 is covered")
        if slope == 1.0:
            return symbol
        return self._nonlinear(symbol, Relu(-1, symbol.shape, float(slope), self.call))

    def max_pool(self, symbol: Symbol, windows: Tensor, shape: Shape, mirrored: bool = False) -> Symbol:
        """The largest of each window; see ``MaxPool``."""
        return self._nonlinear(symbol, MaxPool(-1, windows, symbol.shape, shape, mirrored))

    def curved(self, symbol: Symbol, curve: Curve) -> Symbol:
        """f of every entry; factors and shifts before and behind it are the symbol's (``Symbol.scaled``, ``shifted``)."""
        return self._nonlinear(symbol, Curved(-1, symbol.shape, curve, self.call))

    def _nonlinear(self, symbol: Symbol, node: Relu | MaxPool | Curved) -> Symbol:
        """A node's symbol: of one that is there already, where it is of the same expression; of two networks on the same
        inputs what both compute is one part. Of one number a point the node holds a row of one."""
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
        """The second moment of an expression without its bias, of its shape, were inputs and units uncorrelated.

        An input's is taken as 1, and that of a ReLU, a pool or a curve as that of what it reads: with the weights it
        grows as the variance does, which is what it is for.
        """
        total = torch.zeros_like(symbol.bias)
        for index, map in symbol.terms.items():
            total = total + map.with_entries(torch.square)(self._node_moment(index))
        return total

    def _node_moment(self, index: int) -> Tensor:
        if index not in self._moments:
            match self.nodes[index]:
                case Input(shape=shape):
                    found = self.like.new_ones(shape)
                case Affine() as node:
                    found = self.moment(Symbol(dict(node.terms()), node.bias)) + node.bias.square()
                case Relu(source=source) | Curved(source=source):
                    found = self._node_moment(source)
                case MaxPool(source=source) as node:
                    found = node.members(self._node_moment(source)).mean(-1).reshape(node.shape)
            self._moments[index] = found
        return self._moments[index]

    def graph(self, output: Symbol, name: str, of: str = "") -> Graph:
        # a network that squeezes its one output away returns one number a point: one output
        self.affine(output.reshape((1,)) if output.shape == () else output)
        return Graph(without_unread_nodes(self.nodes), name, of=of)

    def _symbol(self, index: int, shape: Shape) -> Symbol:
        return Symbol({index: identity(shape, shape, self.like)}, self.like.new_zeros(shape))
