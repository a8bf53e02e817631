"""Pre-activation and slope bounds of a whole network over a region: the groundwork of every bound and program.

Three methods bound the pre-activations; each is valid on its own, so they are intersected node by node, and a later node
uses the intersection of all earlier ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lipreg.bounds.relaxation import Relaxation, crown, relax
from lipreg.bounds.slopes import Slopes, slope_bounds
from lipreg.errors import InvalidInput
from lipreg.graph import Affine, Graph, Input, MaxPool, Relu
from lipreg.linalg import PowerIteration, dual_norm
from lipreg.problem import PlacedProblem, Scope
from lipreg.regions import PlacedRegion

METHODS = ("ball", "interval", "crown")


@dataclass(frozen=True)
class Reach:
    """What is known of a node over X, entries ``(batch, *shape)``.

    Attributes:
        value: at the reference point.
        lower, upper: bounds over X, with lower <= value <= upper.
        moves: whether the entry can move at all; False is exact (zero tracking), not a matter of rounding.
        distance: bound on the distance to ``value`` in the region's norm, ``(batch,)``; None without the ball method.
    """

    value: Tensor
    lower: Tensor
    upper: Tensor
    moves: Tensor
    distance: Tensor | None = None

    def __getitem__(self, index: slice) -> Reach:
        parts = (self.value[index], self.lower[index], self.upper[index], self.moves[index])
        return Reach(*parts, None if self.distance is None else self.distance[index])

    def within(self, lower: Tensor, upper: Tensor) -> Reach:
        """Intersected with other bounds; the value at the reference point stays inside."""
        lower = torch.minimum(torch.maximum(self.lower, lower), self.value)
        upper = torch.maximum(torch.minimum(self.upper, upper), self.value)
        return replace(self, lower=lower, upper=upper)

    @property
    def unstable(self) -> Tensor:
        """Whether a ReLU of this entry can be on either side of its kink."""
        return self.moves & (self.lower < 0) & (self.upper > 0)


@dataclass(frozen=True, eq=False)  # compared by identity: what was solved for an analysis is remembered by it
class Analysis:
    """A placed problem with the reach of every node and the slope bounds of every Relu in the problem's scope.

    ``power``, in training, estimates the spectral norms of layers.
    """

    graph: Graph
    placed: PlacedProblem
    reach: tuple[Reach, ...]
    slopes: dict[int, Slopes]
    power: PowerIteration | None = None

    def __getitem__(self, index: slice) -> Analysis:
        """The analysis of some of the points; itself when that is all of them."""
        if index.indices(self.placed.batch) == (0, self.placed.batch, 1):
            return self
        reach = tuple(r[index] for r in self.reach)
        slopes = {i: Slopes(s.lower[index], s.upper[index]) for i, s in self.slopes.items()}
        return Analysis(self.graph, self.placed[index], reach, slopes, self.power)

    def subject(self, index: int) -> str:
        """A hash of the network and reference point ``index``: what a result is about."""
        point = self.placed.region.center[index].detach().cpu().contiguous().numpy().tobytes()
        return hashlib.sha256(self._fingerprint.encode() + point).hexdigest()[:16]

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
    power: PowerIteration | None = None,
) -> Analysis:
    """Bounds every pre-activation of the graph over the regions of a batch.

    Args:
        graph: live (differentiable) or frozen.
        placed: the question; its region is taken in the graph's dtype and on its device.
        methods: any of "ball", "interval", "crown", intersected. Default: all that cover the graph's nodes.
        known: lower and upper bounds of Affine nodes by index, proved elsewhere; intersected with the methods' own.
        power: estimates spectral norms in their place; what follows from them is then no bound.

    Returns:
        The reach of every node and slope bounds in the problem's scope; differentiable in the graph's parameters.

    Raises:
        InvalidInput: an unknown or no method.
        UnsupportedRequest: CROWN was asked for on a graph with max pooling.
    """
    pools = any(isinstance(node, MaxPool) for node in graph.nodes)
    chosen = tuple(m for m in METHODS if not (pools and m == "crown")) if methods is None else tuple(methods)
    if not chosen or set(chosen) - set(METHODS):
        raise InvalidInput(f"methods {chosen}", where="pre-activation bounds", accepted=f"some of {', '.join(METHODS)}")
    if "crown" in chosen:
        graph.require(Affine, Relu, who="CROWN pre-activation bounds")
    region = placed.region.to(graph.dtype, graph.device)
    values = graph.values(region.center)
    reach: list[Reach] = []
    relaxations: dict[int, Relaxation] = {}
    slopes: dict[int, Slopes] = {}
    for index, node in enumerate(graph.nodes):
        match node:
            case Input():
                distance = region.distance(region.norm) if "ball" in chosen else None
                reach.append(Reach(region.center, region.lower, region.upper, region.moves, distance))
            case Affine():
                last = index == len(graph.nodes) - 1
                kept = ("interval",) if last else chosen  # nothing downstream uses the output's bounds
                found = _affine(graph, index, node, values[index], reach, relaxations, region, kept)
                reach.append(found.within(*known[index]) if known and index in known else found)
            case Relu(source=source, slope=leak):
                z = reach[source]
                pointed = slope_bounds(z.value, z.lower, z.upper, z.moves, leak, "pointed")
                slopes[index] = _in_scope(pointed, z, leak, placed.problem.scope)
                relaxations[index] = relax(z.lower, z.upper, leak)
                distance = (
                    _stretch(graph, source, pointed.upper, reach, region.norm, power) if "ball" in chosen else None
                )
                moves = z.moves & (z.upper > 0) if leak == 0 else z.moves
                reach.append(Reach(values[index], node(z.lower), node(z.upper), moves, distance))
            case MaxPool(source=source):
                z = reach[source]
                distance = None
                if "ball" in chosen:
                    whole = torch.ones_like(z.value)
                    distance = pool_factor(node, region.norm) * _stretch(
                        graph, source, whole, reach, region.norm, power
                    )
                moves = node(z.moves.to(z.value.dtype)) > 0
                reach.append(Reach(values[index], node(z.lower), node(z.upper), moves, distance))
    return Analysis(graph, placed, tuple(reach), slopes, power)


def _in_scope(pointed: Slopes, z: Reach, leak: float, scope: Scope) -> Slopes:
    return pointed if scope == "pointed" else slope_bounds(z.value, z.lower, z.upper, z.moves, leak, scope)


def _affine(
    graph: Graph,
    index: int,
    node: Affine,
    value: Tensor,
    reach: list[Reach],
    relaxations: dict[int, Relaxation],
    region: PlacedRegion,
    methods: tuple[str, ...],
) -> Reach:
    """The intersection of the chosen bounds on one Affine node."""
    flow = sum(map.abs()(reach[i].moves.to(value.dtype)) for i, map in node.terms())
    moves = torch.as_tensor(flow, device=value.device).expand_as(value) > 0
    lowers, uppers = [], []
    if "interval" in methods:
        center, radius = node.bias, torch.zeros_like(value)
        for i, map in node.terms():
            center = center + map((reach[i].lower + reach[i].upper) / 2)
            radius = radius + map.abs()((reach[i].upper - reach[i].lower) / 2)
        lowers.append(center - radius)
        uppers.append(center + radius)
    if "ball" in methods:
        width = torch.zeros_like(value)
        for i, map in node.terms():
            distance = _expand(reach[i].distance, value)
            width = width + distance * map.row_norms(dual_norm(region.norm), reach[i].moves.to(value.dtype))
        lowers.append(value - width)
        uppers.append(value + width)
    if "crown" in methods:
        low, high = crown(graph, index, relaxations, region)
        lowers.append(low)
        uppers.append(high)
    lower = torch.stack(lowers).amax(0) if len(lowers) > 1 else lowers[0]
    upper = torch.stack(uppers).amin(0) if len(uppers) > 1 else uppers[0]
    # the value at the reference point is attained, so including it loses nothing and keeps rounding from crossing bounds
    lower, upper = torch.minimum(lower, value), torch.maximum(upper, value)
    return Reach(value, torch.where(moves, lower, value), torch.where(moves, upper, value), moves)


def _stretch(
    graph: Graph, index: int, slopes: Tensor, reach: list[Reach], norm: float, power: PowerIteration | None
) -> Tensor:
    """Distance of diag(slopes) (Affine node) to its nominal value: sum over sources of |diag(s) A D| times theirs."""
    node = graph.nodes[index]
    assert isinstance(node, Affine)
    total = slopes.new_zeros(slopes.shape[0])
    for i, map in node.terms():
        distance = reach[i].distance
        assert distance is not None
        moves = reach[i].moves.to(slopes.dtype)
        if power is not None and norm == 2.0:
            total = total + power.norm(f"stretch {i} {index}", map, slopes, moves) * distance
        else:
            total = total + map.induced_norm(norm, slopes, moves) * distance
    return total


def _expand(distance: Tensor | None, like: Tensor) -> Tensor:
    assert distance is not None
    return distance.reshape(-1, *(1,) * (like.dim() - 1))


def pool_factor(node: MaxPool, p: float) -> float:
    """Lipschitz factor of max pooling in l_p: n^(1/p), n the most windows that one input can enter."""
    if p == math.inf:
        return 1.0
    # a window filled up by repeating a member still counts that member once
    members = [torch.unique(window) for window in node.windows]
    overlap = float(torch.cat(members).bincount().max())
    return overlap ** (1.0 / p)
