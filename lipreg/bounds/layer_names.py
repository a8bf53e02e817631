"""Names of the layers of a graph, for the details of results: by the calls that their ReLUs, pools and curves came from."""

from __future__ import annotations

from collections.abc import Iterable

from lipreg.graph import Affine, Curved, Graph, Input, Relu
from lipreg.words import listed


def layers_named(graph: Graph, indices: Iterable[int]) -> str:
    """Nodes in words, the first few of many: "'relu_1', 'relu_2' and the input"."""
    return listed([_name(graph, index) for index in indices])


def _name(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    if isinstance(node, Affine):
        read_by = [i for i, other in (*graph.entrywise(), *graph.pools()) if other.source == index]
        last = "the output" if index == len(graph.nodes) - 1 else f"node {index}"
        return f"before {_name(graph, read_by[0])}" if read_by else last
    if isinstance(node, Input):
        return "the input"
    if isinstance(node, Relu):
        return repr(node.name) if node.name else f"the ReLU at node {index}"
    if isinstance(node, Curved):
        return repr(node.name) if node.name else f"the {node.curve!r} at node {index}"
    return repr(node.name) if node.name else f"the max pool at node {index}"
