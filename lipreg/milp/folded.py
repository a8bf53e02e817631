"""What every program of one point shares: its unstable units, their forms, and bounds on all gradients, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipreg.bounds import Analysis, gradient_rounding, linear_jacobian
from lipreg.linalg.floats import EPS, SPARE
from lipreg.milp.arithmetic import exactly
from lipreg.milp.folding import Form, forward_forms
from lipreg.milp.units import Units, unstable_units


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
        loss: what rounding may do to gradients with respect to those inputs while layers are multiplied out,
            ``(rows, inputs)``.
    """

    units: Units
    forward: Form
    gradients: Gradients
    moves: np.ndarray
    loss: np.ndarray


def folded(analysis: Analysis) -> Folded:
    """The folded network of a single-point analysis, remembered for as long as the analysis lives."""
    return analysis.derived(_fold)


def _fold(analysis: Analysis) -> Folded:
    units = unstable_units(analysis)
    moves = analysis.placed.region.moves[0].flatten().numpy()
    loss = gradient_rounding(analysis)[0][0].flatten(1).numpy()[:, moves] * (not exactly(analysis))
    return Folded(units, forward_forms(analysis, units), _gradients(analysis, units, moves), moves, loss)


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


def entries_loss(g_unit: Form, g_input: Form, largest: np.ndarray) -> np.ndarray:
    """What the rounding of a program's own entries may do to the gradient with respect to each input, ``(inputs,)``.

    Args:
        g_unit, g_input: gradients over (w, functional), their entries off by a few units in the last place.
        largest: magnitudes that w can have, ``(units,)``.
    """
    count = len(largest)
    ends = np.concatenate([largest, np.ones(g_input.matrix.shape[1] - count)])
    on_w, at_input = np.abs(g_unit.matrix[:, :count]), np.abs(g_input.matrix)
    own = SPARE * EPS * (np.abs(g_unit.matrix) @ ends + np.abs(g_unit.constant))
    lost = own
    for _ in range(count):  # what a unit loses reaches those before it: at most as often as there are levels
        further = own + on_w @ lost
        if (further <= lost).all():
            break
        lost = further
    return SPARE * EPS * (at_input @ ends + np.abs(g_input.constant)) + at_input[:, :count] @ lost
