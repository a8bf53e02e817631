"""A network with its inputs as further outputs: functionals of both tilt it by a multiple of an input."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from lipreg.graph.network import Graph
from lipreg.graph.nodes import Affine
from lipreg.linalg import Composed, Dense, LinearMap, Sum, add, compose, gather


def beside_inputs(graph: Graph) -> Graph:
    """The network x -> (f(x), x), its m outputs and then its n inputs, flat; it carries the fingerprint of ``graph``.

    The derivative of c . f + k x_j with respect to x_j is that of c . f, plus k: no entry of a weight is rounded.

    Args:
        graph: frozen.
    """
    old, inputs = graph.output, math.prod(graph.input_shape)
    outputs = math.prod(old.shape)
    shape, like = (outputs + inputs,), old.bias
    own = torch.cat([torch.arange(outputs), torch.full((inputs,), -1)])
    maps = {source: _padded(map, own, shape) for source, map in old.terms()}
    passed = gather(
        torch.cat([torch.full((outputs,), -1), torch.arange(inputs)]), tuple(graph.input_shape), shape, like
    )
    maps[0] = _joined(maps[0], passed) if 0 in maps else passed
    sources = tuple(sorted(maps))
    pad = gather(own, old.shape, shape, like)
    parts = tuple((pad if map is None else Composed(pad, map), part) for map, part in old.bias_of)
    output = Affine(sources, tuple(maps[source] for source in sources), pad(old.bias), parts)
    return replace(graph, nodes=(*graph.nodes[:-1], output), original=graph.fingerprint())


def _padded(map: LinearMap, places: torch.Tensor, shape: tuple[int, ...]) -> LinearMap:
    """The map with rows of zeros after its own."""
    pad = gather(places, map.out_shape, shape, map.entries[0])
    if isinstance(map, Dense):
        more = map.weight.new_zeros(shape[0] - len(map.weight), map.weight.shape[1])
        made_of = Composed(pad, map.exact_form) if map.rounded else None
        return Dense(torch.cat([map.weight, more]), map.in_shape, shape, made_of)
    # maps that are composed stay so: written out, their entries would be rounded
    return Composed(pad, map) if isinstance(map, Composed | Sum) else compose(pad, map)


def _joined(map: LinearMap, passed: LinearMap) -> LinearMap:
    return Sum(map, passed) if isinstance(map, Composed | Sum) else add(map, passed)
