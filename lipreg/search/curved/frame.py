"""The coordinates in which a search splits: the inputs themselves, or for l2 the directions in which a network bends most.

x = origin + Q y with Q orthogonal. A network that reads few directions of many inputs (a policy, say) bends along these
alone: boxes that are long in all others then lose little. Distances in l2 are the same in y. Every x of the region has
its y in the box that ``around`` gives, however Q is rounded; boxes there may extend beyond the region, where bounds only
grow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.linalg.floats import EPS, TINY
from lipreg.regions import PlacedRegion

ROUNDED = 1e-12
"""Relative slack for Q that is orthogonal up to rounding, and for the rounding of points."""


@dataclass(frozen=True)
class Boxes:
    """Boxes in the coordinates of a frame, as points of the network's inputs.

    Attributes:
        middle: x in the middle, ``(batch, *shape)``.
        input_radius: how far x may be from there, rounded up, ``(batch, *shape)``.
        radius: half widths in the frame's coordinates, rounded up, ``(batch, inputs)``.
        axes: Q's columns as directions of x, ``(inputs, *shape)``.
    """

    middle: Tensor
    input_radius: Tensor
    radius: Tensor
    axes: Tensor


@dataclass(frozen=True)
class Frame:
    """x = origin + Q y.

    Attributes:
        origin: ``(*shape)``; 0 where Q is None.
        axes: Q, ``(inputs, inputs)``; None for the identity.
    """

    origin: Tensor
    axes: Tensor | None = None

    def boxes(self, lower: Tensor, upper: Tensor) -> Boxes:
        """Boxes ``(batch, inputs)`` with these ends."""
        shape, count = self.origin.shape, lower.shape[1]
        middle = (lower + upper) / 2
        radius = torch.maximum(upper - middle, middle - lower)
        radius = torch.where(upper > lower, radius * (1.0 + 2 * EPS) + TINY, 0.0)
        if self.axes is None:
            eye = torch.eye(count, dtype=lower.dtype)
            return Boxes(middle.unflatten(1, shape), radius.unflatten(1, shape), radius, eye.unflatten(1, shape))
        x = self.origin.flatten() + middle @ self.axes.T
        radius = radius + ROUNDED * (radius + x.abs().amax(1, keepdim=True) + self.origin.abs().amax() + TINY)
        spread = (radius @ self.axes.abs().T) * (1.0 + ROUNDED)
        return Boxes(x.unflatten(1, shape), spread.unflatten(1, shape), radius, self.axes.T.unflatten(1, shape))

    def points(self, y: Tensor) -> Tensor:
        """Points of the inputs, ``(batch, *shape)``."""
        return self.boxes(y, y).middle

    def around(self, region: PlacedRegion) -> tuple[Tensor, Tensor]:
        """The ends of a box that holds a single region, ``(1, inputs)`` each."""
        low, high = region.lower.flatten(1), region.upper.flatten(1)
        if self.axes is None:
            return low, high
        middle, radius = (low + high) / 2, (high - low) / 2 * (1.0 + ROUNDED)
        at, far = (middle - self.origin.flatten()) @ self.axes, radius @ self.axes.abs()
        if region.radius < torch.inf and region.norm == 2.0:
            center = (region.center.flatten(1) - self.origin.flatten()) @ self.axes
            low = torch.maximum(at - far, center - region.radius)
            high = torch.minimum(at + far, center + region.radius)
        else:
            low, high = at - far, at + far
        slack = ROUNDED * (far.amax() + at.abs().amax() + middle.abs().amax() + self.origin.abs().amax())
        return low - slack, high + slack
