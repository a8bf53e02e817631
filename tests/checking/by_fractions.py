"""The checker once more, from docs/certificates.md alone: fractions, dictionaries of coefficients, no folding, no numpy.

Every part of a tree walks through the network anew with the signs that are known there. That a quadratic form is nowhere
negative is found by eliminating, exactly. It is slow and knows only what a file of this version holds that is well formed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from tests.checking.fraction_network import ZERO, Form, Gradient, Part, Region, Signs, Walk, numbers, plus


def within(p: str, sizes: list[Fraction], upper: Fraction) -> bool:
    """Whether the dual norm of p of numbers is at most ``upper``."""
    if p == "2":
        return upper >= 0 and sum((s * s for s in sizes), ZERO) <= upper * upper
    return (max(sizes, default=ZERO) if p == "1" else sum(sizes, ZERO)) <= upper


def nowhere_negative(form: dict[tuple[Any, Any], Fraction], keys: list[Any]) -> bool:
    """Of a symmetric matrix, by elimination."""
    rows = [[form.get((a, b), ZERO) for b in keys] for a in keys]
    while rows:
        pivot = rows[0][0]
        if pivot < 0 or (not pivot and any(rows[0])):
            return False
        head, rest = rows[0], [row[1:] for row in rows[1:]]
        if pivot:
            shares = [row[0] / pivot for row in rows[1:]]
            rest = [
                [x - s * h for x, h in zip(row, head[1:], strict=True)] for row, s in zip(rest, shares, strict=True)
            ]
        rows = rest
    return True


def cancelling(forms: list[Form]) -> list[Fraction] | None:
    """The numbers above 0, the last of them 1, with which forms add up to nothing; None where they are not the only ones."""
    known: list[tuple[Any, Form, list[Fraction]]] = []  # a key, a form that has 1 there, and what it is made of
    for i, form in enumerate(forms):
        own = [Fraction(int(i == j)) for j in range(len(forms))]
        for key, pivot, parts in known:
            weight = form.get(key, ZERO)
            form = plus(form, pivot, -weight)
            own = [a - weight * b for a, b in zip(own, parts, strict=True)]
        if not form:
            return own if i == len(forms) - 1 and all(share > 0 for share in own) else None
        key = next(iter(form))
        size = form[key]
        known.append((key, {k: v / size for k, v in form.items()}, [a / size for a in own]))
    return None


def terms_of(flat: list[int]) -> Iterator[tuple[int, int, Fraction]]:
    for unit, kind, mantissa, exponent in zip(*(iter(flat),) * 4, strict=True):
        if mantissa < 0:
            raise ValueError("a multiplier below 0")
        yield unit, kind, Fraction(mantissa) * Fraction(2) ** exponent


class Checker:
    """A file, and whether both ends hold."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        asked = plain["question"]
        self.plain, self.net, self.p = plain, plain["network"], asked["p"]
        self.region = Region.of(asked["region"])
        counts = asked.get("counts")
        self.counts = [Fraction(1)] * self.net["inputs"] if counts is None else numbers(counts)
        width = asked["rows"]["shape"][1]
        flat = numbers(asked["rows"])
        rows = [flat[i : i + width] for i in range(0, len(flat), width)]
        if asked["q"] == "1":
            signs = itertools.product(*([[1]] + [[1, -1]] * (len(rows) - 1)))
            rows = [
                [sum((s * r[j] for s, r in zip(own, rows, strict=True)), ZERO) for j in range(width)] for own in signs
            ]
        self.rows = rows
        self.lower, self.upper = (Fraction(plain["claim"][end]) for end in ("lower", "upper"))
        root = Walk(self.net, self.region, Part(), {})
        self.decided = {unit: side for unit, side in root.known.items() if side}
        self.count, self.root = root.count, Part(bounds=root.bounds)

    def holds(self) -> bool:
        trees = self.plain["upper"]
        if not 0 <= self.lower <= self.upper or len(trees) != len(self.rows):
            return False
        return self._attained() and all(self._tree(list(t), row) for t, row in zip(trees, self.rows, strict=True))

    def _attained(self) -> bool:
        if self.plain["lower"] is None:
            return self.lower == 0
        x = numbers(self.plain["lower"]["point"])
        apart = [a - b for a, b in zip(x, self.region.center, strict=True)]
        inside = all(a <= d <= b for a, d, b in zip(self.region.low, apart, self.region.high, strict=True))
        sizes = [abs(d) for d in apart]
        if self.region.norm != "inf":
            inside &= within("inf" if self.region.norm == "1" else "2", sizes, self.region.radius)
        signs = Signs(self.net, self.region, {("d", i): apart[i] for i in self.region.moving})
        if not inside or signs.kinked:
            return False
        row = self.rows[self.plain["lower"]["row"]]
        output: Form = {}
        for weight, form in zip(row, signs.values[-1], strict=True):
            output = plus(output, form, weight)
        own = [abs(output.get(("d", i), ZERO)) * self.counts[i] for i in self.region.moving]
        if self.p == "2":
            return sum((s * s for s in own), ZERO) >= self.lower**2
        return (max(own) if self.p == "1" else sum(own, ZERO)) >= self.lower

    def _tree(self, nodes: list[Any], row: list[Fraction]) -> bool:
        parts = [self.root]
        for node in nodes:
            if not parts:
                return False
            part = parts.pop()
            if node[0] not in ("split", "known"):
                if not self._leaf(part, node, row):
                    return False
                continue
            unit = node[1]
            if not 0 <= unit < self.count:
                return False
            side = self.decided.get(unit)
            if node[0] == "known":
                found = self._known(part, unit, 1 if node[2] == "on" else -1, node[3])
                if found is None:
                    return False
                parts.append(found)
            elif side:
                nothing = Part(part.sides, part.strict, part.bounds, nothing=True)
                parts += [nothing, part] if side > 0 else [part, nothing]
            else:
                here = Walk(self.net, self.region, part, self.decided)
                part = Part(part.sides, part.strict, here.bounds, here.empty)
                parts += [part.child(unit, -1), part.child(unit, 1)]
        return not parts

    def _leaf(self, part: Part, leaf: list[Any], row: list[Fraction]) -> bool:
        walk = Walk(self.net, self.region, part, self.decided)
        if walk.empty:
            return True
        if leaf[0] == "bounds":
            return False
        if leaf[0] == "empty":
            return self._empties(walk, leaf[1])
        if leaf[0] == "flat":
            return self._flat(walk, leaf[1])
        found = walk.gradient(row, self.counts)
        sizes = [max(-low, high) for low, high in found.ends]
        squares = leaf[1] if leaf[0] == "square" else []
        if self.p == "1":
            left = {entry for entry, size in enumerate(sizes) if size > self.upper}
        else:
            left = set() if within(self.p, sizes, self.upper) else {0}
        needed = [square for square in squares if square["entry"] in left]
        return left <= {square["entry"] for square in needed if self._dominates(walk, found, square)}

    def _known(self, part: Part, unit: int, side: int, flat: list[int]) -> Part | None:
        """The part with a unit on its side: no point has it strictly on the other one, as -side z and others add up to 0."""
        walk = Walk(self.net, self.region, part, self.decided)
        own = sum((y for u, kind, y in terms_of(flat) if u == unit and kind == 0), ZERO)
        if any(not 0 <= u < self.count for u, _, _ in terms_of(flat)):
            return None
        if unit in self.decided or walk.empty or walk.known[unit]:
            return Part(part.sides, part.strict, walk.bounds, walk.empty)
        most, _ = self._largest(walk, flat, plus({}, walk.z[unit], -side * own))
        return Part({**part.sides, unit: side}, part.strict, walk.bounds) if own and most <= 0 else None

    def _empties(self, walk: Walk, flat: list[int]) -> bool:
        most, strict = self._largest(walk, flat, {})
        return most < 0 or (strict and most == 0)

    def _flat(self, walk: Walk, units: list[int]) -> bool:
        """Whether the sides of known units add up to a constant, at most 0, with numbers above 0 for all of them."""
        if any(not 0 <= unit < self.count for unit in units):
            raise ValueError("no such unit")
        known = [unit for unit in units if unit not in self.decided and walk.known[unit]]
        forms = [plus({}, walk.z[unit], Fraction(walk.known[unit])) for unit in known]
        if any(isinstance(key, int) for form in forms for key in form):  # of outputs of unstable units
            return False
        shares = cancelling([{k: v for k, v in form.items() if k is not None} for form in forms])
        constant = sum((s * form.get(None, ZERO) for s, form in zip(shares or [], forms, strict=False)), ZERO)
        return shares is not None and any(len(form.keys() - {None}) for form in forms) and constant <= 0

    def _largest(self, walk: Walk, flat: list[int], total: Form) -> tuple[Fraction, bool]:
        """A bound on a form and rows that are not negative, and whether one of these is strictly above 0."""
        strict = False
        for unit, kind, y in terms_of(flat):
            if not 0 <= unit < self.count:
                raise ValueError("no such unit")
            if unit in self.decided or (kind == 0) == (walk.known[unit] == 0):
                continue
            z, (low, high) = walk.z[unit], walk.bounds[unit]
            if kind == 0:
                total = plus(total, z, y * walk.known[unit])
                strict |= y > 0 and unit in walk.part.strict
            elif kind == 1:
                total = plus(plus(total, z, -y), {unit: y})
            else:
                total = plus(plus(total, z, y * high), {None: -y * high * low, unit: -y * (high - low)})
        outputs = sum((max(total.get(unit, ZERO), ZERO) * walk.bounds[unit][1] for unit in walk.open), ZERO)
        return walk.region.most({k: v for k, v in total.items() if not isinstance(k, int)}) + outputs, strict

    def _dominates(self, walk: Walk, found: Gradient, square: Mapping[str, Any]) -> bool:
        entries = found.own if self.p != "1" else found.own[square["entry"] : square["entry"] + 1]
        upper = self.upper
        if self.p == "inf":
            alone = square.get("alone", [j for j, (low, high) in enumerate(found.ends) if low < 0 < high])
            rest = [found.own[j] for j in alone]
            together: Form = {}
            for j, (low, high) in enumerate(found.ends):
                if j not in alone:
                    together = plus(together, found.own[j], Fraction(1 if high >= -low else -1))
                    upper -= 2 * max(ZERO, min(-low, high))
            entries = ([together] if len(alone) < len(found.own) else []) + rest
            if upper < 0:
                return False
        masses = [Fraction(m) for m in square["weights"]]
        if not entries or len(masses) != (len(entries) if self.p == "inf" else 0) or any(m <= 0 for m in masses):
            raise ValueError("weights")
        form: dict[tuple[Any, Any], Fraction] = {(None, None): upper**2}

        def add(a: Any, b: Any, value: Fraction) -> None:
            form[a, b] = form.get((a, b), ZERO) + value

        for i, own in enumerate(entries):
            factor = sum(masses, ZERO) / masses[i] if masses else Fraction(1)
            for (a, x), (b, y) in itertools.product(own.items(), repeat=2):
                add(a, b, -factor * x * y)
        for unit, _, y in terms_of(square["terms"]):
            if not 0 <= unit < self.count:
                raise ValueError("no such unit")
            if unit not in walk.open:
                continue
            add(unit, unit, y)
            for key, x in found.g[unit].items():
                add(unit, key, -y * x / 2)
                add(key, unit, -y * x / 2)
        return nowhere_negative(form, [None, *walk.open])


def agrees(plain: Mapping[str, Any]) -> bool:
    """Whether both ends of a well formed file hold."""
    try:
        return Checker(plain).holds()
    except (ValueError, IndexError):
        return False
