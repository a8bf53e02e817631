"""Tighter pre-activation bounds at one point: by LP, then by small trees of LPs for units whose sign may yet be decided.

Every unit that is decided takes its binary, its switched gradient and their big-M rows out of the exact program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget, OutOfBudget
from lipreg.folding import Displacements, Form, unstable_units
from lipreg.milp.encoding import encode_values
from lipreg.milp.program import Program
from lipreg.milp.relaxations import relaxed_bounds
from lipreg.milp.tree import prove

SAMPLES = 256
"""Random points that show which signs a unit takes: what they have seen needs no program to disprove it."""
TREE_SECONDS = 1.0
"""Most that the proof of one unit's sign may take."""


def tighten(local: Analysis, budget: Budget) -> Analysis:
    """The analysis of a single point with tighter bounds: behind the first layer, and over polytopes in it.

    Node by node in order: each undecided unit gets the LP relaxation's bounds; if no sample has seen it on one side of its
    kink, a tree over the units before it proves that it never is there, or stops at the first point that is. Every bound is
    proved here, from multipliers; no solver is trusted.

    Args:
        local: of a single point.
        budget: for all of it; what is proved by its end is used.
    """
    budget = replace(budget.started(), nodes=None)  # its trees are not counted
    graph, placed = local.graph, local.placed
    points = placed.region.sample(SAMPLES, torch.Generator().manual_seed(0))
    values = graph.values(points)
    # what was proved before stays: by other methods than those of the analyses below
    known = {node.source: (local.reach[node.source].lower, local.reach[node.source].upper) for _, node in graph.relus()}
    for index, node in graph.relus():
        units = unstable_units(local)
        chosen = units.position[units.of(index)]
        # over a box or a ball the first layer's intervals are exact; over a polytope they are those of its box
        if not len(chosen) or not (len(units.before(index)) or placed.region.halfspaces is not None):
            continue
        try:
            program, own = encode_values(local, index, budget)
        except OutOfBudget:
            break
        seen = values[node.source][0].flatten(1).numpy()[:, chosen]
        upper, lower = _by_lp(program, own, budget.share(0.5))
        for sign, ends, extreme in ((1.0, upper, seen.max(0)), (-1.0, lower, -seen.min(0))):
            undecided = (upper > 0) & (lower > 0) & (extreme <= 0)
            for i in np.flatnonzero(undecided):
                objective = _aimed(program, own[i : i + 1], sign)
                crossing = _Crossing(local, node.source, int(chosen[i]), sign, program.columns["d"])
                ends[i] = min(ends[i], prove(objective, 0.0, budget.within(TREE_SECONDS), crossing).bound)
        reach = local.reach[node.source]
        new_lower, new_upper = reach.lower[0].flatten().clone(), reach.upper[0].flatten().clone()
        new_upper[chosen] = torch.minimum(new_upper[chosen], torch.from_numpy(upper))
        new_lower[chosen] = torch.maximum(new_lower[chosen], torch.from_numpy(-lower))
        known[node.source] = new_lower.reshape(reach.lower.shape), new_upper.reshape(reach.upper.shape)
        with torch.no_grad():
            local = analyse(graph, placed, known=known, budget=budget)
    return local


@dataclass(frozen=True)
class _Crossing:
    """Whether, on the network itself, a program's point takes a unit to the side of its kink where none was seen."""

    local: Analysis
    node: int
    position: int
    sign: float
    displacement: slice

    def __call__(self, point: np.ndarray) -> bool:
        domain = Displacements.within(self.local.placed.region)
        values = self.local.graph.values(domain.points(torch.from_numpy(point[self.displacement]).unsqueeze(0)))
        return self.sign * float(values[self.node].flatten()[self.position]) > 0


def _by_lp(program: Program, form: Form, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds on z and on -z of each row of the form."""
    rows = range(len(form.constant))
    aimed = [_aimed(program, form[i : i + 1], sign) for sign in (1.0, -1.0) for i in rows]
    costs, offsets = np.array([a.cost for a in aimed]), np.array([a.offset for a in aimed])
    bounds = relaxed_bounds(program, costs, offsets, budget)
    return bounds[: len(rows)], bounds[len(rows) :]


def _aimed(program: Program, form: Form, sign: float) -> Program:
    """The program with sign * z as its objective, and room for its rounding, for a form of one row over (d, h)."""
    cost = np.zeros(len(program.cost))
    for name, slopes in (("d", form.on_input), ("h", form.on_unit)):
        if name in program.columns:
            cost[program.columns[name]] = sign * slopes[0].numpy()
    return replace(program, cost=cost, offset=sign * float(form.constant[0]) + float(form.error[0]))
