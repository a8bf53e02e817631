"""LipSDP's quadratic form, and the repair that makes a bound of whatever multipliers a solver returns.

Every unit gives w_u (Delta z_u - w_u) >= 0. With multipliers lambda >= 0 and rho such that

    Q(rho, lambda) = rho |d|^2 + sum_u lambda_u w_u (w_u - Delta z_u) - |C d + G w|^2

is positive semidefinite, |Delta f|^2 <= rho |d|^2 for all that the network can do, so sqrt(rho) bounds the constant.
(lambda is a diagonal: multipliers that couple units, as in the paper's first form, prove nothing; Pauli et al. 2021.)

Repair. There are explicit rho_0, kappa > 0 with Q_0(rho_0, kappa) >= I, Q_0 the part of Q that is linear in them: from
Delta z_u^2 <= R_u (|M_u| |d|^2 + sum_v |T_uv| w_v^2), R_u = |M_u| + sum_v |T_uv|,

    kappa_v / 2 = 1 + sum over later u of kappa_u R_u |T_uv| / 2,      rho_0 = 1 + sum_u kappa_u R_u |M_u| / 2.

Any (rho, lambda) whose smallest eigenvalue is above -t therefore becomes feasible as (rho + t rho_0, lambda + t kappa).
The smallest rho of a lambda is explicit: with B and S the blocks of Q that belong to w,

    rho = largest eigenvalue of C^T C + B^T S^{-1} B,      S > 0.

Source: Fazlyab et al. 2019; the repair is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from lipreg.estimators.sdp.sectors import Sectors
from lipreg.linalg.floats import EPS

SHARES = (0.0, 0.03, 0.3, 1.0)
"""Parts of the eigenvalue shift that are tried on the multipliers before rho is computed from them."""


@dataclass(frozen=True)
class QuadraticForm:
    """Q in scaled variables: d in an orthonormal basis of what counts of it, w_u over ``unit_scale``, f over ``size``.

    Attributes:
        unit_input, unit_unit: M and T, ``(n, m)`` and ``(n, n)``.
        rows: [C G], ``(rows, m + n)``.
        size: the factor from the scaled bound to that of the network.
        unit_scale: the units of w_u, ``(n,)``.
        inputs: the number of inputs that move, without the basis; for the rounding.
    """

    unit_input: np.ndarray
    unit_unit: np.ndarray
    rows: np.ndarray
    size: float
    unit_scale: np.ndarray
    inputs: int

    @classmethod
    def of(cls, sectors: Sectors) -> QuadraticForm:
        """The form of sectors, scaled so that multipliers and rho are of size 1."""
        m, t, c, g = (
            part.numpy() for part in (sectors.unit_input, sectors.unit_unit, sectors.row_input, sectors.row_unit)
        )
        inputs = m.shape[1]
        if len(m) + len(c) < inputs:  # directions that neither a unit nor the output sees
            basis = np.linalg.qr(np.vstack([m, c]).T)[0]
            m, c = m @ basis, c @ basis
        scale = np.zeros(len(m))
        for u in range(len(m)):  # about the largest w_u for |d| = 1
            scale[u] = np.sqrt(m[u] @ m[u] + np.square(t[u, :u] * scale[:u]).sum())
        scale = np.where(scale > 0, scale, 1.0)
        rows = np.hstack([c, g * scale])
        size = float(np.linalg.norm(rows, 2)) if rows.size else 0.0
        return cls(m / scale[:, None], t * scale / scale[:, None], rows / (size or 1.0), size, scale, inputs)

    def __len__(self) -> int:
        return self.unit_input.shape[1] + len(self.unit_input)

    @property
    def units(self) -> int:
        """The number n of units."""
        return len(self.unit_input)

    def coefficients(self) -> tuple[scipy.sparse.csc_array, np.ndarray]:
        """(A, b): the entries of Q are A (rho, lambda) + b, ``((m + n)^2, 1 + n)`` sparse and ``((m + n)^2,)``."""
        size, inputs = len(self), self.unit_input.shape[1]
        unit_rows = inputs + np.arange(self.units)
        unit, other = np.nonzero(np.hstack([self.unit_input, self.unit_unit]))
        half = -np.hstack([self.unit_input, self.unit_unit])[unit, other] / 2
        diagonal = np.arange(size)
        entries = np.concatenate(
            [diagonal * (size + 1), unit_rows[unit] * size + other, other * size + unit_rows[unit]]
        )
        columns = np.concatenate([np.zeros(inputs, dtype=np.int64), 1 + np.arange(self.units), 1 + unit, 1 + unit])
        values = np.concatenate([np.ones(size), half, half])
        shape = (size * size, 1 + self.units)
        return scipy.sparse.csc_array((values, (entries, columns)), shape=shape), -(self.rows.T @ self.rows).ravel()

    def matrix(self, rho: float, multipliers: np.ndarray) -> np.ndarray:
        """Q(rho, lambda), ``(m + n, m + n)``."""
        inputs = self.unit_input.shape[1]
        form = -self.rows.T @ self.rows
        cross = multipliers[:, None] * np.hstack([self.unit_input, self.unit_unit]) / 2
        form[inputs:] -= cross
        form[:, inputs:] -= cross.T
        at = np.arange(inputs), np.arange(inputs, len(self))
        form[at[0], at[0]] += rho
        form[at[1], at[1]] += multipliers
        return form

    def slack(self) -> tuple[float, np.ndarray]:
        """(rho_0, kappa), rounded up."""
        m = np.linalg.norm(self.unit_input, axis=1)
        t = np.abs(self.unit_unit)
        row_sums = m + t.sum(1)
        kappa = np.zeros(self.units)
        for v in reversed(range(self.units)):
            kappa[v] = 2.0 + (kappa * row_sums) @ t[:, v]
        return (1.0 + float((kappa * row_sums) @ m) / 2) * (1 + 1e-12), kappa * (1 + 1e-12)

    def rounding(self, rho: float, multipliers: np.ndarray) -> float:
        """A bound on the error of the computed smallest eigenvalue, by rounding in Q's entries and in the eigensolver."""
        sizes = np.square(self.unit_input).sum(1) + np.square(self.unit_unit).sum(1)
        total = np.square(self.rows).sum() + multipliers @ (1.0 + np.sqrt(sizes)) + rho
        return float((10 * len(self) + self.inputs + len(self.rows)) * EPS * total)

    def smallest(self, multipliers: np.ndarray) -> float | None:
        """The smallest rho for these multipliers; None where there is none."""
        inputs = self.unit_input.shape[1]
        whole = self.matrix(0.0, multipliers)
        try:
            factor = np.linalg.cholesky(whole[inputs:, inputs:])
            half = np.linalg.solve(factor, whole[inputs:, :inputs])
        except np.linalg.LinAlgError:
            return None
        reduced = half.T @ half - whole[:inputs, :inputs]
        return max(0.0, float(np.linalg.eigvalsh(reduced)[-1])) if np.isfinite(reduced).all() else None

    def repaired(self, rho: float, multipliers: np.ndarray) -> tuple[float, np.ndarray]:
        """A rho and multipliers that are feasible, rounding included, from any rho and multipliers."""
        rho_0, kappa = self.slack()
        rho, clipped = max(0.0, rho), np.maximum(multipliers, 0.0)
        shift = self._shift(rho, clipped)
        best, best_multipliers = rho + shift * rho_0, clipped + shift * kappa
        for share in SHARES:
            tried = clipped + share * shift * kappa
            least = self.smallest(tried)
            if least is None:
                continue
            rest = self._shift(least, tried)
            if least + rest * rho_0 < best:
                best, best_multipliers = least + rest * rho_0, tried + rest * kappa
        return best, best_multipliers

    def _shift(self, rho: float, multipliers: np.ndarray) -> float:
        """t with smallest eigenvalue of Q above -t."""
        least = float(np.linalg.eigvalsh(self.matrix(rho, multipliers))[0])
        return max(0.0, self.rounding(rho, multipliers) - least)

    def bound(self, rho: float, multipliers: np.ndarray) -> tuple[float, np.ndarray]:
        """sqrt(rho) and the multipliers after the repair, in the units of the network."""
        best, repaired = self.repaired(rho, multipliers)
        with np.errstate(over="ignore"):  # see ``scaled``
            return self.size * float(np.sqrt(best)), repaired * (self.size / self.unit_scale) ** 2

    def scaled(self, multipliers: np.ndarray) -> np.ndarray:
        """Multipliers in the units of the network, in those of the form; 0, which is valid too, for those beyond float64."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = multipliers * (self.unit_scale / self.size) ** 2
        return np.where(np.isfinite(scaled), scaled, 0.0)

    def bound_by(self, multipliers: np.ndarray) -> float:
        """The bound from multipliers in the units of the network, for example those of another functional."""
        scaled = self.scaled(multipliers)
        return self.bound(self.smallest(scaled) or 0.0, scaled)[0]
