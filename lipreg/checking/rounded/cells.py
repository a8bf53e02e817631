"""Parts of the region in float64: the cells of ``lipreg.checking.cells``, with what rounding may have done to each number.

A form whose coefficients are balls is bounded from above by floats: as |d_j| <= D_j and 0 <= r <= high in a cell, its
radii cost at most their sum times these, which is put beside it as a number (``slack``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Self

import numpy as np

from lipreg.checking.cells import GradientIntervals
from lipreg.checking.integers import Array
from lipreg.checking.lines import UnitLines
from lipreg.checking.network import Node
from lipreg.checking.parts import SplitCell
from lipreg.checking.region import IntegerRegion
from lipreg.checking.rounded.balls import EPS, FLOOR, Balls, outward, padded, raised, settled, stacked
from lipreg.checking.rounded.network import walked
from lipreg.checking.rounded.region import FloatRegion

MORE = EPS * (1 + 2.0**-20)
"""Two roundings, one of a number that the first has made."""


def _no_lines() -> UnitLines:
    raise ValueError("units of no network")


@dataclass
class Units:
    """The units that the bounds over the whole region leave unstable; see ``lipreg.checking.cells.Units``.

    Attributes:
        region: displacements.
        number: of each among all units of the network, ``(n,)``.
        level: of each, ``(n,)``.
        levels: the units of each level, from the input on.
        count: of all units.
        decided: the others, by their numbers: 1 on, -1 off in all of the region.
        lines: what the unstable ones read, in whole numbers, made at the first call.
    """

    region: FloatRegion
    number: list[int] = field(default_factory=list)
    level: list[int] = field(default_factory=list)
    levels: list[Array] = field(default_factory=list)
    count: int = 0
    decided: dict[int, int] = field(default_factory=dict)
    lines: Callable[[], UnitLines] = field(default=_no_lines)

    @property
    def first(self) -> int:
        """The column of the first unit."""
        return 1 + len(self.region.low)


@dataclass
class Cell(SplitCell):
    """A part of the region; see ``lipreg.checking.cells.Cell``. Bounds hold, coefficients are balls.

    Attributes:
        units: what is the same in all cells.
        phase: 1 on, -1 off, 0 unstable, ``(n,)``.
        strict: of units that are on because the tree says z > 0, ``(n,)``.
        rows: z of every unit, ``(n, 1 + m + n)``.
        out: the functional, ``(1 + m + n,)``.
        low, high: bounds of z, ``(n,)``.
        empty: whether bounds contradict each other.
    """

    units: Units
    phase: Array
    strict: Array
    rows: Balls
    out: Balls
    low: Array
    high: Array
    empty: bool = False

    def _copied(self) -> Self:
        rows = Balls(self.rows.mid.copy(), self.rows.rad.copy())
        phase, strict, low, high = (part.copy() for part in (self.phase, self.strict, self.low, self.high))
        return replace(self, phase=phase, strict=strict, rows=rows, low=low, high=high)

    def _put(self, unit: int, side: int) -> None:
        if side > 0:
            self.low[unit] = np.maximum(self.low[unit], 0.0)
        else:
            self.high[unit] = np.minimum(self.high[unit], 0.0)
        self.tighten(self._substitute(unit, side))

    def tighten(self, changed: Array) -> None:
        """Tightens the bounds of z in this cell; see ``lipreg.checking.cells.Cell.tighten``."""
        first = self.units.first
        for level in self.units.levels:
            read = self.rows[level, first:]
            level = level[changed[level] | ((read.mid != 0) | (read.rad != 0)).any(1)]
            if not len(level):
                continue
            rows = self.rows[level]
            ends = largest(self.units, stacked(rows, -rows), self.rows, self.low, self.high)
            self.low[level] = low = np.maximum(self.low[level], -ends[len(level) :])
            self.high[level] = high = np.minimum(self.high[level], ends[: len(level)])
            if ((low > high) | (self.strict[level] & (high <= 0))).any():
                self.empty = True
                return
            for unit in level[(self.phase[level] == 0) & ((high <= 0) | (low >= 0))]:
                changed |= self._substitute(int(unit), -1 if self.high[unit] <= 0 else 1)

    def _substitute(self, unit: int, side: int) -> Array:
        """Puts a unit's side into all forms, and returns which rows that may have changed, ``(n,)``."""
        self.phase[unit] = side
        column = self.units.first + unit
        users = ~self.rows[:, column].zero
        if side > 0:  # r = z; off it is 0
            own = self.rows[unit]
            if users.any():
                forms = _substituted(self.rows[users], self.rows[users, column], own)
                self.rows.mid[users], self.rows.rad[users] = forms.mid, forms.rad
            self.out = _substituted(self.out[None], self.out[column : column + 1], own)[0]
        else:
            self.out = Balls(self.out.mid.copy(), self.out.rad.copy())
        for balls in (self.rows, self.out):
            balls.mid[..., column] = 0.0
            balls.rad[..., column] = 0.0
        return users


def _substituted(forms: Balls, weight: Balls, own: Balls) -> Balls:
    """Forms ``(k, w)`` with a unit's z ``(w,)`` added, times a weight ``(k,)`` each."""
    heavy, row = np.abs(weight.mid)[:, None], np.abs(own.mid)
    step = weight.mid[:, None] * own.mid
    off = heavy * own.rad + weight.rad[:, None] * (row + own.rad) + MORE * (np.abs(forms.mid) + np.abs(step))
    return settled(forms.mid + step, (forms.rad + off) * (1 + 16 * EPS))


def largest(units: Units, forms: Balls, rows: Balls, low: Array, high: Array) -> Array:
    """Upper bounds of forms over a cell, ``(k,)``: r is replaced by lines above and below it, level by level.

    Any line above relu on [low, high] will do: for a slope s the one whose constant is max(-s low, (1 - s) high).

    Args:
        units: of the cell.
        forms: ``(k, 1 + m + n)``.
        rows: z of every unit, ``(n, 1 + m + n)``.
        low, high: bounds of z, ``(n,)``.
    """
    first, width = units.first, forms.mid.shape[1]
    extent = np.concatenate([[1.0], units.region.size, np.maximum(high, 0.0)])[:width]
    weights, slack = forms.mid, forms.rad @ extent
    loose, whole = rows.rad @ extent, np.abs(rows.mid) @ extent
    for level in reversed(units.levels):
        weight = weights[:, first + level]
        used = np.flatnonzero((weight != 0).any(0))
        if not len(used):
            continue
        weight, own = weight[:, used], level[used]
        slope, shift = _lines(low[own], high[own])
        above, below = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
        step = above * slope + below * (high[own] > -low[own])
        size, at = np.abs(step), np.maximum(np.abs(low[own]), np.abs(high[own]))
        rest, touched = weights.copy(), (weight != 0).any(1)
        rest[:, first + level] = 0.0
        share = (len(own) + 8) * EPS
        slack = slack + above @ shift + size @ (loose[own] + share * whole[own] + 2 * EPS * at)
        # what a product loses below the smallest float is a coefficient: it counts with all that it may meet
        slack = slack + np.where(
            touched, 2 * EPS * (np.abs(rest) @ extent) + FLOOR * (1.0 + extent.sum() + at.sum()), 0.0
        )
        weights = rest + step @ rows.mid[own]
    over, constant = units.region.above(weights[:, 1:first]), weights[:, 0]
    ends = constant + over + slack * raised(width + len(units.level))
    return ends + 4 * EPS * (np.abs(constant) + np.abs(over) + np.abs(slack))


def _lines(low: Array, high: Array) -> tuple[Array, Array]:
    """Slopes and constants of lines above relu on [low, high]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        chord = np.clip(high / (high - low), 0.0, 1.0)
    slope = np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, chord))
    shift = np.maximum(-slope * low, (1.0 - slope) * high) * (1 + 8 * EPS) + FLOOR
    return slope, np.where((low >= 0) | (high <= 0), 0.0, shift)


class _Bounded:
    """Decides what bounds over the whole region decide, and gives every other unit a column."""

    def __init__(self, region: FloatRegion, decided: Mapping[int, int]) -> None:
        self.units, self.decided = Units(region), decided
        self.rows = Balls.exactly(np.zeros((0, self.units.first)))
        self.low = self.high = np.zeros(0)
        self.level = 0

    def __call__(self, z: Balls) -> Balls:
        units, width, count = self.units, self.rows.mid.shape[1], len(z.mid)
        forms = padded(z, width)
        ends = largest(units, stacked(forms, -forms), self.rows, self.low, self.high)
        high, low = ends[:count], -ends[count:]
        decided = np.array([self.decided.get(units.count + i, 0) for i in range(count)], dtype=int)
        on, unstable = (low >= 0) | (decided > 0), np.flatnonzero(~((low >= 0) | (high <= 0)) & (decided == 0))
        image = padded(
            Balls(np.where(on[:, None], forms.mid, 0.0), np.where(on[:, None], forms.rad, 0.0)), width + len(unstable)
        )
        image.mid[unstable, width + np.arange(len(unstable))] = 1.0
        self.rows = padded(stacked(self.rows, forms[unstable]), width + len(unstable))
        self.low, self.high = np.concatenate([self.low, low[unstable]]), np.concatenate([self.high, high[unstable]])
        units.number += [units.count + int(i) for i in unstable]
        sure = np.setdiff1d(np.arange(count), unstable)
        units.decided |= {units.count + int(i): 1 if on[i] else -1 for i in sure}
        units.level += [self.level] * len(unstable)
        units.levels += [width - units.first + np.arange(len(unstable))] if len(unstable) else []
        units.count += count
        self.level += 1
        return image


def roots(
    nodes: tuple[Node, ...],
    center: Array,
    region: IntegerRegion,
    functionals: tuple[Array, int],
    decided: Mapping[int, int] | None = None,
) -> Iterator[Cell]:
    """The whole region, once for each row of functionals.

    Args:
        nodes: the network.
        center: of the region, ``(inputs,)``.
        region: displacements.
        functionals: ``(rows, outputs)`` of whole numbers times a power of two, and that power's bits.
        decided: what whole numbers decide of units, by their numbers, beside what is seen here: where a bound is 0 to the
            last digit, radii hide it.
    """
    bounded: Any = _Bounded(FloatRegion.of(region), decided or {})
    output = walked(nodes, center, region.movable, bounded)
    units = bounded.units
    units.lines = cache(partial(UnitLines.of, nodes, center, region, units.decided))
    n, width = len(bounded.low), bounded.rows.mid.shape[1]
    outs = Balls.near(*functionals) @ padded(output, width)
    phase, strict = np.zeros(n, dtype=np.int8), np.zeros(n, dtype=bool)
    for row in range(len(outs.mid)):
        yield Cell(units, phase, strict, bounded.rows, outs[row], bounded.low, bounded.high)


def gradient(cell: Cell) -> GradientIntervals:
    """Intervals of g, w and J, level by level from the output to the input; w lies between 0 and g."""
    first, n, free = cell.units.first, len(cell.phase), cell.unstable
    g_low, g_high, w_low, w_high = (np.zeros(n) for _ in range(4))
    rows = cell.rows[free]

    def interval(columns: Array) -> tuple[Array, Array]:
        weights, radii, own = rows.mid[:, columns].T, rows.rad[:, columns].T, cell.out.mid[columns]
        up, down, low, high = np.maximum(weights, 0.0), np.minimum(weights, 0.0), w_low[free], w_high[free]
        most = np.maximum(-low, high)
        size, share = np.abs(weights) @ most, (len(free) + 8) * EPS
        off = (cell.out.rad[columns] + radii @ most + share * (size + np.abs(own))) * raised(len(free))
        touched = (((weights != 0) | (radii != 0)) & ~(most == 0)).any(1) | ~(cell.out.rad[columns] == 0)
        off = np.where(touched, off + FLOOR, 0.0)  # else it is the row's own number, and nothing was rounded
        return outward(own + up @ low + down @ high - off, own + up @ high + down @ low + off)

    for level in reversed(cell.units.levels):
        level = level[cell.phase[level] == 0]
        if len(level):
            g_low[level], g_high[level] = interval(first + level)
            w_low[level], w_high[level] = np.minimum(g_low[level], 0.0), np.maximum(g_high[level], 0.0)
    ends = cell.units.region.measured(*interval(np.arange(1, first)))
    return GradientIntervals(g_low, g_high, w_low, w_high, *ends)
