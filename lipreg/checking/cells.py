"""Parts of the region in which some units are decided, on or off: forms of every unit and of the gradient there.

Forms are over displacements d of the region and outputs r of the units that are unstable there. A decided unit is put into
all forms exactly, so what remains says what holds in the cell: z = c + A d + B r, and for the gradient J of a row of
outputs, with w = a g the part of a unit's gradient that passes, a = 1 where z > 0 and else 0,

    g = b + B^T w,    J = j + A^T w,    (j, b) the row's own coefficients of d and r.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from lipreg.checking.integers import Array, shifted, zeros
from lipreg.checking.network import Decider, Node, WholeNumberForms, walk
from lipreg.checking.parts import SplitCell
from lipreg.checking.region import IntegerRegion

SLOPE_BITS = 48
"""Bits of a slope of a line above a ReLU, which is rounded up."""


@dataclass
class Units:
    """The units that the bounds over the whole region leave unstable, one column a unit.

    Attributes:
        region: displacements.
        number: of each among all units of the network, ``(n,)``: unit by unit as a walk meets them.
        level: units of one level do not read each other, and read levels below alone, ``(n,)``.
        bits: z and r are held times 2^bits, ``(n,)``.
        count: of all units.
        decided: the others, by their numbers: 1 on, -1 off in all of the region.
    """

    region: IntegerRegion
    number: list[int] = field(default_factory=list)
    level: list[int] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    count: int = 0
    decided: dict[int, int] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The column of the first unit."""
        return 1 + len(self.region.low)

    def levels(self) -> list[Array]:
        """The units of each level, from the input on."""
        own = np.array(self.level, dtype=int)
        return [np.flatnonzero(own == k) for k in sorted(set(self.level))]


@dataclass
class Cell(SplitCell):
    """The part of the region in which z >= 0 for the units that are on, and z <= 0 for those that are off.

    Attributes:
        units: what is the same in all cells.
        phase: 1 on, -1 off, 0 unstable, ``(n,)``.
        strict: of units that are on because the tree says z > 0, ``(n,)``.
        rows: z of every unit, ``(n, 1 + m + n)``.
        out: the functional, ``(1 + m + n,)``, times 2^out_bits.
        out_bits: of that.
        low, high: bounds of z.
        empty: whether bounds contradict each other.
    """

    units: Units
    phase: Array
    strict: Array
    rows: Array
    out: Array
    out_bits: int
    low: Array
    high: Array
    empty: bool = False

    @property
    def measured_bits(self) -> int:
        """The bits of J as it is measured."""
        return self.out_bits - self.units.region.bits + self.units.region.shift

    def _copied(self) -> Self:
        parts = (self.phase, self.strict, self.rows, self.out, self.low, self.high)
        phase, strict, rows, out, low, high = (part.copy() for part in parts)
        return replace(self, phase=phase, strict=strict, rows=rows, out=out, low=low, high=high)

    def _put(self, unit: int, side: int) -> None:
        if side > 0:
            self.low[unit] = max(self.low[unit], 0)
        else:
            self.high[unit] = min(self.high[unit], 0)
        self.tighten(self._substitute(unit, side))

    def tighten(self, changed: Array) -> None:
        """Tightens the bounds of z in this cell, level by level; units that these decide are decided from there on.

        A row of displacements alone that has not changed, ``(n,)``, has its bounds already.
        """
        for level in self.units.levels():
            level = level[changed[level] | (self.rows[level, self.units.first :] != 0).any(1)]
            if self.empty:
                return
            both = np.concatenate([self.rows[level], -self.rows[level]])
            ends = largest(self.units, both, self.rows, self.low, self.high)
            for unit, top, bottom in zip(level, ends[: len(level)], ends[len(level) :], strict=True):
                low, high = (max(self.low[unit], -bottom), min(self.high[unit], top))
                self.low[unit], self.high[unit] = low, high
                if low > high or (self.strict[unit] and high <= 0):
                    self.empty = True
                elif not self.phase[unit] and (high <= 0 or low >= 0):
                    changed |= self._substitute(unit, -1 if high <= 0 else 1)

    def _substitute(self, unit: int, side: int) -> Array:
        """Puts a unit's side into all forms, and returns which rows that changed, ``(n,)``."""
        self.phase[unit] = side
        column = self.units.first + unit
        users = self.rows[:, column] != 0
        if side > 0:  # r = z; off it is 0
            self.out = self.out + self.out[column] * self.rows[unit]
            self.rows[users] = self.rows[users] + self.rows[users, column][:, None] * self.rows[unit]
        self.rows[:, column] = 0
        self.out[column] = 0
        return users


def largest(units: Units, forms: Array, rows: Array, low: Array, high: Array) -> Array:
    """Upper bounds of forms over a cell, rounded up, ``(k,)``: r is replaced by lines above and below it, level by level.

    Above r is its chord from low to high, below it z where high > -low, else 0.

    Args:
        units: of the cell.
        forms: ``(k, 1 + m + n)``.
        rows: z of every unit, ``(n, 1 + m + n)``.
        low, high: bounds of z, ``(n,)``.
    """
    first, passed = units.first, 0
    for level in reversed(units.levels()):
        columns = first + level
        weight = forms[:, columns]
        used = np.flatnonzero((weight != 0).any(0))
        if not len(used):
            continue
        weight, own = weight[:, used], level[used]
        chord, shift = zip(*(_chord(low[i], high[i]) for i in own), strict=True)
        lower = np.array([int((high[i] > -low[i]) << SLOPE_BITS) for i in own], dtype=object)
        above, below = np.maximum(weight, 0), np.minimum(weight, 0)
        forms = shifted(forms, SLOPE_BITS)
        forms[:, columns] = 0
        forms = forms + (above * np.array(chord, dtype=object) + below * lower) @ rows[own]
        forms[:, 0] = forms[:, 0] + above @ np.array(shift, dtype=object)
        passed += SLOPE_BITS
    ends = forms[:, 0] + units.region.above(forms[:, 1:first])
    return -(-ends >> passed) if passed else ends


def _chord(low: Any, high: Any) -> tuple[Any, Any]:
    """(slope, constant) of a line above relu on [low, high], times 2^SLOPE_BITS."""
    if low >= 0:
        return (1 << SLOPE_BITS), 0
    if high <= 0:
        return 0, 0
    slope = -((-high << SLOPE_BITS) // (high - low))
    return slope, -slope * low


class _Bounded(Decider):
    """Decides what bounds over the whole region decide, and gives every other unit a column."""

    def __init__(self, region: IntegerRegion) -> None:
        self.units = Units(region)
        self.rows, self.low, self.high = zeros(0, self.units.first), zeros(0), zeros(0)
        self.levels = 0

    def relu(self, z: WholeNumberForms) -> WholeNumberForms:
        units, width = self.units, self.rows.shape[1]
        forms = np.concatenate([z.rows, zeros(len(z.rows), width - z.rows.shape[1])], 1)
        high = largest(units, forms, self.rows, self.low, self.high)
        low = -largest(units, -forms, self.rows, self.low, self.high)
        unstable = np.flatnonzero((low < 0) & (high > 0))
        image = np.concatenate([forms, zeros(len(forms), len(unstable))], 1)
        image[low < 0] = 0
        for place, unit in enumerate(unstable):
            image[unit, width + place] = 1
        rows = np.concatenate([self.rows, forms[unstable]])
        self.rows = np.concatenate([rows, zeros(len(rows), len(unstable))], 1)
        self.low, self.high = np.concatenate([self.low, low[unstable]]), np.concatenate([self.high, high[unstable]])
        units.number += [units.count + int(i) for i in unstable]
        units.decided |= {
            units.count + i: 1 if low[i] >= 0 else -1 for i in range(len(forms)) if not low[i] < 0 < high[i]
        }
        units.level += [self.levels] * len(unstable)
        units.bits += [z.bits] * len(unstable)
        units.count += len(forms)
        self.levels += 1
        return WholeNumberForms(image, z.bits)


def roots(
    nodes: tuple[Node, ...], center: Array, region: IntegerRegion, functionals: tuple[Array, int]
) -> Iterator[Cell]:
    """The whole region, once for each row of functionals.

    Args:
        nodes: the network.
        center: of the region, ``(inputs,)``.
        region: displacements.
        functionals: ``(rows, outputs)`` of whole numbers times a power of two, and that power's bits.
    """
    bounded = _Bounded(region)
    output = walk(nodes, center, region.bits, region.movable, bounded)
    n, width = len(bounded.rows), bounded.rows.shape[1]
    output = output + WholeNumberForms(zeros(len(output.rows), width), 0)
    phase, strict = np.zeros(n, dtype=np.int8), np.zeros(n, dtype=bool)
    for row in functionals[0]:
        out, bits = row @ output.rows, output.bits + functionals[1]
        yield Cell(bounded.units, phase, strict, bounded.rows, out, bits, bounded.low, bounded.high)


@dataclass(frozen=True)
class GradientIntervals:
    """Intervals of the gradient in a cell.

    Attributes:
        g_low, g_high: of g of every unit, ``(n,)``.
        w_low, w_high: of w of every unit, ``(n,)``.
        low, high: of J as it is measured, times the counts of the question, ``(m,)``.
    """

    g_low: Array
    g_high: Array
    w_low: Array
    w_high: Array
    low: Array
    high: Array


def gradient(cell: Cell) -> GradientIntervals:
    """Intervals of g, w and J, level by level from the output to the input; w lies between 0 and g."""
    first, n = cell.units.first, len(cell.phase)
    g_low, g_high, w_low, w_high = (zeros(n) for _ in range(4))

    def interval(columns: Array) -> tuple[Array, Array]:
        weights, own = cell.rows[:, columns].T, cell.out[columns]
        up, down = np.maximum(weights, 0), np.minimum(weights, 0)
        return own + up @ w_low + down @ w_high, own + up @ w_high + down @ w_low

    for level in reversed(cell.units.levels()):
        level = level[cell.phase[level] == 0]
        if len(level):
            g_low[level], g_high[level] = interval(first + level)
            w_low[level], w_high[level] = np.minimum(g_low[level], 0), np.maximum(g_high[level], 0)
    ends = (cell.units.region.measured(end) for end in interval(np.arange(1, first)))
    return GradientIntervals(g_low, g_high, w_low, w_high, *ends)
