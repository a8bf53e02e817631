"""How deep inside some rows a point of the unit box can lie: many small linear programs, one after the other."""

from __future__ import annotations

import numpy as np

from lipreg.milp.highs import unsaid

_OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "presolve": "off",
    "solver": "simplex",
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
}


class Depths:
    """One solver for all of them. What it finds proves nothing by itself: whoever asks evaluates the multipliers."""

    def __init__(self) -> None:
        self._solver = unsaid()
        for name, value in _OPTIONS.items():
            self._solver.setOptionValue(name, value)

    def deepest(
        self, matrix: np.ndarray, levels: np.ndarray, real: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray] | None:
        """max s <= 1 with matrix v + levels >= s real over -1 <= v <= 1.

        Args:
            matrix, levels: rows ``(k, n)`` and ``(k,)``.
            real: 1 for the rows that s deepens, 0 for those that merely hold, ``(k,)``.

        Returns:
            s, the point ``(n,)`` and multipliers of the rows ``(k,)``; None where the solver does not end as it should.
        """
        import highspy

        count, variables = matrix.shape
        whole = np.hstack([matrix, -real[:, None]])
        rows, columns = whole.nonzero()
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = count, variables + 1
        lp.sense_ = highspy.ObjSense.kMaximize
        cost = np.zeros(variables + 1)
        cost[-1] = 1.0
        lp.col_cost_ = cost
        lp.col_lower_ = np.append(np.full(variables, -1.0), -highspy.kHighsInf)
        lp.col_upper_ = np.ones(variables + 1)
        lp.row_lower_, lp.row_upper_ = -levels, np.full(count, highspy.kHighsInf)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)
        lp.a_matrix_.index_ = columns.astype(np.int32)
        lp.a_matrix_.value_ = whole[rows, columns]
        if self._solver.passModel(lp) == highspy.HighsStatus.kError:
            return None
        self._solver.run()
        if self._solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found = self._solver.getSolution()
        point, multipliers = np.asarray(found.col_value), np.abs(np.asarray(found.row_dual))
        return float(point[-1]), point[:-1], multipliers
