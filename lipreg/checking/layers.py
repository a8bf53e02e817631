"""The nodes of a network as a file has them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from lipreg.checking.network import Affine, Map, Matrix, MaxPool, Node, Product, Relu, Sum
from lipreg.checking.plain import array, count, fields, items, pair
from lipreg.checking.refusal import Refused


def node_of(plain: Any, sizes: list[int], where: str) -> Node:
    """A node as the check goes through it.

    Args:
        plain: its plain data.
        sizes: of the nodes before it, the input first; these alone may be its sources.
        where: its place in the file, for errors.

    Raises:
        Refused: it is malformed.
    """
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if kind == "affine":
        _, size, terms, bias = fields(plain, "kind size terms bias", where)
        rows = count(size, where)
        parts = [_term(pair(term, where), sizes, rows, where) for term in items(terms, where)]
        constants = []
        for map, part in (pair(each, where) for each in items(bias, where)):
            through = None if map is None else _mapped(map, rows, None, where)
            constants.append((through, array(part, where, (through.inputs if through else rows,))))
        if not constants:
            raise Refused("no bias", where)
        return Affine(tuple(parts), tuple(constants), rows)
    if kind == "relu":
        _, source, slope = fields(plain, "kind source slope", where)
        before, number = count(source, where, 0, len(sizes)), float(array(slope, where, (1,))[0])
        if not 0 <= number < 1:
            raise Refused(f"a slope of {number}", where)
        return Relu(before, number, sizes[before])
    _, source, windows = fields(plain, "kind source windows", where)
    if kind != "maxpool":
        raise Refused(f"a node of kind {kind!r}", where)
    before = count(source, where, 0, len(sizes))
    listed = [[count(i, where, 0, sizes[before]) for i in items(window, where)] for window in items(windows, where)]
    if not listed or not listed[0] or len({len(window) for window in listed}) != 1:
        raise Refused("windows of no or of several lengths", where)
    return MaxPool(before, np.array(listed, dtype=int))


def _term(term: tuple[Any, Any], sizes: list[int], rows: int, where: str) -> tuple[int, Map]:
    source = count(term[0], where, 0, len(sizes))
    return source, _mapped(term[1], rows, sizes[source], where)


def _mapped(plain: Any, outputs: int, inputs: int | None, where: str) -> Map:
    """A map between so many numbers."""
    mapped = _map(plain, where)
    if mapped.outputs != outputs or inputs not in (None, mapped.inputs):
        raise Refused(
            f"a map from {mapped.inputs} to {mapped.outputs} numbers in place of {inputs} to {outputs}", where
        )
    return mapped


def _map(plain: Any, where: str) -> Map:
    if isinstance(plain, dict) and len(plain) == 1:
        ((kind, listed),) = plain.items()
        maps = tuple(_map(part, where) for part in items(listed, where))
        if kind == "product" and maps and all(a.inputs == b.outputs for a, b in itertools.pairwise(maps)):
            return Product(maps[0].outputs, maps[-1].inputs, maps)
        if kind == "sum" and len({(map.outputs, map.inputs) for map in maps}) == 1:
            return Sum(maps[0].outputs, maps[0].inputs, maps)
        raise Refused(f"a {kind} of maps that do not fit", where)
    if isinstance(plain, dict) and "rows" in plain:
        shape, *positions, values = fields(plain, "shape rows columns values", where)
        sizes = [count(n, where) for n in pair(shape, where)]
        rows, columns = (
            [count(i, where, 0, n) for i in items(p, where)] for p, n in zip(positions, sizes, strict=True)
        )
        order = [i * sizes[1] + j for i, j in zip(rows, columns, strict=False)]
        if len(rows) != len(columns) or any(a >= b for a, b in itertools.pairwise(order)):
            raise Refused("positions that are not in order", where)
        return Matrix(
            sizes[0],
            sizes[1],
            array(values, where, (len(rows),)),
            np.array(rows, dtype=int),
            np.array(columns, dtype=int),
        )
    values = array(plain, where, (None, None))
    place = np.indices(values.shape).reshape(2, -1)
    return Matrix(values.shape[0], values.shape[1], values.ravel(), place[0], place[1])
