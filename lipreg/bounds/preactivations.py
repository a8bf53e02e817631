"""Bounds on every pre-activation of a network over a region.

Three methods bound them; each is valid on its own, so they are intersected node by node, and a later node uses the
intersection of all earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.crown import crown
from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.lines import Lines, relax
from lipreg.bounds.pooling import pool_factor, pool_shares, relax_pool
from lipreg.bounds.reach import Anchored, Anchors, Digits, Reach, affine_reach, allowance
from lipreg.bounds.slopes import slope_bounds
from lipreg.bounds.touching import settle_touching
from lipreg.budget import Budget
from lipreg.graph import Affine, Forward, Graph, MaxPool, Relu
from lipreg.linalg import Diagonal, vector_norm
from lipreg.regions import PlacedRegion

METHODS = ("ball", "interval", "crown")
CROWN_UNITS = 2**17
"""Pre-activations up to which CROWN is part of the default; beyond, it has to be asked for."""
CROWN_ROWS = 4096
"""Undecided entries of a node up to which CROWN bounds them beside another method; where more are open it decides few."""


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


def usual_methods(graph: Graph) -> tuple[str, ...]:
    """All methods, without CROWN for networks of more than ``CROWN_UNITS`` pre-activations."""
    units = sum(node.bias.numel() for _, node in graph.affines()[:-1])
    return METHODS if units <= CROWN_UNITS else ("ball", "interval")


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
    ) -> None:
        self.graph, self.region, self.methods, self.norms = graph, region, methods, norms
        self.known, self.outward, self.budget = known, outward, budget
        self.digits = Digits(graph, region.center)
        self.anchors: dict[int, Anchored] = {}
        self.lines: dict[int, Lines] = {}
        self.short = 0
        self._sources: dict[int, Mapping[int, Reach]] = {}  # of each Affine node
        self._pools = _pools_reading(graph)
        self._kinked = {node.source for _, node in graph.relus()}

    def run(self) -> Preactivations:
        """One pass from the input on."""
        region = self.region
        distance = region.distance(region.norm) if "ball" in self.methods else None
        if distance is not None and not self.outward:
            distance = distance + vector_norm(allowance(region).flatten(1), region.norm)
        error = torch.zeros_like(region.center) if self.outward else None
        start = Reach(region.center, region.lower, region.upper, region.moves, distance, error)
        found, layers = self.graph.forward({0: start}, self), len(self.graph.affines()) - 1
        left_out = f"There was no time for CROWN in {self.short} of {layers} layers" if self.short else ""
        return Preactivations(tuple(found.values()), self.anchors, left_out)

    def affine(self, index: int, node: Affine, values: Mapping[int, Reach]) -> Reach:
        last = index == len(self.graph.nodes) - 1
        kept = ("interval",) if last else self.methods  # nothing downstream uses the output's bounds
        found, anchored = affine_reach(index, node, values, self.region, kept, self.digits, self.outward)
        self.anchors[index], self._sources[index] = anchored, values
        if anchored.rounding is not None and "interval" in kept and index in self._kinked:
            found = settle_touching(node, found, anchored.rounding, values, self.region)
        if "crown" in kept:
            found = self._crowned(index, found)
        return found.within(*self.known[index]) if index in self.known else found

    def relu(self, index: int, node: Relu, value: Reach) -> Reach:
        distance = None
        if "ball" in self.methods:
            distance = self._stretched(node.source, slope_bounds(value, node.slope, "pointed").upper)
        if "crown" in self.methods:
            self.lines[index] = relax(value.lower, value.upper, node.slope)
        moves = value.moves & (value.upper > 0) if node.slope == 0 else value.moves
        return Reach(node(value.value), node(value.lower), node(value.upper), moves, distance, value.error)

    def max_pool(self, index: int, node: MaxPool, value: Reach) -> Reach:
        distance = None
        if "ball" in self.methods:
            whole = self._stretched(node.source, torch.ones_like(value.value))
            distance = pool_factor(node, self.region.norm) * whole
        if "crown" in self.methods:
            self.lines[index] = relax_pool(node, value.lower, value.upper)
        moves = node(value.moves.to(value.value.dtype)) > 0
        error = None if value.error is None else node(value.error)
        return Reach(node(value.value), node(value.lower), node(value.upper), moves, distance, error)

    def _crowned(self, index: int, found: Reach) -> Reach:
        alone = self.methods == ("crown",)  # without another method there would be no bounds beside it
        wanted = None if alone else _undecided(self._pools.get(index), found)
        within = None if alone else self.budget
        low, high = crown(self.graph, index, self.anchors, self.lines, self.region, wanted, within)
        if wanted is not None and within is not None and within.ended() is not None:
            self.short += bool(torch.isinf(high[wanted]).any())
        return found.within(low, high)

    def _stretched(self, index: int, slopes: Tensor) -> Tensor:
        """Distance of diag(slopes) (Affine node) to its nominal value: |diag(s) A D| times those of its sources."""
        total = slopes.new_zeros(slopes.shape[0])
        for term, i in enumerate(self.graph.affine(index).sources):
            source = self._sources[index][i]
            assert source.distance is not None
            moves = source.moves.to(slopes.dtype)
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


def _undecided(pooled: tuple[MaxPool, Relu | None] | None, found: Reach) -> Tensor:
    """The entries whose bounds decide something: units on either side of their kink, members of open windows."""
    wanted = found.unstable
    if pooled is not None:
        pool, relu = pooled
        low, high = (found.lower, found.upper) if relu is None else (relu(found.lower), relu(found.upper))
        # the ReLU may have another shape than the pool's input: a reshape is no node
        low, high = (end.reshape(-1, *pool.in_shape) for end in (low, high))
        shares = pool_shares(pool, low, high, high > low)
        members = pool.scatter(shares.upper - shares.lower).reshape(found.moves.shape) > 0
        wanted = members if relu is None else wanted | members
    crowded = wanted.flatten(1).sum(-1) > CROWN_ROWS
    return wanted & ~crowded.reshape(-1, *(1,) * (wanted.dim() - 1))
