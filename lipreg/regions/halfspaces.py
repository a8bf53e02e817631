"""Half-spaces that cut a placed box to a polytope, and the moves inside it: containment, drawing inward, hit and run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 24
"""Hit-and-run steps of each chain; every sampled point is a chain of its own, begun at the deep point."""


@dataclass(frozen=True)
class Halfspaces:
    """{x : A x <= levels_i} for each i of a batch, over flattened inputs.

    Attributes:
        matrix: A, ``(rows, n)``, the same for all points.
        levels: right-hand sides, ``(batch, rows)``.
        deep: a point strictly inside the polytope, ``(batch, n)``: where chains start and what others are drawn to.
    """

    matrix: Tensor
    levels: Tensor
    deep: Tensor

    def __getitem__(self, index: slice) -> Halfspaces:
        return Halfspaces(self.matrix, self.levels[index], self.deep[index])

    def to(self, dtype: torch.dtype, device: torch.device | str) -> Halfspaces:
        """The same half-spaces in another dtype and on another device."""
        return Halfspaces(*(t.to(dtype=dtype, device=device) for t in (self.matrix, self.levels, self.deep)))

    def room(self, x: Tensor) -> Tensor:
        """levels - A x for x ``(batch, k, n)``; ``(batch, k, rows)``, negative where a row is violated."""
        return self.levels.unsqueeze(1) - x @ self.matrix.T

    def rounding(self, x: Tensor) -> Tensor:
        """A bound on the rounding error of ``room`` at x, ``(batch, k, rows)``."""
        terms = x.abs() @ self.matrix.abs().T + self.levels.abs().unsqueeze(1)
        return (self.matrix.shape[1] + 4) * torch.finfo(x.dtype).eps * terms

    def contains(self, x: Tensor, tolerance: float = 0.0) -> Tensor:
        """Whether x ``(batch, k, n)`` satisfies every row after a move of ``tolerance`` in each coordinate."""
        return (self.room(x) >= -tolerance * self.matrix.abs().sum(-1)).all(-1)

    def draw_inside(self, x: Tensor) -> Tensor:
        """Points ``(batch, k, n)`` outside are drawn towards the deep point until every row holds, by a hair of rounding."""
        deep = self.deep.unsqueeze(1)
        step = x - deep
        used = step @ self.matrix.T
        room = (self.room(deep) - 2 * self.rounding(x)).clamp(min=0.0)
        share = torch.where(used > 0, room / used.clamp(min=torch.finfo(x.dtype).tiny), torch.ones_like(used))
        share = share.amin(-1, keepdim=True).clamp(max=1.0)
        outside = ~self.contains(x).unsqueeze(-1)
        return torch.where(outside, deep + share * step, x)

    def sample(self, count: int, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """``count`` points of the polytope cut by the box ``(batch, n)``, by hit and run (Smith 1984); the odd ones lie
        on its border. Directions follow the box's own widths, so that narrow inputs are explored too."""
        batch, n = self.deep.shape
        x = self.deep.unsqueeze(1).expand(batch, count, n)
        lower, upper = lower.unsqueeze(1), upper.unsqueeze(1)
        last = (torch.arange(count, device=x.device) % 2 == 1).reshape(1, count, 1)
        for step in range(STEPS):
            random = torch.randn(batch, count, n, generator=generator, dtype=torch.float64).to(x)
            place = torch.rand(batch, count, 1, generator=generator, dtype=torch.float64).to(x)
            direction = random * (upper - lower)
            forward = self._until_border(x, direction, lower, upper)
            backward = self._until_border(x, -direction, lower, upper)
            border = torch.where(place > 0.5, forward, -backward)
            inner = place * (forward + backward) - backward
            x = x + torch.where(last & (step == STEPS - 1), border, inner) * direction
        return x

    def _until_border(self, x: Tensor, direction: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """How many steps of ``direction`` lead from x to the border, ``(batch, k, 1)``."""
        rooms = torch.cat([self.room(x), upper - x, x - lower], dim=-1).clamp(min=0.0)
        used = torch.cat([direction @ self.matrix.T, direction, -direction], dim=-1)
        blocked = torch.where(used > 0, rooms / used.clamp(min=torch.finfo(x.dtype).tiny), torch.inf)
        steps = blocked.amin(-1, keepdim=True)
        return torch.where(torch.isfinite(steps), steps, torch.zeros_like(steps))
