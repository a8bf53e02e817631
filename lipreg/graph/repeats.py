"""Calls of a trace and nodes of a graph that compute the same, so that it is computed once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.fx
from torch import Tensor

from lipreg.graph.nodes import Affine, Input, Node, read_nodes
from lipreg.linalg import LinearMap


def without_repeats(trace: torch.fx.Graph, *notes: str) -> torch.fx.Graph:
    """A trace, changed in place, in which a repeated call of the same thing with the same arguments is the first call.

    So what two networks share is one part of their difference, with one gradient.

    Args:
        trace: calls that write nowhere (``without_writes``).
        *notes: names of notes on calls (``meta``) that have to agree too.
    """
    first: dict[Hashable, torch.fx.Node] = {}
    for node in list(trace.nodes):
        if node.op not in ("call_module", "call_function", "call_method", "get_attr"):
            continue
        flags = tuple(bool(node.meta.get(name)) for name in notes)
        key = (node.op, node.target, _key(node.args), _key(node.kwargs), flags)
        try:
            earlier = first.setdefault(key, node)
        except TypeError:  # an argument that cannot be compared with others
            continue
        if earlier is not node:
            earlier.meta = {**node.meta, **earlier.meta}
            node.replace_all_uses_with(earlier)
            trace.erase_node(node)
    return trace


def without_unread(trace: torch.fx.Graph, note: str) -> torch.fx.Graph:
    """A trace, changed in place, without assertions and without calls whose results nobody reads.

    Args:
        trace: calls that write nowhere (``without_writes``).
        note: the name of a note (``meta``); a call that has it stays, for Python code has read something of it.
    """
    for node in reversed(list(trace.nodes)):
        asserted = node.target is torch._assert
        fixed = node.op in ("placeholder", "output") or note in node.meta
        if asserted or not (node.users or fixed):
            trace.erase_node(node)
    return trace


def without_unread_nodes(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes that the last one needs, itself and the Input, in their order and with their new indices as sources."""
    read = {0, len(nodes) - 1}
    for index in reversed(range(len(nodes))):
        if index in read:
            read |= set(read_nodes(nodes[index]))
    place = {old: new for new, old in enumerate(sorted(read))}
    renumbered: list[Node] = []
    for old in sorted(read):
        match nodes[old]:
            case Input() as node:
                renumbered.append(node)
            case Affine() as node:
                renumbered.append(replace(node, sources=tuple(place[source] for source in node.sources)))
            case node:
                renumbered.append(replace(node, source=place[node.source]))
    return tuple(renumbered)


def _key(value: Any) -> Hashable:
    """An argument as a key of a table, numbers with their types: 1, 1.0 and True are three arguments."""
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
    """The Affine nodes that compute the same expression, equal to the last place of every weight, with the same parameters.

    Args:
        nodes: of a graph, in order.
        terms: by source, the maps of the expression.
        bias: its bias.
        bias_of: the exact parts of the bias, where it is rounded.

    Returns:
        Indices of the nodes.
    """
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
    """Whether two biases have the same exact parts; see ``Affine.bias_of``."""
    if len(first) != len(second):
        return False
    return all(
        _same(part, other) and (_same_map(map, before) if map and before else map is before)
        for (map, part), (before, other) in zip(first, second, strict=True)
    )


def _same_map(first: LinearMap, second: LinearMap) -> bool:
    first, second = first.exact_form, second.exact_form
    return first.description == second.description and all(map(_same, first.entries, second.entries))


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal entry by entry, and one and the same where one of them is trained."""
    if first is second:
        return True
    trained = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
    return not trained and first.shape == second.shape and bool(torch.equal(first, second))
