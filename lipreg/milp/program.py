"""A mixed-integer linear program as arrays, and the outcome of a solver on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import scipy  # its parts load when they are first used

from lipreg.linalg.floats import EPS, TINY
from lipreg.results import Status


@dataclass(frozen=True)
class Program:
    """maximise cost . v + offset over A v <= b (the first ``equalities`` rows: = b), lower <= v <= upper, some v integer.

    Every variable has finite bounds, so any dual vector gives a true bound (see ``dual_bound``).

    Attributes:
        cost: coefficients of the objective, ``(variables,)``.
        offset: the objective's constant.
        matrix: A, ``(rows, variables)``.
        right: b, ``(rows,)``.
        equalities: how many of the first rows are equations.
        lower, upper: finite bounds of the variables, ``(variables,)``.
        integer: columns of the integer variables; empty in the relaxation.
        columns: where each named block of variables starts and ends.
    """

    cost: np.ndarray
    offset: float
    matrix: scipy.sparse.csc_array
    right: np.ndarray
    equalities: int
    lower: np.ndarray
    upper: np.ndarray
    integer: np.ndarray
    columns: dict[str, slice] = field(default_factory=dict)

    def relaxed(self) -> Program:
        """The linear relaxation: the integers become free within their bounds."""
        return replace(self, integer=np.empty(0, dtype=np.int64))

    def at_least(self, cutoff: float) -> Program:
        """The program with the row: objective >= cutoff. Infeasible means that nothing better exists."""
        row = scipy.sparse.csc_array(-self.cost.reshape(1, -1))
        return self.with_rows(row, np.array([self.offset - cutoff]))

    def with_rows(self, rows: scipy.sparse.csc_array, right: np.ndarray) -> Program:
        """The program with the rows: rows v <= right."""
        matrix = scipy.sparse.csc_array(scipy.sparse.vstack([self.matrix, rows], format="csc"))
        return replace(self, matrix=matrix, right=np.append(self.right, right))

    def column_sizes(self) -> np.ndarray:
        """The largest magnitude of each variable, 1 for integers and for those that are 0."""
        sizes = np.maximum(np.abs(self.lower), np.abs(self.upper))
        sizes[self.integer] = 1.0
        return np.where(sizes > 0, sizes, 1.0)

    def row_sizes(self) -> np.ndarray:
        """The largest term of each row, entry times column size; 1 for empty rows."""
        sizes = abs(self.matrix * self.column_sizes()).max(axis=1).toarray().ravel()
        return np.where(sizes > 0, sizes, 1.0)

    def scaled(self) -> ScaledProgram:
        """The same program with variables, rows and objective of size 1.

        Solvers' tolerances are absolute. On a network whose slopes are 1e-4 a tolerance of 1e-8 would be an error of
        1e-4; on the scaled program it is one of 1e-8 whatever the network's size.
        """
        columns, rows = self.column_sizes(), self.row_sizes()
        objective = float(np.abs(self.cost * columns).sum()) or 1.0
        matrix = scipy.sparse.csc_array((self.matrix * columns).tocsr() / rows[:, None])
        program = replace(
            self,
            cost=self.cost * columns / objective,
            offset=self.offset / objective,
            matrix=matrix,
            right=self.right / rows,
            lower=self.lower / columns,
            upper=self.upper / columns,
        )
        return ScaledProgram(program, columns, rows, objective)

    def trivial_bound(self) -> float:
        """The objective's largest value over the variables' bounds alone."""
        return self.dual_bound(np.zeros(len(self.right)))

    def dual_bound(self, dual: np.ndarray) -> float:
        """An upper bound on the relaxation from ANY row multipliers y: y . b + sum_j max(r_j l_j, r_j u_j) + offset.

        r = cost - A^T y. Multipliers of inequality rows are cut to y >= 0 first. Weak duality with boxed variables
        (Neumaier & Shcherbina 2004), so it holds for the answer of an unconverged, tolerant or wrong solver too. Rounded
        outward: a bound on the rounding of every product and sum is added.
        """
        dual = np.where(np.isfinite(dual), dual, 0.0)
        dual[self.equalities :] = np.maximum(dual[self.equalities :], 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            reduced = self.cost - self.matrix.T @ dual
            terms = np.concatenate([dual * self.right, np.maximum(reduced * self.lower, reduced * self.upper)])
            # A^T y has one product and one sum an entry of the column, and is taken from the cost
            entries = np.diff(self.matrix.indptr)
            doubt = (entries + 1) * (abs(self.matrix).T @ np.abs(dual)) + np.abs(reduced)
            ends = np.maximum(np.abs(self.lower), np.abs(self.upper))
            slack = EPS * float(doubt @ ends + np.abs(terms).sum() + abs(self.offset)) + len(terms) * TINY
        if not (math.isfinite(slack) and np.isfinite(terms).all()):
            return math.inf
        return math.fsum([*terms.tolist(), self.offset, slack])

    def refuted_by(self, dual: np.ndarray) -> bool:
        """Whether row multipliers prove that the relaxation has no point: with no objective its bound is below 0."""
        return replace(self, cost=np.zeros(len(self.cost)), offset=0.0).dual_bound(dual) < 0


@dataclass(frozen=True)
class ScaledProgram:
    """A scaled program and its scales: v = columns * (its variables), original objective = objective * (its objective).

    Attributes:
        program: with variables, rows and objective of size 1.
        columns: the size of each variable, ``(variables,)``.
        rows: the size of each row, ``(rows,)``.
        objective: the size of the objective.
    """

    program: Program
    columns: np.ndarray
    rows: np.ndarray
    objective: float

    def multipliers(self, scaled_multipliers: np.ndarray) -> np.ndarray:
        """The original's row multipliers from the scaled program's; bounds are evaluated on the original."""
        return scaled_multipliers * self.objective / self.rows


@dataclass(frozen=True)
class SolverOutcome:
    """A solver's outcome: its own claims, and the one bound that is proved here.

    Attributes:
        status: PROVED when the solver claims that it closed the requested gap (or that there is no point), else why it
            stopped.
        incumbent: the best feasible value found, -inf without one. Never an upper bound.
        claimed: the solver's own upper bound on the program: inf without one, -inf where it claims that there is no point.
            Solvers are wrong now and then, so no upper end of a result is made of it.
        dual_bound: an upper bound on the program proved here, by weak duality (``Program.dual_bound``): from the row
            multipliers of an LP; of a MIP only from the variables' bounds.
        point: the incumbent's variables, or None.
        nodes: branch and bound nodes.
        seconds: wall-clock time.
        detail: the solver, its version and its own name of the status.
    """

    status: Status
    incumbent: float = -math.inf
    claimed: float = math.inf
    dual_bound: float = math.inf
    point: np.ndarray | None = None
    nodes: int = 0
    seconds: float = 0.0
    detail: str = ""

    @property
    def claims_infeasible(self) -> bool:
        """Whether the solver claims that there is no point."""
        return self.claimed == -math.inf
