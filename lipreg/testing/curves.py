"""Whether a curve is what its formulas and tables say: each is compared with the function itself, in decimals.

``value_decimal`` is the function, as the values of its layer are compared with those of the module. Derivatives are
differences of it in decimals so fine that a step of 10^-18 leaves forty digits.
"""

from __future__ import annotations

import copy
import itertools
import math
from decimal import Decimal
from typing import Any

import torch

from lipreg.curves import Curve, Extreme
from lipreg.curves.curve import ABSOLUTE, FAR, RELATIVE, ROUNDED
from lipreg.linalg import DecimalArithmetic
from lipreg.testing.failures import expect

TABLES = {"extrema": "its value", "inflections": "its derivative", "curvature_extrema": "its second derivative"}
"""The tables of extremes, and what is extreme there."""
PROMISED = 80
"""Places that decimals keep here, and half as many to compare with."""
STEP = Decimal(1).scaleb(-18)
"""Half the distance over which differences are taken."""
EXACT = 1e-25
"""How far a difference may be from a derivative of size 1."""
BESIDE = (1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.5)
"""Distances from the places in tables at which the function is looked at."""
ORDINARY = (0.05, 0.3, 0.8, 1.3, 1.9, 2.7, 3.6, 5.0, 9.0, 20.0)
"""Sizes of numbers at which it is looked at, of both signs."""
LEAST = Decimal("1e-20")
"""A difference that is none to float64."""
EPS = torch.finfo(torch.float64).eps


def check_curve(curve: Curve, name: str) -> None:
    """Checks the formulas and the tables of a curve.

    Args:
        curve: the curve.
        name: what messages begin with.

    Raises:
        CheckFailed: something is wrong; the text has the place and the numbers.
    """
    name = f"{name}: {curve!r}"
    expect(
        curve == copy.copy(curve), f"{name}: a copy is not equal to it; write @dataclass(frozen=True) above its class"
    )
    count = len(curve.places) + 1
    expect(len(curve.kinds) == count, f"{name}: {len(curve.kinds)} kinds where its inflections leave {count} pieces")
    for table in TABLES:
        at = [extreme.location for extreme in getattr(curve, table)]
        expect(at == sorted(at), f"{name}: {table} are not in order: {at}")
    seen = _Seen(curve, name)
    seen.formulas()
    seen.pieces()
    seen.ends()
    for table, function in zip(TABLES, (seen.values, seen.slopes, seen.curvatures), strict=True):
        seen.extremes(table, function)
    seen.far_values()


class _Seen:
    """A curve at many numbers: its values, and its derivatives by differences of these."""

    def __init__(self, curve: Curve, name: str) -> None:
        self.curve, self.name, self.places = curve, name, DecimalArithmetic(PROMISED)
        tables = (*curve.extrema, *curve.inflections, *curve.curvature_extrema)
        marks = sorted({extreme.location for extreme in tables})
        numbers = {0.0, *ORDINARY, *(-size for size in ORDINARY)}
        numbers |= {mark + side * step for mark in marks for step in BESIDE for side in (-1, 1)}
        numbers |= {0.5 * (low + high) for low, high in itertools.pairwise(marks)}
        # differences and one-sided values have no meaning at the marks themselves
        self.z = sorted(z for z in numbers if all(abs(z - mark) > 1e-13 for mark in marks))
        at = [self._at(Decimal(z)) for z in self.z]
        self.values, self.slopes, self.curvatures = ([each[of] for each in at] for of in TABLES)

    def formulas(self) -> None:
        """Values and derivatives in float64 and in decimals, within the roundings that are charged for them."""
        curve, coarse = self.curve, DecimalArithmetic(PROMISED // 2)
        z = torch.tensor(self.z, dtype=torch.float64)
        value, slope, bent = curve.value(z), curve.slope(z), curve.curvature(z)
        charged = [
            curve.value_rounding(z, value),
            curve.slope_rounding(z, slope),
            EPS * (RELATIVE * bent.abs() + ABSOLUTE),
        ]
        for i, at in enumerate(self.z):
            self._near("value", value[i], self.values[i], charged[0][i], at, "value_decimal")
        for i, at in enumerate(self.z):
            with self.places.context():
                own = curve.slope_decimal(Decimal(at), self.places)
            with coarse.context():
                less = curve.value_decimal(Decimal(at), coarse), curve.slope_decimal(Decimal(at), coarse)
            v, s, c = self.values[i], self.slopes[i], self.curvatures[i]
            self._near(
                "value_decimal in fewer places",
                less[0],
                v,
                10.0**-coarse.digits * (abs(float(v)) + min(abs(at), 1)),
                at,
            )
            self._near("slope_decimal", own, s, EXACT * (1 + abs(float(s))), at, "a difference of value_decimal")
            self._near("slope_decimal in fewer places", less[1], own, 10.0**-coarse.digits * (abs(float(own)) + 1), at)
            self._near("slope", slope[i], own, charged[1][i], at, "slope_decimal")
            self._near("curvature", bent[i], c, charged[2][i], at, "a difference of value_decimal")

    def far_values(self) -> None:
        """They are so at numbers whose squares overflow, too."""
        for size in (1e10, 1e100, FAR):
            for at in (-size, size):
                z = torch.tensor(at, dtype=torch.float64)
                value, slope = self.curve.value(z), self.curve.slope(z)
                with self.places.context():
                    v, s = (f(Decimal(at), self.places) for f in (self.curve.value_decimal, self.curve.slope_decimal))
                self._near("value", value, v, self.curve.value_rounding(z, value), at, "value_decimal")
                self._near("slope", slope, s, self.curve.slope_rounding(z, slope), at, "slope_decimal")

    def pieces(self) -> None:
        """Each piece between inflections is convex, concave or straight, as the table says."""
        for kind, low, high in self.curve.pieces():
            expect(kind in ("convex", "concave", "straight"), f"{self.name}: got the kind {kind!r}")
            for at, bent in zip(self.z, self.curvatures, strict=True):
                fine = {"convex": bent >= -EXACT, "concave": bent <= EXACT, "straight": abs(bent) <= EXACT}[kind]
                piece = f"{self.name}: kinds: {kind} from {low:g} to {high:g}"
                expect(fine or not low < at < high, f"{piece}, where its second derivative at {at!r} is {bent:.6g}")

    def ends(self) -> None:
        """Values and derivatives at -inf and inf are those that it comes to."""
        with self.places.context():
            for end, sign in enumerate((-1, 1)):
                v, s = (
                    [f(sign * Decimal(size), self.places) for size in (1e100, FAR)]
                    for f in (self.curve.value_decimal, self.curve.slope_decimal)
                )
                limit, flat = self.curve.limits[end], self.curve.asymptotic_slopes[end]
                here = f"at {'-' * (sign < 0)}inf"
                self._near(
                    "asymptotic_slopes", flat, s[1], ROUNDED * (1 + abs(flat)), sign * FAR, f"slope_decimal {here}"
                )
                if math.isfinite(limit):
                    self._near("limits", limit, v[1], ROUNDED * (1 + abs(limit)), sign * FAR, f"value_decimal {here}")
                    continue
                grows = abs(v[1]) > abs(v[0]) and (v[1] > 0) == (limit > 0)
                expect(
                    grows, f"{self.name}: limits: {limit} {here}, where value_decimal at {sign * FAR:g} is {v[1]:.6g}"
                )

    def extremes(self, table: str, seen: list[Decimal]) -> None:
        """Values in a table are those of the function beside their places, and between two places it does not turn."""
        entries: tuple[Extreme, ...] = getattr(self.curve, table)
        of = TABLES[table]
        marks = sorted({entry.location for entry in entries})
        for mark in marks:
            listed = [entry for entry in entries if entry.location == mark]
            sides = [seen[self._nearest(mark, side)] for side in (-1, 1)]
            told = f"{self.name}: {table}: {', '.join(repr(entry.value) for entry in listed)} at {mark!r}"
            # the places at which sides are seen are a little beside it
            near = [[_close(entry.value, side, BESIDE[0] * 100) for entry in listed] for side in sides]
            fine = all(any(row) for row in near) and all(any(column) for column in zip(*near, strict=True))
            expect(fine, f"{told}, beside which {of} is {sides[0]:.12g} and {sides[1]:.12g}")
            if len(listed) == 1:
                here = self._at(Decimal(mark))[table]
                expect(_close(listed[0].value, here, ROUNDED), f"{told}, where {of} is {here:.18g}, to {ROUNDED:g}")
        for low, high in itertools.pairwise((-math.inf, *marks, math.inf)):
            inside = [(z, f) for z, f in zip(self.z, seen, strict=True) if low < z < high]
            steps = [(a, b, g - f) for (a, f), (b, g) in itertools.pairwise(inside)]
            ups, downs = ([s for s in steps if sign * s[2] > EXACT] for sign in (1, -1))
            if ups and downs:
                (a, b, _), (c, d, _) = ups[0], downs[0]
                told = f"{self.name}: {table}: none between {low:g} and {high:g}"
                expect(False, f"{told}, where {of} grows from {a!r} to {b!r} and falls from {c!r} to {d!r}")

    def _at(self, z: Decimal) -> dict[str, Decimal]:
        """What is in the tables, at one number: its value and derivatives by differences."""
        with self.places.context():
            low, here, high = (self.curve.value_decimal(z + side * STEP, self.places) for side in (-1, 0, 1))
            return dict(zip(TABLES, (here, (high - low) / (2 * STEP), (low - 2 * here + high) / STEP**2), strict=True))

    def _nearest(self, mark: float, side: int) -> int:
        return min((i for i, z in enumerate(self.z) if (z - mark) * side > 0), key=lambda i: abs(self.z[i] - mark))

    def _near(self, what: str, got: Any, wanted: Decimal, off: Any, at: float, of: str = "that in more") -> None:
        """Raises CheckFailed unless a number is another one, up to a rounding, and to that of the decimals."""
        number = got if isinstance(got, Decimal) else Decimal(float(got))
        allowed = Decimal(float(off)) + LEAST
        told = f"{self.name}: {what} at {at!r} is {float(number)!r}, and {of} {float(wanted)!r}"
        fine = number.is_finite() and abs(number - wanted) <= allowed
        expect(fine, f"{told}: a difference of {float(off):.2g} is allowed")


def _close(got: float, wanted: Decimal, off: float) -> bool:
    return abs(Decimal(got) - wanted) <= Decimal(off * (1 + abs(got)))
