"""Upper bounds on linear forms over nodes, by multipliers of their cuts: primal-dual hybrid gradients, in a batch.

Over a box or an l2 ball D with cuts A d + b >= 0 any y >= 0 prove

    sup form . d <= sup over D of (form + A^T y) . d  +  b . y.

The iteration (Chambolle & Pock 2011) takes steps of d and y in turn. A point has as many coordinates as there are inputs and
multipliers are few, so d has to go much farther than y: its steps are ``BALANCE`` times as long as the plain method's, and
those of y are shorter by as much (Applegate et al. 2021 call that the primal weight). It runs in float32; of the best
multipliers on the way a bound is taken in float64, with its rounding: how well they converged decides only how tight it is.
Most forms need little: those whose bound has come below the wanted one are done, and so are those with a point in the node
at which they lie above it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from lipreg.linalg.floats import EPS, SPARE
from lipreg.regions.ball_in_box import project, support_above
from lipreg.search.simplex import LARGEST

BALANCE = 8.0
"""Length of the steps of points, over the plain method's. Measured with 64 and with 784 inputs: after as many steps 4 to 10
leave the fewest units unstable, 1 and 60 leave most."""
QUICK = (10, 10)
"""Steps, after each of which the iteration goes on without the forms that are settled."""
THOROUGH = (*QUICK, 20, 40)
"""The same where a search goes on for long. Measured: searches of a hundred nodes lose a tenth by them; on 64-128-128-10 one
of a minute and a half ends in eight seconds."""
EVERY = 5
"""Steps after which the multipliers are judged."""
WITHIN = 1e-5
"""How far outside of its cuts, which are of size 1, a point counts as one of the node."""


class UnitSet(Protocol):
    """Where multipliers bound forms: a set in the coordinates of each node, every coordinate of it within [-1, 1]."""

    def support(self, forms: Tensor) -> Tensor:
        """An upper bound on sup forms . d, ``(N, k)`` for ``(N, k, m)``."""
        ...

    def project(self, points: Tensor) -> Tensor:
        """About the nearest points, ``(N, k, m)``."""
        ...

    def float(self) -> Self:
        """The same in float32."""
        ...

    def __getitem__(self, index: Tensor) -> Self:
        """That of some of the nodes."""
        ...


class UnitBox:
    """{d : -1 <= d <= 1}: where the nodes of a box lie, each in units of its own box."""

    def support(self, forms: Tensor) -> Tensor:
        """sup forms . d, ``(N, k)`` for ``(N, k, m)``; rounded to nearest, by no more than one sum of m terms."""
        return forms.abs().sum(-1)

    def project(self, points: Tensor) -> Tensor:
        """The nearest points, ``(N, k, m)``, in place."""
        return points.clamp_(-1.0, 1.0)

    def __getitem__(self, index: Tensor) -> UnitBox:
        return self

    def float(self) -> UnitBox:
        """The same in float32."""
        return self


@dataclass(frozen=True)
class UnitBall:
    """{d : |d|_2 <= 1, lower <= d <= upper}: where the nodes of an l2 ball lie, in units of the ball's radius.

    Attributes:
        lower, upper: the ends, ``(N, 1, m)``, within [-1, 1].
    """

    lower: Tensor
    upper: Tensor

    def support(self, forms: Tensor) -> Tensor:
        """An upper bound on sup forms . d."""
        return support_above(forms, self.lower, self.upper, 1.0)

    def project(self, points: Tensor) -> Tensor:
        """About the nearest points."""
        return project(points, self.lower, self.upper, 1.0)

    def __getitem__(self, index: Tensor) -> UnitBall:
        return UnitBall(self.lower[index], self.upper[index])

    def float(self) -> UnitBall:
        """The same in float32."""
        return UnitBall(self.lower.float(), self.upper.float())


def dual_bounds(
    form: Tensor,
    goal: Tensor,
    cut: Tensor,
    level: Tensor,
    within: UnitSet,
    rounds: tuple[int, ...],
    kept: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Upper bounds on sup form . d over nodes with cut d + level >= 0, and points where nodes lie, pulled inside their cuts.

    A form 0 is bounded beside these: below its goal, the last of all, a node is empty, and no more is done about it.

    Args:
        form: ``(N, t, m)``.
        goal: what the bound of a form is wanted below, and that of the form 0, ``(N, t + 1)``.
        cut, level: rows of size 1, ``(N, k, m)`` and ``(N, k)``.
        within: where the nodes lie.
        rounds: steps, ``QUICK`` or ``THOROUGH``.
        kept: of which form's iteration the points are; of the form 0 by itself.

    Returns:
        Bounds ``(N, t + 1)`` and points ``(N, m)``.
    """
    count, t, m = form.shape
    share = EPS * (cut.shape[1] + m + SPARE)
    # levels with what the sums of a bound may lose, multiplier by multiplier
    raised = (level + share * (cut.abs().sum(-1) + level.abs())).unsqueeze(1)
    lost = share * form.abs().sum(-1)
    form = torch.cat([form, form.new_zeros(count, 1, m)], dim=1)
    lost = torch.cat([lost, lost.new_zeros(count, 1)], dim=1)
    iteration = _Iteration.begin(form, goal, cut, level, within)
    kept = t if kept is None else kept
    best, point = within.support(form) + lost, torch.zeros_like(form[:, -1])
    at = torch.arange(count, device=form.device)
    which = torch.arange(t + 1, device=form.device).expand(count, -1)
    for steps in rounds:
        iteration.go(steps)
        y = iteration.multipliers.to(form)
        index = at.unsqueeze(1), which
        bound = within[at].support(torch.baddbmm(form[index], y, cut[at])) + (y * raised[at]).sum(-1) + lost[index]
        best[index] = iteration.best = torch.minimum(best[index], bound)
        row, place = (which == kept).nonzero(as_tuple=True)
        point[at[row]] = iteration.d[row, place].to(point)
        unsettled = iteration.unsettled() & (best[at, -1] >= goal[at, -1]).unsqueeze(1)
        going = unsettled.any(-1)
        if not going.any():
            break
        # rows are filled up with forms that are settled, of the same node
        place = unsettled[going].to(torch.int8).topk(int(unsettled.sum(-1).max()), dim=1).indices.sort(dim=1).values
        at, which, iteration = at[going], which[going].gather(1, place), iteration.of(going, place)
    return best, point


@dataclass
class _Iteration:
    """Where the iteration stands, for t forms in each of N nodes.

    Attributes:
        form, goal: ``(N, t, m)`` and ``(N, t)``.
        cut, level: the cuts, ``(N, k, m)`` and ``(N, 1, k)``.
        within: where the nodes lie.
        step: ``(N, 1, 1)``.
        d, y, slope: points, multipliers and form + A^T y.
        best: the least bound so far, about, ``(N, t)``, and its multipliers.
    """

    form: Tensor
    goal: Tensor
    cut: Tensor
    level: Tensor
    within: UnitSet
    step: Tensor
    d: Tensor
    y: Tensor
    slope: Tensor
    best: Tensor
    multipliers: Tensor

    @classmethod
    def begin(cls, form: Tensor, goal: Tensor, cut: Tensor, level: Tensor, within: UnitSet) -> _Iteration:
        """At the points that the forms point to without cuts; in float32, as nothing here proves anything."""
        form, goal, cut, level = (part.float() for part in (form, goal, cut, level))
        within = within.float()
        gram = cut.mT @ cut if cut.shape[2] < cut.shape[1] else cut @ cut.mT
        # 1 / |cut|_2, from the fourth root of the sum of the fourth powers of its singular values
        step = (0.9 / gram.square().sum((1, 2)).pow(0.25).clamp(min=1.0)).reshape(-1, 1, 1)
        d, y = within.project(form.sign()), form.new_zeros(*form.shape[:2], cut.shape[1])
        best = torch.full_like(goal, torch.inf)
        return cls(form, goal, cut, level.unsqueeze(1), within, step, d, y, form, best, y)

    def of(self, going: Tensor, place: Tensor) -> _Iteration:
        """That of some of the nodes ``(N,)`` and of these the forms at ``(M, s)``."""
        at = going.nonzero()
        names = ("form", "goal", "d", "y", "slope", "best", "multipliers")
        rows = {name: getattr(self, name)[at, place] for name in names}
        cut, level, step = self.cut[going], self.level[going], self.step[going]
        return replace(self, cut=cut, level=level, within=self.within[going], step=step, **rows)

    def go(self, steps: int) -> None:
        """Takes so many steps."""
        transposed, shift = self.cut.mT, -self.level * (self.step / BALANCE)
        longer, shorter = BALANCE * self.step, self.step / BALANCE
        for turn in range(steps):
            ahead = self.within.project(torch.addcmul(self.d, longer, self.slope))
            pulled = torch.lerp(self.d, ahead, 2.0) @ transposed
            self.y = (self.y + shift).addcmul_(shorter, pulled, value=-1.0).clamp_(0.0, LARGEST)
            self.d, self.slope = ahead, torch.baddbmm(self.form, self.y, self.cut)
            if (turn + 1) % EVERY == 0:
                bound = self.within.support(self.slope) + (self.y * self.level).sum(-1)
                self.multipliers = torch.where((bound < self.best).unsqueeze(-1), self.y, self.multipliers)
                self.best = torch.minimum(self.best, bound)

    def unsettled(self) -> Tensor:
        """Which forms have no bound below their goal yet, and no point of the node above it either, ``(N, t)``."""
        outside = (-(self.d @ self.cut.mT + self.level)).amax(-1)
        above = (outside <= WITHIN) & ((self.form * self.d).sum(-1) > self.goal)
        return (self.best >= self.goal) & ~above
