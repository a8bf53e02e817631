"""Enclosures of a network with curves over boxes: values, derivatives along every input, gradients of its outputs.

From the input on a node carries its value at the middle of the box, bounds over the box, and bounds on its Jacobian. An
Affine node's bounds are those of intervals, met with its value in the middle and what its Jacobian adds at most on the
way from there (the mean value form), which is off by the square of the box's size alone. From the output back gradients
are intervals.

Everything is center and radius in float64; radii pay for the rounding of every product and sum where it happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.intervals import times
from lipreg.curves import Curve
from lipreg.graph import Affine, Backward, Curved, Forward, Graph, Relu, UnitsAlike, WithoutPools
from lipreg.linalg import LinearMap
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.search.curved.frame import Boxes


@dataclass(frozen=True)
class Ball:
    """Numbers within a radius of a center, entry by entry.

    Attributes:
        center, radius: of one shape.
    """

    center: Tensor
    radius: Tensor

    @property
    def size(self) -> Tensor:
        """The largest magnitudes."""
        return self.center.abs() + self.radius

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The lower and the upper ends, as computed."""
        return self.center - self.radius, self.center + self.radius

    def through(self, map: LinearMap, back: bool = False) -> Ball:
        """What a map, or its transpose, makes of them."""
        act, spread = (map.transpose, map.abs().transpose) if back else (map, map.abs())
        share = (map.lengths + SPARE) * EPS
        radius = spread(self.radius + share * self.size) * (1.0 + share)
        if map.rounded:
            sizes = map.sizes().transpose if back else map.sizes()
            radius = radius + share * sizes(self.size)
        return Ball(act(self.center), radius)

    def times(self, least: Tensor, most: Tensor) -> Ball:
        """Products with numbers between two ends."""
        low, high = times(*self.ends, least, most, signed=True)
        return around(low, high)

    def __add__(self, other: Ball) -> Ball:
        center = self.center + other.center
        return Ball(center, (self.radius + other.radius) * (1.0 + 4 * EPS) + EPS * center.abs())


def around(low: Tensor, high: Tensor) -> Ball:
    """The ball that holds an interval."""
    center = (low + high) / 2
    return Ball(center, (high - low) / 2 + 4 * EPS * (low.abs() + high.abs()) + TINY)


@dataclass(frozen=True)
class Enclosure:
    """What is proved of a node over boxes.

    Attributes:
        at: its value in the boxes' middles, ``(batch, *shape)``.
        lower, upper: bounds over the boxes, ``(batch, *shape)``.
        along: its derivatives along the frame's axes over the boxes, ``(batch, inputs, *shape)``.
    """

    at: Ball
    lower: Tensor
    upper: Tensor
    along: Ball


class EnclosurePass(WithoutPools, Forward[Enclosure]):
    """The pass from the input on.

    Attributes:
        read: what every Relu and Curved reads.
        slopes, own: bounds on their derivatives over the boxes, and in the middles.
        kinked: whether a unit may be at a kink, or at a jump of its derivative, in a box, ``(batch,)``.
        empty: whether no point of a box has its ReLUs on the sides that are imposed, ``(batch,)``.
        astray: whether its middle, as computed, has not, ``(batch,)``.

    Args:
        boxes: of inputs.
        sides: of Relus, the side of its kink that is imposed on each unit, 1, -1 or 0 for either, ``(batch, *shape)``.
            Units with a side are linear over the whole box, as they are where all of them are on their sides.
    """

    def __init__(self, boxes: Boxes, sides: Mapping[int, Tensor] | None = None) -> None:
        self.boxes, self.sides = boxes, sides or {}
        self.read: dict[int, Enclosure] = {}
        self.slopes: dict[int, tuple[Tensor, Tensor]] = {}
        self.own: dict[int, tuple[Tensor, Tensor]] = {}
        self.kinked = torch.zeros(len(boxes.middle), dtype=torch.bool)
        self.empty, self.astray = torch.zeros_like(self.kinked), torch.zeros_like(self.kinked)

    def start(self) -> Enclosure:
        """The inputs."""
        middle, spread = self.boxes.middle, self.boxes.input_radius
        axes = self.boxes.axes.expand(len(middle), *self.boxes.axes.shape)
        at = Ball(middle, torch.zeros_like(middle))
        return Enclosure(at, middle - spread, middle + spread, Ball(axes, torch.zeros_like(axes)))

    def affine(self, index: int, node: Affine, values: Mapping[int, Enclosure]) -> Enclosure:
        batch = len(self.boxes.middle)
        bias = node.bias.expand(batch, *node.shape)
        at = over = Ball(bias, torch.zeros_like(bias))
        along: Ball | None = None
        for source, map in node.terms():
            value = values[source]
            at = at + value.at.through(map)
            over = over + around(value.lower, value.upper).through(map)
            part = value.along.through(map)
            along = part if along is None else along + part
        if along is None:
            zero = torch.zeros(batch, self.boxes.radius.shape[1], *node.shape, dtype=bias.dtype)
            along = Ball(zero, zero)
        radius = self.boxes.radius.reshape(batch, -1, *(1,) * len(node.shape))
        far = (along.size * radius).sum(1) * (1.0 + (radius.shape[1] + SPARE) * EPS) + at.radius
        (low, high), far = over.ends, far + 4 * EPS * (at.center.abs() + far)
        return Enclosure(at, torch.maximum(low, at.center - far), torch.minimum(high, at.center + far), along)

    def relu(self, index: int, node: Relu, value: Enclosure) -> Enclosure:
        one, negative_slope = torch.ones_like(value.lower), torch.full_like(value.lower, node.slope)
        least, most = (
            torch.where(value.lower >= 0, one, negative_slope),
            torch.where(value.upper > 0, one, negative_slope),
        )
        at_middle = torch.where(value.at.center > 0, one, negative_slope)
        if index in self.sides:
            side = self.sides[index]
            on, off = side > 0, side < 0
            self.empty = self.empty | ((on & (value.upper < 0)) | (off & (value.lower > 0))).flatten(1).any(1)
            least, most, at_middle = (
                torch.where(on, one, torch.where(off, negative_slope, ends)) for ends in (least, most, at_middle)
            )
            low, high = (
                torch.where(on, end, torch.where(off, negative_slope * end, node(end)))
                for end in (value.lower, value.upper)
            )
            self.astray = self.astray | (side * value.at.center < 0).flatten(1).any(1)
        else:
            low, high = node(value.lower), node(value.upper)
        self.kinked = self.kinked | (least < most).flatten(1).any(1)
        at = Ball(at_middle * value.at.center, value.at.radius + EPS * value.at.center.abs())
        image = Enclosure(at, low, high, value.along)
        return self._passed(index, value, image, (least, most), (at_middle, at_middle))

    def curved(self, index: int, node: Curved, value: Enclosure) -> Enclosure:
        curve, (middle, off) = node.curve, (value.at.center, value.at.radius)
        at, lower_upper = Ball(*curve.enclosed(middle, off)), curve.range(value.lower, value.upper)
        whole = around(value.lower, value.upper)
        self.kinked = self.kinked | ~curve.smooth(whole.center, whole.radius).flatten(1).all(1)
        slopes, own = curve.slopes(value.lower, value.upper), curve.slopes(middle - off, middle + off)
        return self._passed(index, value, Enclosure(at, *lower_upper, value.along), slopes, own)

    def _passed(
        self, index: int, value: Enclosure, image: Enclosure, slopes: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]
    ) -> Enclosure:
        self.read[index], self.slopes[index], self.own[index] = value, slopes, own
        along = value.along.times(*(end.unsqueeze(1) for end in slopes))
        return Enclosure(image.at, image.lower, image.upper, along)


class Gradients(UnitsAlike[Ball], WithoutPools, Backward[Ball]):
    """Gradients of rows, ``(batch, rows, *shape)``, carried back with slopes between bounds.

    Args:
        slopes: lower and upper bounds on each unit's derivative, by Relu and Curved, ``(batch, *shape)`` each.

    Attributes:
        at_units: the gradients at every unit's output.
    """

    def __init__(self, slopes: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        self.slopes = slopes
        self.at_units: dict[int, Ball] = {}

    def back(self, map: LinearMap, value: Ball) -> Ball:
        return value.through(map, back=True)

    def unit(self, index: int, value: Ball) -> Ball:
        self.at_units[index] = value
        return value.times(*(end.unsqueeze(1) for end in self.slopes[index]))


def row_gradients(
    graph: Graph, rows: Tensor, slopes: Mapping[int, tuple[Tensor, Tensor]]
) -> tuple[Ball, dict[int, Ball]]:
    """The gradients of rows at the inputs, ``(batch, rows, inputs)``, and at every unit's output.

    Args:
        graph: without max pools.
        rows: ``(batch, rows, outputs)``.
        slopes: lower and upper bounds on each unit's derivative, by Relu and Curved, ``(batch, *shape)`` each.
    """
    rules = Gradients(slopes)
    start = rows.reshape(*rows.shape[:2], *graph.output.shape)
    at_input = graph.backward([(len(graph.nodes) - 1, Ball(start, torch.zeros_like(start)))], rules)
    if at_input is None:
        zero = rows.new_zeros(*rows.shape[:2], torch.Size(graph.input_shape).numel())
        return Ball(zero, zero), rules.at_units
    return Ball(at_input.center.flatten(2), at_input.radius.flatten(2)), rules.at_units


def hessians(enclosures: EnclosurePass, gradients: Mapping[int, Ball], curves: Iterable[tuple[int, Curve]]) -> Ball:
    """Second derivatives of every row along the axes, ``(batch, rows, inputs, inputs)``, over boxes without a kink.

    They are the sum over units u of G_u f''(z_u) (J_u) (J_u)^T, G_u the gradient at its output and J_u that of its z.

    Args:
        enclosures: the pass over the boxes.
        gradients: of the rows over the boxes, at every unit's output.
        curves: the graph's, with their nodes.
    """
    center = radius = None
    for index, curve in curves:
        if index not in gradients:
            continue
        value = enclosures.read[index]
        least, most = curve.curvatures(value.lower, value.upper)
        bent = gradients[index].times(least.unsqueeze(1), most.unsqueeze(1))
        along = Ball(value.along.center.flatten(2), value.along.radius.flatten(2))
        middle, size = _squares(bent.center.flatten(2), along.center), _squares(bent.size.flatten(2), along.size)
        of_centers = _squares(bent.center.abs().flatten(2), along.center.abs())
        share = (along.center.shape[2] + 2 * SPARE) * EPS
        spread = (size - of_centers).clamp(min=0.0) + 4 * share * size
        center = middle if center is None else center + middle
        radius = spread if radius is None else radius + spread
    if center is None or radius is None:
        batch, inputs = enclosures.boxes.radius.shape
        rows = next(iter(gradients.values())).center.shape[1] if gradients else 1
        zero = torch.zeros(batch, rows, inputs, inputs, dtype=enclosures.boxes.middle.dtype)
        return Ball(zero, zero)
    return Ball(center, radius * (1.0 + SPARE * EPS) + SPARE * EPS * center.abs())


def _squares(weights: Tensor, along: Tensor) -> Tensor:
    """sum_u w_ru a_ju a_ku, ``(batch, rows, inputs, inputs)``."""
    return (weights.unsqueeze(2) * along.unsqueeze(1)) @ along.unsqueeze(1).mT
