"""What is known of a node over a region, and the bounds of one Affine node from those of its sources.

An Affine node is written around the reference point: z = constant + sum of maps of the displacement d = x - x0 and of the
values of earlier nodes, with the constant evaluated at x0 to the last digit. Large inputs then cost no digits of small
regions.

Rounding is charged where it happens. One evaluation of A h + c in float64, forward or as a row times A, is off by at most

    rounding = n u (|A| H + |c|),      |h| <= H over X, n the lengths of the sums,

entry by entry, whatever was rounded before: every bound is of true values, so what an earlier step lost is in its own bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipreg.graph import Affine, Graph
from lipreg.linalg import LinearMap, dual_norm
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.regions import PlacedRegion

LOST = 1e-6
"""Share of a unit's range that float64 may lose at the reference point before digits are taken."""


@dataclass(frozen=True)
class Reach:
    """What is known of a node over X, entries ``(batch, *shape)``.

    Attributes:
        value: at the reference point, as computed.
        lower, upper: bounds over X, with lower <= value <= upper.
        moves: whether the entry can move at all; False is exact (zero tracking), not a matter of rounding.
        distance: bound on the distance to the true value at the reference point in the region's norm, ``(batch,)``; None
            without the ball method.
        error: bound on what rounding did to ``value``; None where bounds are not to hold for rounding.
    """

    value: Tensor
    lower: Tensor
    upper: Tensor
    moves: Tensor
    distance: Tensor | None = None
    error: Tensor | None = None

    def __getitem__(self, index: slice) -> Reach:
        parts = (self.value[index], self.lower[index], self.upper[index], self.moves[index])
        rest = (None if part is None else part[index] for part in (self.distance, self.error))
        return Reach(*parts, *rest)

    @property
    def at(self) -> tuple[Tensor, Tensor]:
        """The ends between which the true value at the reference point lies."""
        if self.error is None:
            return self.value, self.value
        return torch.maximum(self.value - self.error, self.lower), torch.minimum(self.value + self.error, self.upper)

    @property
    def size(self) -> Tensor:
        """The largest magnitude over X."""
        return torch.maximum(-self.lower, self.upper)

    def within(self, lower: Tensor, upper: Tensor) -> Reach:
        """Intersected with other bounds; the value at the reference point stays inside."""
        lower = torch.minimum(torch.maximum(self.lower, lower), self.value)
        upper = torch.maximum(torch.minimum(self.upper, upper), self.value)
        return replace(self, lower=lower, upper=upper)

    @property
    def unstable(self) -> Tensor:
        """Whether a ReLU of this entry can be on either side of its kink."""
        return self.moves & (self.lower < 0) & (self.upper > 0)


@dataclass(frozen=True)
class Anchored:
    """An Affine node around the reference points: z = constant + sum of maps of d and of earlier values.

    Attributes:
        constant: the bias, and what the maps of the input make of x0, ``(batch, *shape)``.
        rounding: bound on what one evaluation loses, ``(batch, *shape)``; None where bounds are not to hold for rounding.
    """

    constant: Tensor
    rounding: Tensor | None = None

    def __getitem__(self, index: slice) -> Anchored:
        return Anchored(self.constant[index], None if self.rounding is None else self.rounding[index])


Anchors = Mapping[int, Anchored]


def affine_reach(
    graph: Graph,
    index: int,
    constant: Tensor,
    reach: list[Reach],
    region: PlacedRegion,
    methods: tuple[str, ...],
    digits: Callable[[], list[tuple[Tensor, Tensor]]],
) -> tuple[Reach, Anchored]:
    """The intersection of the ball and interval bounds on one Affine node; without either, no bounds yet.

    Args:
        constant: of the node; see ``Anchored``.
        reach: of the nodes before it, the Input's in x itself.
        digits: finds the value of every node at the reference points in multiple precision, and its error; asked where
            float64 loses too much.
    """
    node = graph.nodes[index]
    assert isinstance(node, Affine)
    own = _own(region)
    terms = [(map, own if i == 0 else reach[i]) for i, map in node.terms()]
    rounding = error = None
    value = constant
    for map, source in terms:
        if source is not own:
            value = value + map(source.value)
    flow = sum(map.abs()(source.moves.to(value.dtype)) for map, source in terms)
    moves = torch.as_tensor(flow, device=value.device).expand_as(value) > 0
    radius = torch.zeros_like(value)
    if "interval" in methods or reach[0].error is not None:
        for map, source in terms:
            radius = radius + map.abs()((source.upper - source.lower) / 2)
    if reach[0].error is not None:
        rounding, error = _rounding(constant, terms, value)
        if bool((moves & (error > LOST * radius)).any()):
            value, error = digits()[index]
    lowers, uppers = [], []
    if "interval" in methods:
        center = constant
        for map, source in terms:
            center = center + map((source.lower + source.upper) / 2)
        lowers.append(center - radius if rounding is None else center - radius - 2 * rounding)
        uppers.append(center + radius if rounding is None else center + radius + 2 * rounding)
    if "ball" in methods:
        width = torch.zeros_like(value) if rounding is None or error is None else error + rounding
        for (map, source), i in zip(terms, node.sources, strict=True):
            distance = reach[i].distance
            assert distance is not None
            distance = distance.reshape(-1, *(1,) * (value.dim() - 1))
            width = width + distance * map.row_norms(dual_norm(region.norm), source.moves.to(value.dtype))
        lowers.append(value - width)
        uppers.append(value + width)
    if not lowers:
        lowers, uppers = [torch.full_like(value, -torch.inf)], [torch.full_like(value, torch.inf)]
    lower = torch.stack(lowers).amax(0) if len(lowers) > 1 else lowers[0]
    upper = torch.stack(uppers).amin(0) if len(uppers) > 1 else uppers[0]
    # the value at the reference point is attained, so including it loses nothing and keeps rounding from crossing bounds
    lower, upper = torch.minimum(lower, value), torch.maximum(upper, value)
    least, most = (value, value) if error is None else (value - error, value + error)
    lower, upper = torch.where(moves, lower, least), torch.where(moves, upper, most)
    return Reach(value, lower, upper, moves, error=error), Anchored(constant, rounding)


def _own(region: PlacedRegion) -> Reach:
    """The displacement d = x - x0 as a node."""
    down, up = (end.reshape(region.center.shape) for end in region.room)
    zero = torch.zeros_like(down)
    return Reach(zero, down, up, region.moves, error=zero)


def _rounding(constant: Tensor, terms: list[tuple[LinearMap, Reach]], value: Tensor) -> tuple[Tensor, Tensor]:
    """What one evaluation of an Affine node loses, and what the computed value at the reference points is off by."""
    size, carried = constant.abs(), torch.zeros_like(value)
    length = SPARE
    for map, source in terms:
        size = size + map.abs()(source.size)
        length += map.roundings
        assert source.error is not None
        carried = carried + map.abs()(source.error)
    rounding = length * (EPS * size + TINY)
    return rounding, carried * (1.0 + length * EPS) + rounding
