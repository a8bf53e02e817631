"""The network in whole numbers: every node as a form over a few variables, its ReLUs decided by a ``Decider``.

A ReLU does not mind powers of two: relu(2^s z) = 2^s relu(z). So every node is held times a power of two of its own that
makes it a form with whole coefficients, and nothing is rounded anywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipreg.checking.integers import Array, integers, shifted, zeros


@dataclass(frozen=True)
class WholeNumberForms:
    """Forms in whole numbers.

    Attributes:
        rows: times 2^bits: constants, then coefficients of the displacements, then of units that are not decided.
        bits: of all rows.
    """

    rows: Array
    bits: int

    def __add__(self, other: WholeNumberForms) -> WholeNumberForms:
        bits, width = max(self.bits, other.bits), max(self.rows.shape[1], other.rows.shape[1])
        one, two = (shifted(_padded(part.rows, width), bits - part.bits) for part in (self, other))
        return WholeNumberForms(one + two, bits)

    def __neg__(self) -> WholeNumberForms:
        return WholeNumberForms(-self.rows, self.bits)

    def __getitem__(self, index: Array) -> WholeNumberForms:
        return WholeNumberForms(self.rows[index], self.bits)


@dataclass(frozen=True)
class Map(ABC):
    """A linear map.

    Attributes:
        outputs, inputs: how many numbers it returns, and takes.
    """

    outputs: int
    inputs: int

    @abstractmethod
    def __call__(self, forms: WholeNumberForms) -> WholeNumberForms:
        """Its value."""


@dataclass(frozen=True)
class Matrix(Map):
    """A matrix of shape ``(outputs, inputs)`` by its entries.

    Attributes:
        values: float64.
        rows, columns: where each stands, row by row; all others are 0.
    """

    values: Array
    rows: Array
    columns: Array

    def __call__(self, forms: WholeNumberForms) -> WholeNumberForms:
        weights, bits = integers(self.values)
        product = zeros(self.outputs, forms.rows.shape[1])
        if len(weights) == self.outputs * self.inputs:
            return WholeNumberForms(weights.reshape(self.outputs, self.inputs) @ forms.rows, forms.bits + bits)
        for row, start, end in _runs(self.rows):
            product[row] = weights[start:end] @ forms.rows[self.columns[start:end]]
        return WholeNumberForms(product, forms.bits + bits)


@dataclass(frozen=True)
class Product(Map):
    """Several maps one after the other.

    Attributes:
        maps: the last one goes first.
    """

    maps: tuple[Map, ...]

    def __call__(self, forms: WholeNumberForms) -> WholeNumberForms:
        for map in reversed(self.maps):
            forms = map(forms)
        return forms


@dataclass(frozen=True)
class Sum(Map):
    """Several maps of one input, added up.

    Attributes:
        maps: of one shape.
    """

    maps: tuple[Map, ...]

    def __call__(self, forms: WholeNumberForms) -> WholeNumberForms:
        total = self.maps[0](forms)
        for map in self.maps[1:]:
            total = total + map(forms)
        return total


@dataclass(frozen=True)
class Affine:
    """The sum of maps of other nodes, and of constants.

    Attributes:
        terms: sources, each with its map.
        bias: constants, each with the map that it goes through; None for the identity.
        size: how many numbers it has.
    """

    terms: tuple[tuple[int, Map], ...]
    bias: tuple[tuple[Map | None, Array], ...]
    size: int


@dataclass(frozen=True)
class Relu:
    """max(z, slope z), 0 <= slope < 1.

    Attributes:
        source: the node that it reads.
        slope: below 0.
        size: how many numbers it has.
    """

    source: int
    slope: float
    size: int


@dataclass(frozen=True)
class MaxPool:
    """The largest of each window.

    Attributes:
        source: the node that it reads.
        windows: flat positions, ``(outputs, window)``.
    """

    source: int
    windows: Array

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return len(self.windows)


Node = Affine | Relu | MaxPool


class Decider(ABC):
    """What is made of the ReLUs that a walk meets."""

    @abstractmethod
    def relu(self, z: WholeNumberForms) -> WholeNumberForms:
        """relu(z), of units that are numbered on; called in a fixed order."""


def walk(nodes: Sequence[Node], center: Array, bits: int, movable: Array, decider: Decider) -> WholeNumberForms:
    """The last node over the displacements from a center, which are held times 2^bits.

    Args:
        nodes: node 0 is the input, node k + 1 is ``nodes[k]``.
        center: ``(n,)`` float64, whose numbers have at most ``bits`` bits behind the point.
        bits: of the displacements.
        movable: which coordinates have displacements, ``(n,)``.
        decider: of the ReLUs.
    """
    numbers, own = integers(center)
    start = zeros(len(center), 1 + int(movable.sum()))
    start[:, 0] = shifted(numbers, bits - own)
    for column, coordinate in enumerate(np.flatnonzero(movable)):
        start[coordinate, 1 + column] += 1
    values = [WholeNumberForms(start, bits)]
    for node in nodes:
        match node:
            case Affine(terms=terms, bias=bias):
                value = WholeNumberForms(zeros(node.size, start.shape[1]), 0)
                for part in (*(map(values[source]) for source, map in terms), *(_constant(*each) for each in bias)):
                    value = value + part
            case Relu(source=source, slope=slope):
                value = _leaky_relu(values[source], slope, decider)
            case MaxPool(source=source, windows=windows):
                value = values[source][windows[:, 0]]
                for member in windows.T[1:]:  # max(a, b) = a + relu(b - a)
                    value = value + decider.relu(values[source][member] + -value)
        values.append(value)
    return values[-1]


def _leaky_relu(z: WholeNumberForms, slope: float, decider: Decider) -> WholeNumberForms:
    """slope z + (1 - slope) relu(z)."""
    own = decider.relu(z)
    if not slope:
        return own
    above, below = float(slope).as_integer_ratio()
    bits = below.bit_length() - 1
    return WholeNumberForms(z.rows * above, z.bits + bits) + WholeNumberForms(
        own.rows * (below - above), own.bits + bits
    )


def _constant(map: Map | None, floats: Array) -> WholeNumberForms:
    numbers, bits = integers(floats)
    forms = WholeNumberForms(numbers.reshape(-1, 1), bits)
    return forms if map is None else map(forms)


def _padded(rows: Array, width: int) -> Array:
    missing = width - rows.shape[1]
    return np.concatenate([rows, zeros(len(rows), missing)], 1) if missing else rows


def _runs(rows: Array) -> list[tuple[int, int, int]]:
    """(row, start, end) of equal neighbours."""
    cuts = np.flatnonzero(np.diff(rows)) + 1
    starts, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(rows)]
    return [(int(rows[a]), a, b) for a, b in zip(starts, ends, strict=True) if b > a]
