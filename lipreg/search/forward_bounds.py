"""Forward bounds within a node: linear forms of every pre-activation, and the node's box cut by its phases.

CROWN on the folded network, with each fixed unit exact. A form is a function of the displacement alone, so the form of a
fixed unit is a linear cut: z_i >= 0 and z_i <= form_i(d) give form_i(d) >= 0 for every d of the node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import relax
from lipreg.folding import FoldedNetwork
from lipreg.linalg.floats import EPS, SPARE
from lipreg.regions.ball_in_box import support_above
from lipreg.search.implied import implied as all_implied
from lipreg.search.nodes import Nodes

SLACK = 1e-9
"""Widening of forward bounds, relative to a unit's (or an input's) range over the region, beside the unit's own rounding."""
BOX_INPUTS = 16
"""Up to this many inputs boxes are shrunk. Measured: with 64 it costs a tenth of the time and saves no node."""


@dataclass(frozen=True)
class Forms:
    """z_i <= slope[:, 0, i] . d + offset[:, 0, i] and -z_i <= slope[:, 1, i] . d + offset[:, 1, i] within each node.

    The offsets are widened by SLACK, so a cut holds whatever rounding did to it.

    Attributes:
        slope: ``(N, 2, n, m)``.
        offset: ``(N, 2, n)``.
    """

    slope: Tensor
    offset: Tensor

    def __getitem__(self, index: Tensor) -> Forms:
        return Forms(self.slope[index], self.offset[index])

    def cuts(self, network: FoldedNetwork, phase: Tensor) -> tuple[Tensor, Tensor]:
        """(A, b) with A d + b >= 0 in each node: one row a unit (0, 1 if unstable), then the region's half-spaces."""
        active, off = (phase == 1), (phase == -1)
        zero, one = self.slope.new_zeros(()), self.offset.new_ones(())
        a = torch.where(active.unsqueeze(-1), self.slope[:, 0], torch.where(off.unsqueeze(-1), self.slope[:, 1], zero))
        b = torch.where(active, self.offset[:, 0], torch.where(off, self.offset[:, 1], one))
        if not len(network.domain.slack):
            return a, b
        widening = SLACK * (network.domain.faces.abs() @ (network.domain.upper - network.domain.lower))
        faces, slack = (
            -network.domain.faces.expand(len(a), -1, -1),
            (network.domain.slack + widening).expand(len(b), -1),
        )
        return torch.cat([a, faces], dim=1), torch.cat([b, slack], dim=1)


def tighten(network: FoldedNetwork, nodes: Nodes, beside: Callable[[Tensor], Tensor] | None = None) -> Forms:
    """Re-tightens the nodes' pre-activation bounds under their phases and boxes, in place, and settles implied phases.

    Args:
        network: the folded network.
        nodes: whose bounds and phases are updated.
        beside: an upper bound on linear forms ``(N, k, m)`` over the nodes that says more than their boxes, ``(N, k)``.

    Returns:
        The forms behind the bounds, valid in each node.
    """
    z_lower, z_upper = _by_phase(nodes)
    slack = SLACK * (network.z_upper - network.z_lower) + network.z_rounding
    count, n, m = len(nodes), network.count, network.inputs
    slope, offset = z_lower.new_zeros(count, 2, n, m), z_lower.new_zeros(count, 2, n)
    for depth, level in enumerate(network.levels):
        form, constant = _backward(network, depth, z_lower, z_upper)
        constant = constant + slack[level].repeat(2)
        ends = suprema(network, form, nodes.d_lower, nodes.d_upper)
        ends = constant + (ends if beside is None else torch.minimum(ends, beside(form)))
        half = len(level)
        z_upper[:, level] = torch.minimum(z_upper[:, level], ends[:, :half])
        z_lower[:, level] = torch.maximum(z_lower[:, level], -ends[:, half:])
        slope[:, 0, level], slope[:, 1, level] = form[:, :half], form[:, half:]
        offset[:, 0, level], offset[:, 1, level] = constant[:, :half], constant[:, half:]
    nodes.z_lower, nodes.z_upper = z_lower, z_upper
    settle(network, nodes)
    return Forms(slope, offset)


def apply_phases(network: FoldedNetwork, nodes: Nodes) -> None:
    """Enters the nodes' phases alone in their pre-activation bounds, in place, and settles what tied units imply."""
    nodes.z_lower, nodes.z_upper = _by_phase(nodes)
    settle(network, nodes)


def _by_phase(nodes: Nodes) -> tuple[Tensor, Tensor]:
    """Pre-activation bounds with those that the phases are, ``(N, n)`` each."""
    z_lower = torch.where(nodes.phase == 1, nodes.z_lower.clamp(min=0.0), nodes.z_lower)
    return z_lower, torch.where(nodes.phase == -1, nodes.z_upper.clamp(max=0.0), nodes.z_upper)


def settle(network: FoldedNetwork, nodes: Nodes) -> None:
    """Fixes the phases that the bounds, and tied units, imply; empties nodes in which tied units disagree."""
    if len(network.pairs):
        _keep_close(network, nodes)
    implied = (nodes.z_lower > 0).to(torch.int8) - (nodes.z_upper < 0).to(torch.int8)
    nodes.phase = torch.where(nodes.phase == 0, implied, nodes.phase)
    nodes.phase, empty = all_implied(network.exclusive, nodes.phase)
    nodes.d_lower = torch.where(empty.unsqueeze(-1), torch.inf, nodes.d_lower)
    if not len(network.sign):
        return
    for first, other in (network.tied, network.tied.flip(0)):  # to the first of each group, then from it
        phase = nodes.phase.clone()
        for pair in range(len(network.sign)):
            source, target = phase[:, other[pair]] * network.sign[pair], first[pair]
            phase[:, target] = torch.where(phase[:, target] == 0, source, phase[:, target])
        nodes.phase = phase
    disagree = (nodes.phase[:, network.tied[0]] * nodes.phase[:, network.tied[1]] == -network.sign).any(-1)
    nodes.d_lower = torch.where(disagree.unsqueeze(-1), torch.inf, nodes.d_lower)


def _keep_close(network: FoldedNetwork, nodes: Nodes) -> None:
    """Bounds each unit of a pair, in place, by the other one and how far apart the two can be."""
    pairs, slack = network.pairs, SLACK * (network.z_upper - network.z_lower)
    first, second = pairs.first, pairs.second
    low, other_low, high, other_high = (z[:, at] for z in (nodes.z_lower, nodes.z_upper) for at in (first, second))
    lower, upper = pairs.z_lower - slack[first], pairs.z_upper + slack[first]
    nodes.z_lower[:, first] = torch.maximum(low, other_low + lower)
    nodes.z_upper[:, first] = torch.minimum(high, other_high + upper)
    nodes.z_lower[:, second] = torch.maximum(other_low, low - upper)
    nodes.z_upper[:, second] = torch.minimum(other_high, high - lower)


def contradictory(nodes: Nodes) -> Tensor:
    """Which nodes are empty by their own bounds, ``(N,)``."""
    z = nodes.z_lower > nodes.z_upper
    against = ((nodes.phase == 1) & (nodes.z_upper < 0)) | ((nodes.phase == -1) & (nodes.z_lower > 0))
    # a box that was emptied may hold NaN by now, which is in no order
    return (z | against).any(-1) | ~(nodes.d_lower <= nodes.d_upper).all(-1)


def shrink_boxes(network: FoldedNetwork, nodes: Nodes, forms: Forms) -> None:
    """Shrinks each node's box, in place, to what every cut on its own leaves of each input: A_k d_k >= -(rest's maximum).

    With many inputs no single cut bounds one of them well, so the boxes stay.

    Args:
        network: the folded network.
        nodes: whose boxes are shrunk.
        forms: of every unit, valid in the nodes.
    """
    if network.inputs > BOX_INPUTS:
        return
    if network.domain.ball < math.inf:
        _within_ball(network, nodes)
    a, b = forms.cuts(network, nodes.phase)
    if not a.shape[1]:  # nothing is unstable, and the region is a box
        return
    center, radius = (nodes.d_lower + nodes.d_upper) / 2, (nodes.d_upper - nodes.d_lower) / 2
    top = a * center.unsqueeze(1) + a.abs() * radius.unsqueeze(1)
    lost = EPS * (network.inputs + SPARE) * (a.abs() @ (center.abs() + radius).unsqueeze(-1) + b.abs().unsqueeze(-1))
    rest = (top.sum(-1) + b).unsqueeze(-1) - top + lost
    # entries too small to divide by bound nothing
    size = a.abs().amax(-1, keepdim=True)
    used = a.abs() > 1e-6 * size.clamp(min=1e-300)
    end = -rest / torch.where(used, a, torch.ones_like(a))
    infinite = torch.full_like(end, torch.inf)
    low = torch.where(used & (a > 0), end, -infinite).amax(1)
    high = torch.where(used & (a < 0), end, infinite).amin(1)
    slack = SLACK * (network.domain.upper - network.domain.lower)
    nodes.d_lower = torch.maximum(nodes.d_lower, low - slack)
    nodes.d_upper = torch.minimum(nodes.d_upper, high + slack)


def suprema(network: FoldedNetwork, form: Tensor, d_lower: Tensor, d_upper: Tensor) -> Tensor:
    """sup of linear forms over each node's box and the region, from above, ``(N, k)``.

    Args:
        network: the folded network.
        form: ``(N, k, m)``.
        d_lower, d_upper: the nodes' boxes, ``(N, m)`` each.
    """
    center, radius = (d_lower + d_upper) / 2, (d_upper - d_lower) / 2
    box = (form @ center.unsqueeze(-1) + form.abs() @ radius.unsqueeze(-1)).squeeze(-1)
    if network.domain.ball < math.inf:
        return torch.minimum(box, support_above(form, d_lower.unsqueeze(1), d_upper.unsqueeze(1), network.domain.ball))
    beyond = network.domain.beyond_box(form)
    return box if beyond is None else torch.minimum(box, beyond)


def _within_ball(network: FoldedNetwork, nodes: Nodes) -> None:
    """Shrinks each node's box, in place, to what the least of all other inputs leaves of an l2 ball's radius."""
    ball, zero = network.domain.ball, torch.zeros_like(nodes.d_lower)
    least = torch.maximum(torch.maximum(nodes.d_lower, -nodes.d_upper), zero)
    # the node's own box lies outside of the ball: no input can move, and SLACK is more than rounding
    rest = (1.0 + SLACK) ** 2 - (least / ball).square().sum(-1, keepdim=True) + (least / ball).square()
    end = ball * rest.clamp(min=0.0).sqrt()
    empty = rest < 0.0
    nodes.d_upper = torch.minimum(nodes.d_upper, end)
    nodes.d_lower = torch.where(empty, torch.inf, torch.maximum(nodes.d_lower, -end))


def _backward(network: FoldedNetwork, depth: int, z_lower: Tensor, z_upper: Tensor) -> tuple[Tensor, Tensor]:
    """Upper forms of z and of -z of one level's units, over d, by going back through the levels before it."""
    level, count = network.levels[depth], len(z_lower)
    signs = torch.cat([torch.ones_like(network.z.constant[level]), -torch.ones_like(network.z.constant[level])])
    both = torch.cat([level, level])
    constant = (signs * network.z.constant[both]).expand(count, -1)
    form = (signs.unsqueeze(-1) * network.z.on_input[both]).expand(count, -1, -1)
    weight = (signs.unsqueeze(-1) * network.z.on_unit[both]).expand(count, -1, -1)
    for at in range(depth - 1, -1, -1):
        source = network.levels[at]
        lines = relax(z_lower[:, source], z_upper[:, source], network.negative_slope[source])
        passed = weight[..., source]
        constant = constant + (passed.clamp(min=0.0) @ lines.upper_offset.unsqueeze(-1)).squeeze(-1)
        passed = torch.where(
            passed > 0, passed * lines.upper_slope.unsqueeze(1), passed * lines.lower_slope.unsqueeze(1)
        )
        constant = constant + passed @ network.z.constant[source]
        form = form + passed @ network.z.on_input[source]
        if at:
            weight = weight + passed @ network.z.on_unit[source]
    return form, constant
