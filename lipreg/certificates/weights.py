"""Weights of squares for a cell: LipSDP's multipliers of its switches, by the passes of ``lipreg.bounds.lifted``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lipreg.certificates.multipliers import short
from lipreg.checking.cells import GradientIntervals
from lipreg.checking.emptiness import Kind, Term
from lipreg.checking.integers import Array
from lipreg.checking.rounded import Cell, dominates, entries, one_signed
from lipreg.checking.squares import Square

RANK, SWEEPS = 8, (4, 12, 48)
"""Length of the vectors; passes, after which multipliers are taken."""
FACTORS = (1.0, 1.001, 1.01, 1.1)
FLOOR = 1e-9
WEIGHT, DIGITS = 1 << 12, 16
"""The largest weight, and the bits of a multiplier."""


@dataclass
class Switched:
    """The network of a cell's switches in float64: g = P w + q, J = R w + s, in levels; and where the passes over it stand.

    Attributes:
        p, q: of g over the unstable units' w, ``(u, u)`` and ``(u,)``.
        r, s: of the entries of J that are squared, ``(k, u)`` and ``(k,)``.
        depth: how many levels have an unstable unit, at least 1.
        along: vectors of length 1 of the switches, ``(u, RANK)``.
        multipliers: lambda, ``(u,)``.
        rows: m, the weights of the squares in norm 1, ``(k,)``.
    """

    p: Array
    q: Array
    r: Array
    s: Array
    depth: int
    along: Array
    multipliers: Array
    rows: Array

    @staticmethod
    def of(norm: int, cell: Cell, bounds: GradientIntervals, upper: float, square: Square) -> Switched:
        """The switches of a cell, with random vectors to start from.

        Args:
            norm: of gradients, as in ``lipreg.checking``.
            cell: with at least one unstable unit.
            bounds: intervals of the gradient in it.
            upper: what is to be proved.
            square: names the entry, and in norm 1 the entries that count by themselves.
        """
        units, first, free = cell.units, cell.units.first, cell.unstable
        both = entries(norm, cell, bounds, square, upper)[0].mid
        p, q = cell.rows.mid[np.ix_(free, first + free)].T, cell.out.mid[first + free]
        depth = max(1, len(set(np.array(units.level)[free].tolist())))
        along = np.random.default_rng(0).normal(size=(len(free), RANK))
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        return Switched(p, q, both[:, 1:], both[:, 0], depth, along, np.ones(len(free)), np.ones(len(both)))

    def sweep(self, norm: int, sweeps: int) -> float:
        """Improves where it stands; returns the norm that vectors have."""
        value, c = 0.0, np.eye(1, RANK)[0]
        for _ in range(sweeps):
            y = fixed = np.outer(self.q, c)
            for _ in range(self.depth - 1):
                y = fixed + self.p @ ((y + _sizes(y) * self.along) / 2)
            size = _sizes(y)
            x = self.r @ ((y + size * self.along) / 2) + np.outer(self.s, c)
            lengths = _sizes(x)[:, 0]
            value = float(lengths.sum() if norm == 1 else np.sqrt((lengths**2).sum()))
            if norm == 1:
                self.rows = _floored(lengths)
                x = x * (value / self.rows)[:, None]
            upright = y / np.maximum(size, 1e-300)
            h = fixed = 2.0 * self.r.T @ x
            for _ in range(self.depth - 1):
                h = fixed + self.p.T @ ((h + _sizes(h) * upright) / 2)
            pull = _sizes(h)
            self.multipliers = (pull / _floored(size))[:, 0]
            self.along = h / np.maximum(pull, 1e-300)
        return value

    def proved(self, norm: int, factor: float) -> float:
        """The norm that a multiple of the multipliers proves, in float64; infinite where they prove none."""
        scale = self.rows.sum() / self.rows if norm == 1 else np.ones(len(self.s))
        lam = factor * _floored(self.multipliers)
        own = (
            np.diag(lam)
            - (lam[:, None] * self.p + (lam[:, None] * self.p).T) / 2
            - self.r.T @ (scale[:, None] * self.r)
        )
        cross = self.r.T @ (scale * self.s) + lam * self.q / 2
        try:
            half = np.linalg.solve(np.linalg.cholesky(own), cross)
        except np.linalg.LinAlgError:
            return np.inf
        return float(np.sqrt(scale @ self.s**2 + half @ half))

    def weights(self, norm: int) -> list[int]:
        """m in whole numbers."""
        if norm != 1:
            return []
        return [max(1, round(WEIGHT * m)) for m in (self.rows / self.rows.max()).tolist()]

    def terms(self, cell: Cell, factor: float) -> tuple[Term, ...]:
        """lambda as a certificate writes it."""
        values = (factor * _floored(self.multipliers)).tolist()
        return tuple(
            short(int(unit), Kind.SIDE, value, DIGITS) for unit, value in zip(cell.unstable, values, strict=True)
        )


def squared(norm: int, cell: Cell, bounds: GradientIntervals, upper: float, entry: int, spare: float) -> Square | None:
    """A square that settles an entry of the gradient, or its norm, by ``dominates``; None where it does not come to that.

    Args:
        norm: of gradients, as in ``lipreg.checking``.
        cell: with at least one unstable unit.
        bounds: intervals of the gradient in it.
        upper: what is to be proved.
        entry: of the gradient, where the norm is the largest entry.
        spare: share of the claim that is left to rounding.
    """
    alone = tuple(np.flatnonzero(~one_signed(bounds, upper)).tolist()) if norm == 1 else ()
    begun = Square(entry, (), (), alone)
    switched = Switched.of(norm, cell, bounds, upper, begun)
    for sweeps in SWEEPS:
        if switched.sweep(norm, sweeps) > upper:  # vectors that no multipliers prove away
            return None
        factor = next((factor for factor in FACTORS if switched.proved(norm, factor) < upper * (1 - spare)), None)
        if factor is not None:
            square = replace(begun, terms=switched.terms(cell, factor), weights=tuple(switched.weights(norm)))
            if dominates(norm, cell, bounds, upper, square):
                return square
    return None


def _sizes(vectors: Array) -> Array:
    return np.sqrt((vectors**2).sum(1, keepdims=True))


def _floored(sizes: Array) -> Array:
    return np.maximum(sizes, max(FLOOR * sizes.max(initial=0.0), 1e-300))
