"""The two ways through a graph, with what happens at each kind of node as a table of rules.

From the input on, a value of any type goes from node to node. From the output back, the values that flow into a node along
several paths are added up. A method is a table that says what happens at an Affine, a Relu, a MaxPool and a Curved. The set
of kinds is closed, and a table that lacks one cannot be made.
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
    """What a pass from the input on does at each kind of node; a rule returns None where no value goes on from there."""

    @abstractmethod
    def affine(self, index: int, node: Affine, values: Mapping[int, V]) -> V | None:
        """The value of an Affine node.

        Args:
            index: of the node.
            node: the node.
            values: by index of those of its sources that have one.
        """

    @abstractmethod
    def relu(self, index: int, node: Relu, value: V) -> V | None:
        """The value of a Relu node.

        Args:
            index: of the node.
            node: the node.
            value: that of its source.
        """

    @abstractmethod
    def max_pool(self, index: int, node: MaxPool, value: V) -> V | None:
        """The value of a MaxPool node.

        Args:
            index: of the node.
            node: the node.
            value: that of its source.
        """

    @abstractmethod
    def curved(self, index: int, node: Curved, value: V) -> V | None:
        """The value of a Curved node.

        Args:
            index: of the node.
            node: the node.
            value: that of its source.
        """


class Backward(ABC, Generic[V]):
    """What a pass from the output back does at each kind of node; a rule returns None where nothing flows on from there."""

    @abstractmethod
    def back(self, map: LinearMap, value: V) -> V:
        """What flows into the source of a linear map, if ``value`` flows into its image."""

    @abstractmethod
    def relu(self, index: int, node: Relu, value: V) -> V | None:
        """What flows into the source of a Relu node.

        Args:
            index: of the node.
            node: the node.
            value: what flows into the node.
        """

    @abstractmethod
    def max_pool(self, index: int, node: MaxPool, value: V) -> V | None:
        """What flows into the source of a MaxPool node.

        Args:
            index: of the node.
            node: the node.
            value: what flows into the node.
        """

    @abstractmethod
    def curved(self, index: int, node: Curved, value: V) -> V | None:
        """What flows into the source of a Curved node.

        Args:
            index: of the node.
            node: the node.
            value: what flows into the node.
        """

    def affine(self, index: int, node: Affine, value: V) -> Iterable[tuple[int, V]]:
        """What flows into each source of an Affine node, by index of the source.

        Args:
            index: of the node.
            node: the node.
            value: what flows into the node.
        """
        return [(source, self.back(map, value)) for source, map in node.terms()]

    def join(self, one: V, other: V) -> V:
        """What flows into a node along two paths together: the sum, where a table has no other rule."""
        return one + other  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]


class UnitsAlike(ABC, Generic[V]):
    """One rule for Relu and Curved nodes, for passes that need no more of both than their slopes."""

    @abstractmethod
    def unit(self, index: int, value: V) -> V | None:
        """The rule at a Relu or Curved node, for its index and the value of the pass."""

    def relu(self, index: int, node: Relu, value: V) -> V | None:
        """The rule at a Relu node, which is ``unit``.

        Args:
            index: of the node.
            node: the node.
            value: of the pass.
        """
        return self.unit(index, value)

    def curved(self, index: int, node: Curved, value: V) -> V | None:
        """The rule at a Curved node, which is ``unit``.

        Args:
            index: of the node.
            node: the node.
            value: of the pass.
        """
        return self.unit(index, value)


class WithoutPools:
    """The rule at MaxPool nodes for methods that write pools out, or refuse them, before any pass."""

    def max_pool(self, index: int, node: MaxPool, value: Any) -> NoReturn:
        """Raises LipregError: no pass of such a method meets a MaxPool node.

        Args:
            index: of the node.
            node: the node.
            value: of the pass.
        """
        raise LipregError("a MaxPool node", where=type(self).__name__, todo="Write pools out first: without_pools")


class WithoutCurves:
    """The rule at Curved nodes for methods of linear pieces, whose estimators refuse such networks before any pass."""

    def curved(self, index: int, node: Curved, value: Any) -> NoReturn:
        """Raises LipregError: no pass of such a method meets a Curved node.

        Args:
            index: of the node.
            node: the node.
            value: of the pass.
        """
        todo = "Ask a method that takes Curved nodes"
        raise LipregError(f"a Curved node of {node.curve!r}", where=type(self).__name__, todo=todo)


def forward(nodes: Sequence[Node], seed: Mapping[int, V], rules: Forward[V], until: int | None = None) -> dict[int, V]:
    """The values of all nodes that a pass from the input on reaches, by index.

    Args:
        nodes: in topological order.
        seed: values of some nodes, of the Input as a rule; they are taken as they are.
        rules: what happens at each kind of node.
        until: the last node of the pass; None for all.
    """
    values = dict(seed)
    for index, node in enumerate(nodes if until is None else nodes[: until + 1]):
        if index in values:
            continue
        match node:
            case Input():
                value = None
            case Affine():
                value = rules.affine(index, node, {i: values[i] for i in node.sources if i in values})
            case Relu(source=source):
                value = rules.relu(index, node, values[source]) if source in values else None
            case MaxPool(source=source):
                value = rules.max_pool(index, node, values[source]) if source in values else None
            case Curved(source=source):
                value = rules.curved(index, node, values[source]) if source in values else None
            case _:
                assert_never(node)
        if value is not None:
            values[index] = value
    return values


def backward(nodes: Sequence[Node], seed: Iterable[tuple[int, V]], rules: Backward[V]) -> V | None:
    """What flows into the Input in a pass from the output back; None where nothing does.

    Args:
        nodes: in topological order.
        seed: what flows into some nodes, by index, into the output as a rule.
        rules: what happens at each kind of node.
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
