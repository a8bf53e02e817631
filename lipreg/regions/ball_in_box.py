"""An l2 ball about 0 that a box cuts: projections onto it, and its support function from above.

Both lie on one path, d(t) = clamp(t v, lower, upper): at the t where |d(t)|_2 = radius it is the point of the set that is
farthest along v, and at the smaller of that t and 1 the point of the set that is nearest to v.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.linalg.floats import SPARE, norm_above

STEPS = 4
"""Steps to the t above. Each fixes the coordinates that have met their ends; how near they come decides only tightness."""


def project(v: Tensor, lower: Tensor, upper: Tensor, radius: float) -> Tensor:
    """About the nearest point to v of {d : lower <= d <= upper, |d|_2 <= radius}, ``(..., n)``; in the box in any case.

    Args:
        v: ``(..., n)``.
        lower, upper: ends of the box, which broadcast with v; it holds 0.
        radius: of the ball.
    """
    inside = torch.minimum(torch.maximum(v, lower), upper)
    if bool((inside.norm(dim=-1) <= radius).all()):
        return inside
    t = path_length(v, lower, upper, radius).clamp(max=1.0)
    return torch.minimum(torch.maximum(t * v, lower), upper)


def support_above(forms: Tensor, lower: Tensor, upper: Tensor, radius: float) -> Tensor:
    """An upper bound on sup forms . d over {d : lower <= d <= upper, |d|_2 <= radius}, ``(...)``, rounded up.

    For any c it is at most sup (forms - c) . d over the box + radius |c|_2, and at its smallest where
    c = clamp(forms, lower / t, upper / t) with the t of the path above: any t > 0 gives a bound. Exact up to rounding where
    the steps have met that t: always where the box holds the ball. Differentiable in ``forms``, as at a fixed t.

    Args:
        forms: ``(..., n)``.
        lower, upper: ends of the box, which broadcast with them; it need not hold 0.
        radius: of the ball.
    """
    with torch.no_grad():
        t = path_length(forms, lower, upper, radius)
        least, most = lower / t, upper / t
    c = torch.minimum(torch.maximum(forms, least), most)
    beyond = forms - c
    gain = torch.maximum(beyond * lower, beyond * upper)
    share = torch.finfo(forms.dtype).eps * (forms.shape[-1] + SPARE)
    ball = radius * norm_above(c, 2.0)
    return gain.sum(-1) + ball + share * (gain.abs().sum(-1) + ball)


def path_length(v: Tensor, lower: Tensor, upper: Tensor, radius: float) -> Tensor:
    """About the t with |clamp(t v, lower, upper)|_2 = radius, ``(..., 1)``; very large where the path stays in the ball.

    From below, where the box holds 0: t grows from radius / |v|_2, as coordinates that have met their ends leave more of the
    radius to the others.

    Args:
        v: ``(..., n)``.
        lower, upper: ends of the box, which broadcast with v.
        radius: of the ball.
    """
    unit = v.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
    w, lower, upper = v / unit, lower / radius, upper / radius  # so that no square underflows or overflows
    endless = torch.finfo(v.dtype).max ** 0.5
    t = _quotient(torch.ones_like(unit), w.square().sum(-1, keepdim=True), endless)
    for _ in range(STEPS):
        scaled = t * w
        d = torch.minimum(torch.maximum(scaled, lower), upper)
        free = d == scaled
        if bool(free.all()):
            break
        remaining = 1.0 - torch.where(free, 0.0, d.square()).sum(-1, keepdim=True)
        t = _quotient(remaining.clamp(min=0.0), torch.where(free, w.square(), 0.0).sum(-1, keepdim=True), endless)
    return t.clamp(min=1.0 / endless) * (radius / unit).clamp(min=torch.finfo(v.dtype).tiny)


def _quotient(remaining: Tensor, size: Tensor, endless: float) -> Tensor:
    """sqrt(remaining / size), ``endless`` where size is 0."""
    return torch.where(size > 0, (remaining / size).sqrt(), endless).clamp(max=endless)
