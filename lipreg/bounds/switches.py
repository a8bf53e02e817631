"""Small networks of switches, a batch of them: the problems that relaxations of searches and estimators bound."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipreg.bounds.exclusive import Exclusive


@dataclass(frozen=True)
class Switches:
    """A batch of N networks from c, k numbers, to x, m numbers, with u switches w_i = a_i y_i, 0 <= a_i <= 1.

        y = P w + Q c        (a switch reads those before it)
        x = R w + S c

    Attributes:
        unit_unit, unit_free: P and Q, ``(N, u, u)`` and ``(N, u, k)``.
        out_unit, out_free: R and S, ``(N, m, u)`` and ``(N, m, k)``.
        depth: levels of switches, P^depth = 0.
        exclusive: sides of switches that exclude each other; None for none.
    """

    unit_unit: Tensor
    unit_free: Tensor
    out_unit: Tensor
    out_free: Tensor
    depth: int
    exclusive: Exclusive | None = None

    def __getitem__(self, index: Tensor) -> Switches:
        parts = (self.unit_unit, self.unit_free, self.out_unit, self.out_free)
        p, q, r, s = (part[index] for part in parts)
        return Switches(p, q, r, s, self.depth, None if self.exclusive is None else self.exclusive[index])

    def rescaled(self, rows: Tensor | None, columns: Tensor | None) -> Switches:
        """The networks for x in units of ``rows`` ``(N, m)`` and c in units of ``columns`` ``(N, k)``."""
        p, q, r, s = self.unit_unit, self.unit_free, self.out_unit, self.out_free
        if rows is not None:
            r, s = r * rows.unsqueeze(-1), s * rows.unsqueeze(-1)
        if columns is not None:
            q, s = q * columns.unsqueeze(1), s * columns.unsqueeze(1)
        return Switches(p, q, r, s, self.depth, self.exclusive)
