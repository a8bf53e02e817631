"""The network over its unstable units alone: small dense tensors, on which a search bounds thousands of nodes at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, gradient_rounding, underflow
from lipreg.linalg import dual_norm, vector_norm
from lipreg.linalg.floats import EPS, SPARE
from lipreg.milp.arithmetic import exactly
from lipreg.milp.domain import halfspace_rows
from lipreg.milp.folding import Form, backward_forms, forward_forms
from lipreg.milp.ties import tied_units
from lipreg.milp.units import Units, unstable_units
from lipreg.regions import PlacedRegion


@dataclass(frozen=True)
class FoldedNetwork:
    """Pre-activations and gradients of one point's n unstable units, with stable units folded away as affine maps.

    With d the displacement of the m inputs that can move, h the units' outputs, a in {0, 1} their phases and w = a g their
    switched gradients, for each functional r:

        z = z_input d + z_unit h + z_offset          (z_unit is strictly lower triangular by level)
        g = g_unit w + g_offset[r]                   (g_unit is strictly upper triangular by level)
        c_r^T J = j_unit w + j_offset[r]

    Attributes:
        levels: indices of the units of each Relu node, from the input to the output.
        leak: slope of each unit's negative side, ``(n,)``; a stands for what exceeds it.
        z_lower, z_upper: pre-activation bounds over the region, ``(n,)``.
        d_lower, d_upper: the box around the displacements, ``(m,)``.
        faces, room: half-spaces of a polytope: room - faces d >= 0, ``(f, m)`` and ``(f,)``; none for other regions.
        tied, sign: pairs of units on one hyperplane, ``(2, t)``, and whether they are active together (1) or in turn (-1).
        rounding: what a bound on the gradient's norm must be widened by for float64, ``(rows,)``.
        z_rounding: what a bound on a pre-activation must be widened by, ``(n,)``.
        p: norm of input distances; gradients are measured in its dual.
    """

    units: Units
    region: PlacedRegion
    levels: tuple[Tensor, ...]
    z_input: Tensor
    z_unit: Tensor
    z_offset: Tensor
    g_unit: Tensor
    g_offset: Tensor
    j_unit: Tensor
    j_offset: Tensor
    leak: Tensor
    z_lower: Tensor
    z_upper: Tensor
    d_lower: Tensor
    d_upper: Tensor
    faces: Tensor
    room: Tensor
    tied: Tensor
    sign: Tensor
    rounding: Tensor
    z_rounding: Tensor
    p: float

    def to(self, device: torch.device | str) -> FoldedNetwork:
        """The same network with the tensors that nodes are bounded with on another device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.type == "Tensor"}
        levels = tuple(level.to(device) for level in self.levels)
        return replace(self, levels=levels, region=self.region.to(torch.float64, device), **moved)

    @property
    def count(self) -> int:
        """n, the number of unstable units."""
        return len(self.z_offset)

    @property
    def inputs(self) -> int:
        """m, the number of inputs with room."""
        return len(self.d_lower)

    @property
    def rows(self) -> int:
        """How many functionals are searched together."""
        return len(self.g_offset)

    def norm(self, gradients: Tensor) -> Tensor:
        """|gradients|_{p*} over the last dimension."""
        return vector_norm(gradients, dual_norm(self.p))

    def points(self, displacements: Tensor) -> Tensor:
        """Points x of the region, ``(k, *shape)``, from displacements ``(k, m)`` that may lie a hair outside it."""
        region = self.region
        x = region.center[0].flatten().repeat(len(displacements), 1)
        x[:, region.moves[0].flatten()] += displacements.to(x)
        return region.project(x.reshape(1, -1, *region.shape))[0]

    def displacements(self, points: Tensor) -> Tensor:
        """The displacements ``(k, m)`` of points of the region, ``(k, *shape)``."""
        region = self.region
        return (points.to(region.center).flatten(1) - region.center[0].flatten())[:, region.moves[0].flatten()]

    def beyond_box(self, forms: Tensor) -> Tensor | None:
        """sup of linear forms ``(..., m)`` over the region, where it is smaller than its box (an l1 or l2 ball)."""
        if self.region.radius == math.inf:
            return None
        moves = self.region.moves[0].flatten()
        full = forms.new_zeros(1, math.prod(forms.shape[:-1]), len(moves))
        full[..., moves] = forms.reshape(1, -1, self.inputs)
        return self.region.support(full.reshape(1, -1, *self.region.shape)).reshape(forms.shape[:-1])

    def phases(self, displacements: Tensor) -> Tensor:
        """The phase of every unit at displacements ``(k, m)``: 1 active, -1 not; ``(k, n)`` int8."""
        z = displacements @ self.z_input.T + self.z_offset
        h = torch.zeros_like(z)
        for level in self.levels:
            own = z[:, level] + h @ self.z_unit[level].T
            z[:, level] = own
            h[:, level] = torch.where(own > 0, own, own * self.leak[level])
        return torch.where(z > 0, 1, -1).to(torch.int8)

    def gradient_norms(self, phase: Tensor) -> Tensor:
        """|c_r^T J|_{p*} of every functional where all phases are fixed, ``(k, rows)``."""
        active = (phase > 0).to(self.j_unit).unsqueeze(1)
        w = active.new_zeros(len(phase), self.rows, self.count)
        for level in reversed(self.levels):
            w[..., level] = active[..., level] * (self.g_offset[:, level] + w @ self.g_unit[level].T)
        return self.norm(self.j_offset + w @ self.j_unit.T)


def fold(local: Analysis) -> FoldedNetwork:
    """The folded network of a single-point analysis in regional scope."""
    placed, region = local.placed, local.placed.region
    units = unstable_units(local)
    moves = region.moves[0].flatten().numpy()
    forward, inputs = forward_forms(local, units), len(moves)
    rows = placed.rows[0].double().numpy()
    n, outputs = len(units), rows.shape[1]
    # gradients of every output at once, of which those of a functional are combinations; of the functionals themselves
    # where outputs may cancel
    exact = exactly(local)
    given = rows.T if exact else np.eye(outputs)
    unit_form, input_form = backward_forms(local, units, Form(given, np.zeros(outputs)))
    combine = np.eye(len(rows)) if exact else rows

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))

    rows_of_faces = halfspace_rows(region)
    faces, room = (np.zeros((0, inputs)), np.zeros(0)) if rows_of_faces is None else rows_of_faces
    tied, sign = tied_units(local, units)
    down, up = region.room
    folded = FoldedNetwork(
        units=units,
        region=region,
        levels=tuple(torch.from_numpy(units.of(node)) for node in np.unique(units.node)),
        z_input=tensor(forward.matrix[:, :inputs][:, moves]),
        z_unit=tensor(forward.matrix[:, inputs:]),
        z_offset=tensor(forward.constant),
        g_unit=tensor(unit_form.matrix[:, :n]),
        g_offset=tensor(combine @ unit_form.matrix[:, n:].T),
        j_unit=tensor(input_form.matrix[moves][:, :n]),
        j_offset=tensor(combine @ input_form.matrix[moves][:, n:].T),
        leak=tensor(units.leak),
        z_lower=tensor(units.lower),
        z_upper=tensor(units.upper),
        d_lower=down[0][moves],
        d_upper=up[0][moves],
        faces=tensor(faces[:, moves]),
        room=tensor(room),
        tied=torch.from_numpy(tied),
        sign=torch.from_numpy(sign).to(torch.int8),
        rounding=placed.row_norms(gradient_rounding(local)[0])[0] * (not exact),
        z_rounding=tensor(forward.loss),
        p=placed.problem.p,
    )
    gradients, forward_sizes = _magnitudes(folded)
    length = EPS * max(1, len(folded.levels)) * (n + folded.inputs + SPARE)
    return replace(
        folded,
        rounding=folded.rounding + length * gradients + underflow(local)[0],
        z_rounding=2.0 * (folded.z_rounding + length * forward_sizes),
    )


def _magnitudes(network: FoldedNetwork) -> tuple[Tensor, Tensor]:
    """The sums of magnitudes that make up each functional's gradient, in norm ``(rows,)``, and each unit ``(n,)``."""
    w = torch.zeros_like(network.g_offset)
    for level in reversed(network.levels):
        w[:, level] = network.g_offset[:, level].abs() + w @ network.g_unit[level].abs().T
    z = network.z_offset.abs() + network.z_input.abs() @ torch.maximum(-network.d_lower, network.d_upper)
    for level in network.levels:
        z[level] = z[level] + network.z_unit[level].abs() @ z
    return network.norm(network.j_offset.abs() + w @ network.j_unit.abs().T), z
