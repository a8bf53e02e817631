"""A network copied node by node, for transformations that write some kinds of nodes otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lipreg.graph.context import Context
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Affine, Curved, Relu
from lipreg.graph.passes import Forward
from lipreg.graph.symbols import Symbol


class Copying(Forward[Symbol]):
    """The rules that copy Affine, Relu and Curved nodes as they are; a subclass gives the rule for pools, or other rules.

    Args:
        graph: the network to copy.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.context = Context(graph.input_shape, graph.output.bias, frozen=False)

    def copied(self) -> Graph:
        """The copy. It carries the network's fingerprint, so it must be the same function over the region in question."""
        symbols = self.graph.forward({0: self.context.input()}, self)
        graph = self.context.graph(symbols[len(self.graph.nodes) - 1], self.graph.name)
        return replace(graph, original=self.graph.fingerprint())

    def affine(self, index: int, node: Affine, values: Mapping[int, Symbol]) -> Symbol:
        total = Symbol({}, node.bias, node.bias_of)
        for source, map in node.terms():
            total = total.plus(values[source].then(map))
        return total

    def relu(self, index: int, node: Relu, value: Symbol) -> Symbol:
        self.context.call = node.name
        return self.context.relu(value, node.slope)

    def curved(self, index: int, node: Curved, value: Symbol) -> Symbol:
        self.context.call = node.name
        return self.context.curved(value, node.curve)
