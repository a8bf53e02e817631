"""Gradients in a program: affine in the switched gradients and the functional, with proved bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipreg.bounds import Analysis, linear_jacobian
from lipreg.budget import Budget
from lipreg.folding import unstable_units


@dataclass(frozen=True)
class AffineGradient:
    """on_w w + on_c t + constant, with w the n switched gradients and t the family's binaries; one row an entry.

    Attributes:
        on_w: ``(entries, n)``.
        on_c: ``(entries, binaries)``; a fixed functional has no binaries.
        constant: ``(entries,)``.
    """

    on_w: np.ndarray
    on_c: np.ndarray
    constant: np.ndarray

    def __getitem__(self, index: np.ndarray) -> AffineGradient:
        return AffineGradient(self.on_w[index], self.on_c[index], self.constant[index])

    def with_negative(self) -> AffineGradient:
        """Every entry, then every entry's negative."""
        return AffineGradient(*(np.concatenate([part, -part]) for part in (self.on_w, self.on_c, self.constant)))


@dataclass(frozen=True)
class GradientBounds:
    """Interval bounds on gradients, one row a functional.

    Attributes:
        lower, upper: with respect to the inputs that are measured, times their weights, ``(rows, inputs)``.
        unit_lower, unit_upper: with respect to the outputs of the unstable units, ``(rows, units)``.
        left_out: what there was no time for.
    """

    lower: np.ndarray
    upper: np.ndarray
    unit_lower: np.ndarray
    unit_upper: np.ndarray
    left_out: str = ""

    def of(self, rows: list[int]) -> GradientBounds:
        """The bounds for some of the functionals."""
        return GradientBounds(
            self.lower[rows], self.upper[rows], self.unit_lower[rows], self.unit_upper[rows], self.left_out
        )


def gradient_bounds(analysis: Analysis, budget: Budget | None = None) -> GradientBounds:
    """Bounds on every row's gradients at a single point, which the analysis keeps as it keeps linear bounds.

    Args:
        analysis: of a single point.
        budget: started, of their linear bounds; None for that of the analysis.
    """
    return analysis.within(budget).memoised(_gradient_bounds, is_cut=lambda bounds: bool(bounds.left_out))


def _gradient_bounds(analysis: Analysis) -> GradientBounds:
    linear, units = linear_jacobian(analysis), unstable_units(analysis)
    bounds = linear.bounds
    rows, weights = analysis.placed.rows.shape[1], analysis.placed.weights[0].flatten().double().numpy()
    lower, upper = ((end[0].flatten(1).numpy() * weights)[:, weights > 0] for end in bounds[0])
    unit_lower, unit_upper = np.zeros((rows, len(units))), np.zeros((rows, len(units)))
    for index, (low, high) in bounds.items():  # a node that the output does not depend on has no gradient
        at = units.of(index)
        positions = units.position[at]
        unit_lower[:, at] = low[0].flatten(1).numpy()[:, positions]
        unit_upper[:, at] = high[0].flatten(1).numpy()[:, positions]
    return GradientBounds(lower, upper, unit_lower, unit_upper, linear.left_out)
