"""Witnesses by local search over activation patterns: one unit is switched at a time, as long as the gradient grows.

Where inputs are many a cell borders on nearly all of its neighbours, so the patterns that the region has are nearly free,
and points drawn or moved by gradients meet few of the good ones.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.search.cells import CellForms, neighbour_norms

TRIED = 16
"""Neighbours that are tried together."""
ROUNDS = 320
"""Steps of a projection onto a cell."""
GAIN = 1e-9
"""Least relative growth of the gradient that is a step."""


def local_search(network: FoldedNetwork, displacement: Tensor, steps: int, is_over: Callable[[], bool]) -> Tensor:
    """From a point to points whose gradients are larger, through the cells beside its own.

    Of the patterns that differ from the present one in a single unit, those with the largest gradients are aimed at. A
    point counts by the pattern that it turns out to have.

    Args:
        network: the folded network.
        displacement: where to start, ``(m,)``.
        steps: most that are made.
        is_over: called on the way around a point, and before every step; True ends it early.

    Returns:
        The best displacement seen, ``(m,)``.
    """
    phase = network.phases(displacement.unsqueeze(0))
    value = float(network.gradient_norms(phase).amax())
    for _ in range(steps):
        beside, promised = neighbour_norms(network, phase, is_over)
        order = promised.argsort(descending=True)
        order = order[promised[order] > value * (1.0 + GAIN)]
        for index in order[: 2 * TRIED].split(TRIED):
            if not len(index) or is_over():
                return displacement
            points = into_cells(network, beside[index], displacement)
            phases = network.phases(points)
            values = network.gradient_norms(phases).amax(-1)
            best = int(values.argmax())
            if values[best] > value * (1.0 + GAIN):
                phase, value, displacement = phases[best : best + 1], float(values[best]), points[best]
                break
        else:
            return displacement
    return displacement


def into_cells(network: FoldedNetwork, phase: Tensor, start: Tensor) -> Tensor:
    """Points of the region that have, or nearly have, wanted patterns, as near to ``start`` as may be, ``(k, m)``.

    Args:
        network: the folded network.
        phase: the patterns, ``(k, n)``.
        start: the displacement whose own cell's forms stand for those of the cells beside it, ``(m,)``.
    """
    forms = CellForms.of(network, start)
    points = forms.into(phase.to(forms.rows), start.float(), ROUNDS)
    return network.domain.of(network.domain.points(points.to(start)))
