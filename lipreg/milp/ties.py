"""Units that switch together share one binary: without that, patterns that occur on their common kink alone are allowed."""

from __future__ import annotations

import numpy as np

from lipreg.bounds import Analysis, shared_kinks
from lipreg.milp.assembly import Assembly
from lipreg.milp.units import Units


def tied_units(analysis: Analysis, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of units with z_i = ratio z_first in exact arithmetic, so that their phases decide each other.

    No differentiable point is lost by it. Where z_first = 0 on an open set, its gradient is 0 there, so the input gradient
    is the same for every choice of phases.

    Returns:
        (first, i) as indices of units, ``(2, pairs)``, and the sign of each ratio: 1 they are active together, -1 in turn.
    """
    pairs, signs = [], []
    for node in np.unique(units.node).tolist():
        at = units.of(node)
        column = dict(zip(units.position[at].tolist(), at.tolist(), strict=True))
        for group in shared_kinks(analysis, node, units.position[at]):
            first, *others = group.positions
            for position, sign, exact in zip(others, group.signs[1:], group.exact[1:], strict=True):
                if exact:
                    pairs.append((column[first], column[position]))
                    signs.append(sign)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T, np.array(signs, dtype=np.int64)


def tie_binaries(program: Assembly, analysis: Analysis, units: Units) -> None:
    """Adds a_i = a_first, or a_i + a_first = 1, for tied units; off their kink the rows hold by themselves."""
    (first, other), sign = tied_units(analysis, units)
    if not len(sign):
        return
    rows = np.zeros((len(sign), len(units)))
    rows[np.arange(len(sign)), other] = 1.0
    rows[np.arange(len(sign)), first] = -sign
    program.equal({"a": rows}, (1 - sign) / 2)
