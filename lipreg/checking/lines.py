"""The rows that units read, in whole numbers, with nothing bounded: for the rounded mode, whose radii hide that two are one.

A unit that reads the negative of what another reads is on exactly where that one is off, which no radius around either
number shows. So such rows are added up as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lipreg.checking.emptiness import Kind, Term, added, own_terms
from lipreg.checking.integers import Array, zeros
from lipreg.checking.network import Decider, Node, WholeNumberForms, walk
from lipreg.checking.region import IntegerRegion


@dataclass(frozen=True)
class UnitLines:
    """z of every unit that the region leaves unstable, over displacements and the outputs r of such units.

    Attributes:
        region: displacements.
        rows: times a power of two each, ``(n, 1 + m + n)``.
        bits: of each, ``(n,)``.
    """

    region: IntegerRegion
    rows: Array
    bits: list[int]

    @staticmethod
    def of(nodes: Sequence[Node], center: Array, region: IntegerRegion, decided: Mapping[int, int]) -> UnitLines:
        """Those of a network.

        Args:
            nodes: the network.
            center: of the region, ``(inputs,)``.
            region: displacements.
            decided: what the region decides, by the units' numbers: 1 on, -1 off.
        """
        first = 1 + len(region.low)
        noted = _Noted(decided, first)
        walk(nodes, center, region.bits, region.movable, noted)
        rows = zeros(len(noted.rows), first + len(noted.rows))
        for line, row in zip(rows, noted.rows, strict=True):  # each knows the columns that there were
            line[: len(row)] = row
        return UnitLines(region, rows, noted.bits)

    def row(self, unit: int, phase: Array) -> Array:
        """z of a unit where others are decided to be on (1) or off (-1), ``(1 + m + n,)``."""
        line, first = self.rows[unit].copy(), 1 + len(self.region.low)
        for before in range(unit - 1, -1, -1):  # a unit reads earlier ones alone
            weight = line[first + before]
            if weight and phase[before]:
                line = line + weight * self.rows[before] if phase[before] > 0 else line
                line[first + before] = 0
        return line

    def imply(self, phase: Array, unit: int, side: int, terms: Sequence[Term]) -> bool:
        """Whether multipliers of decided units show what ``lipreg.checking.emptiness.implies`` says, with r >= 0 alone.

        Args:
            phase: of all units, 1 on, -1 off, 0 unstable, ``(n,)``.
            unit: by its place.
            side: on which it is to be shown: 1 nowhere below 0, -1 nowhere above it.
            terms: the multipliers, the unit's own among them.

        Raises:
            Refused: a multiplier below 0.
        """
        own = own_terms(terms, unit)
        others = [term for term in terms if term.kind is Kind.SIDE and phase[term.unit]]
        sides = [-side] * len(own) + [int(phase[term.unit]) for term in others]
        used = [*own, *others]
        rows = [(self.row(term.unit, phase) * by, self.bits[term.unit]) for term, by in zip(used, sides, strict=True)]
        total, first = added(used, rows, self.rows.shape[1]), 1 + len(self.region.low)
        most = total[0] + self.region.above(total[None, 1:first])[0]
        return bool(own) and bool(most <= 0) and not (total[first:] > 0).any()

    def empty(self, phase: Array, strict: Array, terms: Sequence[Term]) -> bool:
        """Whether multipliers of decided units show what ``lipreg.checking.emptiness.empties`` says, with r >= 0 alone.

        Args:
            phase: of all units, 1 on, -1 off, 0 unstable, ``(n,)``.
            strict: of units that are on because the tree says z > 0, ``(n,)``.
            terms: the multipliers.

        Raises:
            Refused: a multiplier below 0.
        """
        used = [term for term in terms if term.kind is Kind.SIDE and phase[term.unit]]
        if not any(term.mantissa > 0 and strict[term.unit] for term in used):
            return False
        rows = [(self.row(term.unit, phase) * int(phase[term.unit]), self.bits[term.unit]) for term in used]
        total, first = added(used, rows, self.rows.shape[1]), 1 + len(self.region.low)
        most = total[0] + self.region.above(total[None, 1:first])[0]
        return bool(most <= 0) and not (total[first:] > 0).any()


class _Noted(Decider):
    """Gives every unit that is not decided a column, and notes what it reads."""

    def __init__(self, decided: Mapping[int, int], first: int) -> None:
        self.decided, self.first, self.count = decided, first, 0
        self.rows, self.bits = list[Array](), list[int]()

    def relu(self, z: WholeNumberForms) -> WholeNumberForms:
        sides = [self.decided.get(self.count + i, 0) for i in range(len(z.rows))]
        unstable = [i for i, side in enumerate(sides) if not side]
        own = self.first + len(self.rows)
        forms = np.concatenate([z.rows, zeros(len(z.rows), own + len(unstable) - z.rows.shape[1])], 1)
        image = forms * np.array([[max(side, 0)] for side in sides], dtype=object)
        for place, unit in enumerate(unstable):
            image[unit, own + place] = 1
        self.rows += list(forms[unstable])
        self.bits += [z.bits] * len(unstable)
        self.count += len(z.rows)
        return WholeNumberForms(image, z.bits)
