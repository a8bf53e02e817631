"""What every program of one point shares: its unstable units, their forms, and bounds on all gradients, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipreg.bounds import Analysis, linear_jacobian
from lipreg.milp.folding import Form, Units, forward_forms, unstable_units


@dataclass(frozen=True)
class Gradients:
    """Interval bounds on gradients, one line a functional.

    Attributes:
        lower, upper: with respect to the inputs with room, ``(rows, inputs)``.
        unit_lower, unit_upper: with respect to the outputs of the unstable units, ``(rows, units)``.
    """

    lower: np.ndarray
    upper: np.ndarray
    unit_lower: np.ndarray
    unit_upper: np.ndarray

    def of(self, rows: list[int]) -> Gradients:
        return Gradients(self.lower[rows], self.upper[rows], self.unit_lower[rows], self.unit_upper[rows])


@dataclass(frozen=True)
class Folded:
    """One point's network with its stable units folded away.

    Attributes:
        units: the unstable units.
        forward: their pre-activations over (displacement d, outputs h of the unstable units).
        gradients: of every row of the placed problem.
        moves: which inputs have room.
    """

    units: Units
    forward: Form
    gradients: Gradients
    moves: np.ndarray


def folded(analysis: Analysis) -> Folded:
    """The folded network of a single-point analysis, remembered for as long as the analysis lives."""
    return analysis.derived("folded", lambda: _fold(analysis))


def _fold(analysis: Analysis) -> Folded:
    units = unstable_units(analysis)
    moves = analysis.placed.region.moves[0].flatten().numpy()
    return Folded(units, forward_forms(analysis, units), _gradients(analysis, units, moves), moves)


def _gradients(analysis: Analysis, units: Units, moves: np.ndarray) -> Gradients:
    bounds = linear_jacobian(analysis).bounds
    rows = analysis.placed.rows.shape[1]
    lower, upper = (end[0].flatten(1).numpy()[:, moves] for end in bounds[0])
    unit_lower, unit_upper = np.zeros((rows, len(units))), np.zeros((rows, len(units)))
    for index, (low, high) in bounds.items():  # a node that the output does not depend on has no gradient
        at = units.of(index)
        chosen = units.position[at]
        unit_lower[:, at] = low[0].flatten(1).numpy()[:, chosen]
        unit_upper[:, at] = high[0].flatten(1).numpy()[:, chosen]
    return Gradients(lower, upper, unit_lower, unit_upper)
