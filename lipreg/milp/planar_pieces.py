"""All linear pieces of a network over one or two inputs, one by one, in whole numbers.

Over so few inputs pieces are intervals or polygons, and there are few of them, whatever the number of patterns that units
might have: overlapping pools have many that no point has. Float64 numbers are whole ones times a power of two, so forms,
corners and signs are exact: no tolerance, and no tie of rounding, decides whether a piece has an interior.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget, OutOfBudget
from lipreg.folding.units import phase_slopes
from lipreg.graph import MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.milp.gradient_norms import norm_above
from lipreg.milp.polygons import Polygon, middle, nearest, parts, rectangle, squared_distance
from lipreg.milp.whole_numbers import WholeForms, WholeNumbers, integers

INPUTS = 2
"""The most inputs that can move."""
PRODUCTS = 1e6
"""About how many products of whole numbers a second allows."""
ENTRY = 64
"""Bytes of a whole number in a matrix."""
STEEPEST = 16
"""So many of the steepest pieces have points that are offered as witnesses."""
INWARD = (1.0, 1 / 8, 1 / 64, 1 / 4096)
"""How far from the point of a piece that is nearest to a ball's centre to its middle those points lie."""


class LinearPieces:
    """The enumeration of a single point's linear pieces, which goes on where a budget ended it.

    Args:
        analysis: of the point, which ``covered`` is True of.

    Attributes:
        count: how many pieces are done.
        upper: an upper bound on the constants of all of them, which one attains up to rounding.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis, placed = analysis, analysis.placed
        region = placed.region
        self._free = np.flatnonzero(region.movable[0].flatten().numpy())
        self._weights = integers(np.append(placed.weights[0].flatten().numpy()[self._free], 0.0)[:INPUTS])
        self._rows, self._matrices = integers(placed.rows[0].numpy()), _Matrices()
        inputs = self._inputs()
        self._open: list[tuple[Polygon, dict[int, WholeNumbers]]] = [(part, {0: inputs}) for part in self._region()]
        self._steepest: list[tuple[float, Polygon]] = []
        self.count, self.upper = 0, 0.0

    @staticmethod
    def covered(analysis: Analysis) -> bool:
        """Whether a single point's question is about the pieces over at most ``INPUTS`` inputs of a bounded region."""
        placed = analysis.placed
        few = placed.region.bounded and 1 <= int(placed.region.movable.sum()) <= INPUTS
        return few and placed.problem.scope == "regional" and not analysis.graph.curves()

    @staticmethod
    def least_seconds(analysis: Analysis, budget: Budget) -> float:
        """About how long the first piece takes; infinite where the maps' entries do not fit into the memory."""
        maps = [map for _, node in analysis.graph.affines() for map in node.maps]
        entries = sum(math.prod(map.in_shape + map.out_shape) for map in maps)
        return math.inf if ENTRY * entries > budget.memory else (INPUTS + 1) * entries / PRODUCTS

    def run(self, budget: Budget) -> bool:
        """Goes on until all pieces are done, and returns whether they are; else the budget, which is started, has ended."""
        while self._open:
            polygon, known = self._open.pop()
            if not self._touches(polygon):
                continue
            forms = _Forms(polygon, self._matrices, budget)
            try:
                budget.check()
                values = self._analysis.graph.forward(known, forms)
            except OutOfBudget:
                self._open.append((polygon, known))
                return False
            if forms.lines:
                self._open += [(part, values) for part in _divided(polygon, forms.lines)]
            else:
                self._close(polygon, values[len(self._analysis.graph.nodes) - 1])
        return True

    def points(self) -> Tensor:
        """Points inside the steepest pieces, ``(k, *shape)``, rounded; the steepest piece's first."""
        region = self._analysis.placed.region
        found = []
        for _, polygon in self._steepest:
            inside = middle(polygon)
            start = nearest(polygon, self._center) if self._is_disc else inside
            for share in map(Fraction, INWARD if self._is_disc else (1,)):
                point = region.center[0].flatten().clone()
                at = [float(a + share * (b - a)) for a, b in zip(start, inside, strict=True)]
                point[torch.from_numpy(self._free)] = torch.tensor(at[: len(self._free)], dtype=torch.float64)
                found.append(point.reshape(region.shape))
        return torch.stack(found) if found else region.center[:0]

    def _close(self, polygon: Polygon, output: WholeNumbers) -> None:
        (rows, factor), (weights, weight), problem = self._rows, self._weights, self._analysis.placed.problem
        jacobian = (rows @ output.whole[:INPUTS].T) * weights
        steepness = norm_above(jacobian, factor + weight + output.exponent, problem.p, problem.q)
        self.count, self.upper = self.count + 1, max(self.upper, steepness)
        self._steepest.append((steepness, polygon))
        self._steepest.sort(key=lambda piece: -piece[0])
        del self._steepest[STEEPEST:]

    def _inputs(self) -> WholeNumbers:
        """Every input as a form: its own column, or where it is fixed its value."""
        center = self._analysis.placed.region.center[0].flatten().numpy()
        fixed = center.copy()
        fixed[self._free] = 0.0
        whole, exponent = integers(fixed)
        if exponent > 0:
            whole, exponent = whole << exponent, 0
        forms = np.zeros((INPUTS + 1, len(fixed)), dtype=object)
        forms[-1] = whole
        forms[np.arange(len(self._free)), self._free] = 1 << -exponent
        return WholeNumbers(forms, exponent)

    @property
    def _center(self) -> tuple[Fraction, Fraction]:
        at = self._analysis.placed.region.center[0].flatten().numpy()[self._free].tolist()
        return Fraction(at[0]), Fraction(at[-1])

    @property
    def _is_disc(self) -> bool:
        region = self._analysis.placed.region
        return region.norm == 2.0 and region.radius < math.inf and len(self._free) == INPUTS

    def _touches(self, polygon: Polygon) -> bool:
        """Whether a polygon has an interior within the ball; what is no disc is a polygon itself."""
        if not self._is_disc:
            return True
        radius = Fraction(self._analysis.placed.region.radius)
        return squared_distance(nearest(polygon, self._center), self._center) < radius * radius

    def _region(self) -> list[Polygon]:
        """The region, of a disc the square around it, as at most one polygon; an interval is as high as 1."""
        region = self._analysis.placed.region
        named = (region.center, region.down, region.up, region.lower, region.upper)
        center, down, up, lower, upper = (
            [Fraction(number) for number in end[0].flatten().numpy()[self._free].tolist()] for end in named
        )
        ends = [
            (max(c + d, low), min(c + u, high))
            for c, d, u, low, high in zip(center, down, up, lower, upper, strict=True)
        ]
        if any(low >= high for low, high in ends):
            return []
        whole = rectangle(ends[0], ends[1] if len(ends) == INPUTS else (Fraction(0), Fraction(1)))
        return _divided(whole, self._sides(), inside=True)

    def _sides(self) -> list[np.ndarray]:
        """The lines on whose sides the region lies, beside those of its box."""
        region, lines = self._analysis.placed.region, list[list[Fraction]]()
        if region.norm == 1.0 and region.radius < math.inf and len(self._free) == INPUTS:
            (x, y), radius = self._center, Fraction(region.radius)
            lines += [[Fraction(a), Fraction(b), radius - a * x - b * y] for a in (1, -1) for b in (1, -1)]
        if region.halfspaces is not None:
            half, fixed = region.halfspaces, region.center[0].flatten().tolist()
            origin = half.origin[0].tolist()
            for row, level in zip(half.matrix.tolist(), half.levels[0].tolist(), strict=True):
                slopes = [-Fraction(row[at]) for at in self._free] + [Fraction(0)]
                constant = Fraction(level) + sum(
                    Fraction(a) * (Fraction(o) - (0 if at in self._free else Fraction(x)))
                    for at, (a, x, o) in enumerate(zip(row, fixed, origin, strict=True))
                    if a
                )
                lines.append([*slopes[:INPUTS], constant])
        return [_integral(line) for line in lines if any(line[:INPUTS])]


class _Matrices:
    """The matrices of maps in whole numbers, each written down once."""

    def __init__(self) -> None:
        self._written: dict[int, tuple[LinearMap, np.ndarray, int]] = {}

    def of(self, map: LinearMap) -> tuple[np.ndarray, int]:
        """The matrix and the exponent of a map."""
        if id(map) not in self._written:
            self._written[id(map)] = (map, *integers(map.dense().numpy()))
        return self._written[id(map)][1:]


class _Forms(WholeForms):
    """The forms of all nodes on a polygon, up to the first that are not linear there: ``lines`` divide it so that they are.

    Args:
        polygon: the polygon.
        matrices: of the network's maps, which all passes share.
        budget: started; ends a pass early.
    """

    def __init__(self, polygon: Polygon, matrices: _Matrices, budget: Budget) -> None:
        super().__init__(budget, INPUTS + 1)
        self.polygon, self.matrices, self.lines = polygon, matrices, list[np.ndarray]()

    def relu(self, index: int, node: Relu, value: WholeNumbers) -> WholeNumbers | None:
        corners = self.polygon @ value.whole
        on = (corners > 0).any(0)
        crossed = on & (corners < 0).any(0)
        if crossed.any():
            self.lines += _distinct(value.whole[:, crossed].T)
            return None
        factor, exponent = integers(phase_slopes(torch.from_numpy(on.astype(bool)), node).numpy())
        return WholeNumbers(value.whole * factor, value.exponent + exponent)

    def max_pool(self, index: int, node: MaxPool, value: WholeNumbers) -> WholeNumbers | None:
        windows = node.windows.numpy()
        corners = (self.polygon @ value.whole)[:, windows]
        largest = corners == corners.max(-1, keepdims=True)
        everywhere = largest.all(0)
        undecided = np.flatnonzero(~everywhere.any(-1))
        if len(undecided):
            pairs = [(windows[at], *_crossing(corners[:, at], largest[:, at])) for at in undecided]
            differences = [value.whole[:, members[i]] - value.whole[:, members[j]] for members, i, j in pairs]
            self.lines += _distinct(np.array(differences, dtype=object))
            return None
        winners = np.take_along_axis(windows, everywhere.argmax(-1)[:, None], 1)[:, 0]
        return WholeNumbers(value.whole[:, winners], value.exponent)

    def act(self, map: LinearMap, x: WholeNumbers, back: bool) -> WholeNumbers:
        whole, exponent = self.matrices.of(map)
        return WholeNumbers(x.whole @ (whole if back else whole.T), x.exponent + exponent)


def _crossing(corners: np.ndarray, largest: np.ndarray) -> tuple[int, int]:
    """Two members of a window ``(corners, members)`` of which each is above the other at some corner.

    There are two among those that are the largest somewhere: else one of these were nowhere below another.
    """
    contending = np.flatnonzero(largest.any(0))
    for k, i in enumerate(contending):
        for j in contending[k + 1 :]:
            if (corners[:, i] > corners[:, j]).any() and (corners[:, i] < corners[:, j]).any():
                return int(i), int(j)
    raise AssertionError("one member is the largest at all corners")


def _divided(polygon: Polygon, lines: list[np.ndarray], inside: bool = False) -> list[Polygon]:
    """The parts into which lines divide a polygon; of those, ``inside``, the one on the sides of all, if there is one."""
    pieces = [polygon]
    for line in lines:
        both = [parts(piece, line)[: 1 if inside else 2] for piece in pieces]
        pieces = [part for each in both for part in each if part is not None]
    return pieces


def _distinct(lines: np.ndarray) -> list[np.ndarray]:
    """Lines ``(k, 3)`` in lowest terms, each once, whatever its side."""
    reduced = dict[tuple[int, ...], np.ndarray]()
    for line in lines:
        common = math.gcd(*line)
        if common:
            short = line // common
            reduced.setdefault(max(tuple(short), tuple(-short)), short)
    return list(reduced.values())


def _integral(numbers: list[Fraction]) -> np.ndarray:
    common = math.lcm(*(number.denominator for number in numbers))
    return np.array([int(number * common) for number in numbers], dtype=object)
