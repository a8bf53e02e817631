"""In which arithmetics a network is evaluated with proven bounds on all errors: float64 with a running bound, then limbs.

They speak of the float64 numbers that the graph holds, in real arithmetic. The running bound grows with every layer's
magnitudes, far faster than the values do; what it leaves open, signs behind many layers and sums that cancel, is computed
again with more digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

from lipreg.budget import FREE, Budget
from lipreg.graph.network import Graph
from lipreg.graph.sharing import Forth
from lipreg.linalg import Limbs, Numbers, Running, digit_bits
from lipreg.linalg.floats import EPS, add_below

N = TypeVar("N", bound=Numbers)
PRECISIONS = (10, 20, 40)
"""Digits that are tried one after another."""
SHARP = 1e-9
"""Relative error at which a margin needs no more digits."""
DEARER = 10.0
"""How many times a pass in the first limbs takes what one in float64 does, and about twice a pass in the limbs before."""
GRACE = 0.02
"""Share of a whole budget that digits may take once it has ended: of small networks they cost next to nothing."""


def precisions(graph: Graph, x: Tensor, budget: Budget = FREE) -> Iterator[Numbers]:
    """x in one arithmetic after another, each more accurate than the one before: float64, then limbs.

    Args:
        graph: whose maps are to act on it; frozen, in float64.
        x: taken as the exact numbers that it holds.
        budget: in whose time limbs are begun, going by what was done with the arithmetic before.
    """
    began = budget.clock()
    yield Running.of(x)
    times = DEARER
    for limbs in PRECISIONS:
        if not has_time(budget, times * (budget.clock() - began)):
            return
        began, times = budget.clock(), 2.0
        yield Limbs.of(x, limb_bits(graph), limbs)


def has_time(budget: Budget, seconds: float) -> bool:
    """Whether digits that are judged to take so long are still to be found."""
    return seconds <= max(budget.seconds_left, GRACE * budget.seconds)


def anchors(graph: Graph, x: Tensor) -> dict[int, Tensor]:
    """What each Affine node that reads the Input, or whose bias is rounded, has beside earlier units: bias + A x at x.

    Args:
        graph: frozen, in float64.
        x: ``(batch, *shape)``, taken as the exact numbers that it holds.

    Returns:
        By index of the node, ``(batch, *shape of the node)``: the true values within one unit in the last place, two where
        entries of one layer lie hundreds of orders of magnitude apart.
    """
    found: dict[int, Tensor] = {}
    left = [(index, node) for index, node in graph.affines() if 0 in node.sources or node.bias_of]
    for limbs in PRECISIONS:
        start, products, rough = Limbs.of(x, limb_bits(graph), limbs), Forth[Limbs](), []
        for index, node in left:
            value = products.combine(node, {0: start})
            found[index] = value.rounded()[0]
            if bool((value.error > EPS * found[index].abs()).any()):
                rough.append((index, node))
        left = rough
        if not left:
            break
    return found


def margins(graph: Graph, x: Tensor, own: Tensor, budget: Budget = FREE) -> Tensor:
    """f_own - f_j for every output j in real arithmetic, rounded down, ``(batch, outputs)``; 0 for j = own.

    Args:
        graph: frozen.
        x: points ``(batch, *input_shape)`` in float64.
        own: an output for each point, ``(batch,)``.
        budget: after which no more digits are found than the signs of margins need.
    """
    found = x.new_full((len(x), *graph.output.shape), -torch.inf)
    if not len(x):
        return found
    left = torch.arange(len(x))
    for limbs in (None, *PRECISIONS):
        began, points = budget.clock(), x[left]
        start: Numbers = Running.of(points) if limbs is None else Limbs.of(points, limb_bits(graph), limbs)
        value, error = _ahead(graph.evaluate(start)[-1], own[left]).rounded()
        found[left] = torch.where(error > 0, add_below(value, -error), value)
        found[left, own[left]] = 0.0
        value, error = (end.scatter(1, own[left].unsqueeze(1), 0.0) for end in (value, error))
        times = DEARER if limbs is None else 2.0
        if has_time(budget, times * (budget.clock() - began)):
            left = left[(error > SHARP * value.abs()).any(-1)]
        else:
            left = left[((error >= value.abs()) & (error > 0)).any(-1)]
        if not len(left):
            break
    return found


def _ahead(outputs: N, own: Tensor) -> N:
    """f_own - f_j, ``(batch, outputs)``."""
    of_own = outputs.moved(lambda t: t[..., torch.arange(len(own)), own].unsqueeze(-1))
    return of_own + -outputs


def zeros(graph: Graph, x: Tensor) -> list[Tensor]:
    """For every node, the entries whose value at x is proved to be exactly 0, ``(batch, *shape)`` bool."""
    *_, finest = precisions(graph, x)
    return [(value == 0) & (error == 0) for value, error in (node.rounded() for node in graph.evaluate(finest))]


def limb_bits(graph: Graph) -> int:
    """How many bits the digits of tensors may have that the maps of a graph act on."""
    return digit_bits(max(map.roundings for _, node in graph.affines() for map in node.acting()))


def first_digits(graph: Graph, x: Tensor) -> Limbs:
    """x in the first arithmetic that has digits, taken as the exact numbers that it holds."""
    return Limbs.of(x, limb_bits(graph), PRECISIONS[0])


def in_digits(graph: Graph, x: Tensor) -> Limbs:
    """x in the finest arithmetic that is tried, taken as the exact numbers that it holds."""
    return Limbs.of(x, limb_bits(graph), PRECISIONS[-1])
