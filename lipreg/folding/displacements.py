"""Regions of a single point as displacements of the movable inputs, which the region does not fix.

The other inputs are constants of the question. They have no column in a form, a program or a node's box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lipreg.linalg.floats import add_above, add_below
from lipreg.regions import Cone, PlacedRegion
from lipreg.regions.ball_in_box import project

LEAST_SCALE = 2.0**-30
"""The least s of a cone's points that are tried as witnesses: below it their phases are decided by rounding."""


@dataclass(frozen=True)
class Displacements:
    """{d : x0 + d in X} over the m movable inputs.

    Attributes:
        region: X itself, of a single point.
        movable: which inputs these are, ``(inputs,)`` bool.
        lower, upper: the box around the displacements, ``(m,)``, lower <= 0 <= upper.
        faces, slack: half-spaces of a polytope, slack - faces d >= 0, ``(f, m)`` and ``(f,)``: the slack of x0 rounded
            outwards, and 0 where x0 is proved to be on the face; f = 0 for other regions.
    """

    region: PlacedRegion
    movable: Tensor
    lower: Tensor
    upper: Tensor
    faces: Tensor
    slack: Tensor

    @classmethod
    def within(cls, region: PlacedRegion) -> Displacements:
        """The displacements of a region of a single point."""
        movable, (down, up) = region.movable[0].flatten(), region.displacement_ends
        lower, upper = down[0][movable], up[0][movable]
        if region.halfspaces is None:
            return cls(region, movable, lower, upper, lower.new_zeros(0, len(lower)), lower.new_zeros(0))
        center = region.center.flatten(1).unsqueeze(1)
        slack = (region.halfspaces.slack(center) + region.halfspaces.rounding(center))[0, 0]
        slack = slack.masked_fill(region.halfspaces.slack_below(center[:, 0])[0] == 0.0, 0.0)
        return cls(region, movable, lower, upper, region.halfspaces.matrix[:, movable], slack)

    @cached_property
    def sections(self) -> tuple[Tensor, Tensor] | None:
        """The boxes of displacements that represent a cone, lower and upper ends ``(sections, m)``; else None."""
        if not isinstance(self.region, Cone):
            return None
        center = self.region.center[0].flatten()
        lower, upper = (end.to(center) for end in self.region.sections)
        lower, upper = add_below(lower, -center), add_above(upper, -center)
        return torch.maximum(lower.to(self.lower), self.lower), torch.minimum(upper.to(self.upper), self.upper)

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def size(self) -> Tensor:
        """The largest magnitude of each displacement, ``(m,)``."""
        return torch.maximum(-self.lower, self.upper)

    def to(self, device: torch.device | str) -> Displacements:
        """The displacements on another device, the region in float64."""
        names = ("movable", "lower", "upper", "faces", "slack")
        moved = {name: getattr(self, name).to(device) for name in names}
        return replace(self, region=self.region.to(torch.float64, device), **moved)

    def points(self, d: Tensor) -> Tensor:
        """Points x of the region, ``(k, *shape)``, from displacements ``(k, m)`` that may lie a hair outside it."""
        x = self.region.center[0].flatten().repeat(len(d), 1)
        x[:, self.movable] += d.to(x)
        return self.region.project(x.reshape(1, -1, *self.region.shape))[0]

    def attainable(self, d: Tensor) -> Tensor:
        """Displacements ``(k, m)`` as they are; of a cone those with s below ``LEAST_SCALE`` are raised to it."""
        if not isinstance(self.region, Cone):
            return d
        least = LEAST_SCALE - self.region.center[0, -1].to(d)
        return torch.cat([d[:, :-1], d[:, -1:].clamp(min=least)], 1)

    def of(self, points: Tensor) -> Tensor:
        """The displacements ``(k, m)`` of points of the region, ``(k, *shape)``."""
        center = self.region.center
        return (points.to(center).flatten(1) - center[0].flatten())[:, self.movable]

    @property
    def ball(self) -> float:
        """The radius of an l2 ball, inf for other regions."""
        return self.region.radius if self.region.norm == 2.0 else math.inf

    def inside(self, d: Tensor) -> Tensor:
        """The displacements of the box that are nearest to any ``(..., m)``; of an l2 ball about the nearest."""
        if self.ball < math.inf:
            return project(d, self.lower, self.upper, self.ball)
        return d.clamp(self.lower, self.upper)

    def beyond_box(self, forms: Tensor) -> Tensor | None:
        """An upper bound on linear forms ``(..., m)`` over an l1 or l2 ball, ``(...)``; None for other regions."""
        if self.region.radius == math.inf:
            return None
        full = forms.new_zeros(1, math.prod(forms.shape[:-1]), len(self.movable))
        full[..., self.movable] = forms.reshape(1, -1, len(self))
        return self.region.support(full.reshape(1, -1, *self.region.shape)).reshape(forms.shape[:-1])
