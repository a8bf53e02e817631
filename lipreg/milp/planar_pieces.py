"""All linear pieces of a network over one or two inputs, one by one, in whole numbers.

Over so few inputs pieces are intervals or polygons, and there are few of them, whatever the number of patterns that units
might have: overlapping pools have many that no point has. Float64 numbers are whole ones times a power of two, so forms,
corners and signs are exact: no tolerance, and no tie of rounding, decides whether a piece has an interior.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget, OutOfBudget
from lipreg.folding.units import phase_slopes
from lipreg.graph import MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.milp.planar_region import INPUTS, PlanarRegion
from lipreg.milp.polygons import Polygon, divided, vertex
from lipreg.milp.quotients import Quotients
from lipreg.milp.steepness import Steepness
from lipreg.milp.whole_numbers import WholeForms, WholeNumbers, integers

PRODUCTS = 1e6
"""About how many products of whole numbers a second allows."""
ENTRY = 64
"""Bytes of a whole number in a matrix."""


class LinearPieces:
    """The enumeration of a single point's linear pieces, which goes on where a budget ended it.

    Args:
        analysis: of the point, which ``covered`` is True of.

    Attributes:
        count: how many pieces are done.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis, self._matrices = analysis, _Matrices()
        self._region = PlanarRegion(analysis.placed.region)
        self._constant: Steepness | Quotients | None = None
        self._open: list[tuple[Polygon, dict[int, WholeNumbers]]] = []
        self.count = 0

    @property
    def upper(self) -> float:
        """An upper bound on the constants of all pieces that are done, which one attains up to rounding."""
        return 0.0 if self._constant is None else self._constant.upper

    @staticmethod
    def covered(analysis: Analysis) -> bool:
        """Whether a single point's question is about the pieces over at most ``INPUTS`` inputs of a bounded region."""
        placed = analysis.placed
        few = placed.region.bounded and 1 <= int(placed.region.movable.sum()) <= INPUTS
        return few and not analysis.graph.curves()

    @staticmethod
    def least_seconds(analysis: Analysis, budget: Budget) -> float:
        """About how long the first piece takes; infinite where the maps' entries do not fit into the memory."""
        maps = [map for _, node in analysis.graph.affines() for map in node.maps]
        entries = sum(math.prod(map.in_shape + map.out_shape) for map in maps)
        return math.inf if ENTRY * entries > budget.memory else (INPUTS + 1) * entries / PRODUCTS

    def run(self, budget: Budget) -> bool:
        """Goes on until all pieces are done, and returns whether they are, and their bound is the region's.

        Else the budget, which is started, has ended; or there are none: then the region has no interior, whose pieces these
        are, and nothing is said.
        """
        try:
            if self._constant is None:
                self._constant = self._begun(budget)
            while self._open:
                budget.check()
                self._go_on(self._constant, budget)
        except OutOfBudget:
            return False
        return self.count > 0

    def _begun(self, budget: Budget) -> Steepness | Quotients:
        placed, inputs = self._analysis.placed, self._inputs()
        weights = placed.weights[0].flatten().numpy()[self._region.free]
        both = WholeNumbers(*integers(np.append(weights, 0.0)[:INPUTS]))
        rows = WholeNumbers(*integers(placed.rows[0].numpy()))
        if placed.problem.scope == "regional":
            constant = Steepness(placed, self._region, rows, both)
        else:
            center = vertex(*self._region.center)
            output = self._last(self._analysis.graph.forward({0: inputs}, _Forms(center[None], self._matrices, budget)))
            start = WholeNumbers(center[None] @ output.whole, output.exponent)
            constant = Quotients(placed, self._region, rows, both, center, start)
        for whole in self._region.parts():
            self._open += [(part, {0: inputs}) for part in divided(whole, constant.lines())]
        return constant

    def _go_on(self, constant: Steepness | Quotients, budget: Budget) -> None:
        """Takes an open polygon, or divides it; it stays open where the budget ends before."""
        polygon, known = self._open[-1]
        if not self._region.touches(polygon):
            self._open.pop()
            return
        forms = _Forms(polygon, self._matrices, budget)
        values = self._analysis.graph.forward(known, forms)
        self._open.pop()
        if forms.lines:
            self._open += [(part, values) for part in divided(polygon, forms.lines)]
        else:
            self.count += 1
            constant.take(polygon, self._last(values))

    def _last(self, values: Mapping[int, WholeNumbers]) -> WholeNumbers:
        return values[len(self._analysis.graph.nodes) - 1]

    def points(self) -> Iterator[tuple[float, Tensor]]:
        """Of the best pieces, the best first, a bound and rounded points that attain it, or nearly so, ``(k, *shape)``."""
        return iter(()) if self._constant is None else self._constant.points()

    def _inputs(self) -> WholeNumbers:
        """Every input as a form: its own column, or where it is fixed its value."""
        center = self._analysis.placed.region.center[0].flatten().numpy()
        fixed = center.copy()
        fixed[self._region.free] = 0.0
        whole, exponent = integers(fixed)
        if exponent > 0:
            whole, exponent = whole << exponent, 0
        forms = np.zeros((INPUTS + 1, len(fixed)), dtype=object)
        forms[-1] = whole
        forms[np.arange(len(self._region.free)), self._region.free] = 1 << -exponent
        return WholeNumbers(forms, exponent)


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


def _distinct(lines: np.ndarray) -> list[np.ndarray]:
    """Lines ``(k, 3)`` in lowest terms, each once, whatever its side."""
    reduced = dict[tuple[int, ...], np.ndarray]()
    for line in lines:
        common = math.gcd(*line)
        if common:
            short = line // common
            reduced.setdefault(max(tuple(short), tuple(-short)), short)
    return list(reduced.values())
