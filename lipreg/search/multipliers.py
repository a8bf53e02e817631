"""Pre-activation bounds under all of a node's phases together: batched duals of small linear programs, without a solver.

Over a node's box, with the cuts A d + b >= 0 of its fixed units, any multipliers y >= 0 prove

    sup form . d <= sup over the box of (form + A^T y) . d  +  b . y.

Primal-dual hybrid gradient (Chambolle & Pock 2011) finds good y for every undecided unit of every node at once, on the side
of its kink that is nearer to it: the other side is the less likely to go. The best value on the way is kept; how well the
iteration converged decides only how tight it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.linalg.floats import EPS, SPARE
from lipreg.search.nodes import Nodes
from lipreg.search.reach import SLACK, Forms, settle

ITERATIONS = 20
"""Steps of the iteration. On networks of two to three layers more steps prune fewer nodes than they cost."""
LARGEST = 1e4
"""Largest multiplier, for cuts and forms of size 1: keeps rounding of the bound, which is charged, far below SLACK."""


def tighten_together(network: FoldedNetwork, nodes: Nodes, forms: Forms, iterations: int = ITERATIONS) -> Tensor:
    """Tightens the undecided units' bounds, in place, and settles implied phases.

    A node whose cuts contradict each other gets an empty box (see ``contradictory``).

    Returns:
        A displacement in each node's box that the cuts have pulled towards the node's interior, ``(N, m)``.
    """
    center, radius = (nodes.d_lower + nodes.d_upper) / 2, (nodes.d_upper - nodes.d_lower) / 2
    cut, level = _binding_cuts(network, nodes, forms, center, radius)
    if cut.shape[1] == 0:
        return center
    place, real = _padded(nodes.undecided)
    below = (nodes.z_upper > -nodes.z_lower).gather(1, place)  # bounds -z, where that is nearer to the kink
    form, start, size = _targets(forms, place, below, center, radius)
    # beside the units' forms, the form 0: its bound is below 0 where the cuts contradict each other
    form = torch.cat([form, form.new_zeros(len(form), 1, form.shape[-1])], dim=1)
    best, point = _dual_bounds(form, cut, level, iterations)
    empty = best[:, -1] < -SLACK
    ends = best[:, :-1] * size + start + (SLACK * (network.z_upper - network.z_lower) + network.z_rounding)[place]
    upper = torch.where(real & ~below, ends, torch.inf)
    lower = torch.where(real & below, -ends, -torch.inf)
    nodes.z_upper = nodes.z_upper.scatter_reduce(1, place, upper, "amin")
    nodes.z_lower = nodes.z_lower.scatter_reduce(1, place, lower, "amax")
    nodes.d_lower = torch.where(empty.unsqueeze(-1), torch.inf, nodes.d_lower)
    settle(network, nodes)
    return center + radius * point[:, -1]


def _binding_cuts(
    network: FoldedNetwork, nodes: Nodes, forms: Forms, center: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """The cuts that some point of the box violates, over the unit box and with rows of size 1; ``(N, k, m)``, ``(N, k)``."""
    a, b = forms.cuts(network, nodes.phase)
    b = b + (a @ center.unsqueeze(-1)).squeeze(-1)
    a = a * radius.unsqueeze(1)
    place, real = _padded(b < a.abs().sum(-1))
    a = a.gather(1, place.unsqueeze(-1).expand(-1, -1, a.shape[-1])) * real.unsqueeze(-1)
    size = torch.where(real, a.norm(dim=-1), torch.ones_like(a[..., 0])).clamp(min=1e-12)
    return a / size.unsqueeze(-1), b.gather(1, place) * real / size


def _targets(
    forms: Forms, place: Tensor, below: Tensor, center: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Forms of z, or of -z where ``below``, over the unit box and of size 1; their constants and sizes."""
    n, m = forms.slope.shape[-2:]
    at = place + n * below.long()
    form = forms.slope.flatten(1, 2).gather(1, at.unsqueeze(-1).expand(-1, -1, m))
    start = forms.offset.flatten(1).gather(1, at) + (form @ center.unsqueeze(-1)).squeeze(-1)
    form = form * radius.unsqueeze(1)
    size = form.norm(dim=-1).clamp(min=1e-12)
    return form / size.unsqueeze(-1), start, size


def _dual_bounds(form: Tensor, cut: Tensor, level: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Upper bounds on sup form . d over -1 <= d <= 1, cut d + level >= 0; ``(N, t)``, and the last points ``(N, t, m)``."""
    count, k, m = cut.shape
    gram = cut.mT @ cut if m < k else cut @ cut.mT
    # the step: 1 / |cut|_2, from the fourth root of the sum of the fourth powers of its singular values
    step = (0.9 / gram.square().sum((1, 2)).pow(0.25).clamp(min=1.0)).reshape(-1, 1, 1)
    d, y, slope = form.sign(), form.new_zeros(count, form.shape[1], k), form
    best = form.abs().sum(-1)
    # what the sums below may lose, multiplier by multiplier
    share = EPS * (k + m + SPARE)
    raised = (level + share * (cut.abs().sum(-1) + level.abs())).unsqueeze(1)
    transposed, level = cut.mT, level.unsqueeze(1)
    for _ in range(iterations):
        ahead = (d + step * slope).clamp(-1.0, 1.0)
        y = (y - step * ((2 * ahead - d) @ transposed + level)).clamp(0.0, LARGEST)
        d, slope = ahead, form + y @ cut
        best = torch.minimum(best, slope.abs().sum(-1) + (y * raised).sum(-1))
    return best + share * form.abs().sum(-1), d


def _padded(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the true entries of each row ``(N, n)``, filled up to the longest row; and which of them are real."""
    most = int(chosen.sum(1).max()) if chosen.numel() else 0
    real, place = chosen.to(torch.int8).topk(most, dim=1)
    return place, real > 0
