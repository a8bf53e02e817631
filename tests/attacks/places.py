"""Where attacks take place: reference points and regions around them."""

from __future__ import annotations

import numpy as np

from tests.attacks.oracle import Where

Generator = np.random.Generator
POINTS = 5


def somewhere(rng: Generator, points: np.ndarray) -> Where:
    """One of the regions, of a random size, cut to a range now and then."""
    radius = float(10 ** rng.uniform(-1.5, 0.3))
    if rng.random() < 0.2:
        lower, upper = (
            points.min(0) - rng.uniform(0, 1, points.shape[1]),
            points.max(0) + rng.uniform(0, 1, points.shape[1]),
        )
        if points.shape[1] > 1 and rng.random() < 0.5:  # a coordinate without room
            points[:, 0] = lower[0] = upper[0] = points[0, 0]
        return Where("box", lower=tuple(lower.tolist()), upper=tuple(upper.tolist()))
    if rng.random() < 0.15:
        return polytope(rng, points)
    kind = str(rng.choice(["linf", "linf", "l1", "l2"]))
    if rng.random() < 0.3:
        return Where(kind, radius, float(points.min()) - 0.01, float(points.max()) + 0.1)
    return Where(kind, radius)


def polytope(rng: Generator, points: np.ndarray) -> Where:
    """A cube with a few faces that leave the points inside, some of them next to a point."""
    rows = rng.normal(size=(int(rng.integers(1, 4)), points.shape[1]))
    levels = (points @ rows.T).max(0) + rng.choice([1e-3, 0.1, 1.0], size=len(rows))
    low, high = float(points.min()) - 0.7, float(points.max()) + 0.4
    whole = tuple((*row, level) for row, level in zip(rows.tolist(), levels.tolist(), strict=True))
    return Where("polytope", low=low, high=high, rows=whole)


def about(rng: Generator, inputs: int, count: int = POINTS) -> np.ndarray:
    """Reference points near the origin."""
    return rng.normal(size=(count, inputs)) * 0.5
