"""Many small linear programs: how deep inside some rows a point of the unit box can lie, and how far along a direction.

Their answers prove nothing: callers evaluate the multipliers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipreg.milp.highs import silent_solver

if TYPE_CHECKING:
    import highspy

_OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "presolve": "off",
    "solver": "simplex",
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
}


def deepest(matrix: np.ndarray, levels: np.ndarray, real: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """max s <= 1 with matrix v + levels >= s real over -1 <= v <= 1.

    Args:
        matrix, levels: rows ``(k, n)`` and ``(k,)``.
        real: 1 for the rows that s deepens, 0 for those that hold without s, ``(k,)``.

    Returns:
        s, the point ``(n,)`` and multipliers of the rows ``(k,)``; None where the solver fails.
    """
    variables = matrix.shape[1]
    cost = np.append(np.zeros(variables), 1.0)
    least = np.append(np.full(variables, -1.0), -np.inf)
    solver = _solver_of(np.hstack([matrix, -real[:, None]]), levels, least, cost)
    optimum = None if solver is None else _optimum(solver)
    return None if optimum is None else (float(optimum[0][-1]), optimum[0][:-1], optimum[1])


class RowSet:
    """The points with matrix v + levels >= 0 and -1 <= v <= 1, in a solver of their own.

    Args:
        matrix, levels: rows ``(k, n)`` and ``(k,)``. Where the solver does not take them nothing is farthest.
    """

    def __init__(self, matrix: np.ndarray, levels: np.ndarray) -> None:
        variables = matrix.shape[1]
        self._solver = _solver_of(matrix, levels, np.full(variables, -1.0), np.zeros(variables))

    def farthest(self, way: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
        """max way . v over the set, started from the last optimum.

        Returns:
            The value, the point ``(n,)`` and multipliers of the rows ``(k,)``; None where the solver fails.
        """
        if self._solver is None:
            return None
        self._solver.changeColsCost(len(way), np.arange(len(way), dtype=np.int32), way)
        optimum = _optimum(self._solver)
        return None if optimum is None else (float(way @ optimum[0]), *optimum)

    def cut(self, way: np.ndarray, level: float) -> None:
        """Adds way . v + level >= 0 to the set."""
        import highspy

        if self._solver is not None:
            used = np.flatnonzero(way).astype(np.int32)
            self._solver.addRow(-level, highspy.kHighsInf, len(used), used, way[used])


def _solver_of(matrix: np.ndarray, levels: np.ndarray, least: np.ndarray, cost: np.ndarray) -> highspy.Highs | None:
    """A solver that has max cost . v with matrix v + levels >= 0, least <= v <= 1; None where it does not take it."""
    solver = silent_solver()
    import highspy  # loaded by now, whatever came in between

    for name, value in _OPTIONS.items():
        solver.setOptionValue(name, value)
    count, variables = matrix.shape
    rows, columns = matrix.nonzero()
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = count, variables
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, least, np.ones(variables)
    lp.row_lower_, lp.row_upper_ = -levels, np.full(count, highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)
    lp.a_matrix_.index_ = columns.astype(np.int32)
    lp.a_matrix_.value_ = matrix[rows, columns]
    return None if solver.passModel(lp) == highspy.HighsStatus.kError else solver


def _optimum(solver: highspy.Highs) -> tuple[np.ndarray, np.ndarray] | None:
    """The optimal point and the rows' multipliers; None without them."""
    import highspy

    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    solution = solver.getSolution()
    return np.asarray(solution.col_value), np.abs(np.asarray(solution.row_dual))
