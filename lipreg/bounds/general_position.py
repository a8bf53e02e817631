"""General position: kinks that coincide with each other, with the reference point or with the region's own faces.

The exact program maximises over activation patterns. Where kinks are in general position every pattern that occurs at a
point of X occurs on an open part of X, and the maximum is attained (Jordan & Dimakis 2020, Theorem 3). Where they are not,
a pattern may occur on a kink alone: the program's value is then an upper bound that no point need attain.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.kinks import CLOSE, SharedKink, coincide, shared_kinks, unit_weights
from lipreg.graph import Relu

NAMED = 6
"""So many units are named in a sentence; the rest are counted."""
LOOKED_AT = (
    "Looked for were units without weights, units on one hyperplane whose layers read the same, kinks at the reference "
    "point and kinks of the first layer on faces of the region. Kinks that meet elsewhere, and kinks of layers that read "
    "different ones, were not."
)
ROUNDING = 1e-13
"""A pre-activation this small, relative to the magnitudes that make it up, is 0 at the reference point."""


class Degeneracy(StrEnum):
    """The ways in which units leave general position; ``meaning`` says what follows from each."""

    NO_WEIGHTS = "no weights"
    TIED = "one kink"
    NEARLY_TIED = "one kink up to rounding"
    AT_POINT = "kink at the reference point"
    CROWDED = "too many kinks at the reference point"
    ON_FACE = "kink on a face of the region"

    @property
    def harmless(self) -> bool:
        """Whether results are exact all the same."""
        return self in (Degeneracy.NO_WEIGHTS, Degeneracy.TIED, Degeneracy.AT_POINT)

    @property
    def meaning(self) -> str:
        """A sentence for users on what follows."""
        return {
            Degeneracy.NO_WEIGHTS: "All weights are 0: the unit is constant, has no kink and passes nothing on.",
            Degeneracy.TIED: "The units switch together, because their weights and biases are exact multiples; the exact "
            "program ties their binaries.",
            Degeneracy.NEARLY_TIED: "Their weights and biases are multiples up to rounding: patterns in which they "
            "disagree have next to no volume, maybe too little to find a witness in, so a value may stay unconfirmed.",
            Degeneracy.AT_POINT: "The network is not differentiable at the reference point (zero biases do this), "
            "so that witnesses have to be other points.",
            Degeneracy.CROWDED: "More kinks meet at the reference point than it has coordinates: a pattern that occurs "
            "at that point alone may maximise the exact program, so its value may stay unconfirmed.",
            Degeneracy.ON_FACE: "One side of the kink touches the region in a face alone: if rounding leaves the unit "
            "unstable, the exact program may use the side without points, and its value may stay unconfirmed.",
        }[self]


@dataclass(frozen=True)
class Finding:
    """Some units that are degenerate in one way.

    Attributes:
        kind: the way, and by ``kind.meaning`` what follows.
        units: their names, "layer[position]" with the layer's path in the module.
    """

    kind: Degeneracy
    units: tuple[str, ...]

    def sentence(self) -> str:
        """The finding in words: its kind, the first few units, and the meaning."""
        names = ", ".join(self.units[:NAMED])
        more = f" and {len(self.units) - NAMED} more" if len(self.units) > NAMED else ""
        return f"{self.kind.value}: {names}{more}. {self.kind.meaning}"


@dataclass(frozen=True)
class GeneralPosition:
    """The degeneracies at one reference point.

    Looked for are coincidences that can be read off: units without weights, units on one hyperplane whose layers read the
    same nodes, kinks through the reference point, kinks of the first layer on faces of a box or polytope. Others (kinks of
    different layers that meet, more than n kinks in some other point) are not, so no finding is no proof of general
    position. Units of max pools and of sorting are those of the ReLUs that they are written out as.

    Attributes:
        findings: one for each group of units.
    """

    findings: tuple[Finding, ...] = ()

    @property
    def harmless(self) -> bool:
        """Whether no finding may cost exactness."""
        return all(finding.kind.harmless for finding in self.findings)

    def sentence(self) -> str:
        """All findings that may cost exactness, in words; where there are none the others, and what was looked for."""
        harmful = [finding.sentence() for finding in self.findings if not finding.kind.harmless]
        if harmful:
            return " ".join(harmful)
        others = [finding.sentence() for finding in self.findings] or ["Nothing degenerate was found."]
        return " ".join([*others, LOOKED_AT])


def find_degeneracies(local: Analysis) -> GeneralPosition:
    """The degeneracies at one reference point, as far as they can be read off; see ``GeneralPosition``.

    Args:
        local: of a single point, of a network without max pools (``without_pools``), whose kinks would not be seen.
    """
    findings: list[Finding] = []
    through: list[str] = []
    near = _near(local)
    repeated: dict[int, list[int]] = {}
    for group in shared_kinks(local, near):
        findings.append(_shared(local, group))
        for (index, position), exact in zip(group.units[1:], group.exact[1:], strict=True):
            if exact:
                repeated.setdefault(index, []).append(position)
    for index, node in local.graph.relus():
        affine = local.graph.affine(node.source)
        bounds = local.value_bounds[node.source]
        weights = sum(map.abs()(torch.ones(map.in_shape, dtype=local.graph.dtype)) for map in affine.maps)
        empty = (torch.as_tensor(weights) == 0).flatten().nonzero().flatten()
        if len(empty):
            findings.append(Finding(Degeneracy.NO_WEIGHTS, _names(index, node, empty.tolist())))
        movable = bounds.movable[0].flatten()
        magnitude = affine.bias.abs().flatten()
        for i, map in affine.terms():
            magnitude = magnitude + map.abs()(local.value_bounds[i].value.abs())[0].flatten()
        zero = (bounds.value[0].flatten().abs() <= ROUNDING * magnitude) & movable
        zero[repeated.get(index, [])] = False  # one kink, counted once
        through += _names(index, node, zero.nonzero().flatten().tolist())
        if affine.sources == (0,) and len(near[index]):
            on_face = near[index][_on_faces(local, index, near[index])]
            if len(on_face):
                findings.append(Finding(Degeneracy.ON_FACE, _names(index, node, on_face.tolist())))
    if through:
        crowded = len(through) > int(local.placed.region.movable.sum())
        findings.append(Finding(Degeneracy.CROWDED if crowded else Degeneracy.AT_POINT, tuple(through)))
    return GeneralPosition(tuple(findings))


def _near(local: Analysis) -> dict[int, np.ndarray]:
    """Flat positions of the units whose kink meets the region, by Relu."""
    positions = {}
    for index, node in local.graph.relus():
        bounds = local.value_bounds[node.source]
        near = bounds.movable[0] & (bounds.lower[0] <= 0) & (bounds.upper[0] >= 0)
        positions[index] = near.flatten().nonzero().flatten().numpy()
    return positions


def _shared(local: Analysis, group: SharedKink) -> Finding:
    kind = Degeneracy.TIED if all(group.exact) else Degeneracy.NEARLY_TIED
    relus = dict(local.graph.relus())
    return Finding(kind, tuple(name for index, at in group.units for name in _names(index, relus[index], [at])))


def _on_faces(local: Analysis, index: int, positions: np.ndarray) -> np.ndarray:
    """Which units of a first layer have a face of the box or of the half-spaces as their kink."""
    region = local.placed.region
    rows, _ = unit_weights(local, index, positions)
    free = region.movable[0].flatten().numpy()
    lower, upper, center = (t[0].flatten().numpy() for t in (region.lower, region.upper, region.center))
    size = np.append(np.maximum(np.abs(lower), np.abs(upper))[free], 1.0)

    def over_free(matrix: np.ndarray, constant: np.ndarray) -> np.ndarray:
        """matrix x + constant over the coordinates that can move, each in proportion to its size."""
        return np.column_stack([matrix[:, free], constant + matrix[:, ~free] @ center[~free]]) * size

    kinks = over_free(rows[:, :-1], rows[:, -1])
    on_face = np.zeros(len(positions), dtype=bool)
    single = np.flatnonzero((kinks[:, :-1] != 0).sum(1) == 1)  # only these can be parallel to a side of the box
    at = np.abs(kinks[single, :-1]).argmax(1)
    kink = -kinks[single, -1] / kinks[single, at] * size[at]
    for end in (lower, upper):
        on_face[single] |= np.abs(kink - end[free][at]) <= CLOSE * size[at]
    if region.halfspaces is not None:
        half = region.halfspaces
        matrix, levels = half.matrix.numpy(), (half.levels + half.origin @ half.matrix.T)[0].numpy()
        on_face |= (coincide(kinks, over_free(matrix, -levels)) != 0).any(1)
    return on_face


def _names(index: int, node: Relu, positions: list[int]) -> tuple[str, ...]:
    layer = node.name or f"relu {index}"
    where = (np.unravel_index(i, node.shape) for i in positions)
    return tuple(f"{layer}[{', '.join(str(int(k)) for k in at)}]" for at in where)
