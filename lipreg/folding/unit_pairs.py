"""Unstable units of two networks that belong together, and how far apart they can be."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lipreg.bounds import Analysis, layer_pairs, pair_differences
from lipreg.folding.units import UnstableUnits


@dataclass(frozen=True)
class UnitPairs:
    """k pairs of unstable units, each unit in one at most, with bounds on z - z' and h - h' over the region, ``(k,)`` each.

    Attributes:
        first, second: indices of the units.
        z_lower, z_upper: of the pre-activations' difference.
        h_lower, h_upper: of the outputs' difference.
    """

    first: Tensor
    second: Tensor
    z_lower: Tensor
    z_upper: Tensor
    h_lower: Tensor
    h_upper: Tensor

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: Tensor) -> UnitPairs:
        return UnitPairs(*(getattr(self, f.name)[index] for f in fields(self)))

    def before(self, units: int) -> UnitPairs:
        """The pairs among the first ``units`` units."""
        return self[torch.maximum(self.first, self.second) < units]

    def to(self, device: torch.device | str) -> UnitPairs:
        """The pairs on another device."""
        return UnitPairs(*(getattr(self, f.name).to(device) for f in fields(self)))


def unit_pairs(analysis: Analysis, units: UnstableUnits) -> tuple[UnitPairs, Tensor]:
    """The pairs of two unstable units of a single-point analysis, and which of them are always equal, ``(k,)`` bool."""
    none = torch.zeros(0, dtype=torch.int64)
    parts: list[tuple[Tensor, ...]] = [(none, none, *(torch.zeros(0, dtype=torch.float64) for _ in range(4)), none > 0)]
    for index, pair in layer_pairs(analysis).items():
        bounds, at = pair_differences(analysis)[index], [units.of(i) for i in (pair.first, pair.second)]
        column = [dict(zip(units.position[i].tolist(), i.tolist(), strict=True)) for i in at]
        both = sorted(set(column[0]) & set(column[1]))
        ends = (bounds.lower[0], bounds.upper[0], bounds.outputs[0][0], bounds.outputs[1][0], bounds.same)
        indices = (torch.tensor([c[i] for i in both], dtype=torch.int64) for c in column)
        parts.append((*indices, *(end.flatten()[both] for end in ends)))
    *columns, same = (torch.cat(part) for part in zip(*parts, strict=True))
    return UnitPairs(*columns), same
