"""Nodes of an ONNX graph in an order in which each reads the values of nodes in front of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lipreg.errors import InvalidInput


def makers_of(nodes: Sequence[Any], given: Iterable[str], where: str) -> dict[str, int]:
    """Which node makes each value, by its place among the nodes.

    Args:
        nodes: as the file has them.
        given: names of the input and of constants.
        where: the file, for messages.

    Raises:
        InvalidInput: a value is made twice.
    """
    makers: dict[str, int] = {}
    taken = set(given)
    for i, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in taken:
                raise InvalidInput(f"{name!r} is made twice", where=where, accepted="one node for each value")
            taken.add(name)
            makers[name] = i
    return makers


def ordered(nodes: Sequence[Any], end: str, makers: Mapping[str, int], given: Iterable[str], where: str) -> list[Any]:
    """The nodes that a value needs, sorted; those of a sorted file in its own order.

    Args:
        nodes: as the file has them.
        end: the value.
        makers: the node of each value, as ``makers_of`` returns them.
        given: names of the input and of constants.
        where: the file, for messages.

    Raises:
        InvalidInput: a value that nothing makes, or nodes that wait for each other.
    """
    available = set(given)
    before: dict[int, set[int]] = {}
    pending = [makers[end]]
    while pending:
        i = pending.pop()
        if i in before:
            continue
        read = [name for name in nodes[i].input if name and name not in available]
        missing = next((name for name in read if name not in makers), None)
        if missing is not None:
            got = f"{nodes[i].op_type} reads {missing!r}, which nothing makes"
            raise InvalidInput(got, where=where, accepted="the input, constants of the file and what its nodes make")
        before[i] = {makers[name] for name in read}
        pending += before[i]
    return [nodes[i] for i in _sorted(before, nodes, where)]


def _sorted(before: dict[int, set[int]], nodes: Sequence[Any], where: str) -> list[int]:
    """The places of nodes, each behind those that it reads, else in the order of the file."""
    waiting, behind = {i: len(first) for i, first in before.items()}, {i: list[int]() for i in before}
    for i, first in before.items():
        for j in first:
            behind[j].append(i)
    ready = [i for i, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for i in behind[order[-1]]:
            waiting[i] -= 1
            if not waiting[i]:
                heapq.heappush(ready, i)
    in_cycles = sorted(set(before).difference(order))
    if in_cycles:
        names = ", ".join(f"{nodes[i].op_type} of {nodes[i].output[0]!r}" for i in in_cycles[:4])
        raise InvalidInput(f"nodes that wait for each other: {names}", where=where, accepted="a graph without a cycle")
    return order
