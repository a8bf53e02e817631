"""The state that all searches share: what is proved so far, what is open, and when it ends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.folding import FoldedNetwork, node_work
from lipreg.results import Status
from lipreg.search.closing import Closing
from lipreg.search.nodes import Frontier, Nodes
from lipreg.search.outcome import SearchOutcome, SearchProgress

TOLERANCE = 1e-6
"""Relative gap at which a node is closed, unless the task has another."""
ELEMENTS = 1_000_000
"""Numbers in the largest tensor of a round: decides how many nodes a round takes."""
BATCH = (4, 96)
"""Fewest and most nodes a round."""

N = TypeVar("N", bound=Nodes)


@dataclass(frozen=True)
class SearchTask:
    """What a search is to do; ``lipreg.search.branch_and_bound`` says more.

    Attributes:
        local: a single-point analysis.
        uppers: a proved upper bound for each functional.
        lower: what a witness attains already.
        attain: evaluates points on the network itself, and returns the best value witnessed so far.
        budget: started.
        progress: called after every round.
        device: where nodes are bounded.
        start: the witness that attains ``lower``.
        tolerance: relative gap at which a node is closed.
    """

    local: Analysis
    uppers: Tensor
    lower: float
    attain: Callable[[Tensor], float]
    budget: Budget
    progress: Callable[[SearchProgress], None] | None = None
    device: torch.device | str = "cpu"
    start: Tensor | None = None
    tolerance: float = TOLERANCE


class BaseSearch(Generic[N]):
    """What a search has proved: ``closed`` of the nodes that are done with, and the bounds of those that are open.

    Args:
        task: the question, its bounds so far and its limits.
        network: that is searched, folded.
        frontier: the first nodes.
    """

    def __init__(self, task: SearchTask, network: FoldedNetwork, frontier: Frontier[N]) -> None:
        self.network, self.frontier, self.budget, self.progress = network, frontier, task.budget, task.progress
        self.tolerance = task.tolerance
        self.began = task.budget.clock()
        self.closed, self.upper = 0.0, math.inf
        self.nodes = self.settled = 0
        self.closings: Counter[Closing] = Counter()

    @property
    def lower(self) -> float:
        """What the best witness attains."""
        raise NotImplementedError

    @property
    def rounding(self) -> float:
        """What an upper end holds for the rounding of float64."""
        return float(self.network.rounding.max())

    @property
    def batch(self) -> int:
        """How many nodes a round takes; fewer where there is no time for as many."""
        least, most = self._at_once
        wanted = max(least, min(most, ELEMENTS // (2 * self._size)))
        return int(max(1, min(wanted, self.budget.times(self._node))))

    @property
    def _at_once(self) -> tuple[int, int]:
        """Fewest and most nodes a round."""
        return BATCH

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
        wanted = max(1.0 + self.tolerance, 1.0 / (1.0 - self.budget.gap))
        return self.lower * wanted + 2.0 * self.rounding

    def _outcome(self, status: Status) -> SearchOutcome:
        return SearchOutcome(status, self.upper, self.nodes, self.settled, self.rounding, closings=dict(self.closings))

    def _stop_status(self) -> Status | None:
        """What ends the search here: a limit, or that there is no time for another node."""
        late = None if self.budget.affords(self._node) else Status.TIME_LIMIT
        return self.budget.after(self.nodes).stop_reason() or late

    def _open_nodes(self, nodes: N, closing: Closing) -> tuple[N, Tensor]:
        """The nodes that may still beat the incumbent, and which those are; what the others hold is entered as proved.

        Args:
            closing: what their bounds are from.
        """
        kept = nodes.upper > self.cutoff
        if not kept.all():
            self.closings[closing] += int((~kept).sum())
            self.closed = max(self.closed, float(nodes.upper[~kept].max()))
        return nodes[kept], kept

    def _lowered(self, nodes: N, bound: Tensor, rounding: Tensor, closing: Closing) -> tuple[N, Tensor]:
        """The nodes with another bound entered that are still open, and which those are."""
        nodes.upper = torch.minimum(nodes.upper, bound + rounding)
        return self._open_nodes(nodes, closing)

    def _nonempty(self, nodes: N, mask: Tensor, closing: Closing) -> N:
        """The nodes that are not seen to be empty.

        Args:
            mask: which these are, ``(N,)``.
            closing: by what the others are.
        """
        self.closings[closing] += int((~mask).sum())
        return nodes[mask]

    def _report(self) -> None:
        before = len(self.frontier)
        self.closed = max(self.closed, self.frontier.drop(self.cutoff))
        self.closings[Closing.WITNESS] += before - len(self.frontier)
        self.upper = min(self.upper, max(self.closed, self.frontier.upper))
        if self.progress is not None:
            seconds = self.budget.clock() - self.began
            self.progress(SearchProgress(self.lower, self.upper, len(self.frontier), self.nodes, seconds))
