"""What the multipliers of a relaxation of switches prove of either side of each switch, all of them from one factor.

Multipliers that prove |x|^2 <= rho for the whole network have F(w) = rho - |x|^2 - (what the multipliers add) >= 0, a form
that is positive semidefinite, w^T M w - 2 s . w + t for one number c = 1. Where a switch is on one side a form l(w) is 0:
w_i = 0, or w_i - y_i = 0. There F is at least

    min F + l(w*)^2 / (a . M^-1 a)        (w* = M^-1 s where F is least, a the slope of l)

by so much less is |x|^2. As reduced costs of a linear program do, that bounds 2u parts at the cost of an inverse.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds.lifted_proof import Weights, scaled_form, weighed_by
from lipreg.bounds.switches import Switches
from lipreg.linalg.floats import EPS, SPARE


def side_bounds(network: Switches, weights: Weights, multipliers: Tensor, exclusive: Tensor, bounds: Tensor) -> Tensor:
    """Bounds on |x| where each switch passes its number on, and where it does not, ``(N, 2, u)``; infinite where unproved.

    Args:
        network: in units in which its numbers are of size 1.
        weights: of rows, ``(N, m)``, and columns, ``(N, k)``: None for |x|_2 and |c|_2.
        multipliers: of the switches, ``(N, u)``, that prove ``bounds``.
        exclusive: multipliers of the sides that exclude each other, ``(N, e)``.
        bounds: on |x|, ``(N,)``.
    """
    count, u, k = network.unit_free.shape
    if k != 1 or not u or not count:
        return bounds.new_full((count, 2, u), torch.inf)
    weighed = weighed_by(network, weights)
    form, spare, scale = scaled_form(weighed, exclusive, multipliers, bounds.square())
    # less than the true form by no less than rounding; its eigenvalues are at least half of the spare where a factor exists
    form = form - torch.diag_embed(spare)
    units, linear, constant = form[:, :u, :u], -form[:, :u, u], form[:, u, u]
    _, wrong = torch.linalg.cholesky_ex(units - torch.diag_embed(spare[:, :u]))
    factor, _ = torch.linalg.cholesky_ex(units)
    holds = (wrong == 0) & torch.isfinite(bounds) & (bounds > 0)
    least = (spare[:, 0] / 2).clamp(min=1e-300).rsqrt().unsqueeze(-1)  # the most that the root of M^-1 stretches
    inverse, share = torch.cholesky_inverse(factor), EPS * (u + SPARE)
    size = units.flatten(1).norm(dim=1, keepdim=True) * (1.0 + share)
    stretch = inverse.flatten(1).norm(dim=1, keepdim=True) * (1.0 + share)
    eye = torch.eye(u, dtype=form.dtype, device=form.device)
    off = (eye - units @ inverse).flatten(1).norm(dim=1, keepdim=True) + share * (size * stretch + u)
    w = (inverse @ linear.unsqueeze(-1)).squeeze(-1)
    w = w + (inverse @ (linear - (units @ w.unsqueeze(-1)).squeeze(-1)).unsqueeze(-1)).squeeze(-1)
    length = w.norm(dim=-1, keepdim=True)
    missing = (linear - (units @ w.unsqueeze(-1)).squeeze(-1)).norm(dim=-1, keepdim=True)
    missing = missing + share * (size * length + linear.norm(dim=-1, keepdim=True))
    on = (eye - weighed.unit_unit) * scale[:, :u].unsqueeze(1)
    slopes, levels = (
        (on, eye.expand(count, -1, -1)),
        (weighed.unit_free.squeeze(-1) * scale[:, u:], torch.zeros_like(w)),
    )
    rises = list[Tensor]()
    for slope, level in zip(slopes, levels, strict=True):
        steep = slope.norm(dim=-1) * (1.0 + share)
        square = ((slope @ inverse) * slope).sum(-1) + 2.0 * share * steep.square() * stretch
        lost = steep * (off + 2.0 * EPS) * least
        root = (lost + (lost.square() + 4.0 * square.clamp(min=0.0)).sqrt()) / 2 * (1.0 + SPARE * EPS)
        height = ((slope @ w.unsqueeze(-1)).squeeze(-1) - level).abs()
        height = height - 2.0 * share * (steep * length + level.abs()) - root * missing * least
        rises.append((height / root.clamp(min=1e-300)).clamp(min=0.0).square())
    # of F where it is least, which is about 0
    lowest = constant - (linear * w).sum(-1)
    lowest = lowest - (length * missing + (missing * least).square()).squeeze(-1)
    lowest = lowest - 2.0 * share * (constant.abs() + linear.norm(dim=-1) * length.squeeze(-1))
    rest = (1.0 - lowest).reshape(-1, 1, 1) - torch.stack(rises, 1)
    ends = bounds.reshape(-1, 1, 1) * rest.clamp(min=0.0).sqrt() * (1.0 + SPARE * EPS)
    proved = holds.reshape(-1, 1, 1) & torch.isfinite(ends)
    return torch.where(proved, ends, torch.inf)
