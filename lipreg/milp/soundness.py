"""What the solver's tolerance can do to the value of a program: a bound on the leak through its big-M rows.

A solver takes a binary that is off by its tolerance for an integer, and a row that is broken by it for satisfied; a big-M
row multiplies both. Given the pattern that the binaries round to, write w_i = a_i g_i + e_i for the switched gradients. With
the rows r of unit i, M_r the coefficient of its binary and size_r the largest term of the row (rows are scaled to size 1 for
the solver),

    |e_i| <= tolerance * max over its rows of (M_r + size_r),

and e_i enters the input gradient through the gradient of z_i, so the dual norm of the gradient moves by no more than
sum_i |e_i| max over X of |grad z_i|_{p*}. Rows of the objective itself leak once, by their own size. That holds for every
pattern and at any size of the errors, because the gradient is linear in e.

The forward rows are another matter: their leak does not move the value of a pattern, it lets in patterns of points that miss
the kink by the tolerance. No bound on the value follows from that; a witness inside the cell shows that the pattern is real.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lipreg.bounds import Analysis
from lipreg.graph import Affine, Input, Relu
from lipreg.linalg import vector_norm
from lipreg.milp.encoding import Encoding
from lipreg.milp.program import Program
from lipreg.milp.solvers import FEASIBILITY

FINEST = 1e-10
"""The smallest tolerance that HiGHS takes."""
RELATIVE = 1e-6
"""How far the value may move, relative to itself, before the tolerance is tightened."""


@dataclass(frozen=True)
class Allowance:
    """What tolerance to solve a program with, and what to allow for it.

    Attributes:
        tolerance: for rows and integers.
        leak: by how much the optimum may be raised at that tolerance, in units of the objective.
        moderate: whether the leak is below RELATIVE of the value.
    """

    tolerance: float
    leak: float
    moderate: bool

    @property
    def widening(self) -> float:
        """What to add to the bound: the leak, where the usual relative widening does not hold it."""
        return 0.0 if self.moderate else self.leak

    def sentence(self) -> str:
        """For a result's detail; empty where the usual tolerance is good enough."""
        if self.tolerance == FEASIBILITY and self.moderate:
            return ""
        words = f"Rows and integers to {self.tolerance:.1g}, because big-M rows are large"
        return (
            f"{words}."
            if self.moderate
            else f"{words}; the bound is widened by {self.leak:.2g} for what they let through."
        )


def allowance(local: Analysis, encoding: Encoding, value: float, finest: float = FINEST) -> Allowance:
    """The usual tolerance if it moves the value by less than RELATIVE, else a finer one.

    Args:
        local: of a single point.
        encoding: of one functional there.
        value: a lower bound on the optimum, or the best guess at it.
        finest: the smallest tolerance that the solver takes.
    """
    rate = leak_rate(local, encoding)
    wanted = RELATIVE * value / rate if rate > 0 else FEASIBILITY
    tolerance = float(np.clip(wanted, finest, FEASIBILITY))
    return Allowance(tolerance, rate * tolerance, rate * tolerance <= RELATIVE * value * (1 + 1e-9))


def leak_rate(local: Analysis, encoding: Encoding) -> float:
    """By how much the value of any pattern may be raised, per unit of tolerance; see the top of this module."""
    program = encoding.program
    matrix = program.matrix.tocsr()
    integer = np.zeros(len(program.cost), dtype=bool)
    integer[program.integer] = True
    size = program.row_sizes() + np.asarray(abs(matrix) @ integer.astype(float)).ravel()
    # what integers with a cost of their own (the choice of a functional) add, off by the tolerance
    rate = float(np.abs(program.cost[integer]).sum())
    of_objective = np.asarray(abs(matrix) @ (integer & ~_block(program, "a")).astype(float)).ravel() > 0
    if "w" in program.columns:
        a = program.columns["a"]
        switches = np.asarray(abs(matrix) @ _block(program, "w").astype(float)).ravel() > 0
        owned = abs(matrix[:, a.start : a.stop].toarray()) > 0
        largest = np.where(owned & switches[:, None], size[:, None], 0.0).max(axis=0, initial=0.0)
        rate += float(largest @ _gradient_norms(local, encoding))
    # rows that hold a variable of the objective down: broken by 1, they let the objective rise by cost / entry
    free = np.where(integer | _block(program, "w"), 0.0, program.cost)
    for row in np.flatnonzero(of_objective):
        entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
        gain = free[matrix.indices[entries]] / matrix.data[entries]
        rate += float(size[row] * gain.max(initial=0.0))
    return rate


def _block(program: Program, name: str) -> np.ndarray:
    """Which columns belong to a named block."""
    mask = np.zeros(len(program.cost), dtype=bool)
    if name in program.columns:
        mask[program.columns[name]] = True
    return mask


def _gradient_norms(local: Analysis, encoding: Encoding) -> np.ndarray:
    """Upper bounds on |grad z_i|_{p*} over X for each unstable unit: the chain of magnitudes, carried forward."""
    graph, placed, units = local.graph, local.placed, encoding.units
    moves = placed.region.moves[0]
    inputs = moves.numel()
    norms = np.zeros(len(units))
    flowing: list[torch.Tensor] = []  # (inputs, *shape) of each node: |d node / d input|, bounded
    for index, node in enumerate(graph.nodes):
        match node:
            case Input():
                flowing.append((torch.eye(inputs, dtype=graph.dtype) * moves.flatten()).reshape(inputs, *node.shape))
            case Affine():
                start = torch.zeros(inputs, *node.shape, dtype=graph.dtype)
                flowing.append(sum((map.abs()(flowing[i]) for i, map in node.terms()), start=start))
            case Relu(source=source):
                at = units.of(index)
                own = flowing[source].flatten(1).T[torch.from_numpy(units.position[at])]  # (units, inputs)
                norms[at] = vector_norm(own, placed.problem.dual).numpy()
                flowing.append(flowing[source] * local.slopes[index].upper)
    return norms
