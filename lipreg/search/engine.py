"""Branch and bound over the phases of unstable units: the exact regional constant of all functionals in one search.

Nodes are tensors and every step takes a batch of them: pre-activations re-tightened under the phases, gradients bounded,
cheapest first, and what may still beat the incumbent is split. No step loops over nodes; only whole activation cells, of
which few are ever reached, go one by one to a linear program.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import UNLIMITED, Budget, OutOfBudget
from lipreg.folding import fold
from lipreg.milp import CellStatus, settle_cell
from lipreg.milp import tighten as tighten_region
from lipreg.results import Status
from lipreg.search.ascent import QUICK, THOROUGH
from lipreg.search.base import TOLERANCE, BaseSearch, SearchTask
from lipreg.search.branching import contradicting, descend
from lipreg.search.closing import STAGES, Closing
from lipreg.search.conflicts import with_conflicts
from lipreg.search.fixing import fix_phases
from lipreg.search.forward_bounds import apply_phases, contradictory, shrink_boxes, tighten
from lipreg.search.gradients import gradient_bounds
from lipreg.search.incumbent import Incumbent
from lipreg.search.multipliers import tighten_together
from lipreg.search.nodes import Frontier, Nodes
from lipreg.search.outcome import SearchOutcome, SearchProgress, not_begun_message
from lipreg.search.pointed import PointedSearch
from lipreg.search.programs import NodePrograms
from lipreg.search.refolding import carry_over
from lipreg.search.relaxed import relaxed_bound
from lipreg.search.worth import StepBenefit

MIN_CHILDREN = 16
"""Open children below which a round branches once more, as far as its nodes go; fewer where a round takes fewer nodes."""
LONG = 2**20
"""Numbers in the forms of all nodes bounded, from which on a search is a long one: it bounds nodes thoroughly, and
local searches go on from its witness to better ones, again after twice as many."""
PROGRAMMED = 64
"""Nodes of a long search after which each has a linear program. Of large networks setting it up costs as much as nodes."""
PAIRED = 2**22
"""Numbers in the forms of all nodes bounded, from which on pairs of phases that exclude each other are worth their cost."""
LOCAL_SEARCH_SHARE = 0.25
"""Most of the remaining time."""
TIGHTEN_AFTER = 4000
"""Nodes after which the region's bounds are tightened by programs. A search that ends before has no use for their cost."""
TIGHTEN_SECONDS = 30.0
TIGHTEN_SHARE = 0.2
"""Most that tightening may take, in seconds and as a share of the remaining time."""


class Search(BaseSearch[Nodes]):
    """A branch and bound for the regional constant; see ``branch_and_bound``.

    Args:
        task: the question, its bounds so far and its limits.
    """

    def __init__(self, task: SearchTask) -> None:
        local, budget = task.local, task.budget
        network = fold(local, budget).to(task.device)
        super().__init__(task, network, Frontier(Nodes.roots(network, task.uppers.to(task.device)), budget.memory))
        self.local = local
        start = None if task.start is None else network.domain.of(task.start)[0]
        self.incumbent = Incumbent(task.attain, task.lower, start)
        self.cells: dict[bytes, CellStatus] = {}
        self.tightened = self.network.domain.sections is not None  # over a cone every range has 0 inside
        self.forward, self.relaxation = StepBenefit(), StepBenefit()
        self.local_search_after = LONG
        self.paired = False
        self.programs: NodePrograms | None = None

    @property
    def lower(self) -> float:
        return self.incumbent.value

    def run(self) -> SearchOutcome:
        """The whole search: rounds until no node is open or a limit ends it."""
        self._report()
        while len(self.frontier):
            ended = self._stop_status()
            if ended is not None:
                return self._outcome(ended)
            if self.nodes >= TIGHTEN_AFTER and not self.tightened:
                self._tighten_region()
                self._report()
                continue
            if self.nodes * self._size >= self.local_search_after:
                self._local_search()
            if self.nodes * self._size >= PAIRED and not self.paired:
                self._pair()
            nodes = self.frontier.take(self.batch)
            self.nodes += len(nodes)
            memory = self.budget.memory
            self.incumbent.hunt(self.local, self.network, self.nodes, lambda: self._stop_status() is not None, memory)
            nodes = self._bound(*self._forward_bounds(nodes))
            nodes = self._settle_leaves(self._in_space(nodes))
            nodes = self._by_programs(nodes)
            if len(nodes):
                children, uppers = descend(self.network, nodes, self.cutoff, min(MIN_CHILDREN, self.batch), self.budget)
                self.closed = max([self.closed, *uppers])
                self.closings[Closing.BRANCHED] += len(uppers)
                self.frontier.add(children)
            self._report()
        # cells whose programs had no time may be those that hold no point
        ended = self.budget.stop_reason() if self.closed > self.cutoff else None
        return self._outcome(Status.PROVED if ended is None else ended)

    def _tighten_region(self) -> None:
        """Bounds over the whole region by LP and small MIPs; the open nodes over the units that these leave unstable."""
        self.tightened = True
        local = tighten_region(self.local, self.budget.share(TIGHTEN_SHARE).within(TIGHTEN_SECONDS))
        try:
            network = fold(local, self.budget).to(self.network.j_unit.device)
        except OutOfBudget:
            return  # the open nodes stay as they are
        self.local, old, self.network = local, self.network, network
        nodes = carry_over(self.frontier.all(), old, self.network, self.local)
        self.frontier, self.cells = Frontier(nodes, self.budget.memory), {}
        self.paired = False

    def _pair(self) -> None:
        """Finds pairs of phases that exclude each other, for all nodes from here on."""
        self.paired = True
        self.network = with_conflicts(self.network, self.budget)
        nodes = self.frontier.all()
        none = nodes.vectors.new_zeros(len(nodes), self.network.exclusive.shape[1])
        self.frontier = Frontier(replace(nodes, exclusive=none), self.budget.memory)

    def _forward_bounds(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Forward bounds under the phases; the nodes that are not empty, and a point to try for each.

        Without them nodes are kept that hold no point, and units that are decided count as unstable.
        """
        if not self.forward.worthwhile():
            apply_phases(self.network, nodes)
            nodes = self._nonempty(nodes, ~contradictory(nodes), Closing.BOUNDS)
            return nodes, (nodes.d_lower + nodes.d_upper) / 2
        before, count = nodes.unstable.sum(-1), len(nodes)
        nodes, points, kept = self._tightened(nodes)
        # an empty node is as much as one with a unit less
        gained = (before[kept] - nodes.unstable.sum(-1)).clamp(max=1).sum() + (count - len(nodes))
        self.forward.note(torch.full((count,), float(gained) / count))
        return nodes, points

    def _tightened(self, nodes: Nodes) -> tuple[Nodes, Tensor, Tensor]:
        """All forward bounds: the nodes that are not empty, a point to try for each, and which these are."""
        at = torch.arange(len(nodes), device=nodes.row.device)
        forms = tighten(self.network, nodes)
        shrink_boxes(self.network, nodes, forms)
        kept = ~contradictory(nodes)
        nodes, forms, at = self._nonempty(nodes, kept, Closing.BOUNDS), forms[kept], at[kept]
        if not len(nodes):
            return nodes, nodes.d_lower, at
        rounds = THOROUGH if self.nodes * self._size >= LONG else QUICK
        points = tighten_together(self.network, nodes, forms, rounds)
        kept = ~contradictory(nodes)
        return self._nonempty(nodes, kept, Closing.CUTS), points[kept], at[kept]

    def _bound(self, nodes: Nodes, points: Tensor) -> Nodes:
        """Gradient bounds, each only for the nodes that the one before it leaves open."""
        if len(nodes):
            middles = self.network.domain.inside((nodes.d_lower + nodes.d_upper) / 2)
            self.incumbent.offer_best(self.network, torch.cat([points, middles]))
        network, cutoff = self.network, self.cutoff
        stages, closings = gradient_bounds(network, nodes.phase, nodes.row), iter(STAGES)
        bound, before = next(stages) if len(nodes) else None, nodes.upper
        while bound is not None:
            nodes, kept = self._lowered(nodes, bound, network.rounding[nodes.row], next(closings))
            before, bound = bound[kept], _next(stages, kept) if len(nodes) else None
        if len(nodes) and (network.q is not None or (network.p != 1.0 and self.relaxation.worthwhile())):
            bound = relaxed_bound(network, nodes, cutoff, self.budget)
            self.relaxation.lowered(before, bound, cutoff)
            nodes, _ = self._lowered(nodes, bound, network.rounding[nodes.row], Closing.SWITCHES)
        kept, largest = fix_phases(nodes, self.cutoff)
        self.closed = max(self.closed, largest)
        return self._nonempty(nodes, kept, Closing.SWITCHES)

    def _by_programs(self, nodes: Nodes) -> Nodes:
        """The nodes that a linear program does not prove empty, with its points offered as witnesses."""
        if not len(nodes) or self.nodes < PROGRAMMED or self.nodes * self._size < LONG:
            return nodes
        if not NodePrograms.useful(self.network) or len(nodes) > NodePrograms.MOST:
            return nodes
        if self.programs is None or self.programs.network is not self.network:
            self.programs = NodePrograms(self.network, self.budget)
        found = self.programs.solve(nodes)
        nodes.strain = found.strain.to(nodes.strain)
        nodes, points = self._nonempty(nodes, ~found.empty, Closing.CUTS), found.points[~found.empty]
        if len(nodes):
            self.incumbent.offer_best(self.network, points)
        return nodes

    def _local_search(self) -> None:
        self.local_search_after *= 2
        budget = self.budget.after(self.nodes).share(LOCAL_SEARCH_SHARE)
        self.incumbent.local_search(self.network, lambda: budget.stop_reason() is not None)

    def _settle_leaves(self, nodes: Nodes) -> Nodes:
        """Settles the nodes with no unstable unit, and returns the others."""
        leaf = ~nodes.unstable.any(-1)
        # units that the round decided have cut nothing yet, and with all of them the cuts are the cell's own
        cells, _ = self._open_nodes(nodes[leaf], Closing.WITNESS)
        cells = self._bound(*self._tightened(cells)[:2]) if len(cells) else cells
        self.closings[Closing.CELL] += len(cells)
        for at in range(len(cells)):
            upper = float(cells.upper[at])
            if upper <= self.cutoff or self._cell(cells.phase[at]) is not CellStatus.EMPTY:
                # attained by a witness, or by no point that was seen: then it stays above every lower bound
                self.closed = max(self.closed, upper)
        return nodes[~leaf]

    def _in_space(self, nodes: Nodes) -> Nodes:
        """Of a cone's nodes, those whose decided levels of units leave a cone with points of R^n; elsewhere all of them."""
        sections = self.network.domain.sections
        if sections is None or not len(nodes):
            return nodes
        decided = self.network.leading(nodes.phase, contradicting(self.network.inputs, len(sections[0])))
        prefixes, at = decided.unique(dim=0, return_inverse=True)
        empty = [bool(prefix.any()) and self._cell(prefix) is CellStatus.EMPTY for prefix in prefixes]
        return self._nonempty(nodes, ~torch.tensor(empty, device=at.device)[at], Closing.CELL)

    def _cell(self, phase: Tensor) -> CellStatus:
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


def branch_and_bound(
    local: Analysis,
    uppers: Tensor,
    lower: float,
    attain: Callable[[Tensor], float],
    budget: Budget | None = None,
    progress: Callable[[SearchProgress], None] | None = None,
    device: torch.device | str = "cpu",
    start: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> SearchOutcome:
    """Searches for the constant of one point, regional or pointed, the largest over its functionals.

    Args:
        local: a single-point analysis of a network of Affine and Relu nodes.
        uppers: a proved upper bound for each functional, ``(rows,)``.
        lower: what a witness attains already.
        attain: evaluates points ``(k, *shape)`` on the network itself and returns the best value witnessed so far.
        budget: when to end early; None for no limit.
        progress: called after every round.
        device: where the nodes live and are bounded, in float64.
        start: the witness that attains ``lower``, ``(1, *shape)``, from which local searches go on.
        tolerance: relative gap at which a node is closed, at least 0.

    Returns:
        The proved upper end and how the search ended. The lower end is what ``attain`` has seen. Deterministic for a number
        of threads, up to where a time limit cuts it off.
    """
    started = (budget or UNLIMITED).started()
    began = started.clock()
    try:
        kind = PointedSearch if local.placed.problem.scope == "pointed" else Search
        search = kind(SearchTask(local, uppers, lower, attain, started, progress, device, start, tolerance))
    except OutOfBudget as over:
        upper = float(uppers.max())
        if progress is not None:
            progress(SearchProgress(lower, upper, len(uppers), 0, started.clock() - began, over.lacking))
        return SearchOutcome(over.status, upper, nodes=0, cells=0, left_out=not_begun_message(over))
    return search.run()
