"""The best witness of a search: what it attains, where it lies, and how better ones are looked for."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.search.climb import climb

CLIMB_STEPS = 400
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
        self._climbed_from: Tensor | None = None

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

    def climb(self, network: FoldedNetwork, ended: Callable[[], bool]) -> None:
        """From the best witness to better ones, if that has not been done.

        Sampling meets few of the good patterns where inputs are many.
        """
        if self.best is not None and self.best is not self._climbed_from:
            found = climb(network, self.best, CLIMB_STEPS, ended)
            self.offer(network, network.domain.points(found.unsqueeze(0)))
            self._climbed_from = self.best
