"""An upper bound on a mixed-integer program that trusts no solver: our own tree, with a dual bound at each of its nodes.

A node has narrower bounds on some integers. Its linear relaxation is solved by HiGHS and bounded by weak duality, or
proved to have no point by a Farkas vector, both evaluated in ``Program.dual_bound``; the rest of the solver's answer only
decides where the tree branches. So whatever a solver answers, the bound is true; a wrong answer makes it wider.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lipreg.budget import Budget
from lipreg.milp.program import Program
from lipreg.milp.relaxations import ProgramRelaxation
from lipreg.results import Status

FRACTIONAL = 1e-6
"""An integer this near to a whole number is not branched on while others are further away."""


@dataclass(frozen=True)
class Proof:
    """The result of a tree.

    Attributes:
        status: PROVED where no node above the target is open, BOUNDED where the target was refuted, else the limit.
        bound: proved upper bound on the program, whatever the status; -inf where it has no point.
        nodes: linear programs solved.
        point: of the relaxation that decided the bound, where one was solved: the closed node with the largest bound, or the
            one that refuted the target.
    """

    status: Status
    bound: float
    nodes: int
    point: np.ndarray | None = None


def prove(
    program: Program,
    target: float,
    budget: Budget,
    refutes: Callable[[np.ndarray], bool] = lambda point: False,
) -> Proof:
    """Proves that the program's maximum is at most ``target``, or as little above it as the limits allow.

    Args:
        program: to maximise.
        target: nodes whose bound is at most this are closed.
        budget: of the proof; its nodes are linear programs.
        refutes: called with the point of each relaxation whose integers are whole; True ends the proof, because the target
            cannot be proved.
    """
    budget = budget.started()
    relaxation = ProgramRelaxation(program, budget)
    integer, count = program.integer, itertools.count()
    # a node is its bound and the ends of its integers
    heap = [(-program.trivial_bound(), next(count), program.lower[integer], program.upper[integer])]
    closed, solved, highest = -math.inf, 0, None
    while heap and -heap[0][0] > target:
        status = budget.after(solved).stop_reason()
        if status is not None:
            return Proof(status, max(closed, -heap[0][0]), solved, highest)
        above, _, low, high = heapq.heappop(heap)
        lower, upper = program.lower.copy(), program.upper.copy()
        lower[integer], upper[integer] = low, high
        bound, point = relaxation.within(lower, upper)
        bound, solved = min(-above, bound), solved + 1
        free = np.flatnonzero(low < high)
        if bound <= target or not len(free):
            if bound > closed:
                closed, highest = bound, point
            continue
        values = (low + high) / 2 if point is None else point[integer]
        fraction = np.abs(values - np.round(values))[free]
        if point is not None and fraction.max() <= FRACTIONAL and refutes(point):
            return Proof(Status.BOUNDED, max(closed, bound, -heap[0][0] if heap else -math.inf), solved, point)
        at = free[fraction.argmax()]
        below = np.clip(np.floor(values[at]), low[at], high[at] - 1.0)
        for side, end in ((high, below), (low, below + 1.0)):
            ends = low.copy(), high.copy()
            ends[int(side is high)][at] = end
            heapq.heappush(heap, (-bound, next(count), *ends))
    return Proof(Status.PROVED, max(closed, -heap[0][0] if heap else -math.inf), solved, highest)
