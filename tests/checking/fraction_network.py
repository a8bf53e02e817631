"""A network and a region in fractions: forms of nodes in a part of a tree, their bounds, and the gradient's."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Form = dict[Any, Fraction]
"""Coefficients: of 1 under None, of displacements under ("d", i), of outputs of unstable units under their numbers."""
ZERO = Fraction(0)


def numbers(plain: Mapping[str, Any]) -> list[Fraction]:
    raw = base64.b64decode(plain["float64"])
    return [Fraction(x) for x in struct.unpack(f"<{len(raw) // 8}d", raw)]


def plus(one: Form, other: Form, times: Fraction = Fraction(1)) -> Form:
    found = dict(one)
    for key, value in other.items():
        found[key] = found.get(key, ZERO) + times * value
    return {key: value for key, value in found.items() if value}


def applied(map: Any, forms: list[Form]) -> list[Form]:
    """A map of a file on forms."""
    if "product" in map:
        for part in reversed(map["product"]):
            forms = applied(part, forms)
        return forms
    if "sum" in map:
        parts = [applied(part, forms) for part in map["sum"]]
        return [plus(a, b) for a, b in zip(*parts, strict=True)]
    found: list[Form] = [{} for _ in range(map["shape"][0])]
    if "rows" in map:
        entries = zip(map["rows"], map["columns"], numbers(map["values"]), strict=True)
    else:
        width = map["shape"][1]
        entries = ((i // width, i % width, value) for i, value in enumerate(numbers(map)))
    for row, column, value in entries:
        if value:
            found[row] = plus(found[row], forms[column], value)
    return found


@dataclass
class Region:
    """Displacements from a center: a box, cut by a ball in l1 or l2."""

    center: list[Fraction]
    low: list[Fraction]
    high: list[Fraction]
    norm: str
    radius: Fraction

    @staticmethod
    def of(plain: Mapping[str, Any]) -> Region:
        if plain["kind"] == "box":
            low, high = numbers(plain["lower"]), numbers(plain["upper"])
            return Region(low, [ZERO for _ in low], [b - a for a, b in zip(low, high, strict=True)], "inf", ZERO)
        center, (radius,) = numbers(plain["center"]), numbers(plain["radius"])
        low, high = [-radius for _ in center], [radius for _ in center]
        if plain["low"] is not None:
            low = [max(a, numbers(plain["low"])[0] - x) for a, x in zip(low, center, strict=True)]
        if plain["high"] is not None:
            high = [min(b, numbers(plain["high"])[0] - x) for b, x in zip(high, center, strict=True)]
        return Region(center, low, high, plain["norm"], radius)

    @property
    def moving(self) -> list[int]:
        return [i for i, (a, b) in enumerate(zip(self.low, self.high, strict=True)) if a < b]

    def most(self, form: Form) -> Fraction:
        """A bound on a form of displacements, its constant included: what is beyond t by the box, the rest by the ball."""
        weights = [(form.get(("d", i), ZERO), i) for i in self.moving]
        ends = [(abs(w), self.high[i] if w > 0 else -self.low[i]) for w, i in weights]
        best = sum((w * end for w, end in ends), ZERO)
        if self.norm != "inf":
            sizes = {w for w, _ in ends}
            best = min(best, min((self._split(ends, t) for t in sizes), default=best), self._between(ends))
        return form.get(None, ZERO) + best

    def _split(self, ends: list[tuple[Fraction, Fraction]], t: Fraction) -> Fraction:
        cut = [min(w, t) for w, _ in ends]
        length = max(cut) if self.norm == "1" else root_above(sum((c * c for c in cut), ZERO))
        return sum(((w - c) * end for (w, end), c in zip(ends, cut, strict=True)), ZERO) + self.radius * length

    def _between(self, ends: list[tuple[Fraction, Fraction]]) -> Fraction:
        """The same at a t between two sizes, sought by thirds in float64, as any t is a bound."""
        own, (low, high) = (
            [(float(w), float(end)) for w, end in ends],
            (0.0, float(max((w for w, _ in ends), default=0))),
        )

        def at(t: float) -> float:
            return sum(max(w - t, 0.0) * end for w, end in own) + float(self.radius) * math.hypot(
                *(min(w, t) for w, _ in own)
            )

        for _ in range(80 if self.norm == "2" else 0):
            a, b = (2 * low + high) / 3, (low + 2 * high) / 3
            low, high = (low, b) if at(a) <= at(b) else (a, high)
        return self._split(ends, Fraction(high)) if ends else ZERO


def root_above(square: Fraction) -> Fraction:
    """A number whose square is no less, nearly the root."""
    if not square:
        return ZERO
    bits = 2 * max(0, 80 - (square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    return Fraction(math.isqrt(math.ceil(square * 2**bits)) + 1, 2 ** (bits // 2))


@dataclass
class Part:
    """What is known: sides of units, 1 or -1, which of them were put strictly above 0, and bounds of z."""

    sides: dict[int, int] = field(default_factory=dict)
    strict: set[int] = field(default_factory=set)
    bounds: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)
    nothing: bool = False

    def child(self, unit: int, side: int) -> Part:
        return Part(
            {**self.sides, unit: side}, self.strict | ({unit} if side > 0 else set()), self.bounds, self.nothing
        )


class Walk:
    """The network in one part: forms of its nodes, z of every unit that the root leaves open, what is known of them.

    Attributes:
        z: forms of units' inputs, of the displacements and of the outputs of units that are unstable here.
        known: 1 or -1 of every unit, 0 where it is unstable.
    """

    def __init__(self, net: Mapping[str, Any], region: Region, part: Part, decided: Mapping[int, int]) -> None:
        self.region, self.part, self.decided = region, part, decided
        self.z, self.known, self.bounds = dict[int, Form](), dict[int, int](), dict[int, tuple[Fraction, Fraction]]()
        self.empty, self.count, self.open = part.nothing, 0, list[int]()
        start: list[Form] = [{None: x} for x in region.center]
        for i in region.moving:
            start[i] = plus(start[i], {("d", i): Fraction(1)})
        self.values = [start]
        for node in net["nodes"]:
            self.values.append(self._node(node))

    def _node(self, node: Mapping[str, Any]) -> list[Form]:
        if node["kind"] == "affine":
            found: list[Form] = [{} for _ in range(node["size"])]
            parts = [applied(map, self.values[source]) for source, map in node["terms"]]
            for map, plain in node["bias"]:
                constant: list[Form] = [{None: value} for value in numbers(plain)]
                parts.append(constant if map is None else applied(map, constant))
            for part in parts:
                found = [plus(a, b) for a, b in zip(found, part, strict=True)]
            return found
        source = self.values[node["source"]]
        if node["kind"] == "relu":
            (slope,) = numbers(node["slope"])
            outputs = self._units(source)
            return [
                plus({k: slope * v for k, v in z.items()}, r, 1 - slope) for z, r in zip(source, outputs, strict=True)
            ]
        best = [source[window[0]] for window in node["windows"]]
        for at in range(1, len(node["windows"][0])):
            apart = [plus(source[w[at]], b, Fraction(-1)) for w, b in zip(node["windows"], best, strict=True)]
            best = [plus(b, r) for b, r in zip(best, self._units(apart), strict=True)]
        return best

    def _units(self, inputs: list[Form]) -> list[Form]:
        """max(z, 0) of units of one level, none of which reads another."""
        first, found = self.count, list[Form]()
        self.count += len(inputs)
        fresh = []
        for unit, z in enumerate(inputs, first):
            side = self.decided.get(unit, 0)
            if not side:
                low, high = -self.most({k: -v for k, v in z.items()}), self.most(z)
                before = self.part.bounds.get(unit, (low, high))
                low, high = max(low, before[0]), min(high, before[1])
                told = self.part.sides.get(unit, 0)
                low, high = (max(low, ZERO) if told > 0 else low), (min(high, ZERO) if told < 0 else high)
                self.empty |= low > high or (unit in self.part.strict and high <= 0)
                side = told or (-1 if high <= 0 else 1 if low >= 0 else 0)
                self.z[unit], self.bounds[unit] = z, (low, high)
            self.known[unit] = side
            fresh += [unit] if not side else []
            found.append(z if side > 0 else {} if side < 0 else {unit: Fraction(1)})
        self.open += fresh
        return found

    def most(self, form: Form) -> Fraction:
        """A bound above: outputs of units by lines, the last ones first."""
        for unit in reversed(self.open):
            weight = form.get(unit, ZERO)
            if not weight:
                continue
            low, high = self.bounds[unit]
            form = {k: v for k, v in form.items() if k != unit}
            if weight > 0:
                slope = Fraction(-(-(high * 2**48) // (high - low)), 2**48)
                form = plus(plus(form, self.z[unit], weight * slope), {None: -weight * slope * low})
            elif high > -low:
                form = plus(form, self.z[unit], weight)
        return self.region.most(form)

    def gradient(self, row: list[Fraction], counts: list[Fraction]) -> Gradient:
        """g of unstable units and J of moving inputs as forms of w, and their intervals."""
        output: Form = {}
        for weight, form in zip(row, self.values[-1], strict=True):
            output = plus(output, form, weight)
        g, ends = dict[int, Form](), dict[int, tuple[Fraction, Fraction]]()
        for unit in reversed(self.open):
            g[unit] = plus({None: output.get(unit, ZERO)}, {v: self.z[v].get(unit, ZERO) for v in self.open})
            low, high = interval(g[unit], ends)
            ends[unit] = min(low, ZERO), max(high, ZERO)
        own: list[Form] = []
        for i in self.region.moving:
            form = plus({None: output.get(("d", i), ZERO)}, {v: self.z[v].get(("d", i), ZERO) for v in self.open})
            own.append({k: counts[i] * x for k, x in form.items() if counts[i]})
        return Gradient(g, own, [interval(form, ends) for form in own])


@dataclass
class Gradient:
    g: dict[int, Form]
    own: list[Form]
    ends: list[tuple[Fraction, Fraction]]


def interval(form: Form, ends: Mapping[int, tuple[Fraction, Fraction]]) -> tuple[Fraction, Fraction]:
    low = high = form.get(None, ZERO)
    for unit, weight in form.items():
        if unit is not None:
            a, b = ends[unit] if weight > 0 else ends[unit][::-1]
            low, high = low + weight * a, high + weight * b
    return low, high


class Signs(Walk):
    """The network around one point, by the signs of its units there.

    Attributes:
        kinked: whether a unit is on its kink, and not 0 all around.
    """

    def __init__(self, net: Mapping[str, Any], region: Region, at: Form) -> None:
        self.at, self.kinked = at, False
        super().__init__(net, region, Part(), {})

    def _units(self, inputs: list[Form]) -> list[Form]:
        found: list[Form] = []
        for z in inputs:
            value = z.get(None, ZERO) + sum((x * self.at[k] for k, x in z.items() if k is not None), ZERO)
            self.kinked |= not value and bool(z)
            found.append(z if value > 0 else {})
        return found
