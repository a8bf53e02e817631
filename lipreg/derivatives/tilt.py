"""An end of an entry's range as a question about a magnitude.

The engines maximise |c . J| in a norm. Beside its outputs the network passes on its inputs; the functional c . f + k x_j,
measured in x_j alone, has the derivative c . d f / d x_j + k. With k the proved bound on how far an entry falls below 0 that
is at least 0 all over the region, so its largest magnitude is the largest derivative plus k. For any k a bound proved of the
magnitude, less k, bounds the derivative from above. No more is added than closed forms leave possible, and gaps are those of
the derivative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from lipreg.bounds import Analysis
from lipreg.derivatives.entries import Entry, EntryBounds
from lipreg.linalg.rationals import below
from lipreg.outputs import AllLogits

RELAXED = 64
"""Unstable units from which on nodes are bounded by their relaxation too. Measured: with 20 to 50 of them searches take 0.7
of the time without it; with 100 and more they take as long, and leave more entries undecided."""


@dataclass(frozen=True)
class Tilt:
    """sign * (entry) + slope * unit as a question about a magnitude.

    Attributes:
        question: the analysis that engines get.
        shift: slope * unit, exactly.
    """

    question: Analysis
    shift: Fraction

    def raised(self, value: float) -> float:
        """value + shift, rounded down."""
        return below(Fraction(value) + self.shift) if math.isfinite(value) else value

    def lowered(self, bound: float) -> float:
        """bound - shift, rounded up."""
        return -below(self.shift - Fraction(bound)) if math.isfinite(bound) else bound


def tilted(local: Analysis, entries: EntryBounds, entry: Entry, end: int) -> Tilt:
    """``end`` times an entry as a question about a magnitude.

    Args:
        local: of the network with its inputs beside its outputs, at the entries' point: its own analysis, one without max
            pools or one over rays.
        entries: of the point, with the bound on how far the entry falls below 0.
        entry, end: which end of which entry.
    """
    row, column = entry
    placed = local.placed
    unit = float(placed.counts.flatten()[column])
    slope = max(0.0, entries.proved(entry, -end)) / unit
    rows = end * placed.rows[:, row : row + 1]
    rows[..., len(rows.flatten()) - entries.local.placed.counts[0].numel() + column] = slope
    # all norms of a single entry are the same; the search's bounds are not
    p = 1.0 if int(local.unstable_units()) < RELAXED else math.inf
    problem = replace(placed.problem, output=AllLogits(), measured=(column,), p=p)
    return Tilt(
        local.for_question(replace(placed, problem=problem, coefficients=rows)), Fraction(slope) * Fraction(unit)
    )
