"""Tighter pre-activation bounds at one point: by LP, then by small trees of LPs for units that may yet prove stable.

Every unit that becomes stable takes its binary, its switched gradient and their big-M rows out of the exact program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget, OutOfBudget
from lipreg.folding import AffineForm, Displacements, unstable_units
from lipreg.milp.encoding import encode_values
from lipreg.milp.program import Program
from lipreg.milp.relaxations import relaxed_bounds
from lipreg.milp.tree import prove

SAMPLES = 256
"""Random points that show which signs a unit takes: no program is solved to exclude a sign that occurs."""
TREE_SECONDS = 1.0
"""Most that the proof of one unit's sign may take."""


def tighten(local: Analysis, budget: Budget) -> Analysis:
    """The analysis of a single point with tighter bounds: behind the first layer, and over polytopes in it.

    Node by node in order: each unstable unit gets the LP relaxation's bounds; if it is on one side of its kink at all
    samples, a tree over the units before it proves that it never is on the other, or stops at the first point where it is.
    Every bound is proved here, from multipliers; no solver is trusted.

    Args:
        local: of a single point.
        budget: for all of it; the bounds proved by its end are used.
    """
    budget = replace(budget.started(), nodes=None)  # its trees are not counted
    graph, placed = local.graph, local.placed
    points = placed.region.sample(SAMPLES, torch.Generator().manual_seed(0))
    values = graph.values(points)
    # bounds proved before stay: they come from other methods than those of the analyses below
    prior_bounds = {
        node.source: (local.value_bounds[node.source].lower, local.value_bounds[node.source].upper)
        for _, node in graph.relus()
    }
    for index, node in graph.relus():
        units = unstable_units(local)
        positions = units.position[units.of(index)]
        # over a box or a ball the first layer's intervals are exact; over a polytope they are those of its box
        if not len(positions) or not (len(units.before(index)) or placed.region.halfspaces is not None):
            continue
        try:
            program, forms = encode_values(local, index, budget)
        except OutOfBudget:
            break
        sampled = values[node.source][0].flatten(1).numpy()[:, positions]
        upper, lower = _by_lp(program, forms, budget.share(0.5))
        for sign, ends, extreme in ((1.0, upper, sampled.max(0)), (-1.0, lower, -sampled.min(0))):
            unstable = (upper > 0) & (lower > 0) & (extreme <= 0)
            for i in np.flatnonzero(unstable):
                objective = _with_objective(program, forms[i : i + 1], sign)
                crossing = _Crossing(local, node.source, int(positions[i]), sign, program.columns["d"])
                ends[i] = min(ends[i], prove(objective, 0.0, budget.within(TREE_SECONDS), crossing).bound)
        bounds = local.value_bounds[node.source]
        new_lower, new_upper = bounds.lower[0].flatten().clone(), bounds.upper[0].flatten().clone()
        new_upper[positions] = torch.minimum(new_upper[positions], torch.from_numpy(upper))
        new_lower[positions] = torch.maximum(new_lower[positions], torch.from_numpy(-lower))
        prior_bounds[node.source] = new_lower.reshape(bounds.lower.shape), new_upper.reshape(bounds.upper.shape)
        with torch.no_grad():
            local = analyse(graph, placed, prior_bounds=prior_bounds, budget=budget)
    return local


@dataclass(frozen=True)
class _Crossing:
    """Whether, on the network itself, a program's point takes a unit to the side of its kink where no sample was."""

    local: Analysis
    node: int
    position: int
    sign: float
    displacement: slice

    def __call__(self, point: np.ndarray) -> bool:
        domain = Displacements.within(self.local.placed.region)
        values = self.local.graph.values(domain.points(torch.from_numpy(point[self.displacement]).unsqueeze(0)))
        return self.sign * float(values[self.node].flatten()[self.position]) > 0


def _by_lp(program: Program, form: AffineForm, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds on z and on -z of each row of the form."""
    rows = range(len(form.constant))
    programs = [_with_objective(program, form[i : i + 1], sign) for sign in (1.0, -1.0) for i in rows]
    costs, offsets = np.array([one.cost for one in programs]), np.array([one.offset for one in programs])
    bounds = relaxed_bounds(program, costs, offsets, budget)
    return bounds[: len(rows)], bounds[len(rows) :]


def _with_objective(program: Program, form: AffineForm, sign: float) -> Program:
    """The program with sign * z, plus a bound on its rounding, as its objective, for a form of one row over (d, h)."""
    cost = np.zeros(len(program.cost))
    for name, slopes in (("d", form.on_input), ("h", form.on_unit)):
        if name in program.columns:
            cost[program.columns[name]] = sign * slopes[0].numpy()
    return replace(program, cost=cost, offset=sign * float(form.constant[0]) + float(form.error[0]))
