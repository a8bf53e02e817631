"""Symbolic tensors: while lowering, a value is an affine expression over the nodes built so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lipreg.curves import Curve
from lipreg.graph.batch_size import BatchSize
from lipreg.graph.bias_parts import Parts, added_up, constant_parts, mapped
from lipreg.linalg import Diagonal, LinearMap, Shape, add, compose, identity


@dataclass(frozen=True)
class Symbol:
    """sum over terms of map(node) + bias, of ``shape`` without the batch axis.

    Linear layers extend the expression; only a nonlinearity turns it into an Affine node. So chains of linear layers
    fold themselves, and parallel branches over the same node add up to one map.

    Attributes:
        terms: by index of a node, its map.
        bias: of the expression's shape.
        bias_of: the exact parts of the bias, as of ``Affine``, where something can be proved of it.
        multiple_of: the expression and the factor where ``scaled`` has made it, and nothing else since; choices by signs
            read it.
        formula: the formula that it is of another expression, with a constant or None, where it is a step to an activation
            that is written out (``lowerings.gates``).
    """

    terms: dict[int, LinearMap]
    bias: Tensor
    bias_of: Parts = ()
    multiple_of: tuple[Symbol, Tensor] | None = field(default=None, compare=False, repr=False)
    formula: tuple[str, Symbol, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def shape(self) -> Shape:
        """The shape of the expression, without the batch axis."""
        return tuple(self.bias.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions as the module sees them, with the batch axis."""
        return len(self.shape) + 1

    @property
    def is_input(self) -> bool:
        """Whether it is the network's input itself, in this or another shape."""
        return bool(self.terms) and all(
            i == 0 and isinstance(map, Diagonal) and map.unit for i, map in self.terms.items()
        )

    def then(self, map: LinearMap, bias: Tensor | None = None) -> Symbol:
        """map(self) + bias; no bias for None."""
        moved = map(self.bias)
        terms = {i: compose(map, old) for i, old in self.terms.items()}
        parts = tuple(mapped(map, own, part) for own, part in self._parts)
        if bias is None:
            return Symbol(terms, moved, parts)
        return Symbol(terms, moved + bias, parts + constant_parts(bias.expand(map.out_shape)))

    def reshape(self, shape: Shape) -> Symbol:
        """The same entries in another shape, without the batch axis, of as many entries."""
        return self.then(identity(self.shape, shape, self.bias))

    def scaled(self, factor: Tensor) -> Symbol:
        """self * factor, for a constant that broadcasts to ``shape``."""
        factor = factor.reshape((1,) * (len(self.shape) - factor.dim()) + tuple(factor.shape))
        return replace(self.then(Diagonal(factor, self.shape, self.shape)), multiple_of=(self, factor))

    def shifted(self, offset: Tensor) -> Symbol:
        """self + offset, for a constant that broadcasts to ``shape``."""
        return Symbol(self.terms, self.bias + offset, self._parts + constant_parts(offset.expand(self.shape)))

    def plus(self, other: Symbol) -> Symbol:
        """self + other, of one shape, with the maps of a node added up."""
        terms = dict(self.terms)
        for i, map in other.terms.items():
            terms[i] = add(terms[i], map) if i in terms else map
        return Symbol(terms, self.bias + other.bias, added_up(self._parts + other._parts, self.shape))

    @property
    def rounded_parts(self) -> Parts:
        """``bias_of`` where the bias is rounded; empty where it is exact."""
        exact = len(self.bias_of) < 2 and all(map is None for map, _ in self.bias_of)
        return () if exact else self.bias_of

    @property
    def _parts(self) -> Parts:
        return self.bias_of or constant_parts(self.bias)


class Unknown:
    """The value of a call that is not lowered: calls behind it are still checked, but add no nodes."""


def is_zero(value: Any) -> bool:
    """Whether a constant is 0 everywhere, and not trained."""
    if isinstance(value, Tensor):
        return not value.requires_grad and not bool(value.any())
    return isinstance(value, int | float) and value == 0


class Indices:
    """The indices that ``torch.max`` and ``torch.sort`` return beside values: they jump, so no lowering takes them."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A comparison, left > right or left < right; what holds where both are equal is left undefined.

    Attributes:
        left: an expression.
        right: an expression, or a constant as the module has it.
        above: whether it is left > right.
    """

    left: Symbol
    right: Any
    above: bool


@dataclass(frozen=True, eq=False)
class Part:
    """A step to an activation that is written out, itself without bounded slopes: a sum of terms of x (``lowerings.parts``).

    Where it leads to no activation it is refused at the call that made it.

    Attributes:
        x: the expression that it is a function of.
        terms: by name, the factor of each term.
        why: the reason of the refusal.
        dtype: in which torch holds its numbers, where that is not the activations' own.
        curve: of a gate, the curve that x times it is a multiple of.
        at: the call that made it, and the name of what was called.
    """

    x: Symbol
    terms: dict[str, float]
    why: str
    dtype: torch.dtype | None = None
    curve: Curve | None = None
    at: tuple[Any, str] | None = None


Symbolic = Symbol | Unknown | BatchSize | Indices | Mask | Part
"""The kinds of values that depend on the input while lowering."""
