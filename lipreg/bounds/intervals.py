"""Gradients as intervals, carried backward through a graph: in float64, or with centers in multiple precision.

Both are center and radius at a node. What is decided stays in the center, where it may cancel; what is open goes into the
radius. In float64 rounding is bounded as a whole (``rounding.gradient_rounding``). In digits there is none in the centers,
and what is rounded on the way into a radius widens it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.rounding import output_gradients
from lipreg.graph import Affine, MaxPool, Relu
from lipreg.graph.accurate import limb_bits
from lipreg.linalg import Limbs
from lipreg.linalg.floats import EPS, SPARE

LIMBS = 20
"""Digits of the centers."""


def _times(low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of [low, high] [least, most], for 0 <= least <= most."""
    return torch.where(low < 0, low * most, low * least), torch.where(high > 0, high * most, high * least)


class Float64Intervals:
    """Intervals as centers and radii in the graph's own arithmetic; ``losses`` is what rounding may do to them."""

    def __init__(self, analysis: Analysis, losses: dict[int, Tensor] | None) -> None:
        self.analysis, self.losses = analysis, losses
        self.flowing: dict[int, tuple[Tensor, Tensor]] = {}

    def pour(self, index: int, center: Tensor, radius: Tensor) -> None:
        if index in self.flowing:
            center, radius = self.flowing[index][0] + center, self.flowing[index][1] + radius
        self.flowing[index] = center, radius

    def start(self) -> None:
        for source, part, _ in output_gradients(self.analysis):
            self.pour(source, part, torch.zeros_like(part))

    def through(self, index: int, node: Affine) -> None:
        center, radius = self.flowing.pop(index)
        for source, map in node.terms():
            self.pour(source, map.transpose(center), map.abs().transpose(radius))

    def ends(self, index: int) -> tuple[Tensor, Tensor]:
        center, radius = self.flowing.pop(index)
        low, high = center - radius, center + radius
        return (low, high) if self.losses is None else (low - self.losses[index], high + self.losses[index])

    def scaled(self, index: int, node: Relu | MaxPool, low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> None:
        if isinstance(node, MaxPool):
            low, high = (end.flatten(2).unsqueeze(-1) for end in (low, high))
        low, high = _times(low, high, least, most)
        center, radius = (low + high) / 2, (high - low) / 2
        if isinstance(node, MaxPool):
            center, radius = node.scatter(center), node.scatter(radius)
        self.pour(node.source, center, radius)


class DigitIntervals:
    """Intervals whose centers are in multiple precision, at least 200 bits."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.bits = limb_bits(analysis.graph)
        self.flowing: dict[int, tuple[Limbs, Tensor]] = {}

    def pour(self, index: int, center: Limbs, radius: Tensor) -> None:
        if index in self.flowing:
            center, radius = self.flowing[index][0] + center, (self.flowing[index][1] + radius) * (1.0 + EPS)
        self.flowing[index] = center, radius

    def start(self) -> None:
        rows = self.analysis.placed.rows
        center = Limbs.of(rows, self.bits, LIMBS)
        for source, map in self.analysis.graph.output.terms():
            part = center.back(map)
            self.pour(source, part, torch.zeros_like(part.error))

    def through(self, index: int, node: Affine) -> None:
        center, radius = self.flowing.pop(index)
        for source, map in node.terms():
            spread = map.abs().transpose(radius) * (1.0 + (map.roundings + SPARE) * EPS)
            self.pour(source, center.back(map), spread)

    def ends(self, index: int) -> tuple[Tensor, Tensor]:
        center, radius = self.flowing[index]
        value, error = center.rounded()
        spread = (radius + error) * (1.0 + SPARE * EPS) + EPS * value.abs()
        return value - spread, value + spread

    def scaled(self, index: int, node: Relu | MaxPool, low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> None:
        center, radius = self.flowing.pop(index)
        if isinstance(node, MaxPool):
            low, high, radius = (part.flatten(2).unsqueeze(-1) for part in (low, high, radius))
            center = center.moved(lambda t: t.flatten(-len(node.shape)).unsqueeze(-1))
        open_ = least < most
        low, high = _times(low, high, least, most)
        middle, spread = (low + high) / 2, (high - low) / 2
        spread = spread + SPARE * EPS * (middle.abs() + spread)
        decided = torch.where(open_, torch.zeros_like(most), most)
        middle = torch.where(open_, middle, torch.zeros_like(middle))
        center = center.times(decided) + Limbs.of(middle, self.bits, LIMBS)
        radius = torch.where(open_, spread, radius * decided * (1.0 + SPARE * EPS))
        if isinstance(node, MaxPool):
            copies = node.windows.numel()
            center, radius = center.moved(node.scatter, copies), node.scatter(radius) * (1.0 + copies * EPS)
        self.pour(node.source, center, radius)
