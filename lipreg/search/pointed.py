"""Branch and bound for the pointed constant: over phases and over distances from the reference point.

Nodes are shells: some phases fixed, between two distances. Near the reference point the secant slopes are nearly exact, and
no distance is divided by; farther out linear forms of the rise, with the cuts of the phases, are better. A node is split at
a unit, or, where its distances are far apart, in two shells; with all phases fixed a cone program settles it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lipreg.folding import fold
from lipreg.results import Status
from lipreg.search.base import BaseSearch, SearchTask
from lipreg.search.closing import Closing
from lipreg.search.directions import Directions
from lipreg.search.forward_bounds import Forms, contradictory, shrink_boxes, tighten
from lipreg.search.linear_pieces import phases_at, piece_at, settle_piece
from lipreg.search.multipliers import tighten_together
from lipreg.search.nodes import Frontier
from lipreg.search.outcome import SearchOutcome
from lipreg.search.quotients import quotient_bound
from lipreg.search.rise_forms import rise_forms
from lipreg.search.rises import OutputDifferences, ShellNodes
from lipreg.search.secants import secant_bound
from lipreg.search.shells import descend, narrow, roots
from lipreg.search.worth import StepBenefit

AT_ONCE = (4, 256)
"""Fewest and most nodes a round: their forms are of few rows, so more of them at once cost less. Measured: 96 take a fifth
longer on the reference networks."""
PROMISE = 1e-9
"""How far above what is witnessed a point has to promise to lie, relatively, to be offered."""
ASCENT = 0.1
"""Most of the remaining time, for moving the best witness on."""
STEPS = 30
"""Most pieces that the best witness is moved through at a time."""
NEIGHBOURS = 4
"""Most pieces beside its own that are tried from a point on kinks."""


class PointedSearch(BaseSearch[ShellNodes]):
    """A branch and bound for the pointed constant; see ``lipreg.search.branch_and_bound``.

    Args:
        task: the question, its bounds so far and its limits.
    """

    def __init__(self, task: SearchTask) -> None:
        local, budget = task.local, task.budget
        # phases fold as they do for the regional constant: where one is fixed the secant is the slope
        regional = replace(local.placed, problem=replace(local.placed.problem, scope="regional"))
        self.rises = OutputDifferences.of(local, fold(local.for_question(regional), budget)).to(task.device)
        network = self.rises.network
        self.attain, self.value = task.attain, task.lower
        self.best = None if task.start is None else network.domain.of(task.start.to(task.device))[0]
        self.together = StepBenefit()
        nodes = roots(self.rises, task.uppers.to(task.device).repeat(2))
        super().__init__(task, network, Frontier(nodes, budget.memory))

    @property
    def lower(self) -> float:
        return self.value

    @property
    def _at_once(self) -> tuple[int, int]:
        return AT_ONCE

    def run(self) -> SearchOutcome:
        """The whole search: rounds until no node is open or a limit ends it."""
        self._report()
        self._ascend()
        while len(self.frontier):
            ended = self._stop_status()
            if ended is not None:
                return self._outcome(ended)
            nodes = self.frontier.take(self.batch)
            self.nodes += len(nodes)
            before = self.value
            nodes = self._settle_pieces(self._bound(nodes))
            if self.value > before:
                self._ascend()
            if len(nodes):
                self.frontier.add(descend(self.rises, nodes))
            self._report()
        return self._outcome(Status.PROVED)

    def _bound(self, nodes: ShellNodes) -> ShellNodes:
        """The nodes that may still beat the incumbent, each bound only for those that the one before it leaves open."""
        rises, network = self.rises, self.network
        nodes, cuts = self._forward_bounds(nodes)
        if not len(nodes):
            return nodes
        rounding = 3.0 * network.row_rounding[nodes.row % network.rows]
        directions = Directions.of(rises, nodes)
        nodes, kept = self._lowered(nodes, secant_bound(rises, nodes, directions), rounding, Closing.SECANTS)
        away = nodes.near > 0
        if not away.any():
            return nodes
        rounding, at = rounding[kept][away], kept.nonzero().flatten()[away]
        inner, nodes = nodes[~away], nodes[away]
        forms = [rise_forms(rises, nodes, own_side) for own_side in (True, False)]
        bound, points = quotient_bound(rises, nodes, forms, cuts[at], directions[at], self.cutoff)
        nodes.unit_gaps = torch.minimum(forms[0].gaps, forms[1].gaps).to(nodes.unit_gaps)
        self.offer_best(points)
        nodes, _ = self._lowered(nodes, bound, rounding, Closing.FORMS)
        return ShellNodes.join([inner, nodes])

    def _forward_bounds(self, nodes: ShellNodes) -> tuple[ShellNodes, Forms]:
        """Forward bounds under the phases: the nodes that are not empty, and the forms of their units."""
        forms = tighten(self.network, nodes, lambda form: self.rises.within(nodes, form))
        shrink_boxes(self.network, nodes, forms)
        narrow(self.rises, nodes, forms)
        kept = ~contradictory(nodes) & (nodes.near <= nodes.far)
        nodes, forms = self._nonempty(nodes, kept, Closing.BOUNDS), forms[kept]
        if len(nodes) and self.together.worthwhile():
            before, count = nodes.unstable.sum(-1), len(nodes)
            tighten_together(self.network, nodes, forms)
            kept = ~contradictory(nodes)
            gained = torch.where(kept, (before - nodes.unstable.sum(-1)).clamp(max=1), 1)
            self.together.note(gained.double() if count else gained)
            nodes, forms = self._nonempty(nodes, kept, Closing.CUTS), forms[kept]
        return nodes, forms

    def _settle_pieces(self, nodes: ShellNodes) -> ShellNodes:
        """Settles the nodes with no unstable unit by their programs, and returns the others."""
        leaf = ~nodes.unstable.any(-1)
        self.closings[Closing.PIECE] += int(leaf.sum())
        for at in leaf.nonzero().flatten().tolist():
            node = nodes[at : at + 1]
            if float(node.upper) > self.cutoff:
                self.settled += 1
                bound, point = settle_piece(self.rises, node, self.budget)
                rounding = 3.0 * float(self.network.row_rounding[node.row % self.network.rows])
                node.upper = node.upper.clamp(max=max(0.0, bound + rounding))
                if point is not None:
                    self.offer_best(point.unsqueeze(0))
            # attained by a witness, or what rounding leaves of it
            self.closed = max(self.closed, float(node.upper))
        return nodes[~leaf]

    def offer_best(self, d: Tensor) -> None:
        """Offers the best of displacements ``(k, m)``, if the folded network promises more there than is witnessed."""
        d = self.network.domain.inside(d)
        values = self.rises.quotients(d).amax(-1)
        best = int(values.argmax())
        if values[best] > self.value * (1 + PROMISE):
            attained = self.attain(self.network.domain.points(d[best : best + 1]).cpu())
            if attained > self.value:
                self.value, self.best = attained, d[best]

    def _ascend(self) -> None:
        """Moves the best witness to the steepest point of its linear piece, and of those beside, as long as that helps."""
        budget = self.budget.after(self.nodes).share(ASCENT)
        for _ in range(STEPS):
            if self.best is None or budget.stop_reason() is not None:
                return
            before = self.value
            for phase in phases_at(self.rises, self.best)[: 1 + NEIGHBOURS]:
                node = piece_at(self.rises, self.best, phase)
                _, point = settle_piece(self.rises, node, self.budget)
                if point is not None:
                    self.offer_best(point.unsqueeze(0))
                if self.value > before * (1 + PROMISE):
                    break
            else:
                return
