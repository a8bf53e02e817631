"""Programs put together block by block: named variables, and rows that are sums of matrices times variables.

A modelling language takes longer over these programs than the solver does over most of them; here a program is what numpy
and scipy need to stack its blocks. ``milp/plain.py`` writes the published encoding in cvxpy, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from lipreg.milp.program import Program

Block = np.ndarray | sp.csr_array | float
"""A matrix ``(rows, variables)``, a diagonal as a vector, or a number times the identity."""


class Assembly:
    """Collects variables and rows, then makes the Program.

    Rows are written as {variable: block}. A block is a matrix ``(rows, size)``; a vector stands for its diagonal matrix and
    a number for that many times the identity.
    """

    def __init__(self) -> None:
        self.columns: dict[str, slice] = {}
        self._lower: list[np.ndarray] = []
        self._upper: list[np.ndarray] = []
        self._integer: list[np.ndarray] = []
        self._rows: dict[bool, list[tuple[dict[str, sp.csr_array], np.ndarray]]] = {True: [], False: []}

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def size(self, name: str) -> int:
        columns = self.columns[name]
        return columns.stop - columns.start

    @property
    def width(self) -> int:
        return sum(map(len, self._lower))

    def variables(self, name: str, lower: np.ndarray, upper: np.ndarray) -> None:
        """Adds a block of bounded variables; an empty one is left out."""
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
        """Adds rows sum_v block_v v <= right. Blocks of variables that were left out are left out too."""
        self._add(row, right, equality=False)

    def equal(self, row: Mapping[str, Block], right: np.ndarray | float) -> None:
        """Adds rows sum_v block_v v = right."""
        self._add(row, right, equality=True)

    def _add(self, row: Mapping[str, Block], right: np.ndarray | float, equality: bool) -> None:
        blocks = {name: self._matrix(name, block) for name, block in row.items() if name in self.columns}
        if not blocks:
            return
        count = len(next(iter(blocks.values())).indptr) - 1
        if count:
            self._rows[equality].append((blocks, np.broadcast_to(np.asarray(right, dtype=np.float64), (count,))))

    def _matrix(self, name: str, block: Block) -> sp.csr_array:
        if (isinstance(block, np.ndarray) and block.ndim == 2) or sp.issparse(block):
            return sp.csr_array(block)
        return sp.csr_array(sp.diags_array(np.broadcast_to(np.asarray(block, dtype=np.float64), (self.size(name),))))

    def program(self, objective: Mapping[str, np.ndarray | float], offset: float) -> Program:
        """The program that maximises the sum of coefficients times variables, plus the offset."""
        cost = np.zeros(self.width)
        for name, coefficients in objective.items():
            if name in self.columns:
                cost[self.columns[name]] += coefficients
        rows = [*self._rows[True], *self._rows[False]]
        grid = [[blocks.get(name) for name in self.columns] for blocks, _ in rows]
        # a first line of no rows tells the widths of columns that no row uses
        grid.insert(0, [sp.csr_array((0, self.size(name))) for name in self.columns])
        return Program(
            cost=cost,
            offset=float(offset),
            matrix=sp.csc_array(sp.block_array(grid, format="csc")),
            right=np.concatenate([np.empty(0), *(right for _, right in rows)]),
            equalities=sum(len(right) for _, right in self._rows[True]),
            lower=np.concatenate(self._lower),
            upper=np.concatenate(self._upper),
            integer=np.concatenate([np.empty(0, dtype=np.int64), *self._integer]),
            columns=dict(self.columns),
        )
