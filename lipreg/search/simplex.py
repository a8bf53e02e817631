"""Small linear programs of one shape in a batch: dual simplex steps, whose multipliers prove a bound at any step.

Over -1 <= d <= 1 with cuts A d + b >= 0 a program maximises one form. Its basis starts at the corner of the box that the
form points to, and each step takes the row that the present corner violates most into the basis. The multipliers are never
below 0, so any step is a good one to stop at; a program of m variables takes about 2 m of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from lipreg.linalg.floats import EPS, SPARE

LARGEST = 1e4
"""Largest multiplier, for cuts and forms of size 1: keeps rounding of the bound, which is charged, far below what bounds are
widened by."""
STEPS = 8
"""Most steps, for each variable. Nearly all programs end after two for each."""
FEASIBLE = 1e-10
"""What a corner may violate a row of size 1 by."""
PIVOT = 1e-9
"""Smallest entry that is divided by."""
SIDE = -1
"""In place of a cut's number, where a side of the box is meant."""


def deepest(cut: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """How far inside all cuts a point of the unit box can lie.

    Args:
        cut, level: rows A d + b >= 0 of size 1, or of zeros alone, ``(N, k, m)`` and ``(N, k)``.

    Returns:
        A proved upper bound on that depth (over the square root of 2), ``(N,)``: below 0 no point satisfies the cuts. And
        the deepest point, about, ``(N, m)``.
    """
    count, _, m = cut.shape
    # the depth is one more variable t of the same programs: maximise t where A d + b >= t
    half = 0.5**0.5
    real = torch.where(cut.abs().sum(-1, keepdim=True) > 0, -half, 0.0)
    cut, level = torch.cat([half * cut, real], dim=-1), half * level
    form = torch.zeros(m + 1).index_fill(0, torch.tensor(m), 1.0).to(cut).expand(count, -1)
    node = torch.arange(count, device=cut.device)
    y, point = dual_simplex(form, cut, level, node, STEPS * (m + 1))
    return duality_bound(form, y, cut, level), point[:, :m].clamp(-1.0, 1.0)


def maxima(form: Tensor, cut: Tensor, level: Tensor, node: Tensor) -> Tensor:
    """Proved upper bounds on sup form . d over the unit box and the cuts of a node each, ``(P,)``; see ``dual_simplex``.

    Args:
        form: ``(P, m)``, of size 1.
        cut, level: of the nodes, rows of size 1, ``(N, k, m)`` and ``(N, k)``.
        node: whose cuts bound which form, ``(P,)``.
    """
    y, _ = dual_simplex(form, cut, level, node, STEPS * form.shape[-1])
    return duality_bound(form, y, cut[node], level[node])


def duality_bound(form: Tensor, y: Tensor, cut: Tensor, level: Tensor) -> Tensor:
    """sup form . d <= |form + A^T y|_1 + b . y for any multipliers y >= 0, with its rounding; ``(P,)``.

    Args:
        form, y: ``(P, m)`` and ``(P, k)``.
        cut, level: of each program, ``(P, k, m)`` and ``(P, k)``.
    """
    k, m = cut.shape[-2:]
    y = y.clamp(0.0, LARGEST)
    share = EPS * (k + m + SPARE)
    raised = level + share * (cut.abs().sum(-1) + level.abs())
    slope = form + (y.unsqueeze(1) @ cut).squeeze(1)
    return slope.abs().sum(-1) + (y * raised).sum(-1) + share * form.abs().sum(-1)


def dual_simplex(form: Tensor, cut: Tensor, level: Tensor, node: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Maximises forms over the unit box and the cuts of their nodes.

    Args:
        form: ``(P, m)``, of size 1.
        cut, level: of the nodes, rows of size 1, ``(N, k, m)`` and ``(N, k)``.
        node: whose cuts bound which form, ``(P,)``.
        steps: most that are made.

    Returns:
        Multipliers of the cuts, ``(P, k)``, very large ones where they seem to have no point in common, and the last corner,
        ``(P, m)``, which lies outside of some cut where the steps ended early.
    """
    k = cut.shape[1]
    y, point = form.new_zeros(len(form), k), torch.empty_like(form)
    bases = _Bases.of(form, cut[node], level[node])
    for _ in range(steps):
        over, row = bases.most_violated()
        alpha = (bases.rows_of(row).unsqueeze(1) @ bases.inverse).squeeze(1)
        theta, out = torch.where(alpha > PIVOT, bases.weight / alpha, torch.inf).min(-1)
        row = torch.where(row < k, row, SIDE)
        going = (over > FEASIBLE) & (theta < torch.inf)
        if not going.all():
            bases[over <= FEASIBLE].note(y, point)
            # no row of the basis can leave: the one that is violated contradicts them, by these multipliers
            stuck = (over > FEASIBLE) & (theta == torch.inf)
            share = (-alpha[stuck]).clamp(min=0.0)
            unit = LARGEST / share.amax(-1).clamp(min=1.0)
            against = replace(bases[stuck], weight=share * unit.unsqueeze(1))
            against.note(y, point)
            y[against.at, row[stuck].clamp(min=0)] += unit * (row[stuck] >= 0)
            bases, over, row, alpha = bases[going], over[going], row[going], alpha[going]
            theta, out = theta[going], out[going]
            if not len(bases.at):
                return y, point
        bases = bases.exchanged(out, row, alpha, theta, over)
    bases.note(y, point)
    return y, point


@dataclass(frozen=True)
class _Bases:
    """m rows for each program, r . d = right at its corner.

    Attributes:
        at: which program.
        cut, level: of each program.
        rows: number of each row's cut, SIDE for sides of the box, ``(P, m)``.
        inverse: of the matrix of rows, ``(P, m, m)``.
        weight: multiplier of each row, ``(P, m)``.
        corner: ``(P, m)``.
    """

    at: Tensor
    cut: Tensor
    level: Tensor
    rows: Tensor
    inverse: Tensor
    weight: Tensor
    corner: Tensor

    @classmethod
    def of(cls, form: Tensor, cut: Tensor, level: Tensor) -> _Bases:
        """The corners of the box that forms point to."""
        corner = torch.where(form < 0, -1.0, 1.0).to(form)
        rows = torch.full(form.shape, SIDE, dtype=torch.int64, device=form.device)
        at = torch.arange(len(form), device=form.device)
        return cls(at, cut, level, rows, torch.diag_embed(corner), form.abs(), corner)

    def __getitem__(self, index: Tensor) -> _Bases:
        return _Bases(*(getattr(self, f.name)[index] for f in fields(self)))

    def most_violated(self) -> tuple[Tensor, Tensor]:
        """How far each corner is beyond a row, and which: the cuts, then the upper and the lower sides of the box."""
        short = -self.level - (self.cut @ self.corner.unsqueeze(-1)).squeeze(-1)
        over, row = torch.cat([short, self.corner.abs() - 1.0], dim=-1).max(-1)
        k, m = self.cut.shape[1:]
        below = self.corner.gather(1, (row - k).clamp(min=0).unsqueeze(1)).squeeze(1) < 0
        return over, torch.where((row >= k) & below, row + m, row)

    def rows_of(self, row: Tensor) -> Tensor:
        """Those rows, as r . d <= right, ``(P, m)``."""
        k, m = self.cut.shape[1:]
        side = torch.cat([torch.eye(m), -torch.eye(m)]).to(self.cut)
        cut = -self.cut[torch.arange(len(row), device=row.device), row.clamp(max=k - 1)]
        return torch.where((row < k).unsqueeze(1), cut, side[(row - k).clamp(min=0)])

    def exchanged(self, out: Tensor, row: Tensor, alpha: Tensor, theta: Tensor, over: Tensor) -> _Bases:
        """The same after one step.

        Args:
            out: the row that leaves, ``(P,)``.
            row: the one that comes in, ``(P,)``.
            alpha: that row over those of the basis, ``(P, m)``.
            theta: its multiplier, ``(P,)``.
            over: how far the corner is beyond it, ``(P,)``.
        """
        pick = out.unsqueeze(1)
        pivot = alpha.gather(1, pick)
        column = self.inverse.gather(2, pick.unsqueeze(2).expand(-1, alpha.shape[1], 1)).squeeze(2) / pivot
        return replace(
            self,
            rows=self.rows.scatter(1, pick, row.unsqueeze(1)),
            inverse=self.inverse - column.unsqueeze(2) * alpha.scatter(1, pick, pivot - 1.0).unsqueeze(1),
            weight=(self.weight - theta.unsqueeze(1) * alpha).clamp(min=0.0).scatter(1, pick, theta.unsqueeze(1)),
            corner=self.corner - column * over.unsqueeze(1),
        )

    def note(self, y: Tensor, point: Tensor) -> None:
        """Enters the multipliers of the cuts, and the corners, of these programs."""
        cuts = torch.where(self.rows >= 0, self.weight, 0.0)
        y[self.at] = y[self.at].scatter_add_(1, self.rows.clamp(min=0), cuts)
        point[self.at] = self.corner
