"""Bounds on every pre-activation of a network over a region.

Each method is valid on its own, so the methods of an analysis are intersected node by node, and a later node uses the
intersection of all earlier ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.crown import crown
from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.layer_names import layers_named
from lipreg.bounds.lines import LazyLines, relax, relax_curve
from lipreg.bounds.pass_cost import TimeShares, fits, slots
from lipreg.bounds.pooling import pool_factor, pool_shares, relax_pool, source_weights
from lipreg.bounds.slopes import slopes_of
from lipreg.bounds.touching import settle_touching
from lipreg.bounds.unit_bounds import in_parts
from lipreg.bounds.value_bounds import Anchored, Anchors, Digits, ValueBounds, affine_bounds, allowance, curve_bounds
from lipreg.budget import UNLIMITED, Budget
from lipreg.graph import Affine, Curved, Forward, Graph, MaxPool, Relu
from lipreg.linalg import Diagonal, vector_norm
from lipreg.regions import PlacedRegion
from lipreg.words import counted, sentences, size

METHODS = ("ball", "interval", "crown")
"""Methods that are run by default, the cheapest first: by norms, by intervals, by linear bounds."""
OPTIONAL_METHODS = ("alpha",)
"""Methods that are not run by default: "alpha" is CROWN with lower lines chosen for each bound, in CROWN's place."""


@dataclass(frozen=True)
class Preactivations:
    """Bounds on every node over X, and every Affine node around the reference points.

    Attributes:
        value_bounds: of every node, in order.
        anchors: the Affine nodes around the reference points, by index.
        left_out: what there was no time for, for the details of results.
    """

    value_bounds: tuple[ValueBounds, ...]
    anchors: Anchors
    left_out: str = ""

    def __getitem__(self, index: slice) -> Preactivations:
        anchors = {i: anchored[index] for i, anchored in self.anchors.items()}
        return Preactivations(tuple(r[index] for r in self.value_bounds), anchors, self.left_out)


class BoundPropagation(Forward[ValueBounds]):
    """The forward pass that bounds every node; a node's lines are made where CROWN goes back through it.

    Args:
        graph: live or frozen.
        region: in the graph's dtype and on its device.
        methods: of ``METHODS`` and ``OPTIONAL_METHODS``, intersected.
        norms: of the maps, for the ball method.
        prior_bounds, outward, budget, memory: as of ``lipreg.bounds.analyse``, the budget started.
    """

    def __init__(
        self,
        graph: Graph,
        region: PlacedRegion,
        methods: tuple[str, ...],
        norms: InducedNorms,
        prior_bounds: Mapping[int, tuple[Tensor, Tensor]],
        outward: bool,
        budget: Budget | None,
        memory: int | None,
    ) -> None:
        self.graph, self.region, self.methods = graph, region, methods
        self.prior_bounds, self.outward, self.budget, self.memory = prior_bounds, outward, budget or UNLIMITED, memory
        self.norms = norms.within(self.budget)
        self.digits = Digits(graph, region.center, self.budget)
        self.anchors: dict[int, Anchored] = {}
        self.lines = LazyLines()
        self.unfinished: list[int] = []
        self.large: list[int] = []
        self._sources: dict[int, Mapping[int, ValueBounds]] = {}  # of each Affine node
        self._backward = bool({"crown", "alpha"} & set(methods))
        self._pools = _pools_reading(graph)
        affines = [i for i, _ in graph.affines()[:-1] if not self._exact(i)]
        self._time_shares = TimeShares({i: graph.nodes[: i + 1] for i in affines}, graph.nodes)
        self._read_by_relus = {node.source for _, node in graph.relus()}
        self._read_by_curves = {node.source for _, node in graph.curves()}

    def run(self) -> Preactivations:
        """Bounds every node, in one pass from the input on."""
        region = self.region
        distance = region.distance(region.norm) if "ball" in self.methods else None
        if distance is not None and not self.outward:
            distance = distance + vector_norm(allowance(region).flatten(1), region.norm)
        error = torch.zeros_like(region.center) if self.outward else None
        start = ValueBounds(region.center, region.lower, region.upper, region.movable, distance, error)
        bounds, layers = self.graph.forward({0: start}, self), len(self.graph.affines()) - 1
        cut = [
            f"There was {what} for CROWN in {len(some)} of {counted(layers, 'layer')}: {layers_named(self.graph, some)}"
            for what, some in (
                (f"no time{in_parts(self.budget)}", self.unfinished),
                (f"too little memory {self._memory_text}", self.large),
            )
            if some
        ]
        left_out = sentences(*cut, self.norms.left_out)
        return Preactivations(tuple(bounds.values()), self.anchors, left_out)

    def affine(self, index: int, node: Affine, values: Mapping[int, ValueBounds]) -> ValueBounds:
        last = index == len(self.graph.nodes) - 1
        methods = ("interval",) if last else self.methods  # nothing downstream uses the output's bounds
        bounds, anchored = affine_bounds(index, node, values, self.region, methods, self.digits, self.outward)
        self.anchors[index], self._sources[index] = anchored, values
        if anchored.rounding is not None and "interval" in methods and index in self._read_by_relus:
            bounds = settle_touching(node, bounds, anchored.rounding, values, self.region)
        if self._backward and not last:
            bounds = self._crowned(index, bounds)
        return bounds.within(*self.prior_bounds[index]) if index in self.prior_bounds else bounds

    def relu(self, index: int, node: Relu, value: ValueBounds) -> ValueBounds:
        distance = None
        if "ball" in self.methods:
            distance = self._stretched(node.source, slopes_of(node, value, "pointed").upper)
        if self._backward:
            self.lines.enter(index, lambda: relax(value.lower, value.upper, node.slope))
        movable = value.movable & (value.upper > 0) if node.slope == 0 else value.movable
        return ValueBounds(node(value.value), node(value.lower), node(value.upper), movable, distance, value.error)

    def curved(self, index: int, node: Curved, value: ValueBounds) -> ValueBounds:
        distance = None
        if "ball" in self.methods:
            distance = self._stretched(node.source, slopes_of(node, value, "pointed").size)
        if self._backward:
            self.lines.enter(index, lambda: relax_curve(node.curve, value.lower, value.upper))
        return curve_bounds(node, value, distance)

    def max_pool(self, index: int, node: MaxPool, value: ValueBounds) -> ValueBounds:
        distance = None
        if "ball" in self.methods:
            whole = self._stretched(node.source, source_weights(node, value.value).expand_as(value.value))
            distance = pool_factor(node, self.region.norm) * whole
        if self._backward:
            self.lines.enter(index, lambda: relax_pool(node, value.lower, value.upper))
        movable = node(value.movable.to(value.value.dtype)) > 0
        error = None if value.error is None else node(value.error)
        return ValueBounds(node(value.value), node(value.lower), node(value.upper), movable, distance, error)

    def _crowned(self, index: int, bounds: ValueBounds) -> ValueBounds:
        alone = set(self.methods) <= {"crown", "alpha"}
        if self._exact(index):
            return bounds
        wanted = None if alone else _priorities(self._pools.get(index), bounds, index in self._read_by_curves)
        if wanted is not None and not fits(self.memory, 2 * slots(wanted) * len(wanted), self.graph.nodes[: index + 1]):
            self.large.append(index)
            return bounds
        within = self.budget.share(self._time_shares.next_share(index))
        ascending = "alpha" in self.methods
        low, high = crown(self.graph, index, self.anchors, self.lines, self.region, wanted, within, ascending)
        bounds = bounds.within(low, high)
        missing = torch.isinf(high) if wanted is None else torch.isinf(high) & (wanted > 0)
        if bool(missing.any()):
            self.unfinished.append(index)
            if alone:
                values = self._sources[index]
                spare, _ = affine_bounds(
                    index, self.graph.affine(index), values, self.region, ("interval",), self.digits, self.outward
                )
                bounds = bounds.within(spare.lower, spare.upper)
        return bounds

    @property
    def _memory_text(self) -> str:
        return "" if self.memory is None else f"in {size(self.memory)}"

    def _exact(self, index: int) -> bool:
        """Whether intervals are exact: of an affine function over a box."""
        boxed = "interval" in self.methods and self.region.norm == math.inf
        return boxed and set(self.graph.affine(index).sources) == {0}

    def _stretched(self, index: int, slopes: Tensor) -> Tensor:
        """Distance of diag(slopes) (Affine node) to its nominal value: |diag(s) A D| times those of its sources."""
        total = slopes.new_zeros(slopes.shape[0])
        for term, i in enumerate(self.graph.affine(index).sources):
            source = self._sources[index][i]
            assert source.distance is not None
            movable = source.movable.to(slopes.dtype)
            total = total + self.norms(index, term, self.region.norm, slopes, movable) * source.distance
        return total


def _pools_reading(graph: Graph) -> dict[int, tuple[MaxPool, Relu | None]]:
    """The max pool that reads each Affine node, itself or through a ReLU; the pool's own source then has nothing to add."""
    readers: dict[int, tuple[MaxPool, Relu | None]] = {}
    for _, pool in graph.pools():
        affine = graph.affine(pool.source)
        plain = len(affine.maps) == 1 and isinstance(affine.maps[0], Diagonal) and affine.maps[0].unit
        relu = graph.nodes[affine.sources[0]] if plain else None
        readers[pool.source] = pool, None
        if isinstance(relu, Relu):
            readers[relu.source] = pool, relu
    return readers


def _priorities(pooled: tuple[MaxPool, Relu | None] | None, bounds: ValueBounds, read_by_curve: bool) -> Tensor:
    """What bounding each entry is worth: its width, where that decides something, else 0.

    It does for unstable units, for members of undecided windows, and for whatever a curve reads (``read_by_curve``).
    """
    wanted = bounds.movable if read_by_curve else bounds.unstable
    if pooled is not None:
        pool, relu = pooled
        low, high = (bounds.lower, bounds.upper) if relu is None else (relu(bounds.lower), relu(bounds.upper))
        # the ReLU may have another shape than the pool's input: a reshape is no node
        low, high = (end.reshape(-1, *pool.in_shape) for end in (low, high))
        shares = pool_shares(pool, low, high, high > low)
        members = pool.scatter(shares.upper - shares.lower).reshape(bounds.movable.shape) > 0
        wanted = members if relu is None else wanted | members
    return torch.where(wanted, bounds.upper - bounds.lower, torch.zeros_like(bounds.upper))
