"""Sides of switches that exclude each other, as products that are 0 in a relaxation of switches.

A switch w = a y has two sides, w and y - w, of which one is 0. Where no point has a_i = 1 and a_j = 1 together, w_i w_j = 0
at every point, whatever the numbers y are; with the other sides likewise. An equality has a multiplier of either sign, so

    rho |c|^2 - |x|^2 - sum_i lambda_i w_i (y_i - w_i) - sum_e nu_e p_e q_e >= 0    for all c and w

proves |x|_2 <= sqrt(rho) |c|_2 where the products p_e q_e are 0. Among vectors in place of numbers that is the constraint of
Lovasz's theta function (Lovasz 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEP = 0.25
"""Length of a step of the multipliers, in units in which those of the two switches are 1."""
FADING = 0.95
"""What remains of a multiplier after a step. Where a side is barred altogether its vector comes near 0 and never is 0.
Measured: without this multipliers grow without end, and roots of a convolutional network go off again after forty passes."""
MOST = 4.0
"""Largest multiplier, in those units."""


@dataclass(frozen=True)
class Exclusive:
    """Pairs of sides, of which one is 0, in each of N networks of u switches: side i < u is w_i, side u + i is y_i - w_i.

    A switch is w_i = a_i y_i, 0 <= a_i <= 1, of a network y = P w + Q c from k numbers c (``Switches``). Pair e has
    the sides p_e and q_e, and a multiplier nu_e of either sign on their product. A relaxation has vectors in R^r for w_i,
    y_i and c.

    Attributes:
        first, second: the sides, ``(N, e)``.
        valid: which pairs there are, ``(N, e)``; the others fill rows up.
    """

    first: Tensor
    second: Tensor
    valid: Tensor

    def __getitem__(self, index: Tensor) -> Exclusive:
        return Exclusive(self.first[index], self.second[index], self.valid[index])

    def constraint_gradients(self, multipliers: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of sum nu <p, q> by the vectors w and by y, ``(N, u, r)`` each.

        Args:
            multipliers: nu, ``(N, e)``.
            y, w: the vectors, ``(N, u, r)``.
        """
        one, other = self._sides(y, w)
        nu = multipliers.unsqueeze(-1)
        sides = torch.cat([y, y], 1).zero_()
        sides.scatter_add_(1, self._wide(self.first, y), nu * other)
        sides.scatter_add_(1, self._wide(self.second, y), nu * one)
        on, off = sides.chunk(2, 1)
        return on - off, off

    def multiplier_step(
        self, multipliers: Tensor, switch_multipliers: Tensor, y: Tensor, w: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The multipliers after a step downhill, ``(N, e)``, and sum nu <p, q> before it, ``(N,)``.

        Args:
            multipliers: nu, ``(N, e)``.
            switch_multipliers: lambda, the multipliers of the switches, ``(N, u)``.
            y, w: the vectors, ``(N, u, r)``.
        """
        one, other = self._sides(y, w)
        product = (one * other).sum(-1)
        size, switch_multipliers = y.norm(dim=-1), torch.cat([switch_multipliers, switch_multipliers], 1)
        size = torch.cat([size, size], 1)
        lengths = (size.gather(1, self.first) * size.gather(1, self.second)).clamp(min=1e-300)
        unit = (switch_multipliers.gather(1, self.first) * switch_multipliers.gather(1, self.second)).sqrt()
        value = (multipliers * product).sum(-1)
        most = MOST * unit
        after = torch.minimum(torch.maximum(FADING * multipliers - STEP * unit * product / lengths, -most), most)
        return torch.where(self.valid, after, 0.0), value

    def form(self, multipliers: Tensor, unit_unit: Tensor, unit_free: Tensor) -> Tensor:
        """sum nu p q as a symmetric matrix over w and c, ``(N, u + k, u + k)``.

        Args:
            multipliers: nu, ``(N, e)``.
            unit_unit, unit_free: P and Q, ``(N, u, u)`` and ``(N, u, k)``.
        """
        return self._form(multipliers, _off(unit_unit, unit_free))

    def form_of_sizes(self, multipliers: Tensor, unit_unit: Tensor, unit_free: Tensor) -> Tensor:
        """The sums of magnitudes that the entries of ``form`` are made of, from the same arguments.

        Args:
            multipliers, unit_unit, unit_free: as of ``form``.
        """
        return self._form(multipliers.abs(), _off(unit_unit, unit_free).abs())

    def _form(self, multipliers: Tensor, off: Tensor) -> Tensor:
        """With y - w as rows over w and c; those of w are unit vectors, so their products are entries."""
        u, size = off.shape[1], 2 * off.shape[1]
        half = torch.where(self.valid, multipliers / 2, 0.0)
        flat = off.new_zeros(len(off), size * size)
        flat.scatter_add_(1, self.first * size + self.second, half)
        weights = flat.reshape(len(off), size, size)
        weights = weights + weights.mT
        form = off.mT @ (weights[:, u:, u:] @ off)
        form[:, :u, :u] += weights[:, :u, :u]
        mixed = weights[:, :u, u:] @ off
        form[:, :u] += mixed
        form[:, :, :u] += mixed.mT
        return form

    def _sides(self, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        sides = torch.cat([w, y - w], 1)
        return sides.gather(1, self._wide(self.first, y)), sides.gather(1, self._wide(self.second, y))

    def _wide(self, at: Tensor, y: Tensor) -> Tensor:
        return at.unsqueeze(-1).expand(-1, -1, y.shape[-1])


def _off(unit_unit: Tensor, unit_free: Tensor) -> Tensor:
    """y - w of all switches over w and c, ``(N, u, u + k)``."""
    return torch.cat([unit_unit - torch.eye(unit_unit.shape[-1]).to(unit_unit), unit_free], -1)
