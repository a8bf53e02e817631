"""Networks as lists of operations on a vector, their exact values, and their linear pieces over a polytope.

The weights are float64 numbers taken as what they are: whole numbers times a power of two. On a piece every entry of the
vector is an affine form in the inputs with such coefficients, so it is a row of integers over one common power of two, and
a piece is where the rows that decide the units have their signs (``polytopes``).

Nothing here uses lipreg.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tests.attacks.polytopes import Polytope, Row, dot, integral, row_in_units

Ends = list[tuple[Fraction, Fraction]]


@dataclass(frozen=True, eq=False)
class Affine:
    """v -> weight v + bias."""

    weight: np.ndarray
    bias: np.ndarray
    scale: int = field(init=False)  # the integers are the numbers times 2^scale
    whole: list[list[int]] = field(init=False)
    offset: list[int] = field(init=False)

    def __post_init__(self) -> None:
        scale, numbers = dyadic([*self.weight.ravel().tolist(), *self.bias.tolist()])
        outputs, inputs = self.weight.shape
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "whole", [numbers[i * inputs : (i + 1) * inputs] for i in range(outputs)])
        object.__setattr__(self, "offset", numbers[outputs * inputs :])


@dataclass(frozen=True)
class Relu:
    """v -> max(v, leak v), 0 <= leak < 1."""

    leak: float = 0.0


@dataclass(frozen=True)
class MaxPool:
    """v -> the largest of each run of ``size`` neighbours."""

    size: int


@dataclass(frozen=True)
class Keep:
    """Remembers v for the ``Add`` that belongs to it."""


@dataclass(frozen=True)
class Add:
    """v -> v plus what the last open ``Keep`` remembered."""


Program = Sequence[Affine | Relu | MaxPool | Keep | Add]


@dataclass(frozen=True)
class Piece:
    """Where the network is affine: on the polytope its outputs are the rows' forms over 2^scale."""

    polytope: Polytope
    rows: tuple[Row, ...]
    scale: int

    def in_units(self, scale: int, units: Sequence[int]) -> Piece:
        """The same in coordinates x_i / u_i, of units u_i over 2^scale."""
        rows = tuple(row_in_units(row, scale, units) for row in self.rows)
        return Piece(self.polytope.in_units(scale, units), rows, self.scale + scale)

    def outputs(self, point: Row) -> list[Fraction]:
        """The outputs at a homogeneous point of it."""
        return [Fraction(dot(row, point), point[-1] << self.scale) for row in self.rows]


def dyadic(numbers: Sequence[float]) -> tuple[int, list[int]]:
    """(k, whole numbers), the numbers being the whole ones times 2^-k."""
    ratios = [float(a).as_integer_ratio() for a in numbers]
    scale = max((d.bit_length() - 1 for _, d in ratios), default=0)
    return scale, [n << (scale - d.bit_length() + 1) for n, d in ratios]


def identity(point: Sequence[float], free: Sequence[int]) -> tuple[list[Row], int]:
    """The inputs as forms of the free ones; the others stay where the point has them."""
    scale, numbers = dyadic(point)
    rows = []
    for i, number in enumerate(numbers):
        row = [0] * (len(free) + 1)
        if i in free:
            row[free.index(i)] = 1 << scale
        else:
            row[-1] = number
        rows.append(tuple(row))
    return rows, scale


def pieces(
    program: Program, polytope: Polytope, rows: Sequence[Row], scale: int, ranges: dict[int, Ends] | None = None
) -> Iterator[Piece]:
    """The full-dimensional linear pieces over a polytope.

    Args:
        rows, scale: the inputs as forms over the polytope.
        ranges: gets for the position of every ReLU the least and largest value of each of its units.
    """
    return _descend(program, 0, polytope, list(rows), scale, [], ranges)


def _descend(
    program: Program,
    at: int,
    polytope: Polytope,
    rows: list[Row],
    scale: int,
    kept: list[tuple[list[Row], int]],
    ranges: dict[int, Ends] | None,
) -> Iterator[Piece]:
    for position in range(at, len(program)):
        match program[position]:
            case Affine() as map:
                rows, scale = _mapped(map, rows, scale), scale + map.scale
            case Keep():
                kept = [*kept, (rows, scale)]
            case Add():
                kept, (others, other) = kept[:-1], kept[-1]
                rows, scale = _sum(rows, scale, others, other)
            case Relu(leak):
                if ranges is not None:
                    _extend(ranges, position, polytope, rows, scale)
                down, (slope,) = dyadic([leak])
                for part, on in _signs(polytope, rows):
                    bent = [_times(row, 1 << down if o else slope) for row, o in zip(rows, on, strict=True)]
                    yield from _descend(program, position + 1, part, bent, scale + down, kept, ranges)
                return
            case MaxPool(size):
                for part, chosen in _largest(polytope, rows, size):
                    yield from _descend(program, position + 1, part, chosen, scale, kept, ranges)
                return
    yield Piece(polytope, tuple(rows), scale)


def _mapped(map: Affine, rows: list[Row], scale: int) -> list[Row]:
    columns = list(zip(*rows, strict=True))
    mapped = []
    for weights, offset in zip(map.whole, map.offset, strict=True):
        row = [sum(w * a for w, a in zip(weights, column, strict=True) if a) for column in columns]
        row[-1] += offset << scale
        mapped.append(tuple(row))
    return mapped


def _sum(rows: list[Row], scale: int, others: list[Row], other: int) -> tuple[list[Row], int]:
    up, down = max(0, other - scale), max(0, scale - other)
    pairs = zip(rows, others, strict=True)
    return [tuple((a << up) + (b << down) for a, b in zip(*pair, strict=True)) for pair in pairs], scale + up


def _signs(polytope: Polytope, rows: list[Row]) -> list[tuple[Polytope, list[bool]]]:
    """The parts on which every unit has one sign. Where a form is 0 the sign makes no difference."""
    parts: list[tuple[Polytope, list[bool]]] = [(polytope, [])]
    for row in rows:
        grown = []
        for part, on in parts:
            sides = part.split(row) if any(row) else (None, part)
            grown += [(side, [*on, o]) for side, o in zip(sides, (True, False), strict=True) if side is not None]
        parts = grown
    return parts


def _largest(polytope: Polytope, rows: list[Row], size: int) -> list[tuple[Polytope, list[Row]]]:
    """The parts on which the largest of each window is one of its members."""
    parts: list[tuple[Polytope, list[Row]]] = [(polytope, [])]
    for first in range(0, len(rows) - size + 1, size):
        for row in range(first, first + size):
            grown = []
            for part, chosen in parts:
                if row == first:
                    grown.append((part, [*chosen, rows[row]]))
                    continue
                apart = tuple(a - b for a, b in zip(rows[row], chosen[-1], strict=True))
                sides = part.split(apart) if any(apart) else (None, part)
                best = (rows[row], chosen[-1])
                grown += [(s, [*chosen[:-1], b]) for s, b in zip(sides, best, strict=True) if s is not None]
            parts = grown
    return parts


def _times(row: Row, factor: int) -> Row:
    return tuple(a * factor for a in row)


def _extend(ranges: dict[int, Ends], position: int, polytope: Polytope, rows: list[Row], scale: int) -> None:
    found = []
    for row in rows:
        values = [Fraction(dot(row, v), v[-1] << scale) for v in polytope.vertices]
        found.append((min(values), max(values)))
    if position in ranges:
        found = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(found, ranges[position], strict=True)]
    ranges[position] = found


class OnKink(Exception):
    """The point lies where the network bends, or may."""


def piece_at(program: Program, point: Sequence[float], free: Sequence[int]) -> tuple[list[Row], int]:
    """The outputs as forms in the free inputs on the piece that holds a point in its interior, over a power of two.

    Raises:
        OnKink: a unit that moves is 0 there, or the largest of a pool is not alone.
    """
    at = integral([*(Fraction(point[i]) for i in free), Fraction(1)])
    rows, scale = identity(point, free)
    kept: list[tuple[list[Row], int]] = []
    for step in program:
        match step:
            case Affine() as map:
                rows, scale = _mapped(map, rows, scale), scale + map.scale
            case Keep():
                kept.append((rows, scale))
            case Add():
                rows, scale = _sum(rows, scale, *kept.pop())
            case Relu(leak):
                down, (slope,) = dyadic([leak])
                sides = [dot(row, at) for row in rows]
                if any(s == 0 and any(row[:-1]) for s, row in zip(sides, rows, strict=True)):
                    raise OnKink
                rows = [_times(row, 1 << down if s > 0 else slope) for s, row in zip(sides, rows, strict=True)]
                scale += down
            case MaxPool(size):
                chosen = []
                for first in range(0, len(rows) - size + 1, size):
                    ranked = sorted((dot(row, at), row) for row in rows[first : first + size])
                    if ranked[-1][0] == ranked[-2][0] and ranked[-1][1] != ranked[-2][1]:
                        raise OnKink
                    chosen.append(ranked[-1][1])
                rows = chosen
    return rows, scale


def value(program: Program, point: Sequence[Fraction]) -> list[Fraction]:
    """The outputs at a point, in rationals."""
    return trace(program, point)[0]


def trace(program: Program, point: Sequence[Fraction]) -> tuple[list[Fraction], list[list[Fraction]]]:
    """The outputs at a point, and what every ReLU is given there."""
    vector, kept, seen = list(point), [], []
    for step in program:
        match step:
            case Affine() as map:
                vector = [
                    (sum((w * a for w, a in zip(weights, vector, strict=True)), Fraction(0)) + offset) / 2**map.scale
                    for weights, offset in zip(map.whole, map.offset, strict=True)
                ]
            case Keep():
                kept.append(vector)
            case Add():
                vector = [a + b for a, b in zip(vector, kept.pop(), strict=True)]
            case Relu(leak):
                seen.append(vector)
                vector = [max(a, Fraction(leak) * a) for a in vector]
            case MaxPool(size):
                vector = [max(vector[i : i + size]) for i in range(0, len(vector) - size + 1, size)]
    return vector, seen
