"""Gradients as intervals, carried backward through a graph: in float64, or with centers in multiple precision.

Both are center and radius at a node. Slopes that are decided stay in the center, where terms may cancel; those that are not
go into the radius. In float64 rounding is bounded as a whole (``rounding.gradient_rounding``). In digits the centers
have none, and what is rounded on the way into a radius widens it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.pooling import Sorting, sorting
from lipreg.bounds.rounding import output_gradients
from lipreg.graph import Backward, Curved, MaxPool, Relu
from lipreg.graph.accurate import limb_bits
from lipreg.linalg import Limbs, LinearMap
from lipreg.linalg.floats import EPS, SPARE

LIMBS = 20
"""Digits of the centers."""
Ends = tuple[Tensor, Tensor]
Tighten = Callable[[int, Tensor, Tensor], Ends]
"""Node index and bounds on its gradients, lower and upper -> tighter ones."""
C = TypeVar("C")


@dataclass(frozen=True)
class GradientBall(Generic[C]):
    """Gradients within a radius of a center.

    Attributes:
        center: a tensor, or numbers in multiple precision, ``(batch, rows, *shape)``.
        radius: at least 0, of the same shape.
    """

    center: C
    radius: Tensor


class Intervals(Backward[GradientBall[C]], Generic[C]):
    """A backward pass of gradients, times intervals of slopes at every Relu and Curved and of shares at every MaxPool.

    Attributes:
        analysis: whose slopes and shares these are.
        signed: whether slopes may be below 0.
        bounds: lower and upper ends at the nodes that the pass has met.
        tighten: proves tighter bounds at a node, from which the pass goes on; None to go on as it is.
    """

    def __init__(self, analysis: Analysis, tighten: Tighten | None) -> None:
        self.analysis, self.tighten = analysis, tighten
        self.signed = bool(analysis.graph.curves())
        self.bounds: dict[int, Ends] = {}

    @abstractmethod
    def start(self) -> Iterable[tuple[int, GradientBall[C]]]:
        """The gradients at the sources of the output, with the index of each."""

    @abstractmethod
    def ends(self, index: int, value: GradientBall[C]) -> Ends:
        """Lower and upper ends at a node, rounded outward."""

    @abstractmethod
    def scaled(self, value: GradientBall[C], low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> GradientBall[C]:
        """The products [low, high] [least, most], entry by entry.

        Args:
            value: the gradients.
            low, high: their ends, maybe tightened.
            least, most: the ends of the slopes.
        """

    @abstractmethod
    def moved(self, value: GradientBall[C], move: Callable[[Tensor], Tensor], copies: int = 1) -> GradientBall[C]:
        """Gradients with their entries in other places, or sums of at most ``copies`` of them.

        Args:
            value: the gradients.
            move: what becomes of a tensor of entries: linear, with weights of 0 and 1.
            copies: how many entries at most a sum has.
        """

    @abstractmethod
    def mixed(
        self, one: GradientBall[C], other: GradientBall[C], ends: Sequence[Tensor], least: Tensor, most: Tensor
    ) -> GradientBall[C]:
        """The gradients s one - (1 - s) other, entry by entry.

        Args:
            one, other: gradients.
            ends: lower and upper of ``one``, then those of -``other``.
            least, most: the ends of s, each 0 or 1.
        """

    def tightened(self, index: int, value: GradientBall[C]) -> Ends:
        """Enters the bounds at a node, tightened where ``tighten`` can, and returns them."""
        low, high = self.ends(index, value)
        self.bounds[index] = (low, high) if self.tighten is None else self.tighten(index, low, high)
        return self.bounds[index]

    def relu(self, index: int, node: Relu, value: GradientBall[C]) -> GradientBall[C]:
        slopes = self.analysis.slopes[index]
        low, high = self.tightened(index, value)
        return self.scaled(value, low, high, slopes.lower.unsqueeze(1), slopes.upper.unsqueeze(1))

    def curved(self, index: int, node: Curved, value: GradientBall[C]) -> GradientBall[C]:
        slopes = self.analysis.slopes[index]
        low, high = self.tightened(index, value)
        return self.scaled(value, low, high, slopes.lower.unsqueeze(1), slopes.upper.unsqueeze(1))

    def max_pool(self, index: int, node: MaxPool, value: GradientBall[C]) -> GradientBall[C]:
        def members(part: Tensor) -> Tensor:
            return part.flatten(-len(node.shape)).unsqueeze(-1)

        share = self.analysis.shares[index]
        low, high = (members(end) for end in self.tightened(index, value))
        order = sorting(node, share)
        lower, upper = (
            (share.lower, share.upper) if order is None else (part * order.alone for part in (share.lower, share.upper))
        )
        value = self.moved(value, members)
        passed = self.scaled(value, low, high, lower.unsqueeze(1), upper.unsqueeze(1))
        passed = self.moved(passed, node.scatter, node.windows.numel())
        return passed if order is None else self.join(passed, self._in_order(order, value, low, high))

    def _in_order(self, order: Sorting, value: GradientBall[C], low: Tensor, high: Tensor) -> GradientBall[C]:
        """The gradients that partners pass on."""
        one, other = (self.moved(value, pick) for pick in (order.larger, order.smaller))
        ends = order.larger(low), order.larger(high), -order.smaller(high), -order.smaller(low)
        mixed = self.mixed(one, other, ends, order.least.unsqueeze(1), order.most.unsqueeze(1))
        return self.moved(mixed, lambda part: order.scatter(part), 2 * len(order.node.windows))


class Float64Intervals(Intervals[Tensor]):
    """Intervals in the graph's own arithmetic.

    Args:
        analysis, tighten: as of ``Intervals``.
        losses: what rounding may do to them, by node; None to leave it out.
    """

    def __init__(self, analysis: Analysis, tighten: Tighten | None, losses: dict[int, Tensor] | None) -> None:
        super().__init__(analysis, tighten)
        self.losses = losses

    def start(self) -> Iterable[tuple[int, GradientBall[Tensor]]]:
        return [(i, GradientBall(part, torch.zeros_like(part))) for i, part, _ in output_gradients(self.analysis)]

    def back(self, map: LinearMap, value: GradientBall[Tensor]) -> GradientBall[Tensor]:
        return GradientBall(map.transpose(value.center), map.abs().transpose(value.radius))

    def join(self, one: GradientBall[Tensor], other: GradientBall[Tensor]) -> GradientBall[Tensor]:
        return GradientBall(one.center + other.center, one.radius + other.radius)

    def ends(self, index: int, value: GradientBall[Tensor]) -> Ends:
        low, high = value.center - value.radius, value.center + value.radius
        return (low, high) if self.losses is None else (low - self.losses[index], high + self.losses[index])

    def scaled(
        self, value: GradientBall[Tensor], low: Tensor, high: Tensor, least: Tensor, most: Tensor
    ) -> GradientBall[Tensor]:
        low, high = times(low, high, least, most, self.signed)
        return GradientBall((low + high) / 2, (high - low) / 2)

    def mixed(
        self,
        one: GradientBall[Tensor],
        other: GradientBall[Tensor],
        ends: Sequence[Tensor],
        least: Tensor,
        most: Tensor,
    ) -> GradientBall[Tensor]:
        low, high = between(ends, least, most)
        return GradientBall((low + high) / 2, (high - low) / 2)

    def moved(
        self, value: GradientBall[Tensor], move: Callable[[Tensor], Tensor], copies: int = 1
    ) -> GradientBall[Tensor]:
        return GradientBall(move(value.center), move(value.radius))


class DigitIntervals(Intervals[Limbs]):
    """Intervals whose centers are in multiple precision, at least 200 bits.

    Args:
        analysis, tighten: as of ``Intervals``.

    Attributes:
        bits: of each digit.
    """

    def __init__(self, analysis: Analysis, tighten: Tighten | None) -> None:
        super().__init__(analysis, tighten)
        self.bits = limb_bits(analysis.graph)

    def start(self) -> Iterable[tuple[int, GradientBall[Limbs]]]:
        center = Limbs.of(self.analysis.placed.rows, self.bits, LIMBS)
        for source, map in self.analysis.graph.output.terms():
            part = center.back(map)
            yield source, GradientBall(part, torch.zeros_like(part.error))

    def back(self, map: LinearMap, value: GradientBall[Limbs]) -> GradientBall[Limbs]:
        radius = map.abs().transpose(value.radius) * (1.0 + (map.roundings + SPARE) * EPS)
        if map.rounded:
            radius = radius + (map.lengths + SPARE) * EPS * map.sizes().transpose(value.radius)
        return GradientBall(value.center.back(map), radius)

    def join(self, one: GradientBall[Limbs], other: GradientBall[Limbs]) -> GradientBall[Limbs]:
        return GradientBall(one.center + other.center, (one.radius + other.radius) * (1.0 + EPS))

    def ends(self, index: int, value: GradientBall[Limbs]) -> Ends:
        middle, error = value.center.rounded()
        radius = (value.radius + error) * (1.0 + SPARE * EPS) + EPS * middle.abs()
        return middle - radius, middle + radius

    def scaled(
        self, value: GradientBall[Limbs], low: Tensor, high: Tensor, least: Tensor, most: Tensor
    ) -> GradientBall[Limbs]:
        undecided = least < most
        low, high = times(low, high, least, most, self.signed)
        middle, radius = (low + high) / 2, (high - low) / 2
        radius = radius + SPARE * EPS * (middle.abs() + radius)
        decided = torch.where(undecided, torch.zeros_like(most), most)
        middle = torch.where(undecided, middle, torch.zeros_like(middle))
        center = value.center.times(decided) + Limbs.of(middle, self.bits, LIMBS)
        return GradientBall(center, torch.where(undecided, radius, value.radius * decided.abs() * (1.0 + SPARE * EPS)))

    def mixed(
        self,
        one: GradientBall[Limbs],
        other: GradientBall[Limbs],
        ends: Sequence[Tensor],
        least: Tensor,
        most: Tensor,
    ) -> GradientBall[Limbs]:
        low, high = between(ends, least, most)
        undecided, rest = (least < most).expand_as(low), (1.0 - most).expand_as(low)
        middle = torch.where(undecided, (low + high) / 2, torch.zeros_like(low))
        radius = (high - low) / 2 + SPARE * EPS * (low.abs() + high.abs())
        decided = torch.where(undecided, torch.zeros_like(low), most)
        center = one.center.times(decided) + other.center.times(-rest) + Limbs.of(middle, self.bits, LIMBS)
        return GradientBall(center, torch.where(undecided, radius, decided * one.radius + rest * other.radius))

    def moved(
        self, value: GradientBall[Limbs], move: Callable[[Tensor], Tensor], copies: int = 1
    ) -> GradientBall[Limbs]:
        radius = move(value.radius)
        return GradientBall(
            value.center.reindexed(move, copies), radius * (1.0 + copies * EPS) if copies > 1 else radius
        )


def between(ends: Sequence[Tensor], least: Tensor, most: Tensor) -> Ends:
    """The ends of s a + (1 - s) b, entry by entry.

    Args:
        ends: lower and upper of a, then those of b.
        least, most: the ends of s, each 0 or 1.
    """
    low, high, lowest, highest = ends
    first, second = most > 0, least < 1
    below = torch.where(second, torch.where(first, torch.minimum(low, lowest), lowest), low)
    return below, torch.where(second, torch.where(first, torch.maximum(high, highest), highest), high)


def times(low: Tensor, high: Tensor, least: Tensor, most: Tensor, signed: bool) -> Ends:
    """The ends of the products [low, high] [least, most], entry by entry; they are not rounded outward.

    Args:
        low, high: the ends of one factor.
        least, most: those of the other.
        signed: whether the second factor may be below 0; without it 0 <= least.
    """
    if signed and bool((least < 0).any()):
        products = torch.stack([low * least, low * most, high * least, high * most])
        return products.amin(0), products.amax(0)
    return torch.where(low < 0, low * most, low * least), torch.where(high > 0, high * most, high * least)
