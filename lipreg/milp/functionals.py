"""The functionals that one program maximises over: a single one, the best of several, or all sign vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipreg.bounds import Analysis
from lipreg.linalg.floats import SPARE
from lipreg.milp.assembly import Assembly


@dataclass(frozen=True)
class FunctionalFamily:
    """A family of functionals c, made of rows of the placed problem.

    Attributes:
        rows: indices of the rows.
        signs: False: c is one of the rows, each with a selection binary. True: c = sum_k s_k row_k with signs
            s_k in {-1, 1}, a binary each; the largest |J^T c|_{p*} over them is the operator norm |J|_{p->1}.
    """

    rows: tuple[int, ...]
    signs: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def single(self) -> bool:
        """Whether the functional is fixed, so that it takes no variables."""
        return len(self.rows) == 1

    def free_signs(self, p: float) -> int:
        """How many signs are variables. c and -c have the same norm: for p = inf one sign may be fixed.

        For p = 1 all are variables, and the largest entry is sought instead of the largest magnitude.
        """
        return len(self.rows) if p == 1.0 else len(self.rows) - 1

    def add(self, program: Assembly, p: float) -> tuple[np.ndarray, np.ndarray]:
        """Adds the family's binaries t, "functional", and their rows.

        Returns:
            The share of each row in c: matrix t + constant, ``(k, binaries)`` and ``(k,)``. A value linear in c is the same
            combination of those of the rows.
        """
        if self.single:
            return np.zeros((1, 0)), np.ones(1)
        if not self.signs:
            program.binaries("functional", len(self))
            program.equal({"functional": np.ones((1, len(self)))}, 1.0)
            return np.eye(len(self)), np.zeros(len(self))
        count = self.free_signs(p)
        program.binaries("functional", count)
        free = np.arange(len(self)) >= len(self) - count
        return 2.0 * np.eye(len(self))[:, free], np.where(free, -1.0, 1.0)

    def ends(self, lower: np.ndarray, upper: np.ndarray, p: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on a gradient over the whole family.

        Args:
            lower, upper: bounds for each of its rows, ``(k, n)``.
            p: norm of input distances.

        Returns:
            Lower and upper bounds, ``(n,)`` each.
        """
        if not self.signs or self.single:
            return lower.min(0), upper.max(0)
        fixed = len(self) - self.free_signs(p)
        size = np.maximum(-lower, upper)[fixed:].sum(0)
        return lower[:fixed].sum(0) - size, upper[:fixed].sum(0) + size

    def loss(self, rounding: np.ndarray) -> float:
        """A bound on the rounding of any functional's gradient norm in a program, from that of each row, ``(rows,)``."""
        of_rows = rounding[list(self.rows)]
        if not self.signs:
            return float(of_rows.max())
        # sums over the rows add a rounding a row, of which those of the rows themselves allow for SPARE
        return float(of_rows.sum()) * (1.0 + len(self) / SPARE)

    def add_linking_rows(self, program: Assembly, name: str, most: np.ndarray, least: np.ndarray | None = None) -> None:
        """Adds rows that bound variables by those of the functional selected: name <= sum_k t_k most_k.

        They cut the relaxation, in which the functional is a mixture. Nothing for a single functional, whose bounds are
        the variables' own, and nothing for signs.

        Args:
            program: to which they are added.
            name: of the variables.
            most, least: their bounds for each of the k functionals, ``(k, variables)``.
        """
        if self.single or self.signs:
            return
        program.at_most({name: 1.0, "functional": -most.T}, 0.0)
        if least is not None:
            program.at_most({name: -1.0, "functional": least.T}, 0.0)


def families(local: Analysis) -> tuple[Analysis, list[FunctionalFamily]]:
    """The families of which the question at a single point has the largest constant, over the rows of the analysis returned.

    Each functional is a family of its own, an operator norm being the largest over its outputs or sign vectors
    (``PlacedProblem.scalarised``). Where sign vectors are too many for that, one family has them all.
    """
    apart = local.memoised(_scalarised) or local
    rows = range(apart.placed.rows.shape[1])
    if apart.placed.problem.output.joint:
        return apart, [FunctionalFamily(tuple(rows), signs=True)]
    return apart, [FunctionalFamily((row,)) for row in rows]


def _scalarised(local: Analysis) -> Analysis | None:
    """The analysis with each functional on its own; None where the analysis itself has them so."""
    placed = local.placed.scalarised()
    return None if placed is local.placed else local.for_question(placed)
