"""Linear forms above rises within nodes: u . d + v >= s c . (f(x) - f(x0)), by going back through the units' lines.

A unit of fixed phase is its line; of another the chord lies above and, below, one of the two lines through its kink. Lines
are of (z - y, h - h(y)): where a unit stays on the side on which x0 is they go through the origin, and v has nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.linalg.floats import EPS, SPARE
from lipreg.search.rises import OutputDifferences, ShellNodes


@dataclass(frozen=True)
class RiseForms:
    """u . d + v above the rise of each node, d in the question's units.

    Attributes:
        slope: u, ``(N, m)``.
        constant: v, ``(N,)``.
        lost: what rounding may do to that, ``(N,)``.
        error: what it may do to the rise over the distance, ``(N,)``.
        gaps: how much higher than its unit's own output each line is at its worst, weighted, ``(N, n)``.
    """

    slope: Tensor
    constant: Tensor
    lost: Tensor
    error: Tensor
    gaps: Tensor


@dataclass(frozen=True)
class _Lines:
    """Lines above and below relu(y + v) - relu(y), slope v + offset; ``(N, n)`` each.

    Beside them the terms of an offset, and what of y's doubt is in the lines. ``unstable`` units have 0 within their bounds
    and no phase; the two lines of the others are one.
    """

    unstable: Tensor
    above: Tensor
    above_offset: Tensor
    below: Tensor
    below_offset: Tensor
    size: Tensor
    doubt: Tensor


def _lines(rises: OutputDifferences, nodes: ShellNodes, own_side: bool) -> _Lines:
    y, lower, upper = rises.y, nodes.z_lower, nodes.z_upper
    zero, one = torch.zeros_like(lower), torch.ones_like(lower)
    unstable = nodes.unstable & (lower < 0) & (upper > 0)
    on = torch.where(nodes.unstable, lower >= 0, nodes.phase == 1)
    chord = torch.where(unstable, upper / torch.where(unstable, upper - lower, one), zero)
    side = (y > 0).expand_as(lower) if own_side else upper >= -lower
    rest = -y.clamp(min=0.0)
    steep = torch.where(unstable, side, on).to(lower)
    below_offset = steep * y + rest
    above = torch.where(unstable, chord, steep)
    above_offset = torch.where(unstable, chord * (y - lower) + rest, below_offset)
    # on x0's side there is nothing that could be rounded
    size = torch.where(unstable, y.abs() - lower, (below_offset != 0) * y.abs())
    return _Lines(
        unstable, above, above_offset, steep, below_offset, size, rises.doubts(on & ~unstable, ~on & ~unstable)
    )


def rise_forms(rises: OutputDifferences, nodes: ShellNodes, own_side: bool) -> RiseForms:
    """Forms above each node's rise.

    Args:
        rises: of the question.
        nodes: with up-to-date pre-activation bounds.
        own_side: the lower lines of unstable units are those of the side on which x0 is, which have no constant; else those
            that lose the smaller area.
    """
    network, lines = rises.network, _lines(rises, nodes, own_side)
    weight, slope = rises.on_unit[nodes.row].clone(), rises.on_input[nodes.row].clone()
    constant, lost, error = torch.zeros_like(nodes.near), torch.zeros_like(nodes.near), rises.error[nodes.row]
    gaps, share = torch.zeros_like(weight), EPS * (network.count + SPARE)
    lower, upper = nodes.z_lower, nodes.z_upper
    chord_gap = torch.where(lines.unstable, -lower * upper / (upper - lower).clamp(min=1e-300), 0.0)
    line_gap = torch.where(lines.unstable, torch.where(lines.below > 0, -lower, upper), 0.0)
    for level in reversed(network.levels):
        own = weight[:, level]
        negative_slope, rest = network.negative_slope[level], 1.0 - network.negative_slope[level]
        rising = own > 0
        offset = torch.where(rising, lines.above_offset[:, level], lines.below_offset[:, level])
        steep = torch.where(rising, lines.above[:, level], lines.below[:, level])
        constant = constant + (own * rest * offset).sum(-1)
        size = own.abs() * rest
        lost = lost + (own.abs() * 2 * lines.doubt[:, level] + share * size * lines.size[:, level]).sum(-1)
        error = error + own.abs() @ rises.unit_error[level]
        gap = torch.where(rising, chord_gap[:, level], line_gap[:, level])
        gaps[:, level] = size * gap
        passed = own * (negative_slope + rest * steep)
        slope = slope + passed @ network.z.on_input[level] * rises.units
        weight = weight + passed @ network.z.on_unit[level]
    return RiseForms(slope, constant, lost, error, gaps)
