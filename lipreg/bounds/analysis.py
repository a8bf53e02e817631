"""Pre-activation and slope bounds of a whole network over a region: the groundwork of every bound and program.

Three methods bound the pre-activations; each is valid on its own, so they are intersected node by node, and a later node
uses the intersection of all earlier ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.pooling import PoolRelaxation, Shares, pool_factor, pool_shares, relax_pool
from lipreg.bounds.reach import Anchored, Anchors, Digits, Reach, affine_reach, allowance
from lipreg.bounds.relaxation import Relaxation, crown, relax
from lipreg.bounds.slopes import Slopes, slope_bounds
from lipreg.bounds.touching import settle_touching
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.graph import Affine, Graph, Input, MaxPool, Relu
from lipreg.linalg import Diagonal, PowerIteration, vector_norm
from lipreg.linalg.spectral import WIDTH
from lipreg.problem import PlacedProblem

METHODS = ("ball", "interval", "crown")
T = TypeVar("T")
CROWN_UNITS = 2**17
"""Pre-activations up to which CROWN is part of the default; beyond, it has to be asked for."""
CROWN_ROWS = 4096
"""Undecided entries of a node up to which CROWN bounds them beside another method; where more are open it decides few."""


@dataclass(frozen=True, eq=False)  # compared by identity: what was solved for an analysis is remembered by it
class Analysis:
    """A placed problem with the reach of every node and the slope bounds of every Relu in the problem's scope.

    ``shares`` are the weights of the members of every MaxPool's windows, ``norms`` the norms of the maps, ``anchors`` the
    Affine nodes around the reference points, ``left_out`` what there was no time for, for the details of results.
    """

    graph: Graph
    placed: PlacedProblem
    reach: tuple[Reach, ...]
    slopes: dict[int, Slopes]
    shares: dict[int, Shares]
    norms: InducedNorms
    anchors: Anchors
    left_out: str = ""
    _derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_derived": {}}  # whoever gets a copy derives it anew

    @property
    def outward(self) -> bool:
        """Whether its bounds hold for rounding."""
        return self.reach[0].error is not None

    def derived(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made of this analysis under the key, made once. It is part of the analysis and ends with it.

        A table beside the analyses could not do this: an entry that refers to its own analysis would keep both for good.
        """
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def __getitem__(self, index: slice) -> Analysis:
        """The analysis of some of the points; itself when that is all of them."""
        if index.indices(self.placed.batch) == (0, self.placed.batch, 1):
            return self
        reach = tuple(r[index] for r in self.reach)
        slopes = {i: Slopes(s.lower[index], s.upper[index]) for i, s in self.slopes.items()}
        shares = {i: Shares(s.lower[index], s.upper[index], s.able[index]) for i, s in self.shares.items()}
        anchors = {i: anchored[index] for i, anchored in self.anchors.items()}
        norms = InducedNorms(self.graph)
        return Analysis(self.graph, self.placed[index], reach, slopes, shares, norms, anchors, self.left_out)

    def subject(self, index: int) -> str:
        """A hash of the network and reference point ``index``: what a result is about."""
        return hashlib.sha256(self._fingerprint.encode() + self._point(index)).hexdigest()[:16]

    def reference(self, index: int) -> str:
        """A hash of reference point ``index`` alone: equal for audits of two networks at the same point."""
        return hashlib.sha256(self._point(index)).hexdigest()[:16]

    def _point(self, index: int) -> bytes:
        return self.placed.region.center[index].detach().cpu().contiguous().numpy().tobytes()

    @cached_property
    def _fingerprint(self) -> str:
        return self.graph.fingerprint()

    def unstable_units(self) -> Tensor:
        """How many units each point leaves undecided, ``(batch,)``."""
        counts = [self.reach[node.source].unstable.flatten(1).sum(-1) for _, node in self.graph.relus()]
        return torch.stack(counts).sum(0) if counts else torch.zeros(self.placed.batch, dtype=torch.int64)


def analyse(
    graph: Graph,
    placed: PlacedProblem,
    methods: Sequence[str] | None = None,
    known: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    width: float = WIDTH,
    power: PowerIteration | None = None,
    outward: bool = True,
    budget: Budget | None = None,
) -> Analysis:
    """Bounds every pre-activation of the graph over the regions of a batch.

    Bounds are of the function that the graph's float64 weights define in real arithmetic: rounded outward, by what each
    step may have lost (``bounds/reach.py``).

    Args:
        graph: live (differentiable) or frozen.
        placed: the question; its region is taken in the graph's dtype and on its device.
        methods: any of "ball", "interval", "crown", intersected. Default: all, without CROWN for networks of more than
            ``CROWN_UNITS`` pre-activations.
        known: lower and upper bounds of Affine nodes by index, proved elsewhere; intersected with the methods' own.
        width: relative width at which a certified spectral norm is narrow enough.
        power: estimates spectral norms in their place; what follows from them is then no bound.
        outward: False leaves rounding out, for training, where bounds are not certified. Only float64 on the CPU is
            rounded outward.
        budget: of CROWN; nodes that it does not reach by its end keep the other methods' bounds, and the analysis says so.
            None for no limit.

    Returns:
        The reach of every node and slope bounds in the problem's scope; differentiable in the graph's parameters.

    Raises:
        InvalidInput: an unknown or no method.
    """
    units = sum(node.bias.numel() for node in graph.nodes[:-1] if isinstance(node, Affine))
    usual = METHODS if units <= CROWN_UNITS else ("ball", "interval")
    chosen = usual if methods is None else tuple(methods)
    if not chosen or set(chosen) - set(METHODS):
        raise InvalidInput(f"methods {chosen}", where="pre-activation bounds", accepted=f"some of {', '.join(METHODS)}")
    region = placed.region.to(graph.dtype, graph.device)
    # elsewhere sums may be taken by transforms (FFT, Winograd), for whose rounding these bounds do not hold
    outward = outward and graph.dtype == torch.float64 and graph.device.type == "cpu"
    digits = Digits(graph, region.center)
    reach: list[Reach] = []
    anchored: dict[int, Anchored] = {}
    relaxations: dict[int, Relaxation | PoolRelaxation] = {}
    slopes: dict[int, Slopes] = {}
    shares: dict[int, Shares] = {}
    norms = InducedNorms(graph, width, power)
    pools = _pools_reading(graph)
    short = 0
    kinked = {node.source for _, node in graph.relus()}
    for index, node in enumerate(graph.nodes):
        match node:
            case Input():
                distance = region.distance(region.norm) if "ball" in chosen else None
                if distance is not None and not outward:
                    distance = distance + vector_norm(allowance(region).flatten(1), region.norm)
                error = torch.zeros_like(region.center) if outward else None
                reach.append(Reach(region.center, region.lower, region.upper, region.moves, distance, error))
            case Affine():
                last = index == len(graph.nodes) - 1
                kept = ("interval",) if last else chosen  # nothing downstream uses the output's bounds
                found, anchored[index] = affine_reach(graph, index, reach, region, kept, digits)
                rounding = anchored[index].rounding
                if rounding is not None and "interval" in kept and index in kinked:
                    found = settle_touching(node, found, rounding, reach, region)
                if "crown" in kept:
                    alone = kept == ("crown",)  # without another method there would be no bounds beside it
                    wanted = None if alone else _undecided(pools.get(index), found)
                    within = None if alone else budget
                    low, high = crown(graph, index, anchored, relaxations, region, wanted, within)
                    if wanted is not None and within is not None and within.ended() is not None:
                        short += bool(torch.isinf(high[wanted]).any())
                    found = found.within(low, high)
                reach.append(found.within(*known[index]) if known and index in known else found)
            case Relu(source=source, slope=leak):
                z = reach[source]
                pointed = slope_bounds(z, leak, "pointed")
                slopes[index] = pointed if placed.problem.scope == "pointed" else slope_bounds(z, leak, "regional")
                relaxations[index] = relax(z.lower, z.upper, leak)
                distance = _stretch(norms, source, pointed.upper, reach, region.norm) if "ball" in chosen else None
                moves = z.moves & (z.upper > 0) if leak == 0 else z.moves
                reach.append(Reach(node(z.value), node(z.lower), node(z.upper), moves, distance, z.error))
            case MaxPool(source=source):
                z = reach[source]
                distance = None
                if "ball" in chosen:
                    whole = torch.ones_like(z.value)
                    distance = pool_factor(node, region.norm) * _stretch(norms, source, whole, reach, region.norm)
                shares[index] = pool_shares(node, z.lower, z.upper, z.moves)
                relaxations[index] = relax_pool(node, z.lower, z.upper)
                moves = node(z.moves.to(z.value.dtype)) > 0
                error = None if z.error is None else node(z.error)
                reach.append(Reach(node(z.value), node(z.lower), node(z.upper), moves, distance, error))
    layers = sum(isinstance(node, Affine) for node in graph.nodes[:-1])
    left_out = f"There was no time for CROWN in {short} of {layers} layers" if short else ""
    return Analysis(graph, placed, tuple(reach), slopes, shares, norms, anchored, left_out)


def _pools_reading(graph: Graph) -> dict[int, tuple[MaxPool, Relu | None]]:
    """The max pool that reads each Affine node, itself or through a ReLU; the pool's own node then has nothing to add."""
    found: dict[int, tuple[MaxPool, Relu | None]] = {}
    for pool in graph.nodes:
        if not isinstance(pool, MaxPool):
            continue
        affine = graph.nodes[pool.source]
        assert isinstance(affine, Affine)
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


def _stretch(norms: InducedNorms, index: int, slopes: Tensor, reach: list[Reach], norm: float) -> Tensor:
    """Distance of diag(slopes) (Affine node) to its nominal value: sum over sources of |diag(s) A D| times theirs."""
    node = norms.graph.nodes[index]
    assert isinstance(node, Affine)
    total = slopes.new_zeros(slopes.shape[0])
    for term, i in enumerate(node.sources):
        distance = reach[i].distance
        assert distance is not None
        total = total + norms(index, term, norm, slopes, reach[i].moves.to(slopes.dtype)) * distance
    return total
