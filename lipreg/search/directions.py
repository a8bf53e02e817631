"""Directions from the reference point that nodes leave open: (x - x0) / |x - x0|_p in a box, in the question's units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.linalg.floats import EPS, SPARE
from lipreg.regions.ball_in_box import project, support_above
from lipreg.search.rises import OutputDifferences, ShellNodes


@dataclass(frozen=True)
class Directions:
    """{u : |u|_p <= 1, lower <= u <= upper} for each node; it holds 0 for p = 1.

    Attributes:
        p: the norm of distances.
        lower, upper: ``(N, m)``, within [-1, 1].
    """

    p: float
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, rises: OutputDifferences, nodes: ShellNodes) -> Directions:
        """What nodes leave of the directions: no component is larger than its own end over the distance."""
        near, far = nodes.near.unsqueeze(-1), nodes.far.unsqueeze(-1)
        lower, upper = nodes.d_lower / rises.units, nodes.d_upper / rises.units
        wide = 1.0 + 8 * EPS
        down = torch.where(lower < 0, lower / near * wide, lower / far / wide).clamp(-1.0, 1.0)
        up = torch.where(upper > 0, upper / near * wide, upper / far / wide).clamp(-1.0, 1.0)
        if rises.network.p == 1.0:
            down, up = down.clamp(max=0.0), up.clamp(min=0.0)
        return cls(rises.network.p, down, up)

    def __getitem__(self, index: Tensor) -> Directions:
        return Directions(self.p, self.lower[index], self.upper[index])

    def support(self, forms: Tensor) -> Tensor:
        """An upper bound on sup forms . u, ``(N, k)`` for ``(N, k, m)``, rounded up."""
        lower, upper = self.lower.unsqueeze(1), self.upper.unsqueeze(1)
        above = 1.0 + EPS * (forms.shape[-1] + SPARE)
        if self.p == 2.0:
            return support_above(forms, lower, upper, 1.0)
        gain = torch.maximum(forms * lower, forms * upper)
        if self.p == math.inf:
            return gain.sum(-1) + EPS * (forms.shape[-1] + SPARE) * gain.abs().sum(-1)
        # a fractional knapsack: the largest entries first, until the whole length is spent
        most = torch.where(forms >= 0, upper, -lower)
        size, order = forms.abs().sort(-1, descending=True)
        most = most.gather(-1, order)
        spent = torch.nn.functional.pad(most.cumsum(-1)[..., :-1], (1, 0)) * (2.0 - above)
        return (size * torch.minimum(most, (1.0 - spent).clamp(min=0.0))).sum(-1) * above

    def of_intervals(self, center: Tensor, radius: Tensor) -> Tensor:
        """sup of w . u over w in center +- radius, ``(N, m)`` each, from above; ``(N,)``."""
        if bool((self.lower > 0).any()) or bool((self.upper < 0).any()):
            lower, upper = self.lower.clamp(max=0.0), self.upper.clamp(min=0.0)
            return Directions(self.p, lower, upper).of_intervals(center, radius)
        # per component one way or the other: the larger of what each can bring, as a form over magnitudes
        up, down = (center + radius).clamp(min=0.0), (radius - center).clamp(min=0.0)
        ways = self.upper > 0, self.lower < 0
        up, down = up * ways[0], down * ways[1]
        if self.p == math.inf:
            return torch.maximum(up * self.upper, -down * self.lower).sum(-1)
        size = torch.maximum(up, down)
        most = torch.maximum(self.upper, -self.lower)
        return Directions(self.p, -most, most).support(size.unsqueeze(1)).squeeze(1)

    def project(self, points: Tensor) -> Tensor:
        """About the nearest points, ``(N, k, m)``."""
        lower, upper = self.lower.unsqueeze(1), self.upper.unsqueeze(1)
        if self.p == 2.0:
            return project(points, lower, upper, 1.0)
        inside = torch.minimum(torch.maximum(points, lower), upper)
        if self.p == math.inf or bool((inside.abs().sum(-1) <= 1.0).all()):
            return inside
        # of a ball in l1: what is taken off of every magnitude, by its order (Duchi et al. 2008)
        size = inside.abs().sort(-1, descending=True).values
        count = torch.arange(1, size.shape[-1] + 1).to(size)
        threshold = ((size.cumsum(-1) - 1.0) / count).amax(-1, keepdim=True).clamp(min=0.0)
        return inside.sign() * (inside.abs() - threshold).clamp(min=0.0)

    def float(self) -> Directions:
        """The same in float32."""
        return Directions(self.p, self.lower.float(), self.upper.float())

    def to(self, device: torch.device | str) -> Directions:
        """The same on another device."""
        return Directions(self.p, self.lower.to(device), self.upper.to(device))
