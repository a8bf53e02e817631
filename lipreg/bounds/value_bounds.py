"""Bounds on the values of a node over a region, and those of one Affine node from those of its sources.

An Affine node is written around the reference point: z = constant + sum of maps of the displacement d = x - x0 and of the
values of earlier nodes, with the constant evaluated at x0 to the last digit. Large inputs then cost no digits of small
regions.

Rounding is charged where it happens. One evaluation of A h + c in float64, forward or as a row times A, is off by at most

    rounding = n u (|A| H + |c|),      |h| <= H over X, n the lengths of the sums,

entry by entry, whatever was rounded before: every bound is of true values, so what an earlier step lost is in its own bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lipreg.budget import Budget
from lipreg.graph import Affine, Curved, Graph, accurate
from lipreg.linalg import LinearMap, dual_norm
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.regions import PlacedRegion

FINE = 1e-10
"""Share of a unit's range that float64 may lose in its constant before digits are taken."""
SURE = 1e-12
"""Error of values at the reference points, relative to their layer's largest, from which no more digits are taken."""
ALLOWANCE = 2.0
"""Roundings of each input that bounds in training, which are not certified, allow for; sums of many terms average theirs
out."""
LOST = 1e-6
"""Share of a unit's range that float64 may lose at the reference point before digits are taken."""


@dataclass(frozen=True)
class ValueBounds:
    """Bounds on the values of a node over X, tensors ``(batch, *shape)``; of a ReLU's input, its pre-activation bounds.

    Attributes:
        value: at the reference point, as computed.
        lower, upper: bounds over X, with lower <= value <= upper.
        movable: whether the entry can move at all; False is exact (zero tracking), not a matter of rounding.
        distance: bound on the distance to the true value at the reference point in the region's norm, ``(batch,)``; None
            without the ball method.
        error: bound on what rounding did to ``value``; None where rounding is left out.
    """

    value: Tensor
    lower: Tensor
    upper: Tensor
    movable: Tensor
    distance: Tensor | None = None
    error: Tensor | None = None

    def __getitem__(self, index: slice) -> ValueBounds:
        parts = (self.value[index], self.lower[index], self.upper[index], self.movable[index])
        rest = (None if part is None else part[index] for part in (self.distance, self.error))
        return ValueBounds(*parts, *rest)

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

    def within(self, lower: Tensor, upper: Tensor) -> ValueBounds:
        """The intersection with other bounds; the value at the reference point stays inside."""
        lower = torch.minimum(torch.maximum(self.lower, lower), self.value)
        upper = torch.maximum(torch.minimum(self.upper, upper), self.value)
        return replace(self, lower=lower, upper=upper)

    @property
    def unstable(self) -> Tensor:
        """Whether a ReLU of this entry can be on either side of its kink."""
        return self.movable & (self.lower < 0) & (self.upper > 0)


@dataclass(frozen=True)
class Anchored:
    """An Affine node around the reference points: z = constant + sum of maps of d and of earlier values.

    Attributes:
        constant: the bias, and what the maps of the input make of x0, ``(batch, *shape)``.
        rounding: bound on what one evaluation loses, the constant's own error included, ``(batch, *shape)``; None where
            rounding is left out.
        off: bound on the error of the constant, likewise.
    """

    constant: Tensor
    rounding: Tensor | None = None
    off: Tensor | None = None

    def __getitem__(self, index: slice) -> Anchored:
        parts = (None if part is None else part[index] for part in (self.rounding, self.off))
        return Anchored(self.constant[index], *parts)


Anchors = Mapping[int, Anchored]


class Digits:
    """A network at reference points in multiple precision, evaluated when it is first read.

    Args:
        graph: of the network.
        center: the reference points, ``(batch, *shape)``.
        budget: started; its time says how many digits there are.
    """

    def __init__(self, graph: Graph, center: Tensor, budget: Budget) -> None:
        self.graph, self.center, self.budget = graph, center, budget

    @cached_property
    def anchors(self) -> dict[int, Tensor]:
        """The constants of the Affine nodes that read the Input, to the last digit."""
        return accurate.anchors(self.graph, self.center)

    @cached_property
    def values(self) -> list[tuple[Tensor, Tensor]]:
        """The value of every node and its error, with more digits until errors are below ``SURE``, or the budget ends."""
        values: list[tuple[Tensor, Tensor]] = []
        for k, numbers in enumerate(accurate.precisions(self.graph, self.center, self.budget)):
            values = [value.rounded() for value in self.graph.evaluate(numbers)]
            if k and all(bool((error <= SURE * value.abs().amax()).all()) for value, error in values):
                break
        return values


def affine_bounds(
    index: int,
    node: Affine,
    source_bounds: Mapping[int, ValueBounds],
    region: PlacedRegion,
    methods: tuple[str, ...],
    digits: Digits,
    outward: bool,
) -> tuple[ValueBounds, Anchored]:
    """The intersection of the ball and interval bounds on one Affine node; without either, no bounds yet.

    Args:
        index: of the node.
        node: the Affine node itself.
        source_bounds: of the nodes that it reads, the Input's in x itself.
        region: the regions of the batch.
        methods: those of "ball" and "interval" that are intersected; others are passed over.
        digits: the network at the reference points in multiple precision; read where float64 loses too much.
        outward: whether the bounds are rounded outward.

    Returns:
        The bounds, without ``distance``, and the node around the reference points.
    """
    displacement = _displacement(region, torch.zeros_like(region.center) if outward else allowance(region))
    terms = [(map, displacement if i == 0 else source_bounds[i]) for i, map in node.terms()]
    constant = node.bias.expand(region.batch, *node.shape)
    if 0 in node.sources:
        constant = sum((map(region.center) for i, map in node.terms() if i == 0), start=constant)
    flow, radius, size, carried, base = _magnitudes(node, terms, region.center, outward)
    movable = flow.expand_as(constant) > 0
    off = rounding = error = None
    if outward:
        length = SPARE + node.lengths
        off = length * (EPS * (base + node.bias.abs()) + TINY) if 0 in node.sources else torch.zeros_like(constant)
        off = off + node.bias_rounding()
        if bool((movable & (off > FINE * radius)).any()):
            constant = digits.anchors[index].expand_as(constant)
            off = 2 * EPS * constant.abs() + TINY
        rounding = length * (EPS * (size + constant.abs()) + TINY) + off
        error = carried * (1.0 + length * EPS) + rounding
    value = constant
    for map, source in terms:
        if source is not displacement:
            value = value + map(source.value)
    if error is not None and bool((movable & (error > LOST * radius)).any()):
        value, error = digits.values[index]
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
            distance = source_bounds[i].distance
            assert distance is not None
            distance = distance.reshape(-1, *(1,) * (value.dim() - 1))
            width = width + distance * map.row_norms(dual_norm(region.norm), source.movable.to(value.dtype))
        lowers.append(value - width)
        uppers.append(value + width)
    if not lowers:
        lowers, uppers = [torch.full_like(value, -torch.inf)], [torch.full_like(value, torch.inf)]
    lower = torch.stack(lowers).amax(0) if len(lowers) > 1 else lowers[0]
    upper = torch.stack(uppers).amin(0) if len(uppers) > 1 else uppers[0]
    # the value at the reference point is attained, so including it loses nothing and keeps rounding from crossing bounds
    lower, upper = torch.minimum(lower, value), torch.maximum(upper, value)
    least, most = (value, value) if error is None else (value - error, value + error)
    lower, upper = torch.where(movable, lower, least), torch.where(movable, upper, most)
    return ValueBounds(value, lower, upper, movable, error=error), Anchored(constant, rounding, off)


def curve_bounds(node: Curved, z: ValueBounds, distance: Tensor | None = None) -> ValueBounds:
    """Bounds on the values of a Curved node.

    Args:
        node: the Curved node.
        z: bounds on what it reads.
        distance: that of the node in the region's norm, ``(batch,)``, where there is one.
    """
    if z.error is None:
        at, error = node(z.value), None
    else:
        at, error = node.curve.enclosed(z.value, z.error)
    lower, upper = node.curve.range(z.lower, z.upper)
    return ValueBounds(at, torch.minimum(lower, at), torch.maximum(upper, at), z.movable, distance, error)


def _magnitudes(
    node: Affine, terms: list[tuple[LinearMap, ValueBounds]], center: Tensor, outward: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """|A| times: what can move, half widths, sizes, errors, |x0| of the Input; the last three are 0 without ``outward``."""
    zero = torch.zeros(len(center), *node.shape, dtype=center.dtype, device=center.device)
    sums = [zero] * 5
    for (map, source), i in zip(terms, node.sources, strict=True):
        parts = [source.movable.to(center.dtype), (source.upper - source.lower) / 2]
        if outward:
            assert source.error is not None
            parts += [source.size, source.error, *([center.abs()] if i == 0 else [])]
        # roundings, and whether an entry can move, are judged by magnitudes before they cancel
        act = map.sizes() if outward and map.rounded else map.abs()
        images = list(act(torch.cat([part.expand(len(center), *map.in_shape) for part in parts])).split(len(center)))
        if outward and map.rounded:
            images[1] = map.abs()(parts[1])
        for k, part in enumerate(images):
            sums[k] = sums[k] + part
    return tuple(sums)  # type: ignore[return-value]


def allowance(region: PlacedRegion) -> Tensor:
    """How much displacements are widened where bounds are not rounded outward: the rounding of x0 in a first layer."""
    return ALLOWANCE * torch.finfo(region.center.dtype).eps * region.center.abs() * region.movable


def _displacement(region: PlacedRegion, spare: Tensor) -> ValueBounds:
    """The displacement d = x - x0 as a node, its ends widened by ``spare``."""
    down, up = (end.reshape(region.center.shape) for end in region.displacement_ends)
    zero = torch.zeros_like(down)
    return ValueBounds(zero, down - spare, up + spare, region.movable, error=zero)
