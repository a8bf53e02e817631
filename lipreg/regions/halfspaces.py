"""Half-spaces that cut a placed box to a polytope: slack, containment, points drawn inwards, hit and run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

STEPS = 24
"""Hit-and-run steps of each chain; every sampled point ends a chain of its own, begun at the interior point."""


@dataclass(frozen=True)
class Halfspaces:
    """{x : A (x - origin_i) <= levels_i} for each i of a batch, over flattened inputs.

    Attributes:
        matrix: A, ``(rows, n)``, the same for all points.
        levels: right-hand sides, ``(batch, rows)``.
        interior_point: a point strictly inside the polytope, ``(batch, n)``: chains start there and others are drawn to it.
        origin: what a polytope is carried along with, ``(batch, n)``; 0 for one that stays where it is.
    """

    matrix: Tensor
    levels: Tensor
    interior_point: Tensor
    origin: Tensor

    def __getitem__(self, index: slice | Tensor) -> Halfspaces:
        return Halfspaces(self.matrix, self.levels[index], self.interior_point[index], self.origin[index])

    def to(self, dtype: torch.dtype, device: torch.device | str) -> Halfspaces:
        """The same half-spaces in another dtype and on another device."""
        parts = (self.matrix, self.levels, self.interior_point, self.origin)
        return Halfspaces(*(part.to(dtype=dtype, device=device) for part in parts))

    def slack(self, x: Tensor) -> Tensor:
        """levels - A (x - origin) for x ``(batch, k, n)``; ``(batch, k, rows)``, negative where a row is violated."""
        return self.levels.unsqueeze(1) - (x - self.origin.unsqueeze(1)) @ self.matrix.T

    def rounding(self, x: Tensor) -> Tensor:
        """A bound on the rounding error of ``slack`` at x, ``(batch, k, rows)``."""
        terms = (x - self.origin.unsqueeze(1)).abs() @ self.matrix.abs().T + self.levels.abs().unsqueeze(1)
        return (self.matrix.shape[1] + 4) * torch.finfo(x.dtype).eps / 2 * terms

    def slack_below(self, x: Tensor) -> Tensor:
        """``slack`` at one point x ``(batch, n)`` each, rounded down, ``(batch, rows)``; 0 exactly where x is on a row."""
        x = x.unsqueeze(1)
        slack, error = self.slack(x)[:, 0], self.rounding(x)[:, 0]
        least = slack - error
        for i, row in (slack.abs() <= 2 * error).nonzero().tolist():
            exact = self._exact_slack(x[i, 0], i, row)
            least[i, row] = math.nextafter(float(exact), -math.inf) if exact else 0.0
        return least

    def contains(self, x: Tensor, candidates: Tensor) -> Tensor:
        """Whether x ``(batch, k, n)`` satisfies every row in exact arithmetic; False for all but ``candidates``."""
        slack, error = self.slack(x), self.rounding(x)
        inside = candidates & (slack >= -error).all(-1)
        for i, k in (inside & (slack < error).any(-1)).nonzero().tolist():  # too close to a row for floats to tell
            close = (slack[i, k] < error[i, k]).nonzero().flatten().tolist()
            inside[i, k] = all(self._exact_slack(x[i, k], i, row) >= 0 for row in close)
        return inside

    def _exact_slack(self, x: Tensor, i: int, row: int) -> Fraction:
        """The slack of one row of one region at one point x ``(n,)``."""
        terms = zip(self.matrix[row].tolist(), x.tolist(), self.origin[i].tolist(), strict=True)
        return Fraction(float(self.levels[i, row])) - sum(
            (Fraction(a) * (Fraction(v) - Fraction(o)) for a, v, o in terms if a), start=Fraction()
        )

    def draw_inside(self, x: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        """Points of a box, of which those that may violate a row are drawn towards the interior point.

        They stop where every row holds by more than its rounding; the interior point itself is in the box.

        Args:
            x: points of the box, ``(batch, k, n)``.
            lowest, highest: its ends, ``(batch, 1, n)``.

        Returns:
            ``(batch, k, n)``, in the box and in every half-space.
        """
        interior = self.interior_point.unsqueeze(1)
        step = x - interior
        used = step @ self.matrix.T
        # coordinates are rounded too
        hair = 2 * self.rounding(x) + 2 * torch.finfo(x.dtype).eps * (x.abs() @ self.matrix.abs().T)
        slack = (self.slack(interior) - hair).clamp(min=0.0)
        share = torch.where(used > 0, slack / used.clamp(min=torch.finfo(x.dtype).tiny), torch.ones_like(used))
        share = share.amin(-1, keepdim=True).clamp(max=1.0)
        drawn = torch.minimum(torch.maximum(interior + share * step, lowest), highest)
        x = torch.where(self.surely_holds(x).unsqueeze(-1), x, drawn)
        return torch.where(self.surely_holds(x).unsqueeze(-1), x, interior)

    def surely_holds(self, x: Tensor) -> Tensor:
        """Whether x ``(batch, k, n)`` satisfies every row by more than rounding."""
        return (self.slack(x) >= self.rounding(x)).all(-1)

    def sample(self, count: int, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """Random points of the polytope cut by a box, by hit and run (Smith 1984); every second one lies on its border.

        Directions follow the box's own widths, so that narrow inputs are explored too.

        Args:
            count: points of each region.
            lower, upper: ends of the box, ``(batch, n)``.
            generator: of the random numbers.

        Returns:
            ``(batch, count, n)``.
        """
        batch, n = self.interior_point.shape
        x = self.interior_point.unsqueeze(1).expand(batch, count, n)
        lower, upper = lower.unsqueeze(1), upper.unsqueeze(1)
        last = (torch.arange(count, device=x.device) % 2 == 1).reshape(1, count, 1)
        for step in range(STEPS):
            random = torch.randn(batch, count, n, generator=generator, dtype=torch.float64).to(x)
            share = torch.rand(batch, count, 1, generator=generator, dtype=torch.float64).to(x)
            direction = random * (upper - lower)
            forward, backward = self._until_border(x, direction, lower, upper)
            border = torch.where(share > 0.5, forward, -backward)
            inner = share * (forward + backward) - backward
            x = x + torch.where(last & (step == STEPS - 1), border, inner) * direction
        return x

    def _until_border(self, x: Tensor, direction: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """How many steps of ``direction``, and of its negative, lead from x to the border, ``(batch, k, 1)`` each."""
        slacks = torch.cat([self.slack(x), upper - x, x - lower], dim=-1).clamp_(min=0.0)
        used = torch.cat([direction @ self.matrix.T, direction, -direction], dim=-1)
        steps = slacks.div_(used.abs().clamp_(min=torch.finfo(x.dtype).tiny))

        def least(blocked: Tensor) -> Tensor:
            least = torch.where(blocked, steps, torch.inf).amin(-1, keepdim=True)
            return torch.where(torch.isfinite(least), least, 0.0)

        return least(used > 0), least(used < 0)
