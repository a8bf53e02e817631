"""Branch and bound over the phases of unstable units: the exact regional constant of all functionals in one search.

Nodes are tensors and every step takes a batch of them: pre-activations re-tightened under the phases, gradients bounded,
cheapest first, and what may still beat the incumbent is split. No step loops over nodes; only whole activation cells, of
which few are ever reached, go one by one to a linear program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import FREE, Budget, OutOfBudget
from lipreg.folding import fold, node_work
from lipreg.milp import Cell, settle_cell
from lipreg.milp import tighten as tighten_region
from lipreg.results import Status
from lipreg.search.branching import contradicting, descend
from lipreg.search.gradients import gradient_bounds
from lipreg.search.incumbent import Incumbent
from lipreg.search.multipliers import tighten_together
from lipreg.search.nodes import Frontier, Nodes
from lipreg.search.outcome import Outcome, Progress
from lipreg.search.reach import contradictory, decided, shrink_boxes, tighten
from lipreg.search.refolding import carry_over
from lipreg.search.relaxed import relaxed_bound
from lipreg.search.worth import Worth

TOLERANCE = 1e-6
"""Relative gap at which a node is closed."""
ELEMENTS = 1_000_000
"""Numbers in the largest tensor of a round: decides how many nodes a round takes."""
BATCH = (4, 96)
"""Fewest and most nodes a round."""
SPREAD = 16
"""Open children below which a round branches once more, as far as its nodes go."""
CLIMB_AFTER = 2**20
"""Numbers in the forms of all nodes bounded, after which the search climbs from its witness to better ones: small searches
end before. And again after four times as many, from another witness."""
CLIMB_SHARE = 0.25
"""Most of the time that is left."""
TIGHTEN_AFTER = 4000
"""Nodes after which the region's bounds are tightened by programs. A search that ends before has no use for their cost."""
TIGHTEN_SECONDS = 30.0
TIGHTEN_SHARE = 0.2
"""Most that tightening may take, in seconds and as a share of the time that is left."""


class Search:
    """One search; see ``search``."""

    def __init__(
        self,
        local: Analysis,
        uppers: Tensor,
        lower: float,
        attain: Callable[[Tensor], float],
        budget: Budget,
        progress: Callable[[Progress], None] | None,
        device: torch.device | str,
        start: Tensor | None,
    ) -> None:
        self.local, self.budget, self.progress = local, budget.started(), progress
        self.began = budget.clock()
        self.network = fold(local, self.budget).to(device)
        self.incumbent = Incumbent(attain, lower, None if start is None else self.network.domain.of(start)[0])
        self.closed, self.upper = 0.0, math.inf
        self.nodes = 0
        self.cells: dict[bytes, Cell] = {}
        self.settled = 0
        self.frontier = Frontier(Nodes.roots(self.network, uppers.to(device)), self.budget.memory)
        self.tightened = self.network.domain.sections is not None  # over a cone every range has 0 inside
        self.forward, self.relaxation = Worth(), Worth()
        self.climb_after = CLIMB_AFTER

    @property
    def batch(self) -> int:
        """How many nodes a round takes; fewer where there is no time for as many."""
        least, most = BATCH
        wanted = max(least, min(most, ELEMENTS // (2 * self._size)))
        return int(max(1, min(wanted, self.budget.times(self._node))))

    @property
    def _size(self) -> int:
        """Numbers in the forms of a node's units."""
        n, m = self.network.count, self.network.inputs
        return max(1, n) * (n + m)

    @property
    def _node(self) -> float:
        """Multiplications of bounding a node."""
        return node_work(self.network.count, self.network.inputs)

    @property
    def cutoff(self) -> float:
        """Nodes at or below it are closed: what they hold is proved to be at most this."""
        wanted = max(1.0 + TOLERANCE, 1.0 / (1.0 - self.budget.gap))
        return self.incumbent.value * wanted + 2.0 * float(self.network.rounding.max())

    def run(self) -> Outcome:
        self._report()
        while len(self.frontier):
            ended = self._ended()
            if ended is not None:
                return self._outcome(ended)
            if self.nodes >= TIGHTEN_AFTER and not self.tightened:
                self._tighten_region()
                self._report()
                continue
            if self.nodes * self._size >= self.climb_after:
                self._climb()
            nodes = self.frontier.take(self.batch)
            self.nodes += len(nodes)
            self.incumbent.hunt(self.local, self.network, self.nodes, lambda: self._ended() is not None)
            nodes = self._bound(*self._reach(nodes))
            nodes = self._settle_leaves(self._inhabited(nodes))
            if len(nodes):
                children, closed = descend(self.network, nodes, self.cutoff, SPREAD, self.budget)
                self.closed = max(self.closed, closed)
                self.frontier.add(children)
            self._report()
        # cells whose programs had no time may be those that hold no point
        ended = self.budget.ended() if self.closed > self.cutoff else None
        return self._outcome(Status.PROVED if ended is None else ended)

    def _outcome(self, status: Status) -> Outcome:
        return Outcome(status, self.upper, self.nodes, self.settled, float(self.network.rounding.max()))

    def _ended(self) -> Status | None:
        """What ends the search here: a limit, or that there is no time for another node."""
        late = None if self.budget.affords(self._node) else Status.TIME_LIMIT
        return self.budget.after(self.nodes).ended() or late

    def _open(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """The nodes that may still beat the incumbent, and which those are; what the others hold is entered as proved."""
        kept = nodes.upper > self.cutoff
        if not kept.all():
            self.closed = max(self.closed, float(nodes.upper[~kept].max()))
        return nodes[kept], kept

    def _report(self) -> None:
        self.closed = max(self.closed, self.frontier.drop(self.cutoff))
        self.upper = min(self.upper, max(self.closed, self.frontier.upper))
        if self.progress is not None:
            seconds = self.budget.clock() - self.began
            self.progress(Progress(self.incumbent.value, self.upper, len(self.frontier), self.nodes, seconds))

    def _tighten_region(self) -> None:
        """Bounds over the whole region by LP and small MIPs; the open nodes over the units that these leave undecided."""
        self.tightened = True
        local = tighten_region(self.local, self.budget.share(TIGHTEN_SHARE).within(TIGHTEN_SECONDS))
        try:
            network = fold(local, self.budget).to(self.network.j_unit.device)
        except OutOfBudget:
            return  # the open nodes stay as they are
        self.local, old, self.network = local, self.network, network
        nodes = carry_over(self.frontier.all(), old, self.network, self.local)
        self.frontier, self.cells = Frontier(nodes, self.budget.memory), {}

    def _reach(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Forward bounds under the phases; the nodes that are not empty, and a point to try for each.

        Without them nodes are kept that hold no point, and units that are decided count as undecided.
        """
        if not self.forward.pays():
            decided(self.network, nodes)
            kept = ~contradictory(nodes)
            return nodes[kept], ((nodes.d_lower + nodes.d_upper) / 2)[kept]
        before, count = nodes.undecided.sum(-1), len(nodes)
        nodes, points, kept = self._tightened(nodes)
        # an empty node is as much as one with a unit less
        gained = (before[kept] - nodes.undecided.sum(-1)).clamp(max=1).sum() + (count - len(nodes))
        self.forward.note(torch.full((count,), float(gained) / count))
        return nodes, points

    def _tightened(self, nodes: Nodes) -> tuple[Nodes, Tensor, Tensor]:
        """All forward bounds: the nodes that are not empty, a point to try for each, and which these are."""
        at = torch.arange(len(nodes), device=nodes.row.device)
        forms = tighten(self.network, nodes)
        shrink_boxes(self.network, nodes, forms)
        kept = ~contradictory(nodes)
        nodes, forms, at = nodes[kept], forms[kept], at[kept]
        if not len(nodes):
            return nodes, nodes.d_lower, at
        points = tighten_together(self.network, nodes, forms)
        kept = ~contradictory(nodes)
        return nodes[kept], points[kept], at[kept]

    def _bound(self, nodes: Nodes, points: Tensor) -> Nodes:
        """Gradient bounds, each only for the nodes that the one before it leaves open."""
        if len(nodes):
            middles = self.network.domain.inside((nodes.d_lower + nodes.d_upper) / 2)
            self.incumbent.offer_best(self.network, torch.cat([points, middles]))
        network, cutoff = self.network, self.cutoff
        stages = gradient_bounds(network, nodes.phase, nodes.row)
        bound, before = next(stages) if len(nodes) else None, nodes.upper
        while bound is not None:
            nodes, kept = self._lowered(nodes, bound)
            before, bound = bound[kept], _next(stages, kept) if len(nodes) else None
        if len(nodes) and (network.q is not None or (network.p != 1.0 and self.relaxation.pays())):
            bound = relaxed_bound(network, nodes, cutoff, self.budget)
            self.relaxation.lowered(before, bound, cutoff)
            nodes, _ = self._lowered(nodes, bound)
        return nodes

    def _lowered(self, nodes: Nodes, bound: Tensor) -> tuple[Nodes, Tensor]:
        """The nodes with another bound entered that are still open, and which those are."""
        nodes.upper = torch.minimum(nodes.upper, bound + self.network.rounding[nodes.row])
        return self._open(nodes)

    def _climb(self) -> None:
        self.climb_after *= 4
        own = self.budget.after(self.nodes).share(CLIMB_SHARE)
        self.incumbent.climb(self.network, lambda: own.ended() is not None)

    def _settle_leaves(self, nodes: Nodes) -> Nodes:
        """Settles the nodes with no undecided unit, and returns the others."""
        leaf = ~nodes.undecided.any(-1)
        # units that the round decided have cut nothing yet, and with all of them the cuts are the cell's own
        cells, _ = self._open(nodes[leaf])
        cells = self._bound(*self._tightened(cells)[:2]) if len(cells) else cells
        for at in range(len(cells)):
            upper = float(cells.upper[at])
            if upper <= self.cutoff or self._cell(cells.phase[at]) is not Cell.EMPTY:
                # attained by a witness, or by no point that was found: then it stays above every lower bound
                self.closed = max(self.closed, upper)
        return nodes[~leaf]

    def _inhabited(self, nodes: Nodes) -> Nodes:
        """Of a cone's nodes, those whose decided levels of units leave a cone with points of R^n; elsewhere all of them."""
        sections = self.network.domain.sections
        if sections is None or not len(nodes):
            return nodes
        known = self.network.leading(nodes.phase, contradicting(self.network.inputs, len(sections[0])))
        prefixes, at = known.unique(dim=0, return_inverse=True)
        empty = [bool(prefix.any()) and self._cell(prefix) is Cell.EMPTY for prefix in prefixes]
        return nodes[~torch.tensor(empty, device=at.device)[at]]

    def _cell(self, phase: Tensor) -> Cell:
        pattern = torch.where(phase == 0, torch.nan, (phase > 0).double()).cpu().numpy()
        key = pattern.tobytes()
        if key not in self.cells:
            self.settled += 1
            self.cells[key], point = settle_cell(self.local, self.network.units, pattern, self.budget)
            if point is not None:
                self.incumbent.offer(self.network, point)
        return self.cells[key]


def _next(stages: Generator[Tensor, Tensor, None], kept: Tensor) -> Tensor | None:
    try:
        return stages.send(kept)
    except StopIteration:
        return None


def search(
    local: Analysis,
    uppers: Tensor,
    lower: float,
    attain: Callable[[Tensor], float],
    budget: Budget | None = None,
    progress: Callable[[Progress], None] | None = None,
    device: torch.device | str = "cpu",
    start: Tensor | None = None,
) -> Outcome:
    """Searches for the regional constant of one point, the largest over its functionals.

    Args:
        local: a single-point analysis in regional scope, of a network of Affine and Relu nodes.
        uppers: a proved upper bound for each functional, ``(rows,)``.
        lower: what a witness attains already.
        attain: evaluates points ``(k, *shape)`` on the network itself and returns the best value witnessed so far.
        budget: when to end early; None for no limit.
        progress: told after every round.
        device: where the nodes live and are bounded, in float64.
        start: the witness that attains ``lower``, ``(1, *shape)``, to climb from.

    Returns:
        The proved upper end and how the search ended. The lower end is what ``attain`` has seen. Deterministic for a number
        of threads, up to where a time limit cuts it off.
    """
    own = (budget or FREE).started()
    began = own.clock()
    try:
        begun = Search(local, uppers, lower, attain, own, progress, device, start)
    except OutOfBudget as over:
        upper = float(uppers.max())
        if progress is not None:
            progress(Progress(lower, upper, open=len(uppers), nodes=0, seconds=own.clock() - began))
        return Outcome(over.status, upper, nodes=0, cells=0, left_out="There was no time to fold the network")
    return begun.run()
