"""Multipliers without a solver: LipSDP's program by ascent over vectors, whose end has them (see ``bounds/lifted.py``)."""

from __future__ import annotations

import math

import numpy as np
import torch

from lipreg.bounds import Switches, Vectors, lifted_bound
from lipreg.budget import FREE, RATE, Budget
from lipreg.estimators.sdp.multipliers import QuadraticForm

CLOSE = 1e-6
"""How close to the program's value the ascent goes on to come, relatively, while it has rounds and time left."""
FACTORS = 16
"""Cholesky factors' worth of time until there are multipliers."""
LONGEST = 1e6
"""Seconds of which more make no difference."""
MATRICES = 12
"""Of the form's side, that it has at a time."""


def ascend(form: QuadraticForm, enough: float, budget: Budget) -> np.ndarray | None:
    """Multipliers whose rho is about the smallest, or whose bound is enough; None where none were found.

    Args:
        form: with at least one unit.
        enough: a bound, in the units of the network, below which none is sought.
        budget: started, of the rounds after the first.

    Cost: products with the form's matrices, and some Cholesky factors of its side a round.
    """
    inputs = form.unit_input.shape[1]
    unit_unit, unit_input, rows = (
        torch.from_numpy(p).unsqueeze(0) for p in (form.unit_unit, form.unit_input, form.rows)
    )
    switches = Switches(unit_unit, unit_input, rows[..., inputs:], rows[..., :inputs], _depth(form.unit_unit))
    vectors = Vectors.start(1, form.units, inputs, unit_unit)
    thorough = torch.ones(1, dtype=torch.bool)
    limits = (budget, CLOSE) if budget.ended() is None else (FREE, math.inf)
    found = lifted_bound(switches, vectors, False, False, enough / form.size, thorough, *limits)
    return found.multipliers[0].numpy() if bool(found.bound.isfinite()) else None


def affordable(budget: Budget) -> int:
    """The side of a form to which ascent has multipliers in half of the time that is left, and in the memory given."""
    # a factor of a side n takes n^3 / 3 multiplications
    in_time = (3 * min(budget.seconds_left, LONGEST) / 2 * RATE / FACTORS) ** (1 / 3)
    return int(min(in_time, math.sqrt(budget.memory / MATRICES / 8)))


def _depth(unit_unit: np.ndarray) -> int:
    """The most units in a row that read one another."""
    reads, level = unit_unit != 0, np.zeros(len(unit_unit), dtype=np.int64)
    while True:
        after = (reads * (level + 1)).max(1, initial=0)
        if (after == level).all():
            return int(level.max()) + 1
        level = after
