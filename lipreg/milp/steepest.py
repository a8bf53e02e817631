"""The steepest direction out of one linear piece: a cone program, whose multipliers callers evaluate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lipreg.budget import Budget
from lipreg.ctrl_c import delayed_ctrl_c

if TYPE_CHECKING:
    import scipy.sparse as sp

SECONDS = 10.0
"""Most that one program may take."""
CERTIFICATE = 1e4
"""The largest multiplier of a proof that a piece is empty, for an objective of size 1."""


Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns and values of a sparse matrix's entries."""


@dataclass(frozen=True)
class Piece:
    """The program of one linear piece, where x = x0 + u / t: maximise form . u + constant t.

    All distances are in units of the piece's outer distance: |u|_p <= 1, 1 <= t <= most.

    Attributes:
        form, constant: the rise, ``(m,)`` and a number.
        cuts, levels: cuts . u + levels t >= 0, ``(k, m)`` and ``(k,)``.
        lower, upper: lower t <= u <= upper t, ``(m,)``.
        most: the largest t.
        p: norm of distances.
        ball, radius, stretch: |stretch u|_ball <= radius t, where the region is a ball of another norm; else radius inf.
    """

    form: np.ndarray
    constant: float
    cuts: np.ndarray
    levels: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    most: float
    p: float
    ball: float
    radius: float
    stretch: np.ndarray


@dataclass(frozen=True)
class Multipliers:
    """An engine's answer to a piece's program; a bound is proved by evaluating the multipliers.

    Attributes:
        cuts: multipliers of the cuts, ``(k,)``, none below 0.
        box: those of u <= upper t less those of u >= lower t, ``(m,)``.
        ball: the part of the form that the region's ball bounds, ``(m,)``.
        point: u and t, ``(m + 1,)``; None without one.
    """

    cuts: np.ndarray
    box: np.ndarray
    ball: np.ndarray
    point: np.ndarray | None

    def times(self, length: float) -> Multipliers:
        """All multipliers times ``length``; the point stays."""
        return Multipliers(self.cuts * length, self.box * length, self.ball * length, self.point)


def steepest(piece: Piece, budget: Budget) -> Multipliers | None:
    """The multipliers of the best direction, or of a proof that there is none; None where the engine fails.

    Args:
        piece: the program.
        budget: started, of which it takes at most ``SECONDS``.
    """
    with delayed_ctrl_c():
        import clarabel
        import scipy.sparse as sp

    engine: Any = clarabel  # compiled, without types
    rows, size = _Rows(len(piece.form)), len(piece.form)
    lower, upper = (np.flatnonzero(side) for side in (piece.lower > -1.0, piece.upper < 1.0))
    # where rows differ by many orders of magnitude the multipliers are inaccurate
    sizes = np.maximum(np.abs(piece.cuts).max(1, initial=0.0), np.abs(piece.levels))
    sizes = np.where(sizes > 0.0, sizes, 1.0)
    cuts = rows.at_least(piece.cuts / sizes[:, None], piece.levels / sizes)
    above = rows.at_least((np.arange(len(upper)), upper, -np.ones(len(upper))), piece.upper[upper])
    below = rows.at_least((np.arange(len(lower)), lower, np.ones(len(lower))), -piece.lower[lower])
    rows.at_least(np.zeros((2, size)), np.array([1.0, -1.0]), np.array([-1.0, piece.most]))
    rows.norm(piece.p, np.ones(size), 0.0, 1.0)
    stretched = rows.norm(piece.ball, piece.stretch, piece.radius, 0.0) if piece.radius < math.inf else None
    matrix, right, cones = rows.program(engine)
    settings = engine.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    settings.time_limit = float(min(SECONDS, max(budget.seconds_left, 1e-3)))
    # the engine's tolerances are absolute near 1
    unit = max(float(np.abs(piece.form).max(initial=0.0)), abs(piece.constant), 1e-300)
    cost = np.zeros(rows.width)
    cost[:size], cost[size] = -piece.form / unit, -piece.constant / unit
    nothing = sp.csc_matrix((rows.width, rows.width))
    try:
        solution = engine.DefaultSolver(nothing, cost, matrix, right, cones, settings).solve()
    except BaseException as error:  # its panics are no exceptions
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return None
    empty = "PrimalInfeasible" in str(solution.status)
    z, x = np.asarray(solution.z), np.asarray(solution.x)
    with np.errstate(over="ignore"):
        z = z * (CERTIFICATE / max(1e-300, float(np.abs(z).max())) if empty else 1.0) * unit
    if not np.isfinite(z).all():
        return None
    box = np.zeros(size)
    box[upper] += np.maximum(z[above], 0.0)
    box[lower] -= np.maximum(z[below], 0.0)
    ball = np.zeros(size) if stretched is None else stretched(z) * piece.stretch
    point = None if empty or not np.isfinite(x).all() else x[: size + 1]
    return Multipliers(np.maximum(z[cuts], 0.0) / sizes, box, ball, point)


class _Rows:
    """Rows over (u, t) and further variables, as cones of clarabel: matrix (u, t, more) + s = right.

    Second-order cones come after all linear rows.
    """

    def __init__(self, size: int) -> None:
        self.size, self.width = size, size + 1
        self.linear, self.round = _Entries(), _Entries()
        self.cones: list[int] = []

    def at_least(self, on_u: np.ndarray | Triplets, on_t: np.ndarray, constant: np.ndarray | None = None) -> slice:
        """Adds rows on_u u + on_t t + constant >= 0; returns the slice of their multipliers."""
        count, block = len(on_t), self.linear
        if isinstance(on_u, np.ndarray):
            row, column = np.indices(on_u.shape)
            block.enter(row.ravel(), column.ravel(), -on_u.ravel())
        else:
            row, column, value = on_u
            block.enter(row, column, -value)
        block.enter(np.arange(count), np.full(count, self.size), -on_t)
        return block.close(np.zeros(count) if constant is None else constant)

    def norm(self, p: float, stretch: np.ndarray, on_t: float, constant: float) -> Callable[[np.ndarray], np.ndarray]:
        """Adds |stretch u|_p <= on_t t + constant; returns the map from all multipliers to their form in stretch u."""
        size, each = self.size, np.arange(self.size)
        if p == 2.0:
            block = self.round
            block.enter(np.zeros(1, dtype=int), np.full(1, size), np.array([-on_t]))
            block.enter(1 + each, each, -stretch)
            cone = block.close(np.append(constant, np.zeros(size)))
            self.cones.append(size + 1)
            return lambda z: -z[self.linear.count + cone.start + 1 : self.linear.count + cone.stop]
        if p == math.inf:
            ends = np.full(size, on_t), np.full(size, constant)
            up, down = self.at_least((each, each, -stretch), *ends), self.at_least((each, each, stretch), *ends)
            return lambda z: z[up] - z[down]
        more, self.width = self.width + each, self.width + size
        both = np.concatenate([each, each])
        values = (np.concatenate([sign * stretch, np.ones(size)]) for sign in (-1.0, 1.0))
        up, down = (self.at_least((both, np.concatenate([each, more]), value), np.zeros(size)) for value in values)
        self.at_least((np.zeros(size, dtype=int), more, -np.ones(size)), np.full(1, on_t), np.full(1, constant))
        return lambda z: z[up] - z[down]

    def program(self, engine: Any) -> tuple[sp.csc_matrix, np.ndarray, list[Any]]:
        """Matrix, right side and cones."""
        import scipy.sparse as sp

        parts = [block.arrays(first) for block, first in ((self.linear, 0), (self.round, self.linear.count))]
        row, column, value, right = (np.concatenate(part) for part in zip(*parts, strict=True))
        matrix = sp.csc_matrix((value, (row, column)), shape=(len(right), self.width))
        cones = [engine.NonnegativeConeT(self.linear.count)]
        return matrix, right, cones + [engine.SecondOrderConeT(size) for size in self.cones]


class _Entries:
    """The entries of a growing block of rows."""

    def __init__(self) -> None:
        self.count = 0
        self.entries: list[Triplets] = []
        self.right: list[np.ndarray] = []

    def enter(self, row: np.ndarray, column: np.ndarray, value: np.ndarray) -> None:
        """Adds entries of rows that are not closed yet, counted from the first of them."""
        self.entries.append((row + self.count, column, value))

    def close(self, right: np.ndarray) -> slice:
        """Closes as many rows as ``right`` has; returns their slice."""
        self.right.append(right)
        self.count += len(right)
        return slice(self.count - len(right), self.count)

    def arrays(self, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows counted from ``first``, columns, values, and right sides."""
        empty = (np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0))
        row, column, value = (np.concatenate(part) for part in zip(empty, *self.entries, strict=True))
        nonzero = value != 0.0
        return row[nonzero] + first, column[nonzero], value[nonzero], np.concatenate([np.zeros(0), *self.right])
