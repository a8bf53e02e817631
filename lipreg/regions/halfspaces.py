"""Half-spaces that cut a placed box to a polytope, and the moves inside it: containment, drawing inward, hit and run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

STEPS = 24
"""Hit-and-run steps of each chain; every sampled point is a chain of its own, begun at the deep point."""


@dataclass(frozen=True)
class Halfspaces:
    """{x : A (x - origin_i) <= levels_i} for each i of a batch, over flattened inputs.

    Attributes:
        matrix: A, ``(rows, n)``, the same for all points.
        levels: right-hand sides, ``(batch, rows)``.
        deep: a point strictly inside the polytope, ``(batch, n)``: where chains start and what others are drawn to.
        origin: what a polytope is carried along with, ``(batch, n)``; 0 for one that stays where it is.
    """

    matrix: Tensor
    levels: Tensor
    deep: Tensor
    origin: Tensor

    def __getitem__(self, index: slice | Tensor) -> Halfspaces:
        return Halfspaces(self.matrix, self.levels[index], self.deep[index], self.origin[index])

    def to(self, dtype: torch.dtype, device: torch.device | str) -> Halfspaces:
        """The same half-spaces in another dtype and on another device."""
        parts = (self.matrix, self.levels, self.deep, self.origin)
        return Halfspaces(*(part.to(dtype=dtype, device=device) for part in parts))

    def room(self, x: Tensor) -> Tensor:
        """levels - A (x - origin) for x ``(batch, k, n)``; ``(batch, k, rows)``, negative where a row is violated."""
        return self.levels.unsqueeze(1) - (x - self.origin.unsqueeze(1)) @ self.matrix.T

    def rounding(self, x: Tensor) -> Tensor:
        """A bound on the rounding error of ``room`` at x, ``(batch, k, rows)``."""
        terms = (x - self.origin.unsqueeze(1)).abs() @ self.matrix.abs().T + self.levels.abs().unsqueeze(1)
        return (self.matrix.shape[1] + 4) * torch.finfo(x.dtype).eps / 2 * terms

    def left(self, x: Tensor) -> Tensor:
        """``room`` at one point x ``(batch, n)`` each, rounded down, ``(batch, rows)``; 0 exactly where x is on a row."""
        x = x.unsqueeze(1)
        room, error = self.room(x)[:, 0], self.rounding(x)[:, 0]
        left = room - error
        for i, row in (room.abs() <= 2 * error).nonzero().tolist():
            exact = self._exact_room(x[i, 0], i, row)
            left[i, row] = math.nextafter(float(exact), -math.inf) if exact else 0.0
        return left

    def contains(self, x: Tensor, asked: Tensor) -> Tensor:
        """Whether x ``(batch, k, n)`` satisfies every row in exact arithmetic; False where it is not ``asked``."""
        room, error = self.room(x), self.rounding(x)
        inside = asked & (room >= -error).all(-1)
        for i, k in (inside & (room < error).any(-1)).nonzero().tolist():  # too close to a row for floats to tell
            close = (room[i, k] < error[i, k]).nonzero().flatten().tolist()
            inside[i, k] = all(self._exact_room(x[i, k], i, row) >= 0 for row in close)
        return inside

    def _exact_room(self, x: Tensor, i: int, row: int) -> Fraction:
        terms = zip(self.matrix[row].tolist(), x.tolist(), self.origin[i].tolist(), strict=True)
        return Fraction(float(self.levels[i, row])) - sum(
            (Fraction(a) * (Fraction(v) - Fraction(o)) for a, v, o in terms if a), start=Fraction()
        )

    def draw_inside(self, x: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        """Points ``(batch, k, n)`` of a box that the rows do not surely hold are drawn towards the deep point, which is in
        the box and strictly inside, until every row holds by a hair of rounding."""
        deep = self.deep.unsqueeze(1)
        step = x - deep
        used = step @ self.matrix.T
        # coordinates are rounded too
        hair = 2 * self.rounding(x) + 2 * torch.finfo(x.dtype).eps * (x.abs() @ self.matrix.abs().T)
        room = (self.room(deep) - hair).clamp(min=0.0)
        share = torch.where(used > 0, room / used.clamp(min=torch.finfo(x.dtype).tiny), torch.ones_like(used))
        share = share.amin(-1, keepdim=True).clamp(max=1.0)
        drawn = torch.minimum(torch.maximum(deep + share * step, lowest), highest)
        x = torch.where(self.surely_holds(x).unsqueeze(-1), x, drawn)
        return torch.where(self.surely_holds(x).unsqueeze(-1), x, deep)

    def surely_holds(self, x: Tensor) -> Tensor:
        """Whether x ``(batch, k, n)`` satisfies every row by more than rounding."""
        return (self.room(x) >= self.rounding(x)).all(-1)

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
            forward, backward = self._until_border(x, direction, lower, upper)
            border = torch.where(place > 0.5, forward, -backward)
            inner = place * (forward + backward) - backward
            x = x + torch.where(last & (step == STEPS - 1), border, inner) * direction
        return x

    def _until_border(self, x: Tensor, direction: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """How many steps of ``direction``, and of its negative, lead from x to the border, ``(batch, k, 1)`` each."""
        rooms = torch.cat([self.room(x), upper - x, x - lower], dim=-1).clamp_(min=0.0)
        used = torch.cat([direction @ self.matrix.T, direction, -direction], dim=-1)
        steps = rooms.div_(used.abs().clamp_(min=torch.finfo(x.dtype).tiny))

        def least(blocked: Tensor) -> Tensor:
            least = torch.where(blocked, steps, torch.inf).amin(-1, keepdim=True)
            return torch.where(torch.isfinite(least), least, 0.0)

        return least(used > 0), least(used < 0)
