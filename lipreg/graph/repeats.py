"""What is computed twice, computed once: calls of a trace, and nodes of a graph."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.fx
from torch import Tensor

from lipreg.graph.nodes import Affine, Input, Node, read_nodes
from lipreg.linalg import LinearMap


def without_repeats(trace: torch.fx.Graph, *told_by: str) -> torch.fx.Graph:
    """A trace, in place, in which whatever calls the same thing with the same arguments again reads the first call.

    So what two networks share is one part of their difference, with one gradient.

    Args:
        trace: calls that write nowhere (``without_writes``).
        told_by: names of the notes on a call (``meta``) that make it another one.
    """
    first: dict[Hashable, torch.fx.Node] = {}
    for node in list(trace.nodes):
        if node.op not in ("call_module", "call_function", "call_method", "get_attr"):
            continue
        notes = tuple(bool(node.meta.get(name)) for name in told_by)
        key = (node.op, node.target, _key(node.args), _key(node.kwargs), notes)
        try:
            earlier = first.setdefault(key, node)
        except TypeError:  # an argument that cannot be told from others
            continue
        if earlier is not node:
            earlier.meta = {**node.meta, **earlier.meta}
            node.replace_all_uses_with(earlier)
            trace.erase_node(node)
    return trace


def without_unread(trace: torch.fx.Graph, kept_by: str) -> torch.fx.Graph:
    """A trace, in place, without calls whose results nobody reads: assertions and what they alone compute, other outputs.

    Args:
        trace: calls that write nowhere (``without_writes``).
        kept_by: name of the note on a call (``meta``) that something was read off it: it stays too.
    """
    for node in reversed(list(trace.nodes)):
        asserted = node.target is torch._assert
        fixed = node.op in ("placeholder", "output") or kept_by in node.meta
        if asserted or not (node.users or fixed):
            trace.erase_node(node)
    return trace


def without_unread_nodes(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Nodes in their order, without those that neither are the last nor lead to it; the input stays."""
    read = {0, len(nodes) - 1}
    for index in reversed(range(len(nodes))):
        if index in read:
            read |= set(read_nodes(nodes[index]))
    place = {old: new for new, old in enumerate(sorted(read))}
    found: list[Node] = []
    for old in sorted(read):
        match nodes[old]:
            case Input() as node:
                found.append(node)
            case Affine() as node:
                found.append(replace(node, sources=tuple(place[source] for source in node.sources)))
            case node:
                found.append(replace(node, source=place[node.source]))
    return tuple(found)


def _key(value: Any) -> Hashable:
    """An argument as something to look up: numbers by type too, for 1, 1.0 and True are three arguments."""
    if isinstance(value, tuple | list):
        return tuple(map(_key, value))
    if isinstance(value, dict):
        return tuple((name, _key(part)) for name, part in value.items())
    if isinstance(value, slice):
        return ("slice", _key(value.start), _key(value.stop), _key(value.step))
    return type(value), value


def same_affine(
    nodes: Sequence[Node],
    terms: Mapping[int, LinearMap],
    bias: Tensor,
    bias_of: Sequence[tuple[LinearMap | None, Tensor]] = (),
) -> list[int]:
    """The Affine nodes that compute the same, to the last place of every weight, and train no other ones."""
    return [
        i
        for i, node in enumerate(nodes)
        if isinstance(node, Affine)
        and set(node.sources) == set(terms)
        and _same(node.bias, bias)
        and same_parts(node.bias_of, bias_of)
        and all(_same_map(map, terms[source]) for source, map in node.terms())
    ]


def same_parts(
    first: Sequence[tuple[LinearMap | None, Tensor]], second: Sequence[tuple[LinearMap | None, Tensor]]
) -> bool:
    """Whether two biases were added up from the same; see ``Affine``."""
    if len(first) != len(second):
        return False
    return all(
        _same(part, other) and (_same_map(map, before) if map and before else map is before)
        for (map, part), (before, other) in zip(first, second, strict=True)
    )


def _same_map(first: LinearMap, second: LinearMap) -> bool:
    first, second = first.exactly, second.exactly
    return first.description == second.description and all(map(_same, first.entries, second.entries))


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are the same number by number, and one parameter where they are trained."""
    if first is second:
        return True
    trained = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
    return not trained and first.shape == second.shape and bool(torch.equal(first, second))
