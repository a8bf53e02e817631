"""Pre-activation bounds under all of a node's phases together: batched duals of small linear programs, without a solver.

Over a node's box, or its part of an l2 ball, with the cuts A d + b >= 0 of its fixed units, any multipliers y >= 0 prove

    sup form . d <= sup over the box or ball of (form + A^T y) . d  +  b . y.

Good y are computed for every unstable unit of every node at once, on the side of its kink that is nearer to it: the other
side is the less likely to go.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.linalg.floats import EPS, SPARE
from lipreg.search.ascent import THOROUGH, UnitBall, UnitBox, UnitSet, dual_bounds
from lipreg.search.forward_bounds import SLACK, Forms, settle
from lipreg.search.nodes import Nodes
from lipreg.search.simplex import deepest, maxima

SIMPLEX_INPUTS = 7
"""Up to this many inputs simplex steps to the optimum take their place. Measured: with 8 to 10 inputs they leave half to two
thirds of the nodes and take as long, on a reference network of 8 inputs 1.5 times as long."""
LEAST = 1e-12
"""Length of a form, as a part of its constant, that shorter ones are taken to have."""
TANGENTS = 4
"""Most tangents of an l2 ball that a node of few inputs gets."""


def tighten_together(network: FoldedNetwork, nodes: Nodes, forms: Forms, rounds: tuple[int, ...] = THOROUGH) -> Tensor:
    """Tightens the unstable units' bounds, in place, and settles implied phases.

    A node whose cuts contradict each other gets an empty box (see ``contradictory``).

    Args:
        network: the folded network.
        nodes: whose bounds and phases are updated.
        forms: of every unit, valid in the nodes.
        rounds: steps of the iteration, of networks with more inputs than ``SIMPLEX_INPUTS``.

    Returns:
        A displacement in each node's box that the cuts have pulled towards the node's interior, ``(N, m)``.
    """
    if network.inputs <= SIMPLEX_INPUTS:
        return _by_simplex(network, nodes, forms)
    center, radius, within = _coordinates(network, nodes)
    cut, level = _binding_cuts(network, nodes, forms, center, radius, within)
    if cut.shape[1] == 0:
        return center
    place, real = padded(nodes.unstable)
    below = (nodes.z_upper > -nodes.z_lower).gather(1, place)  # bounds -z, where that is nearer to the kink
    form, start, size = _targets(forms, place, below, center, radius)
    widened = (SLACK * (network.z_upper - network.z_lower) + network.z_rounding)[place]
    goal = torch.cat([-(start + widened) / size, start.new_full((len(start), 1), -SLACK)], dim=1)
    best, point = dual_bounds(form, goal, cut, level, within, rounds)
    empty = best[:, -1] < -SLACK
    ends = best[:, :-1] * size + start + widened
    upper = torch.where(real & ~below, ends, torch.inf)
    lower = torch.where(real & below, -ends, -torch.inf)
    nodes.z_upper = nodes.z_upper.scatter_reduce(1, place, upper, "amin")
    nodes.z_lower = nodes.z_lower.scatter_reduce(1, place, lower, "amax")
    nodes.d_lower = torch.where(empty.unsqueeze(-1), torch.inf, nodes.d_lower)
    settle(network, nodes)
    return center + radius * point


def _coordinates(network: FoldedNetwork, nodes: Nodes) -> tuple[Tensor, Tensor, UnitSet]:
    """Center and unit of the coordinates in which a node is bounded, ``(N, m)`` each, and the node in them."""
    ball = network.domain.ball
    if ball == math.inf:
        return (nodes.d_lower + nodes.d_upper) / 2, (nodes.d_upper - nodes.d_lower) / 2, UnitBox()
    zero = torch.zeros_like(nodes.d_lower)
    return zero, zero + ball, UnitBall((nodes.d_lower / ball).unsqueeze(1), (nodes.d_upper / ball).unsqueeze(1))


def _by_simplex(network: FoldedNetwork, nodes: Nodes, forms: Forms) -> Tensor:
    """The same by simplex steps, to the optimum: first each node's deepest point, then the bounds of those that have one.

    Of an l2 ball there are tangents, where a deepest point lies outside of it.
    """
    center, radius = (nodes.d_lower + nodes.d_upper) / 2, (nodes.d_upper - nodes.d_lower) / 2
    cut, level = _binding_cuts(network, nodes, forms, center, radius, UnitBox())
    if cut.shape[1] == 0:
        return center
    bound, point = deepest(cut, level)
    for _ in range(TANGENTS if network.domain.ball < math.inf else 0):
        row, slack = _tangents(network.domain.ball, center, radius, point)
        if not bool((slack < 1.0).any()):
            break
        cut, level = torch.cat([cut, row.unsqueeze(1)], 1), torch.cat([level, slack.unsqueeze(1)], 1)
        bound, point = deepest(cut, level)
    empty = bound < -SLACK
    nodes.d_lower = torch.where(empty.unsqueeze(-1), torch.inf, nodes.d_lower)
    middle = center + radius * point
    at, unit = (nodes.unstable & ~empty.unsqueeze(-1)).nonzero(as_tuple=True)
    if len(at):
        ends = (forms.slope[at, :, unit] @ middle[at].unsqueeze(-1)).squeeze(-1) + forms.offset[at, :, unit]
        side = ends.argmin(-1)  # of the bounds on z and on -z the one that is the smaller there
        form, start = forms.slope[at, side, unit], forms.offset[at, side, unit]
        start = start + (form * center[at]).sum(-1)
        form = form * radius[at]
        size = sizes(form, start)
        end = maxima(form / size.unsqueeze(-1), cut, level, at) * size + start
        end = end + (SLACK * (network.z_upper - network.z_lower) + network.z_rounding)[unit]
        below = side == 1
        upper, lower = nodes.z_upper[at, unit], nodes.z_lower[at, unit]
        nodes.z_upper[at, unit] = torch.where(below, upper, torch.minimum(upper, end))
        nodes.z_lower[at, unit] = torch.where(below, torch.maximum(lower, -end), lower)
    settle(network, nodes)
    return middle


def _tangents(ball: float, center: Tensor, radius: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts of size 1, in the nodes' coordinates, that contain the ball where a point is outside; (0, 1) where none is."""
    d = center + radius * point
    size = d.norm(dim=-1, keepdim=True)
    normal = d / size.clamp(min=1e-300)
    # |n|_2 ball - n . center >= n . (radius u): what rounding did to n is no matter, what it does to the sums is charged
    lost = EPS * (d.shape[-1] + SPARE) * (ball + normal.abs() * center.abs()).amax(-1) * d.shape[-1]
    row, slack = -normal * radius, ball * normal.norm(dim=-1) - (normal * center).sum(-1) + lost
    length = row.norm(dim=-1).clamp(min=1e-300)
    outside = size.squeeze(-1) > ball
    return torch.where(outside.unsqueeze(-1), row / length.unsqueeze(-1), 0.0), torch.where(
        outside, slack / length, 1.0
    )


def _binding_cuts(
    network: FoldedNetwork,
    nodes: Nodes,
    forms: Forms,
    center: Tensor,
    radius: Tensor,
    within: UnitSet,
) -> tuple[Tensor, Tensor]:
    """The cuts that some point of the node violates, in its coordinates."""
    a, b = forms.cuts(network, nodes.phase)
    b = b + (a @ center.unsqueeze(-1)).squeeze(-1)
    return binding(a * radius.unsqueeze(1), b, within)


def binding(cut: Tensor, level: Tensor, within: UnitSet) -> tuple[Tensor, Tensor]:
    """Of cuts cut d + level >= 0 those that some point of the node violates, as rows of size 1; ``(N, k, m)``, ``(N, k)``.

    Args:
        cut, level: in the nodes' coordinates, ``(N, n, m)`` and ``(N, n)``; of these k remain, 0 where a node has fewer.
        within: the nodes.
    """
    place, real = padded(level < within.support(-cut))
    cut = cut.gather(1, place.unsqueeze(-1).expand(-1, -1, cut.shape[-1])) * real.unsqueeze(-1)
    level = level.gather(1, place)
    size = torch.where(real, sizes(cut, level), 1.0)
    return cut / size.unsqueeze(-1), level * real / size


def _targets(
    forms: Forms, place: Tensor, below: Tensor, center: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Forms of z, or of -z where ``below``, in a node's coordinates and of size 1; their constants and sizes."""
    n, m = forms.slope.shape[-2:]
    at = place + n * below.long()
    form = forms.slope.flatten(1, 2).gather(1, at.unsqueeze(-1).expand(-1, -1, m))
    start = forms.offset.flatten(1).gather(1, at) + (form @ center.unsqueeze(-1)).squeeze(-1)
    form = form * radius.unsqueeze(1)
    size = sizes(form, start)
    return form / size.unsqueeze(-1), start, size


def sizes(form: Tensor, start: Tensor) -> Tensor:
    """Lengths of forms ``(..., m)``, at least ``LEAST`` of their constants, and never 0: alike in all units of a layer."""
    return torch.maximum(form.norm(dim=-1), LEAST * start.abs()).clamp(min=1e-150)


def padded(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the true entries of each row ``(N, n)``, filled up to the longest row; and which of them are real."""
    most = int(mask.sum(1).max()) if mask.numel() else 0
    real, place = mask.to(torch.int8).topk(most, dim=1)
    return place, real > 0
