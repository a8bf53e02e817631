"""Regions and functionals written out from their definitions, and norms by the extreme points of their balls."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Margin, Output, Vector
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Polytope, Region, WholeSpace

Array = np.ndarray


@dataclass(frozen=True)
class Domain:
    """{x : lower <= x <= upper, |x - center|_norm <= radius, rows x <= levels} around one reference point.

    Attributes:
        center: the reference point, ``(inputs,)``.
        lower, upper: of each coordinate, ``(inputs,)``; infinite for all of R^n.
        norm, radius: of the ball around the center: 1, 2 or inf, and inf where the box alone bounds it.
        rows, levels: of a polytope, ``(count, inputs)`` and ``(count,)``; None for none.
    """

    center: Array
    lower: Array
    upper: Array
    norm: float = math.inf
    radius: float = math.inf
    rows: Array | None = None
    levels: Array | None = None

    @property
    def free(self) -> Array:
        """The positions of the coordinates that can move."""
        return np.flatnonzero(self.upper > self.lower)

    @property
    def widths(self) -> Array:
        """The length of the interval of each free coordinate, ``(free,)``."""
        return (self.upper - self.lower)[self.free]

    def facets(self) -> tuple[Array, Array]:
        """(A, b) with A d <= b for displacements d of the free coordinates: the box, the l1 ball, the rows at length 1."""
        free, eye = self.free, np.eye(len(self.free))
        a = [eye, -eye]
        b = [(self.upper - self.center)[free], (self.center - self.lower)[free]]
        if self.norm == 1 and self.radius < math.inf:
            signs = np.array(list(_signs(len(free))))
            a.append(signs)
            b.append(np.full(len(signs), self.radius))
        if self.rows is not None and self.levels is not None:
            rows, slack = self.rows[:, free], self.levels - self.rows @ self.center
            size = np.linalg.norm(rows, axis=1)
            a.append(rows[size > 0] / size[size > 0, None])
            b.append(slack[size > 0] / size[size > 0])
        return np.vstack(a), np.concatenate(b)

    def points(self, displacements: Array) -> Array:
        """Full points from displacements of the free coordinates ``(count, free)``."""
        x = np.tile(self.center, (len(displacements), 1))
        x[:, self.free] += displacements
        return x

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Displacements ``(<= count, free)`` spread through the domain, by rejection from the box."""
        free = self.free
        if not self.bounded:
            return rng.standard_normal((count, len(free))) * 10.0 ** rng.uniform(-3, 6, (count, 1))
        d = rng.uniform(self.lower[free] - self.center[free], self.upper[free] - self.center[free], (count, len(free)))
        if self.radius < math.inf:
            d = d[np.linalg.norm(d, self.norm, axis=1) <= self.radius]
        if self.rows is not None and self.levels is not None:
            d = d[(self.points(d) @ self.rows.T <= self.levels).all(1)]
        return d

    @property
    def bounded(self) -> bool:
        """Whether it is not all of R^n."""
        return bool(np.isfinite(self.upper).all())

    @property
    def polyhedral(self) -> bool:
        """Whether finitely many half-spaces bound it: no l2 ball does."""
        return self.radius == math.inf or self.norm != 2


def domain_of(region: Region, x0: Array) -> Domain:
    """A region around one reference point ``(inputs,)``.

    Raises:
        UnsupportedRequest: a region of another kind.
    """
    if isinstance(region, Box):
        lower, upper = (np.array(end, dtype=float).flatten() for end in (region.lower, region.upper))
        lower, upper = np.broadcast_to(lower, x0.shape), np.broadcast_to(upper, x0.shape)
        return Domain(np.clip(x0, lower, upper), lower, upper)  # float32 data may sit a rounding error outside
    if isinstance(region, WholeSpace):
        return Domain(x0, np.full(x0.shape, -math.inf), np.full(x0.shape, math.inf))
    if not isinstance(region, LinfBall | L2Ball | L1Ball | Polytope):
        kinds = "Box, UnitCube, WholeSpace, LinfBall, L2Ball, L1Ball, Polytope"
        raise UnsupportedRequest(f"region={region!r}", where="enumeration", accepted=kinds)
    low, high = (
        np.full(x0.shape, end) if value is None else np.broadcast_to(np.array(value, dtype=float).flatten(), x0.shape)
        for value, end in ((region.low, -math.inf), (region.high, math.inf))
    )
    x0 = np.clip(x0, low, high)
    if isinstance(region, Polytope):
        rows = np.array(region.A, dtype=float).reshape(-1, len(x0))
        if not np.isfinite([low, high]).all():
            accepted = "polytopes with low and high"
            raise UnsupportedRequest("a polytope that its rows alone bound", where="enumeration", accepted=accepted)
        return Domain(x0, low, high, rows=rows, levels=np.array(region.b) + (rows @ x0 if region.relative else 0.0))
    norm = 1.0 if isinstance(region, L1Ball) else 2.0 if isinstance(region, L2Ball) else math.inf
    lower, upper = np.maximum(x0 - region.radius, low), np.minimum(x0 + region.radius, high)
    return Domain(x0, lower, upper, norm, math.inf if norm == math.inf else region.radius)


def rows_of(output: Output, outputs: Array, label: int | None = None) -> Array | None:
    """The rows c of a functional at one point; None for the whole output.

    Args:
        output: the functional.
        outputs: the network's at the point, ``(outputs,)``; they decide runner-ups.
        label: the class of the point, where the functional starts from it.

    Returns:
        ``(rows, outputs)``.

    Raises:
        UnsupportedRequest: a functional of another kind.
    """
    eye = np.eye(len(outputs))

    def own(index: int | None) -> int:
        if index is None and label is None:
            raise InvalidInput("no label", where="enumeration", accepted="y, where the functional is of the true class")
        return label if index is None else index  # type: ignore[return-value]

    def others(index: int) -> list[int]:
        return [i for i in range(len(outputs)) if i != index]

    match output:
        case Vector():
            return None
        case Logit(index=index):
            return eye[[own(index)]]
        case Margin(target=target, rival=rival):
            rival = max(others(own(target)), key=outputs.__getitem__) if rival is None else rival
            return eye[[own(target)]] - eye[[rival]]
        case AllLogits():
            return eye
        case AllMargins(target=target):
            return eye[own(target)] - eye[others(own(target))]
        case AllPairs():
            return np.array([eye[i] - eye[j] for i, j in itertools.permutations(range(len(outputs)), 2)])
        case Combination(weights=weights):
            return np.array([weights], dtype=float)
    kinds = "Logit, Margin, AllLogits, AllMargins, AllPairs, Combination, Vector"
    raise UnsupportedRequest(f"output={output!r}", where="enumeration", accepted=kinds)


def operator_norm(matrix: Array, p: float, q: float) -> float:
    """max |A v|_q over |v|_p <= 1, over the extreme points of one of the two balls.

    Args:
        matrix: A, ``(outputs, inputs)``.
        p, q: norms of inputs and outputs: 1, 2 or inf.
    """
    rows, columns = matrix.shape
    if p == 1:
        return max(float(np.linalg.norm(matrix[:, j], q)) for j in range(columns))
    if p == math.inf:
        return max(float(np.linalg.norm(matrix @ s, q)) for s in _signs(columns))
    if q == math.inf:
        return max(float(np.linalg.norm(matrix[i])) for i in range(rows))
    if q == 1:
        return max(float(np.linalg.norm(matrix.T @ s)) for s in _signs(rows))
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


def slope_norm(matrix: Array, rows: Array | None, p: float, q: float | None) -> float:
    """The norm of a Jacobian for a question: the largest over scalar rows c, or |J|_{p->q} where rows is None.

    Args:
        matrix: J, ``(outputs, inputs)``.
        rows: ``(rows, outputs)``, or None for the whole output.
        p, q: norms of inputs and, of the whole output, of outputs.
    """
    if rows is None:
        assert q is not None
        return operator_norm(matrix, p, q)
    return max(operator_norm(c[None, :] @ matrix, p, 1) for c in rows)


def rise_norm(change: Array, rows: Array | None, q: float | None) -> Array:
    """How far outputs differ: the largest magnitude over scalar rows c, or the norm q where rows is None.

    Args:
        change: of the outputs, ``(count, outputs)``.
        rows: ``(rows, outputs)``, or None for the whole output.
        q: norm of the whole output.

    Returns:
        ``(count,)``.
    """
    return np.linalg.norm(change, q, axis=1) if rows is None else np.abs(change @ rows.T).max(1)


def _signs(count: int) -> Iterator[Array]:
    for signs in itertools.product((-1.0, 1.0), repeat=count):
        yield np.array(signs)
