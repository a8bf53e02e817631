"""Multipliers without a solver: LipSDP's program by ascent over vectors, which ends with them (see ``bounds/lifted.py``)."""

from __future__ import annotations

import math

import numpy as np
import torch

from lipreg.bounds import MixingVectors, Switches, lifted_bound
from lipreg.budget import RATE, UNLIMITED, Budget
from lipreg.estimators.sdp.multipliers import QuadraticForm
from lipreg.results import Status

CLOSE = 1e-6
"""Relative distance to the program's value at which the ascent ends, unless rounds or time end it before."""
FACTORS = 16
"""The time until there are multipliers, in Cholesky factors of the form's side."""
LONGEST = 1e6
"""Seconds beyond which more make no difference."""
MATRICES = 12
"""The matrices of the form's side that are in memory at a time."""


def ascend(form: QuadraticForm, enough: float, budget: Budget) -> np.ndarray | None:
    """Multipliers whose rho is about the smallest, or whose bound is enough; None where the ascent has no finite bound.

    Args:
        form: the quadratic form, with at least one unit.
        enough: a bound, in the units of the network, at which the ascent may end.
        budget: the budget of the rounds after the first, started.

    Cost: products with the form's matrices, and some Cholesky factors of its side a round.
    """
    inputs = form.unit_input.shape[1]
    unit_unit, unit_input, rows = (
        torch.from_numpy(p).unsqueeze(0) for p in (form.unit_unit, form.unit_input, form.rows)
    )
    switches = Switches(unit_unit, unit_input, rows[..., inputs:], rows[..., :inputs], _depth(form.unit_unit))
    vectors = MixingVectors.start(1, form.units, inputs, unit_unit)
    thorough = torch.ones(1, dtype=torch.bool)
    limits = (budget, CLOSE) if budget.stop_reason() is None else (UNLIMITED, math.inf)
    ascent = lifted_bound(switches, vectors, False, False, enough / form.size, thorough, *limits)
    return ascent.multipliers[0].numpy() if bool(ascent.bound.isfinite()) else None


def affordable(budget: Budget) -> int:
    """The largest side of a form whose multipliers take half of the remaining time, and the memory of the budget."""
    return int(min(_side_in_time(budget), _side_in_memory(budget)))


def what_is_short(budget: Budget) -> Status:
    """What makes a form larger than ``affordable`` too large: the time, or the memory."""
    return Status.TIME_LIMIT if _side_in_time(budget) <= _side_in_memory(budget) else Status.MEMORY_LIMIT


def _side_in_time(budget: Budget) -> float:
    # a factor of a side n takes n^3 / 3 multiplications
    return (3 * min(budget.seconds_left, LONGEST) / 2 * RATE / FACTORS) ** (1 / 3)


def _side_in_memory(budget: Budget) -> float:
    return math.sqrt(budget.memory / MATRICES / 8)


def _depth(unit_unit: np.ndarray) -> int:
    """The length of the longest chain of units each of which reads the one before."""
    reads, level = unit_unit != 0, np.zeros(len(unit_unit), dtype=np.int64)
    while True:
        after = (reads * (level + 1)).max(1, initial=0)
        if (after == level).all():
            return int(level.max()) + 1
        level = after
