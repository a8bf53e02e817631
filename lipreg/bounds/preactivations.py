"""Bounds on every pre-activation of a network over a region.

Each method is valid on its own, so those asked for are intersected node by node, and a later node uses the
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
from lipreg.bounds.lines import LinesLater, relax, relax_curve
from lipreg.bounds.pooling import pool_factor, pool_shares, relax_pool, source_weights
from lipreg.bounds.reach import Anchored, Anchors, Digits, Reach, affine_reach, allowance, curved_reach
from lipreg.bounds.room import Turns, fits, slots
from lipreg.bounds.slopes import slopes_of
from lipreg.bounds.touching import settle_touching
from lipreg.budget import FREE, Budget
from lipreg.graph import Affine, Curved, Forward, Graph, MaxPool, Relu
from lipreg.linalg import Diagonal, vector_norm
from lipreg.regions import PlacedRegion
from lipreg.words import counted

METHODS = ("ball", "interval", "crown")
ASKED = ("alpha",)
"""Methods for which one has to ask: "alpha" is CROWN with lower lines chosen for each bound, in CROWN's place."""


@dataclass(frozen=True)
class Preactivations:
    """What is known of every node over X, and of every Affine node around the reference points.

    ``left_out`` is what there was no time for, for the details of results.
    """

    reach: tuple[Reach, ...]
    anchors: Anchors
    left_out: str = ""

    def __getitem__(self, index: slice) -> Preactivations:
        anchors = {i: anchored[index] for i, anchored in self.anchors.items()}
        return Preactivations(tuple(r[index] for r in self.reach), anchors, self.left_out)


class Reaching(Forward[Reach]):
    """The reach of every node; a node's lines are made where CROWN goes back through it.

    What goes in is that of ``lipreg.bounds.analyse``.
    """

    def __init__(
        self,
        graph: Graph,
        region: PlacedRegion,
        methods: tuple[str, ...],
        norms: InducedNorms,
        known: Mapping[int, tuple[Tensor, Tensor]],
        outward: bool,
        budget: Budget | None,
        memory: int | None,
    ) -> None:
        self.graph, self.region, self.methods, self.norms = graph, region, methods, norms
        self.known, self.outward, self.budget, self.memory = known, outward, budget or FREE, memory
        self.digits = Digits(graph, region.center, self.budget)
        self.anchors: dict[int, Anchored] = {}
        self.lines = LinesLater()
        self.short: list[int] = []
        self._sources: dict[int, Mapping[int, Reach]] = {}  # of each Affine node
        self._backward = bool({"crown", "alpha"} & set(methods))
        self._pools = _pools_reading(graph)
        affines = [i for i, _ in graph.affines()[:-1] if not self._exact(i)]
        self._turns = Turns({i: graph.nodes[: i + 1] for i in affines}, graph.nodes)
        self._kinked = {node.source for _, node in graph.relus()}
        self._bent = {node.source for _, node in graph.curves()}

    def run(self) -> Preactivations:
        """One pass from the input on."""
        region = self.region
        distance = region.distance(region.norm) if "ball" in self.methods else None
        if distance is not None and not self.outward:
            distance = distance + vector_norm(allowance(region).flatten(1), region.norm)
        error = torch.zeros_like(region.center) if self.outward else None
        start = Reach(region.center, region.lower, region.upper, region.moves, distance, error)
        found, layers = self.graph.forward({0: start}, self), len(self.graph.affines()) - 1
        left_out = ""
        if self.short:
            names = layers_named(self.graph, self.short)
            left_out = f"There was no time for CROWN in {len(self.short)} of {counted(layers, 'layer')}: {names}"
        return Preactivations(tuple(found.values()), self.anchors, left_out)

    def affine(self, index: int, node: Affine, values: Mapping[int, Reach]) -> Reach:
        last = index == len(self.graph.nodes) - 1
        kept = ("interval",) if last else self.methods  # nothing downstream uses the output's bounds
        found, anchored = affine_reach(index, node, values, self.region, kept, self.digits, self.outward)
        self.anchors[index], self._sources[index] = anchored, values
        if anchored.rounding is not None and "interval" in kept and index in self._kinked:
            found = settle_touching(node, found, anchored.rounding, values, self.region)
        if self._backward and not last:
            found = self._crowned(index, found)
        return found.within(*self.known[index]) if index in self.known else found

    def relu(self, index: int, node: Relu, value: Reach) -> Reach:
        distance = None
        if "ball" in self.methods:
            distance = self._stretched(node.source, slopes_of(node, value, "pointed").upper)
        if self._backward:
            self.lines.enter(index, lambda: relax(value.lower, value.upper, node.slope))
        moves = value.moves & (value.upper > 0) if node.slope == 0 else value.moves
        return Reach(node(value.value), node(value.lower), node(value.upper), moves, distance, value.error)

    def curved(self, index: int, node: Curved, value: Reach) -> Reach:
        distance = None
        if "ball" in self.methods:
            distance = self._stretched(node.source, slopes_of(node, value, "pointed").size)
        if self._backward:
            self.lines.enter(index, lambda: relax_curve(node.curve, value.lower, value.upper))
        return curved_reach(node, value, distance)

    def max_pool(self, index: int, node: MaxPool, value: Reach) -> Reach:
        distance = None
        if "ball" in self.methods:
            whole = self._stretched(node.source, source_weights(node, value.value).expand_as(value.value))
            distance = pool_factor(node, self.region.norm) * whole
        if self._backward:
            self.lines.enter(index, lambda: relax_pool(node, value.lower, value.upper))
        moves = node(value.moves.to(value.value.dtype)) > 0
        error = None if value.error is None else node(value.error)
        return Reach(node(value.value), node(value.lower), node(value.upper), moves, distance, error)

    def _crowned(self, index: int, found: Reach) -> Reach:
        alone = set(self.methods) <= {"crown", "alpha"}
        if self._exact(index):
            return found
        wanted = None if alone else _undecided(self._pools.get(index), found, index in self._bent)
        if wanted is not None and not fits(self.memory, 2 * slots(wanted) * len(wanted), self.graph.nodes[: index + 1]):
            return found
        within = self.budget.share(self._turns.next(index))
        ascending = "alpha" in self.methods
        low, high = crown(self.graph, index, self.anchors, self.lines, self.region, wanted, within, ascending)
        found = found.within(low, high)
        missing = torch.isinf(high) if wanted is None else torch.isinf(high) & (wanted > 0)
        if bool(missing.any()):
            self.short.append(index)
            if alone:
                values = self._sources[index]
                spare, _ = affine_reach(
                    index, self.graph.affine(index), values, self.region, ("interval",), self.digits, self.outward
                )
                found = found.within(spare.lower, spare.upper)
        return found

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
            moves = source.moves.to(slopes.dtype)
            with self.norms.within(self.budget):
                total = total + self.norms(index, term, self.region.norm, slopes, moves) * source.distance
        return total


def _pools_reading(graph: Graph) -> dict[int, tuple[MaxPool, Relu | None]]:
    """The max pool that reads each Affine node, itself or through a ReLU; the pool's own node then has nothing to add."""
    found: dict[int, tuple[MaxPool, Relu | None]] = {}
    for _, pool in graph.pools():
        affine = graph.affine(pool.source)
        plain = len(affine.maps) == 1 and isinstance(affine.maps[0], Diagonal) and affine.maps[0].unit
        relu = graph.nodes[affine.sources[0]] if plain else None
        found[pool.source] = pool, None
        if isinstance(relu, Relu):
            found[relu.source] = pool, relu
    return found


def _undecided(pooled: tuple[MaxPool, Relu | None] | None, found: Reach, bent: bool) -> Tensor:
    """What bounding each entry is worth: its width, where that decides something, else 0.

    It does for units on either side of their kink, for members of open windows, and for whatever a curve reads (``bent``).
    """
    wanted = found.moves if bent else found.unstable
    if pooled is not None:
        pool, relu = pooled
        low, high = (found.lower, found.upper) if relu is None else (relu(found.lower), relu(found.upper))
        # the ReLU may have another shape than the pool's input: a reshape is no node
        low, high = (end.reshape(-1, *pool.in_shape) for end in (low, high))
        shares = pool_shares(pool, low, high, high > low)
        members = pool.scatter(shares.upper - shares.lower).reshape(found.moves.shape) > 0
        wanted = members if relu is None else wanted | members
    return torch.where(wanted, found.upper - found.lower, torch.zeros_like(found.upper))
