"""Upper bounds on the quotients of nodes away from the reference point: forms of the rise, and the cuts of phases, together.

With u = (x - x0) / |x - x0|_p and t = 1 / |x - x0|_p a form is linear, and so are the cuts A d + b >= 0 of the node's phases
(the perspective of Charnes & Cooper 1962). Any multipliers y >= 0 prove

    quotient <= sup over directions of (u_form + A^T y) . u  +  sup over 1 / far <= t <= 1 / near of (v + b . y) t,

the two suprema in closed form, and where all phases are decided the best y are exact. They are computed as those of
``multipliers``, by batched steps of a first-order method.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.linalg.floats import EPS
from lipreg.search.ascent import QUICK, dual_bounds
from lipreg.search.directions import Directions
from lipreg.search.forward_bounds import SLACK, Forms
from lipreg.search.multipliers import binding
from lipreg.search.rise_forms import RiseForms
from lipreg.search.rises import OutputDifferences, ShellNodes


@dataclass(frozen=True)
class _Perspective:
    """Directions, and beside them 1 / distance as a number in [-1, 1]: ``(N, k, m + 1)``."""

    directions: Directions

    def support(self, forms: Tensor) -> Tensor:
        return self.directions.support(forms[..., :-1]) + forms[..., -1].abs()

    def project(self, points: Tensor) -> Tensor:
        ends = self.directions.project(points[..., :-1])
        return torch.cat([ends, points[..., -1:].clamp(-1.0, 1.0)], -1)

    def float(self) -> _Perspective:
        return _Perspective(self.directions.float())

    def __getitem__(self, index: Tensor) -> _Perspective:
        return _Perspective(self.directions[index])


def quotient_bound(
    rises: OutputDifferences,
    nodes: ShellNodes,
    forms: list[RiseForms],
    cuts: Forms,
    directions: Directions,
    cutoff: float,
) -> tuple[Tensor, Tensor]:
    """Upper bounds on each node's quotients, ``(N,)``, and a displacement each that the last step was at, ``(N, m)``.

    Args:
        rises: of the question.
        nodes: away from the reference point, near > 0.
        forms: above the rise; the better one counts.
        cuts: of every unit.
        directions: from the reference point to the nodes.
        cutoff: what a bound is wanted below.
    """
    # in units of the outer distance, in which 1 / distance is middle + half t
    far = nodes.far
    most = far / nodes.near * (1.0 + 4 * EPS)
    middle, half = (most + 1.0) / 2, (most - 1.0) / 2 + EPS * most
    within = _Perspective(directions)
    a, b = cuts.cuts(rises.network, nodes.phase)
    a = a * (rises.units * far.unsqueeze(-1)).unsqueeze(1)
    cut = torch.cat([a, (b * half.unsqueeze(-1)).unsqueeze(-1)], -1)
    cut, level = binding(cut, b * middle.unsqueeze(-1), within)
    slope = torch.stack([form.slope for form in forms], 1)
    constant = torch.stack([form.constant + form.lost for form in forms], 1) / far.unsqueeze(-1)
    form = torch.cat([slope, (constant * half.unsqueeze(-1)).unsqueeze(-1)], -1)
    start = constant * middle.unsqueeze(-1)
    start = start + torch.stack([form.error for form in forms], 1)
    # the form that is better without any multipliers
    better = (within.support(form) + start).argmin(1, keepdim=True)
    form = form.gather(1, better.unsqueeze(-1).expand(-1, -1, form.shape[-1]))
    start = start.gather(1, better)
    unit = form.norm(dim=-1).clamp(min=1e-300)
    if cut.shape[1]:
        goal = torch.cat([(cutoff - start) / unit, torch.full_like(start, -SLACK)], 1)
        best, at = dual_bounds(form / unit.unsqueeze(-1), goal, cut, level, within, QUICK, kept=0)
        empty, best = best[:, 1] < -SLACK, best[:, :1]
    else:
        at = within.project(form.sign()).squeeze(1)
        empty = torch.zeros_like(start[:, 0], dtype=torch.bool)
        best = within.support(form / unit.unsqueeze(-1))
    bound = (best * unit + start + 4 * EPS * start.abs()).squeeze(1).masked_fill(empty, 0.0)
    distance = far / (middle + half * at[:, -1])
    return bound, at[:, :-1] * (rises.units * distance.unsqueeze(-1))
