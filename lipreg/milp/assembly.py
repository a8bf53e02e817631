"""Programs put together block by block: named variables, and rows that are sums of matrices times variables.

A modelling language takes longer over these programs than the solver does over most of them; here numpy and
scipy stack the blocks of a program. ``estimators/yardsticks/plain.py`` has the published encoding in cvxpy, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from lipreg.milp.program import Program


@dataclass(frozen=True)
class SparseMatrix:
    """A matrix by its entries that are not 0.

    Attributes:
        count: how many rows it has.
        rows, columns, values: of each entry, ``(entries,)``.
    """

    count: int
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> SparseMatrix:
        """A dense matrix as a sparse one."""
        rows, columns = np.nonzero(matrix)
        return cls(len(matrix), rows, columns, matrix[rows, columns])

    def __mul__(self, factor: np.ndarray | float) -> SparseMatrix:
        """The matrix with its rows, each times its factor, or with all times a number."""
        values = self.values * (factor[self.rows] if isinstance(factor, np.ndarray) else factor)
        return SparseMatrix(self.count, self.rows, self.columns, values)

    def __neg__(self) -> SparseMatrix:
        return SparseMatrix(self.count, self.rows, self.columns, -self.values)


Part = SparseMatrix | np.ndarray | float
"""A matrix ``(rows, variables)``, a diagonal as a vector, or a number times the identity."""
Block = Part | tuple[Part, Part]
"""One of these, or a sum of two."""


class Assembly:
    """A program that is being put together: it collects variables and rows, then makes the Program.

    Rows are written as {variable: block}. A block is a matrix ``(rows, size)`` or its entries; a vector stands for its
    diagonal matrix and a number for that many times the identity; two of these for their sum.
    """

    def __init__(self) -> None:
        self.columns: dict[str, slice] = {}
        self._lower: list[np.ndarray] = []
        self._upper: list[np.ndarray] = []
        self._integer: list[np.ndarray] = []
        self._rows: dict[bool, list[tuple[list[SparseMatrix], np.ndarray]]] = {True: [], False: []}

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def size(self, name: str) -> int:
        """How many variables the block ``name`` has."""
        columns = self.columns[name]
        return columns.stop - columns.start

    @property
    def width(self) -> int:
        """How many variables there are so far."""
        return sum(map(len, self._lower))

    def variables(self, name: str, lower: np.ndarray, upper: np.ndarray) -> None:
        """Adds a block of bounded variables; an empty one is left out.

        Args:
            name: of the block.
            lower, upper: finite bounds, ``(size,)``.
        """
        if len(lower):
            self.columns[name] = slice(self.width, self.width + len(lower))
            self._lower.append(np.asarray(lower, dtype=np.float64))
            self._upper.append(np.asarray(upper, dtype=np.float64))

    def binaries(self, name: str, count: int) -> None:
        """Adds a block of variables in {0, 1}; an empty one is left out."""
        if count:
            self._integer.append(np.arange(self.width, self.width + count))
            self.variables(name, np.zeros(count), np.ones(count))

    def at_most(self, row: Mapping[str, Block], right: np.ndarray | float) -> None:
        """Adds rows sum_v block_v v <= right, without the blocks of variables that were left out."""
        self._add(row, right, equality=False)

    def equal(self, row: Mapping[str, Block], right: np.ndarray | float) -> None:
        """Adds rows sum_v block_v v = right."""
        self._add(row, right, equality=True)

    def _add(self, row: Mapping[str, Block], right: np.ndarray | float, equality: bool) -> None:
        blocks = {name: block for name, block in row.items() if name in self.columns}
        if not blocks:
            return
        entries = [
            self._entries(name, part)
            for name, block in blocks.items()
            for part in (block if isinstance(block, tuple) else (block,))
        ]
        count = entries[0].count
        if count:
            ends = np.broadcast_to(np.asarray(right, dtype=np.float64), (count,))
            self._rows[equality].append((entries, ends))

    def _entries(self, name: str, part: Part) -> SparseMatrix:
        """The entries of a part, at the program's columns."""
        first = self.columns[name].start
        if isinstance(part, np.ndarray) and part.ndim == 2:
            part = SparseMatrix.of(part)
        if isinstance(part, SparseMatrix):
            return SparseMatrix(part.count, part.rows, first + part.columns, part.values)
        diagonal = np.arange(self.size(name))
        return SparseMatrix(len(diagonal), diagonal, first + diagonal, np.broadcast_to(part, diagonal.shape))

    def program(self, objective: Mapping[str, np.ndarray | float], offset: float) -> Program:
        """The program that maximises the sum of coefficients times variables, plus the offset."""
        cost = np.zeros(self.width)
        for name, coefficients in objective.items():
            if name in self.columns:
                cost[self.columns[name]] += coefficients
        rows = [*self._rows[True], *self._rows[False]]
        right = np.concatenate([np.empty(0), *(ends for _, ends in rows)])
        begin, triplets = 0, [(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
        for entries, ends in rows:
            triplets += [(e.values, begin + e.rows, e.columns) for e in entries]
            begin += len(ends)
        values, at_row, at_column = (np.concatenate(part) for part in zip(*triplets, strict=True))
        return Program(
            cost=cost,
            offset=float(offset),
            matrix=scipy.sparse.csc_array((values, (at_row, at_column)), shape=(len(right), self.width)),
            right=right,
            equalities=sum(len(ends) for _, ends in self._rows[True]),
            lower=np.concatenate(self._lower),
            upper=np.concatenate(self._upper),
            integer=np.concatenate([np.empty(0, dtype=np.int64), *self._integer]),
            columns=dict(self.columns),
        )
