"""The best witness of a search: what it attains, where it lies, and the searches for better ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.folding import FoldedNetwork
from lipreg.search.greedy_search import greedy_search
from lipreg.search.hunt import GAIN, WitnessSearch, first_turn
from lipreg.search.local_search import local_search
from lipreg.search.screen import PointEvaluator

LOCAL_SEARCH_STEPS = 400
HUNTED = 1.0 / 24.0
"""Numbers that a hunt may compute for each number in the forms of the nodes bounded, times the units among which each is
split: about 5 % of the time, as both take about as long for as many numbers."""
OFFERED = 8
"""Best points of a hunt that are offered."""
PROMISE = 1e-9
"""How far above what is witnessed a point has to promise to lie, relatively, to be offered: witnesses are rounded down, and
the folded network's value in a witness's own cell lies above what it proved."""


class Incumbent:
    """The best witness.

    Args:
        attain: evaluates points ``(k, *shape)`` on the network itself and returns the best value witnessed so far.
        value: what a witness attains already.
        best: the displacement of that witness, ``(m,)``, or None where it is not known.
    """

    def __init__(self, attain: Callable[[Tensor], float], value: float, best: Tensor | None) -> None:
        self.attain, self.value, self.best = attain, value, best
        self._searched_from: Tensor | None = None
        self._again, self._draws = 0, torch.Generator().manual_seed(0)
        self._hunt: WitnessSearch | None = None
        self._offered = 0.0

    def offer(self, network: FoldedNetwork, point: Tensor) -> None:
        """Takes a point ``(1, *shape)`` as the best witness, if the network itself confirms it."""
        attained = self.attain(point.cpu())
        if attained > self.value:
            self.value, self.best = attained, network.domain.of(point)[0]

    def offer_best(self, network: FoldedNetwork, displacements: Tensor) -> None:
        """Offers the best of ``(k, m)``, if the folded network promises more there than is witnessed."""
        displacements = network.domain.attainable(displacements)
        values = network.gradient_norms(network.phases(displacements)).amax(-1)
        best = int(values.argmax())
        if values[best] > self.value * (1 + PROMISE):
            self.offer(network, network.domain.points(displacements[best : best + 1]))

    def hunt(
        self, local: Analysis, network: FoldedNetwork, nodes: int, is_over: Callable[[], bool], memory: int
    ) -> None:
        """Goes on hunting for better witnesses, as far as the work of the search pays for it.

        Small searches end before it begins.

        Args:
            local: what is searched.
            network: the same, folded.
            nodes: how many were bounded so far.
            is_over: called before every pass; True ends it early.
            memory: bytes of what is worked on at once.
        """
        paid = HUNTED * nodes * network.count**2 * (network.count + network.inputs)
        if self._hunt is None:
            if first_turn(local) > paid:
                return
            self._hunt = WitnessSearch(PointEvaluator(local, memory), local.placed.region.generators(0)[0])
        if self.best is not None and self.value > self._hunt.best:
            self._hunt.take(network.domain.points(self.best.unsqueeze(0)))
        self._hunt.within(paid, is_over)
        if self._hunt.best > max(self.value, self._offered) * (1.0 + GAIN):
            self._offered = self._hunt.best
            for point in self._hunt.best_points(OFFERED).split(1):
                self.offer(network, point)
                if self.value >= self._offered * (1.0 - GAIN):
                    break

    def local_search(self, network: FoldedNetwork, is_over: Callable[[], bool]) -> None:
        """From the best witness to better ones. Where this was done before, from it and from points of another origin
        in turns, with a disturbed choice of phases.

        Sampling meets few of the good patterns where inputs are many.
        """
        if self.best is None:
            return
        start, draws = self.best, None
        if start is self._searched_from:
            self._again, draws = self._again + 1, self._draws
            if self._again % 2 == 0 and self._hunt is not None:
                start = network.domain.of(fresh_start(self._hunt, is_over))[0]
        displacement = local_search(network, greedy_search(network, start, is_over, draws), LOCAL_SEARCH_STEPS, is_over)
        self.offer_best(network, displacement.unsqueeze(0))
        self._searched_from = self.best


def fresh_start(hunt: WitnessSearch, is_over: Callable[[], bool]) -> Tensor:
    """Where ascents from fresh random points end, as a point of the region, ``(1, *shape)``.

    Most of the points that the hunt goes on from have one origin; this one has another.
    """
    other = WitnessSearch(hunt.screen, hunt.generator)
    with torch.no_grad():
        other.wide_ascents(is_over)
    return other.best_points(1)
