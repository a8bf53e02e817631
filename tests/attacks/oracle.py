"""The truth about a question: the exact pieces of a network over a region, and every constant that follows from them.

Nothing here uses lipreg.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from tests.attacks.polytopes import (
    Polytope,
    Row,
    box,
    cut,
    everywhere,
    integral,
    l1_rows,
    point_in_units,
    squared_distance,
)
from tests.attacks.programs import Ends, Piece, Program, dyadic, identity, pieces, value
from tests.attacks.truths import Constant, Matrix, combined, enter_jacobian, enter_pair, enter_quotients, root

MOST_PIECES = 400
"""Above, a network is left out: the attack is on many small ones."""


MOST_PAIRS = 40
"""Points of an l2 ball at which quotients against its center are known."""


class TooMany(Exception):
    """The network has too many linear pieces over the region to be worth its time."""


@dataclass(frozen=True)
class Where:
    """A region: an "linf", "l2" or "l1" ball of a radius cut to [low, high], a "box" [lower, upper], a "polytope", or
    "everywhere", all of R^n.

    The polytope is {x in [low, high]^n : a . x <= b for all rows (a, b)}.
    """

    kind: str
    radius: float = math.inf
    low: float = -math.inf
    high: float = math.inf
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()

    @property
    def norm(self) -> float:
        """Of the ball."""
        return {"l1": 1.0, "l2": 2.0}.get(self.kind, math.inf)

    @property
    def endless(self) -> bool:
        return self.kind == "everywhere"

    def ends(self, point: Sequence[float]) -> list[tuple[Fraction, Fraction]]:
        """The ends of every coordinate, exactly; of a region that has them."""
        if self.kind == "box":
            return [(Fraction(a), Fraction(b)) for a, b in zip(self.lower, self.upper, strict=True)]
        if self.kind == "polytope":
            return [(Fraction(self.low), Fraction(self.high))] * len(point)
        radius = Fraction(self.radius)
        return [
            (
                max(Fraction(x) - radius, Fraction(self.low)) if self.low > -math.inf else Fraction(x) - radius,
                min(Fraction(x) + radius, Fraction(self.high)) if self.high < math.inf else Fraction(x) + radius,
            )
            for x in point
        ]

    def holds(self, center: Sequence[float], point: Sequence[float]) -> bool:
        """Whether a point lies in the region around a center, exactly."""
        if self.endless:
            return all(map(math.isfinite, point))
        for x, (low, high) in zip(point, self.ends(center), strict=True):
            if not low <= Fraction(x) <= high:
                return False
        for *row, level in self.rows:
            if sum(Fraction(a) * Fraction(x) for a, x in zip(row, point, strict=True)) > Fraction(level):
                return False
        apart = [abs(Fraction(x) - Fraction(y)) for x, y in zip(point, center, strict=True)]
        if self.kind == "l1":
            return sum(apart) <= Fraction(self.radius)
        return self.kind != "l2" or sum(a * a for a in apart) <= Fraction(self.radius) ** 2


@dataclass(frozen=True)
class Functional:
    """What is bounded: rows c over 2^scale, or with a q all outputs together (the rows are then the unit vectors)."""

    rows: tuple[tuple[float, ...], ...]
    q: float | None = None

    @cached_property
    def whole(self) -> tuple[int, list[list[int]]]:
        scale, numbers = dyadic([a for row in self.rows for a in row])
        width = len(self.rows[0])
        return scale, [numbers[i : i + width] for i in range(0, len(numbers), width)]

    def of(self, change: Sequence[Fraction]) -> list[Fraction]:
        """The rows' values."""
        return [sum((Fraction(w) * a for w, a in zip(row, change, strict=True)), Fraction(0)) for row in self.rows]


@dataclass(frozen=True)
class Measure:
    """How distances are measured: |(x - x') / units|_p, between points that differ ``among`` these inputs alone.

    Attributes:
        units: one for each input; None for 1.
        among: positions; None for all.
    """

    units: tuple[float, ...] | None = None
    among: tuple[int, ...] | None = None

    def of(self, positions: Sequence[int]) -> tuple[int, list[int]]:
        """(k, whole numbers): the units of some inputs are the whole ones over 2^k."""
        return (0, [1] * len(positions)) if self.units is None else dyadic([self.units[i] for i in positions])


PLAIN = Measure()


@dataclass(eq=False)
class Oracle:
    """A network at one reference point in one region."""

    program: Program
    point: tuple[float, ...]
    where: Where
    _ranges: dict[int, Ends] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """How many the network has."""
        return len(self.pieces[0].rows)

    @cached_property
    def free(self) -> list[int]:
        """The coordinates with room."""
        if self.where.endless:
            return list(range(len(self.point)))
        return [i for i, (low, high) in enumerate(self.where.ends(self.point)) if low < high]

    @cached_property
    def center(self) -> Row:
        """The reference point's free coordinates, homogeneous."""
        return integral([*(Fraction(self.point[i]) for i in self.free), Fraction(1)])

    @cached_property
    def parts(self) -> list[Polytope]:
        """Polytopes that fill the region over its free coordinates; for an l2 ball the box around it."""
        if self.where.endless:
            return everywhere(len(self.free))
        ends = [self.where.ends(self.point)[i] for i in self.free]
        found: Polytope | None = box([low for low, _ in ends], [high for _, high in ends])
        if self.where.kind == "l1":
            found = cut(found, l1_rows([Fraction(self.point[i]) for i in self.free], Fraction(self.where.radius)))
        found = cut(found, [integral([*(-Fraction(a) for a in row), Fraction(b)]) for *row, b in self.where.rows])
        assert found is not None
        return [found]

    @cached_property
    def pieces(self) -> list[Piece]:
        """The linear pieces over the interior of the region."""
        rows, scale = identity(self.point, self.free)
        found = []
        ranges = None if self.where.endless else self._ranges
        for part in self.parts:
            for piece in pieces(self.program, part, rows, scale, ranges):
                found.append(piece)
                if len(found) > MOST_PIECES:
                    raise TooMany
        if self.where.kind == "l2":
            centers = [Fraction(self.point[i]) for i in self.free]
            square = Fraction(self.where.radius) ** 2
            found = [piece for piece in found if squared_distance(piece.polytope, centers) < square]
        return found

    @property
    def ranges(self) -> dict[int, Ends]:
        """The least and largest value of every unit, by the ReLU's position in the program; over the box of an l2 ball.

        Not where the region has no end.
        """
        assert self.pieces
        return self._ranges

    def jacobians(self, functional: Functional, measure: Measure = PLAIN) -> list[tuple[Matrix, int]]:
        """The rows' gradients on every piece, over powers of two, in the measure's units and inputs."""
        scale, weights = functional.whole
        power, units = measure.of(self.free)
        among = [j for j, i in enumerate(self.free) if measure.among is None or i in measure.among]
        gradients = {
            (tuple(tuple(row[j] * units[j] for j in among) for row in piece.rows), piece.scale + power + scale)
            for piece in self.pieces
        }
        return [(combined(rows, weights), power) for rows, power in gradients]

    def regional(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant:
        """The steepest slope between any two points of the region."""
        constant = Constant()
        for jacobian, scale in self.jacobians(functional, measure):
            enter_jacobian(constant, jacobian, scale, p, functional.q)
        return constant

    def pointed(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant:
        """The steepest slope against the reference point; between two bounds where it is not one of finitely many."""
        scale, weights = functional.whole
        round_ = self.where.kind == "l2"
        stationary = functional.q is None and len(self.free) <= 3 and not self.where.endless
        exact = not round_ and (p != 2 or stationary)
        constant = Constant(attained=exact, ceiling=None if exact else self.regional(functional, p, measure))
        if round_:
            self._enter_inside(constant, functional, p, measure)  # its pieces reach beyond the ball
            return constant
        power, units = measure.of(self.free)
        center = point_in_units(self.center, power, units)
        # the outputs at the reference point over the pieces' power of two, times the center's w
        exactly = value(self.program, [Fraction(x) for x in self.point])
        start = [y * center[-1] * 2 ** (self.pieces[0].scale + power) for y in exactly]
        assert all(y.denominator == 1 for y in start)
        whole = [y.numerator for y in start]
        for piece in self.pieces:
            enter_quotients(constant, piece.in_units(power, units), center, whole, weights, scale, p, functional.q)
        return constant

    def _enter_inside(self, constant: Constant, functional: Functional, p: float, measure: Measure) -> None:
        """Enters quotients at the pieces' vertices, those outside of the ball drawn in towards its center."""
        centers, radius = [Fraction(self.point[i]) for i in self.free], Fraction(self.where.radius)
        power, units = measure.of(self.free)
        start = value(self.program, [Fraction(x) for x in self.point])
        vertices = sorted({v for piece in self.pieces for v in piece.polytope.vertices})
        for vertex in vertices[:: len(vertices) // MOST_PAIRS + 1]:
            apart = [Fraction(a, vertex[-1]) - c for a, c in zip(vertex[:-1], centers, strict=True)]
            if (square := sum(a * a for a in apart)) > radius**2:
                share = Fraction(root(radius**2 / square)) * (1 - Fraction(1, 1 << 40))
                apart = [a * share for a in apart]
                assert sum(a * a for a in apart) <= radius**2
            x = list(map(Fraction, self.point))
            for i, a in zip(self.free, apart, strict=True):
                x[i] += a
            change = [a - b for a, b in zip(value(self.program, x), start, strict=True)]
            run = [a * 2**power / u for a, u in zip(apart, units, strict=True)]
            enter_pair(constant, functional.of(change), run, p, functional.q)

    def holds(self, point: Sequence[float]) -> bool:
        """Whether a point lies in the region, exactly."""
        return self.where.holds(self.point, point)


def functional(name: str, outputs: int, label: int = 0) -> Functional:
    """The rows of an output functional by its name, written out by hand."""
    eye = np.eye(outputs)
    others = [j for j in range(outputs) if j != label]
    kind, _, norm = name.partition(" ")
    rows = {
        "logit": eye[:1],
        "margin": eye[label : label + 1] - eye[others[:1]] if others else eye[:1],
        "all_logits": eye,
        "all_margins": eye[label] - eye[others] if others else eye[:1],
        "all_pairs": np.array([eye[i] - eye[j] for i in range(outputs) for j in range(i)] or [eye[0]]),
        "combination": np.array([[0.7, -1.3, 0.4, 1.1][:outputs]]),
        "vector": eye,
    }[kind]
    return Functional(tuple(map(tuple, rows.tolist())), float(norm) if norm else None)
