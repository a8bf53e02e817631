"""Points of cells, in float64: no multipliers need be sought against what a point shows to be possible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipreg.checking.integers import Array
from lipreg.checking.rounded import Cell

DRAWN = 512
"""Points of the whole region."""
ENOUGH, ROUNDS = 24, 4
"""Points that a cell is to have, and rounds of steps from those that it has."""


@dataclass(frozen=True)
class CellPoints:
    """Points of a cell, and the z of every unit there.

    Attributes:
        d: displacements, ``(k, m)``.
        z: pre-activations, ``(k, n)``.
    """

    d: Array
    z: Array

    def __len__(self) -> int:
        return len(self.d)

    def __getitem__(self, index: Array | slice) -> CellPoints:
        return CellPoints(self.d[index], self.z[index])

    def on(self, unit: int, side: int) -> CellPoints:
        """Those where a unit is on (1) or off (-1)."""
        return self[side * self.z[:, unit] > 0]

    def one_sided(self, units: Array) -> list[tuple[int, int]]:
        """Units with the same side at all points, and the side that none has."""
        if not len(self):
            return []
        above = (self.z[:, units] > 0).mean(0)
        return [
            (int(unit), -1 if share == 1 else 1) for unit, share in zip(units, above, strict=True) if share in (0, 1)
        ]

    def __add__(self, other: CellPoints) -> CellPoints:
        return CellPoints(np.concatenate([self.d, other.d]), np.concatenate([self.z, other.z]))


class Sampler:
    """Points of the cells below a root.

    Args:
        root: the whole region.
    """

    def __init__(self, root: Cell) -> None:
        units, region = root.units, root.units.region
        rows, first = root.rows.mid, units.first
        self.constant, self.on_d, self.on_r = rows[:, 0], rows[:, 1:first], rows[:, first:]
        self.low, self.high, self.norm, self.radius = region.low, region.high, region.norm, region.radius
        self.levels, self.generator = units.levels, np.random.default_rng(0)

    def at(self, d: Array) -> CellPoints:
        """The points of the region nearest to displacements along the way from its center."""
        d = np.clip(d, self.low, self.high)
        if self.norm:
            size = np.linalg.norm(d, ord=self.norm, axis=1, keepdims=True)
            d = d * np.minimum(1.0, self.radius / np.maximum(size, 1e-300))
        z = self.constant + d @ self.on_d.T
        for level in self.levels:
            z[:, level] += np.maximum(z, 0) @ self.on_r[level].T
        return CellPoints(d, z)

    def drawn(self) -> CellPoints:
        """Points of the whole region."""
        return self.at(self.generator.uniform(self.low, self.high, (DRAWN, len(self.low))))

    def inside(self, cell: Cell, points: CellPoints) -> CellPoints:
        """Those that lie in a cell."""
        decided = np.flatnonzero(cell.phase)
        return points[np.flatnonzero((points.z[:, decided] * cell.phase[decided] > 0).all(1))]

    def more(self, cell: Cell, points: CellPoints) -> CellPoints:
        """Enough points of a cell that has some: steps from these, as wide as they lie apart or as the cell allows."""
        scale = 1.0
        for _ in range(ROUNDS):
            if not len(points) or len(points) >= ENOUGH:
                break
            start = points.d[self.generator.integers(len(points), size=2 * ENOUGH)]
            step = self.generator.normal(size=start.shape) * (self.high - self.low) * scale
            far = self.generator.uniform(size=(len(start), 1)) ** 2
            stepped = self.inside(cell, self.at(start + far * step))
            scale = scale * (0.3 if len(stepped) < ENOUGH // 2 else 1.0)
            points = points + stepped
        return points
