"""Units that switch together share one binary: without that, patterns that occur on their common kink alone are allowed."""

from __future__ import annotations

import numpy as np

from lipreg.bounds import Analysis, shared_kinks
from lipreg.milp.assembly import Assembly
from lipreg.milp.folding import Units


def tie_binaries(program: Assembly, analysis: Analysis, units: Units) -> None:
    """a_i = a_first, or a_i + a_first = 1, for unstable units with z_i = ratio z_first in exact arithmetic.

    No differentiable point is lost. Off the kink the rows hold by themselves. Where z_first = 0 on an open set, its gradient
    is 0 there, so the input gradient is the same for every choice of a.
    """
    rows, right = [], []
    for index in np.unique(units.node):
        at = units.of(int(index))
        column = dict(zip(units.position[at].tolist(), at.tolist(), strict=True))
        for group in shared_kinks(analysis, int(index), units.position[at]):
            for position, sign, exact in zip(group.positions[1:], group.signs[1:], group.exact[1:], strict=True):
                if exact:
                    row = np.zeros(len(units))
                    row[column[position]], row[column[group.positions[0]]] = 1.0, -sign
                    rows.append(row)
                    right.append((1 - sign) / 2)
    if rows:
        program.equal({"a": np.array(rows)}, np.array(right))
