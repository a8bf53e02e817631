"""All of R^n as a cone: a network with its biases times one more input s, which scales as its inputs do.

x = u / s with s > 0 is any point of R^n, in many ways. ReLUs, leaky ReLUs and max pools commute with factors s > 0, so with
every bias times s the pre-activations at (u, s) are s times those of the network at u / s: of the same signs, and its
Jacobian in u is the network's own at u / s. The network in (u, s) has no biases, so its Jacobian is the same along every ray
from the origin, and a few bounded boxes that together meet every ray cover all of R^n.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from lipreg.graph.network import Graph
from lipreg.graph.nodes import Affine, Input, Node
from lipreg.linalg import Composed, Dense, LinearMap, Sum, add, compose, gather


def homogenised(graph: Graph, unit: float) -> Graph:
    """The network over (u, s), ``(n + 1,)`` numbers, with x = u / (unit s); it carries the fingerprint of ``graph``.

    Args:
        graph: frozen.
        unit: biases are multiplied by it too, a power of two, so that no weight is rounded.
    """
    nodes: list[Node] = [Input((math.prod(graph.input_shape) + 1,))]
    nodes += [_without_bias(node, graph, unit) if isinstance(node, Affine) else node for node in graph.nodes[1:]]
    return replace(graph, nodes=tuple(nodes), original=graph.fingerprint())


def kink_unit(graph: Graph) -> float:
    """The power of two nearest to 1 / d in the logarithm, with d the median of |bias| / |weights|_1 over units; else 1.

    Only ReLUs that read the input itself count: d is the distance from the origin, in the maximum norm, of a typical kink.
    """
    distances_by_node = []
    for _, node in graph.relus():
        affine = graph.affine(node.source)
        if affine.sources == (0,):
            size = affine.maps[0].abs()(torch.ones(graph.input_shape, dtype=graph.dtype)).flatten()
            bias = affine.bias.abs().flatten()
            distances_by_node.append((bias / size)[(size > 0) & (bias > 0)])
    distances = torch.cat(distances_by_node) if distances_by_node else torch.ones(0)
    distances = distances[torch.isfinite(distances) & (distances > 0)]
    return 1.0 if not len(distances) else 2.0 ** -round(math.log2(float(distances.median())))


def _without_bias(node: Affine, graph: Graph, unit: float) -> Affine:
    """The node with its bias as a map of s, beside what it reads of the input."""
    sources, maps = list(node.sources), list(node.maps)
    column = _column(node, math.prod(graph.input_shape), unit)
    if 0 in sources:
        at = sources.index(0)
        maps[at] = _beside(maps[at], column)
    elif bool(column.weight.any()):
        sources.insert(0, 0)
        maps.insert(0, column)
    return Affine(tuple(sources), tuple(maps), torch.zeros_like(node.bias))


def _beside(map: LinearMap, column: Dense) -> LinearMap:
    """(u, s) -> map u + column s."""
    inputs = math.prod(map.in_shape)
    reads = gather(torch.arange(inputs), (inputs + 1,), map.in_shape, column.weight)
    if isinstance(map, Dense):
        whole = Dense(torch.cat([map.weight, column.weight[:, -1:]], 1), (inputs + 1,), map.out_shape)
        if not (map.rounded or column.rounded):
            return whole
        return replace(whole, made_of=Sum(Composed(map.exact_form, reads), column.exact_form))
    of_u = compose(map, reads)
    # maps that are composed stay so: written out, their entries would be rounded
    return Sum(of_u, column) if isinstance(of_u, Composed | Sum) else add(of_u, column)


def _column(node: Affine, inputs: int, unit: float) -> Dense:
    """(u, s) -> unit bias s, with the exact parts of the bias where it has some."""

    def written(constant: Tensor) -> Dense:
        column = (constant * unit).flatten().unsqueeze(1)
        weight = torch.cat([column.new_zeros(len(column), inputs), column], 1)
        return Dense(weight, (inputs + 1,), tuple(constant.shape))

    parts: list[LinearMap] = [
        written(part) if map is None else Composed(map, written(part)) for map, part in node.bias_of
    ]
    return replace(written(node.bias), made_of=reduce(Sum, parts) if parts else None)
