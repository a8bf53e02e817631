"""The unit at which a cell is split: every child is bounded by intervals of its gradient, in float64, all at once."""

from __future__ import annotations

import math

import numpy as np

from lipreg.checking.integers import Array
from lipreg.checking.rounded import Cell

LEAST = 1e-6
"""Least improvement of a child that counts, as a share of the cell's bound, so that a product of two has no zero factor."""


LEFT, CELLS = 0.8, 15.0
"""When units are split level by level, as measured in ``lipreg.search.branching``."""


def best_unit(cell: Cell, norm: int) -> int:
    """The unit whose two children gain most together: the largest product of their improvements."""
    units, first, rows, out = cell.unstable, cell.units.first, cell.rows.mid, cell.out.mid
    counts = 1.0 if cell.units.region.counts is None else cell.units.region.counts.mid
    a, b = rows[units, 1:first] * counts, rows[np.ix_(units, first + units)]
    j, c = out[1:first] * counts, out[first + units]
    k, level = len(units), np.array(cell.units.level)[units]
    others = 1.0 - np.eye(k)
    # the cell itself, then each unit off, then each on: its z in place of its r
    keep = np.concatenate([np.ones((1, k)), others, others])
    on = np.concatenate([np.zeros((1, k)), np.zeros((k, k)), np.eye(k)])
    gradients = j + (on * c) @ a  # (1 + 2k, m)
    outs = (c + (on * c) @ b) * keep
    ways = a + np.einsum("nlu,um->nlm", b[None] * on[:, None, :], a)
    links = (b + np.einsum("nlu,uv->nlv", b[None] * on[:, None, :], b)) * keep[:, :, None] * keep[:, None, :]
    low, high = _ranges(outs, links, ways * keep[:, :, None], gradients, level)
    size = np.maximum(-low, high)
    bounds = size.max(1) if norm == 0 else size.sum(1) if norm == 1 else np.sqrt((size**2).sum(1))
    gain = np.maximum(bounds[0] - bounds[1:], LEAST * bounds[0])
    score = gain[:k] * gain[k:]
    if by_levels(cell):
        score = np.where(level == level.min(), score, -1.0)
    return int(units[int(score.argmax())])


def by_levels(cell: Cell) -> bool:
    """Whether units are split level by level, because the region has far fewer cells than its units have patterns.

    See ``lipreg.search.branching.by_levels``: then every cut is exact, so that no part is kept that holds no point.
    """
    inputs, counts = cell.units.first - 1, [len(level) for level in cell.units.levels]
    return _bits(sum(counts), inputs) < LEFT * sum(counts) and _bits(counts[0], inputs) <= CELLS


def _bits(hyperplanes: int, inputs: int) -> float:
    """The logarithm, to base 2, of the most cells into which hyperplanes may cut a region."""
    return math.log2(sum(math.comb(hyperplanes, i) for i in range(min(hyperplanes, inputs) + 1)))


def _ranges(outs: Array, links: Array, ways: Array, gradients: Array, level: Array) -> tuple[Array, Array]:
    """Intervals of the gradient in N cells, ``(N, m)`` each.

    Args:
        outs, links: coefficients of g, ``(N, k)``, and of the w of other units in it, ``(N, k, k)``.
        ways: what each w adds to the gradient, ``(N, k, m)``.
        gradients: without any w, ``(N, m)``.
        level: of each unit, ``(k,)``.
    """
    low, high = np.zeros_like(outs), np.zeros_like(outs)
    for at in sorted(set(level.tolist()), reverse=True):
        own = np.flatnonzero(level == at)
        up, down = np.maximum(links[:, :, own], 0), np.minimum(links[:, :, own], 0)
        least = outs[:, own] + np.einsum("nl,nlv->nv", low, up) + np.einsum("nl,nlv->nv", high, down)
        most = outs[:, own] + np.einsum("nl,nlv->nv", high, up) + np.einsum("nl,nlv->nv", low, down)
        low[:, own], high[:, own] = np.minimum(least, 0), np.maximum(most, 0)
    up, down = np.maximum(ways, 0), np.minimum(ways, 0)
    least = gradients + np.einsum("nl,nlm->nm", low, up) + np.einsum("nl,nlm->nm", high, down)
    most = gradients + np.einsum("nl,nlm->nm", high, up) + np.einsum("nl,nlm->nm", low, down)
    return least, most
