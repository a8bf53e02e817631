"""Truths of larger networks: a slope that is known to be there, and one that nothing exceeds.

Nothing here uses lipreg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from scipy.optimize import linprog

from tests.attacks.oracle import PLAIN, Functional, Measure, TooMany, Where
from tests.attacks.polytopes import Row, dot, integral
from tests.attacks.programs import Affine, Program, Relu, dyadic, piece_at, value
from tests.attacks.programs import _mapped as mapped
from tests.attacks.truths import Constant, combined, enter_jacobian, enter_pair

INTERIOR = 1e-6
"""A pattern is looked for with this much room, in units of the region; whether it is there is settled in rationals."""
MOST_CELLS = 1500


@dataclass(eq=False)
class Planted:
    """A network with points at which its slope is known, and no steeper than the product of its magnitudes.

    Attributes:
        steep: points of the region off all kinks, whose Jacobians count.
    """

    program: Program
    point: tuple[float, ...]
    where: Where
    steep: Sequence[tuple[float, ...]]

    def __post_init__(self) -> None:
        assert all(self.where.holds(self.point, x) for x in self.steep)

    @property
    def outputs(self) -> int:
        return len(self.program[-1].offset)  # type: ignore[union-attr]

    @cached_property
    def _forms(self) -> list[tuple[list[Row], int]]:
        return [piece_at(self.program, x, range(len(x))) for x in self.steep]

    def regional(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant:
        assert measure == PLAIN
        scale, weights = functional.whole
        constant = Constant(attained=False, ceiling=self._ceiling(functional, p))
        for rows, power in self._forms:
            enter_jacobian(constant, combined([row[:-1] for row in rows], weights), power + scale, p, functional.q)
        return constant

    def pointed(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant:
        assert measure == PLAIN
        constant = Constant(attained=False, ceiling=self._ceiling(functional, p))
        start = value(self.program, [Fraction(a) for a in self.point])
        for x in self.steep:
            apart = [Fraction(a) - Fraction(b) for a, b in zip(x, self.point, strict=True)]
            change = [b - a for a, b in zip(start, value(self.program, [Fraction(a) for a in x]), strict=True)]
            rise = functional.of(change)
            enter_pair(constant, rise, apart, p, functional.q)
        return constant

    def _ceiling(self, functional: Functional, p: float) -> Constant:
        """|c| |A_K| ... |A_1|: larger than any slope, by far mostly."""
        scale, weights = functional.whole
        matrix = [[abs(a) for a in row] for row in weights]
        for step in reversed(self.program):
            if isinstance(step, Affine):
                matrix, scale = combined([[abs(a) for a in row] for row in step.whole], matrix), scale + step.scale
        constant = Constant()
        enter_jacobian(constant, matrix, scale, p, functional.q)
        return constant

    def holds(self, point: Sequence[float]) -> bool:
        return self.where.holds(self.point, point)


@dataclass(eq=False)
class Enumerated:
    """The patterns of a plain network over an l_inf ball, found by linear programs in floats and settled in rationals.

    A pattern counts as there when a rational point has it with all signs strict; as absent when nonnegative rational
    multipliers of its rows add up to a form that is nowhere above 0 on the box. The few that are neither count only
    towards what the constant is at most.
    """

    program: Program
    point: tuple[float, ...]
    where: Where

    @property
    def outputs(self) -> int:
        return len(self.program[-1].offset)  # type: ignore[union-attr]

    @cached_property
    def cells(self) -> list[tuple[list[Row], int, bool]]:
        """Output forms over t in [-1, 1]^n, x = x0 + r t, their power of two, and whether the pattern is there."""
        size = len(self.point)
        scale, numbers = dyadic([*self.point, self.where.radius])
        rows = [
            tuple(numbers[-1] if j == i else numbers[i] if j == size else 0 for j in range(size + 1))
            for i in range(size)
        ]
        found: list[tuple[list[Row], int, bool]] = []
        self._descend(0, rows, scale, [], np.zeros(size), found)
        return found

    def _descend(
        self, at: int, rows: list[Row], scale: int, signed: list[Row], inside: np.ndarray | None, found: list
    ) -> None:
        for position in range(at, len(self.program)):
            step = self.program[position]
            if isinstance(step, Affine):
                rows, scale = mapped(step, rows, scale), scale + step.scale
                continue
            assert step == Relu()
            for on, own, point in self._patterns(rows, signed, inside):
                bent = [row if o else tuple(0 for _ in row) for row, o in zip(rows, on, strict=True)]
                self._descend(position + 1, bent, scale, own, point, found)
            return
        if len(found) >= MOST_CELLS:
            raise TooMany
        found.append((rows, scale, inside is not None and _strictly(signed, inside)))

    def _patterns(self, rows: list[Row], signed: list[Row], inside: np.ndarray | None):
        parts: list[tuple[list[bool], list[Row], np.ndarray | None]] = [([], signed, inside)]
        for row in rows:
            grown = []
            for on, own, point in parts:
                if not any(row[:-1]):
                    grown.append(([*on, row[-1] > 0], own, point))
                    continue
                for side in (True, False):
                    form = row if side else tuple(-a for a in row)
                    if point is not None and dot(form, integral([*map(Fraction, point), Fraction(1)])) > 0:
                        grown.append(([*on, side], [*own, form], point))
                        continue
                    there, other = _look([*own, form])
                    if there:
                        grown.append(([*on, side], [*own, form], other))
            parts = grown
        return parts

    def regional(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant:
        assert measure == PLAIN
        scale, weights = functional.whole
        most = Constant()
        least = Constant(attained=False, ceiling=most)
        for rows, power, there in self.cells:
            # forms are in t = (x - x0) / r: gradients in x are 1 / r of them
            jacobian = combined([row[:-1] for row in rows], weights)
            for constant in (most, least) if there else (most,):
                own = Constant()
                enter_jacobian(own, jacobian, power + scale, p, functional.q)
                self._over_radius(own, constant)
        return least

    def pointed(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant:
        assert measure == PLAIN
        raise NotImplementedError("quotients are not enumerated")

    def _over_radius(self, own: Constant, constant: Constant) -> None:
        square = Fraction(self.where.radius) ** 2
        constant.enter(own.over * square.denominator, own.under * square.numerator)
        power, radius = square.denominator.bit_length() - 1, square.numerator
        # a Gram matrix over s is one over s r^2
        constant.grams += [([[a << power for a in row] for row in gram], s * radius) for gram, s in own.grams]

    def holds(self, point: Sequence[float]) -> bool:
        return self.where.holds(self.point, point)


def _floats(rows: Sequence[Row]) -> np.ndarray:
    """The rows, each over its largest coefficient."""
    return np.array([[a / max(map(abs, row[:-1])) if row[:-1] else 0.0 for a in row] for row in rows])


def _look(rows: list[Row]) -> tuple[bool, np.ndarray | None]:
    """(False, None) where the rows have no common interior in the box; else a point that may be in it."""
    floats = _floats(rows)
    size = floats.shape[1] - 1
    cost = np.append(np.zeros(size), -1.0)
    matrix = np.hstack([-floats[:, :-1], np.abs(floats[:, :-1]).sum(1, keepdims=True)])
    bounds = [(-1.0, 1.0)] * size + [(None, 1.0)]
    answer = linprog(cost, matrix, floats[:, -1], bounds=bounds, method="highs")
    if answer.status != 0:
        return True, None
    if -answer.fun > INTERIOR:
        return True, np.clip(answer.x[:-1], -1, 1)
    multipliers = [Fraction(max(0.0, -y)) for y in answer.ineqlin.marginals]
    if not any(multipliers):
        return True, None
    total = [Fraction(0)] * (size + 1)
    for y, row in zip(multipliers, rows, strict=True):
        share = y / max(map(abs, row[:-1]))
        total = [t + share * a for t, a in zip(total, row, strict=True)]
    most = total[-1] + sum(map(abs, total[:-1]))
    return most > 0, None


def _strictly(rows: Sequence[Row], point: np.ndarray) -> bool:
    at = integral([*map(Fraction, point.tolist()), Fraction(1)])
    return all(dot(row, at) > 0 for row in rows)
