"""The subject of a pointed search: the rises c . (f(x) - f(x0)) over displacements, of each functional and of its negative.

With v = z - y the rise of a unit's pre-activation and k = h - h(y) that of its output, everything of the folded network is
linear without constants:

    v = z.on_input d + z.on_unit k,        c . (f(x) - f(x0)) = on_input d + on_unit k,

so that forms lose nothing at x0 itself, where a quotient divides by a small distance. Distances, and displacements here, are
in the question's units.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.rounding import lengths
from lipreg.folding import FoldedNetwork
from lipreg.graph.accurate import precisions
from lipreg.graph.magnitudes import magnitudes
from lipreg.linalg import dual_norm, vector_norm
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.search.nodes import Nodes

PRECISION = 2.0**-45
"""Error that a pre-activation at the reference point may have, as a part of its range."""


@dataclass
class ShellNodes(Nodes):
    """Nodes between two distances from the reference point.

    ``row`` is the rise that is bounded, and ``unit_gaps`` how much of its last form's constant hangs on each unit.

    Attributes:
        near, far: near <= |x - x0|_p <= far within the node, ``(N,)``.
    """

    near: Tensor
    far: Tensor


@dataclass(frozen=True)
class OutputDifferences:
    """The rises of one point, R functionals and then their negatives.

    Attributes:
        network: of the same point, folded.
        units: the question's, of each displacement, ``(m,)``.
        y: pre-activations at the reference point, ``(n,)``.
        doubt: how far these may be from the true ones, ``(n,)``; 0 where they are proved to be 0.
        on_input, on_unit: ``(2 R, m)``, in the question's units, and ``(2 R, n)``.
        error: what rounding may have done to a rise, beside what its units bring, over the distance, ``(2 R,)``.
        unit_error: the same of each unit's rise, ``(n,)``. Both grow from 0 with the distance: forms have no constants.
        farthest: the largest distance in the region.
        cone: up to which distance the region is a cone about the reference point.
    """

    network: FoldedNetwork
    units: Tensor
    y: Tensor
    doubt: Tensor
    on_input: Tensor
    on_unit: Tensor
    error: Tensor
    unit_error: Tensor
    farthest: float
    cone: float

    @classmethod
    def of(cls, local: Analysis, network: FoldedNetwork) -> OutputDifferences:
        """Those of a single-point analysis; ``network`` is folded from it."""
        placed, domain, output = local.placed, network.domain, network.output
        units = placed.counts.flatten()[domain.movable].to(network.z.constant)
        rows = placed.rows[0].to(units)
        places = _places(local, network)
        y, doubt = _at_rest(local, network, places)
        of_units, of_outputs = _per_distance(local, network, places)
        signed = torch.cat([rows, -rows])
        scaled = None if placed.problem.plain else placed.counts
        return cls(
            network,
            units,
            y,
            doubt,
            signed @ output.on_input * units,
            signed @ output.on_unit,
            signed.abs() @ of_outputs,
            of_units,
            float(placed.farthest[0]),
            float(placed.region.cone_radius(placed.problem.p, scaled)[0]),
        )

    def to(self, device: torch.device | str) -> OutputDifferences:
        """The same on another device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name not in ("farthest", "cone")}
        return replace(self, **moved)

    def offsets(self, phase: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-activations at d = 0 of the linear pieces with phases ``(k, n)``, and what rounding may have done to them.

        As v at d = 0 beside y, so that nothing is lost where the phases are those of the reference point.
        """
        network, slope = self.network, torch.where(phase > 0, 1.0, self.network.negative_slope)
        rest = slope * self.y - rectified(self.y, network.negative_slope)
        v, k = torch.zeros_like(slope), torch.zeros_like(slope)
        lost, of_k = torch.zeros_like(v), torch.zeros_like(v)
        doubt = self.doubts(phase > 0, phase < 0)
        for level in network.levels:
            on_unit = network.z.on_unit[level].T
            v[:, level] = k @ on_unit
            lost[:, level] = of_k @ on_unit.abs() + EPS * (network.count + SPARE) * (k.abs() @ on_unit.abs())
            k[:, level] = slope[:, level] * v[:, level] + rest[:, level]
            of_k[:, level] = lost[:, level] + 2 * doubt[:, level] + 4 * EPS * (k[:, level].abs() + rest[:, level].abs())
        return self.y + v, lost + self.doubt + 4 * EPS * self.y.abs()

    def doubts(self, on: Tensor, off: Tensor) -> Tensor:
        """How far pre-activations at the reference point may be off, ``(N, n)``, 0 for units that stay on its side.

        There a unit's output rises by its slope times what it rises by itself, wherever it is at the reference point.

        Args:
            on, off: which units are proved to be so all over each node, ``(N, n)``.
        """
        stays = (on & (self.y > self.doubt)) | (off & (self.y < -self.doubt))
        return torch.where(stays, 0.0, self.doubt)

    @property
    def kinks(self) -> Tensor:
        """Which units are proved to be at their kinks at the reference point, ``(n,)``."""
        return (self.y == 0) & (self.doubt == 0)

    def within(self, nodes: ShellNodes, form: Tensor) -> Tensor:
        """sup form . d over the nodes' outer distances, ``(N, k)``, rounded up; forms ``(N, k, m)`` in the input's units."""
        size = vector_norm(form * self.units, dual_norm(self.network.p))
        return size * nodes.far.unsqueeze(-1) * (1.0 + EPS * (form.shape[-1] + SPARE))

    def quotients(self, d: Tensor) -> Tensor:
        """Of every functional at displacements ``(k, m)`` as computed, ``(k, 2 R)``; 0 at the reference point."""
        network = self.network
        v, k = d @ network.z.on_input.T, d.new_zeros(len(d), network.count)
        for level in network.levels:
            z = self.y[level] + v[:, level] + k @ network.z.on_unit[level].T
            k[:, level] = rectified(z, network.negative_slope[level]) - rectified(
                self.y[level], network.negative_slope[level]
            )
        scaled = d / self.units
        length = vector_norm(scaled, network.p).unsqueeze(-1)
        return torch.where(length > 0, (scaled @ self.on_input.T + k @ self.on_unit.T) / length, 0.0)


def rectified(z: Tensor, negative_slope: Tensor) -> Tensor:
    """max(z, negative_slope z), for a slope of at most 1."""
    return torch.where(z > 0, z, negative_slope * z)


def _places(local: Analysis, network: FoldedNetwork) -> list[tuple[int, int]]:
    """Of every unit the node that its pre-activation is an entry of, and the entry's flat position."""
    units, source = network.units, {index: node.source for index, node in local.graph.relus()}
    return [(source[int(node)], int(at)) for node, at in zip(units.node, units.position, strict=True)]


def _at_rest(local: Analysis, network: FoldedNetwork, places: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Pre-activations at the reference point and how far they may be off, ``(n,)`` each, in as many digits as it takes."""
    y = doubt = torch.zeros_like(network.z_upper)
    for start in precisions(local.graph, local.placed.region.center):
        values = [value.rounded() for value in local.graph.evaluate(start)]
        y, doubt = (torch.stack([values[i][k].flatten()[at] for i, at in places]) if places else y for k in (0, 1))
        precise = doubt <= PRECISION * (network.z_upper - network.z_lower)
        if bool((precise & ((y.abs() > doubt) | (doubt == 0))).all()):
            break  # else it is a kink through the point, or rounding: a value that is 0 in float64 need not be
    return y, doubt


def _per_distance(local: Analysis, network: FoldedNetwork, places: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """What rounding may have done to the rises of units ``(n,)`` and outputs ``(outputs,)`` as forms, over the distance.

    It is that of ``form_rounding`` without the constants: sums of as many terms, of the magnitudes of all weights.
    """
    graph, placed = local.graph, local.placed
    wide = (placed.counts * placed.region.movable).to(network.z.constant)
    sizes = magnitudes(graph, wide, lambda index, node: torch.zeros((), dtype=wide.dtype))
    share = 2.0 * EPS * (lengths(graph) + network.count + network.inputs)
    of_places = [sizes[i][0].flatten()[at] for i, at in places]
    of_units = torch.stack(of_places) if of_places else network.z_upper
    return share * of_units + TINY, share * sizes[len(graph.nodes) - 1][0].flatten() + TINY
