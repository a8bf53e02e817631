"""The two ways through a graph, with what happens at each kind of node as a table of rules.

From the input on a value of any type goes from node to node; from the output back whatever flows is added up where paths
meet. A method is a table that says what happens at an Affine, a Relu, a MaxPool and a Curved: the kinds are closed, so a
table that lacks one is no table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NoReturn, TypeVar, assert_never

from lipreg.errors import LipregError
from lipreg.graph.nodes import Affine, Curved, Input, MaxPool, Node, Relu
from lipreg.linalg import LinearMap

V = TypeVar("V")


class Forward(ABC, Generic[V]):
    """What a pass from the input on does at each kind of node; None says that nothing goes on from there."""

    @abstractmethod
    def affine(self, index: int, node: Affine, values: Mapping[int, V]) -> V | None:
        """The value of an Affine node from those of its sources that have one; others are not in the mapping."""

    @abstractmethod
    def relu(self, index: int, node: Relu, value: V) -> V | None:
        """The value of a Relu node from that of its source."""

    @abstractmethod
    def max_pool(self, index: int, node: MaxPool, value: V) -> V | None:
        """The value of a MaxPool node from that of its source."""

    @abstractmethod
    def curved(self, index: int, node: Curved, value: V) -> V | None:
        """The value of a Curved node from that of its source."""


class Backward(ABC, Generic[V]):
    """What a pass from the output back does at each kind of node; None says that nothing flows on from there."""

    @abstractmethod
    def back(self, map: LinearMap, value: V) -> V:
        """What flows into the source of a linear map."""

    @abstractmethod
    def relu(self, index: int, node: Relu, value: V) -> V | None:
        """What flows into the source of a Relu node."""

    @abstractmethod
    def max_pool(self, index: int, node: MaxPool, value: V) -> V | None:
        """What flows into the source of a MaxPool node."""

    @abstractmethod
    def curved(self, index: int, node: Curved, value: V) -> V | None:
        """What flows into the source of a Curved node."""

    def affine(self, index: int, node: Affine, value: V) -> Iterable[tuple[int, V]]:
        """What flows into each source of an Affine node."""
        return [(source, self.back(map, value)) for source, map in node.terms()]

    def join(self, one: V, other: V) -> V:
        """What two paths into one node make together: their sum."""
        return one + other  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]


class UnitsAlike(ABC, Generic[V]):
    """Relu and Curved nodes by one rule, ``unit``: in passes that know of both no more than how steep they are."""

    @abstractmethod
    def unit(self, index: int, value: V) -> V | None:
        """What the pass makes of its value at a unit."""

    def relu(self, index: int, node: Relu, value: V) -> V | None:
        return self.unit(index, value)

    def curved(self, index: int, node: Curved, value: V) -> V | None:
        return self.unit(index, value)


class WithoutPools:
    """The rule at MaxPool nodes of those methods that have them written out, or refuse them, before any pass."""

    def max_pool(self, index: int, node: MaxPool, value: Any) -> NoReturn:
        raise LipregError("a MaxPool node", where=type(self).__name__, todo="Write pools out first: without_pools")


class WithoutCurves:
    """The rule at Curved nodes of methods of linear pieces: the estimators that run them refuse such networks first."""

    def curved(self, index: int, node: Curved, value: Any) -> NoReturn:
        todo = "Ask a method that takes Curved nodes"
        raise LipregError(f"a Curved node of {node.curve!r}", where=type(self).__name__, todo=todo)


def forward(nodes: Sequence[Node], seed: Mapping[int, V], rules: Forward[V], until: int | None = None) -> dict[int, V]:
    """The values of all nodes that one reaches, by index.

    Args:
        nodes: in topological order.
        seed: values of some nodes, of the Input as a rule; they are taken as they are.
        until: the last node of the pass; None for all.
    """
    found = dict(seed)
    for index, node in enumerate(nodes if until is None else nodes[: until + 1]):
        if index in found:
            continue
        match node:
            case Input():
                value = None
            case Affine():
                value = rules.affine(index, node, {i: found[i] for i in node.sources if i in found})
            case Relu(source=source):
                value = rules.relu(index, node, found[source]) if source in found else None
            case MaxPool(source=source):
                value = rules.max_pool(index, node, found[source]) if source in found else None
            case Curved(source=source):
                value = rules.curved(index, node, found[source]) if source in found else None
            case _:
                assert_never(node)
        if value is not None:
            found[index] = value
    return found


def backward(nodes: Sequence[Node], seed: Iterable[tuple[int, V]], rules: Backward[V]) -> V | None:
    """What flows into the Input; None where nothing does.

    Args:
        nodes: in topological order.
        seed: what flows into some nodes, of the output as a rule.
    """
    flowing: dict[int, V] = {}

    def pour(index: int, value: V | None) -> None:
        if value is not None:
            flowing[index] = rules.join(flowing[index], value) if index in flowing else value

    for index, value in seed:
        pour(index, value)
    for index in range(max(flowing, default=0), -1, -1):
        if index not in flowing:
            continue
        node, value = nodes[index], flowing.pop(index)
        match node:
            case Input():
                return value
            case Affine():
                for source, part in rules.affine(index, node, value):
                    pour(source, part)
            case Relu():
                pour(node.source, rules.relu(index, node, value))
            case MaxPool():
                pour(node.source, rules.max_pool(index, node, value))
            case Curved():
                pour(node.source, rules.curved(index, node, value))
            case _:
                assert_never(node)
    return None
