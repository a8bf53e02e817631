"""The arithmetics in which a network is evaluated with proven error bounds: float64 with a running bound, then limbs.

All of them are about the float64 numbers that the graph holds, in real arithmetic. The running bound grows with the
magnitudes of every layer, far faster than the values do. What it does not decide, signs behind many layers and sums that
cancel, is computed again with more digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

from lipreg.budget import UNLIMITED, Budget
from lipreg.graph.network import Graph
from lipreg.graph.sharing import SharedForward
from lipreg.linalg import Limbs, Numbers, Running, digit_bits
from lipreg.linalg.floats import EPS, add_below

N = TypeVar("N", bound=Numbers)
PRECISIONS = (10, 20, 40)
"""Numbers of limbs that are tried one after another."""
SHARP = 1e-9
"""Relative error at which a margin needs no more digits."""
DEARER = 10.0
"""How many times as long a pass in the first limbs takes as one in float64; each later one takes twice the one before."""
GRACE = 0.02
"""Share of a whole budget that limbs may take once it has ended: for small networks they cost next to nothing."""


def precisions(graph: Graph, x: Tensor, budget: Budget = UNLIMITED) -> Iterator[Numbers]:
    """x in one arithmetic after another, each more accurate than the one before: float64, then limbs.

    Args:
        graph: the network whose maps are to act on x; frozen, in float64.
        x: ``(batch, *input_shape)``, taken as the exact numbers that it holds.
        budget: limbs are begun only within its time, judged by how long the work in the arithmetic before took.
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
    """Whether a computation with limbs that is judged to take so many seconds is still to be begun."""
    return seconds <= max(budget.seconds_left, GRACE * budget.seconds)


def anchors(graph: Graph, x: Tensor) -> dict[int, Tensor]:
    """bias + A x for each Affine node that reads the Input or has a rounded bias, with A its map of the input, else 0.

    Args:
        graph: frozen, in float64.
        x: ``(batch, *input_shape)``, taken as the exact numbers that it holds.

    Returns:
        By index of the node, ``(batch, *shape of the node)``: the true values within one unit in the last place, two where
        entries of one layer lie hundreds of orders of magnitude apart.
    """
    values: dict[int, Tensor] = {}
    pending = [(index, node) for index, node in graph.affines() if 0 in node.sources or node.bias_of]
    for limbs in PRECISIONS:
        start, products, rough = Limbs.of(x, limb_bits(graph), limbs), SharedForward[Limbs](), []
        for index, node in pending:
            value = products.combine(node, {0: start})
            values[index] = value.rounded()[0]
            if bool((value.error > EPS * values[index].abs()).any()):
                rough.append((index, node))
        pending = rough
        if not pending:
            break
    return values


def margins(graph: Graph, x: Tensor, labels: Tensor, budget: Budget = UNLIMITED) -> Tensor:
    """f_own - f_j for every output j in real arithmetic, rounded down, ``(batch, outputs)``; 0 for j = own.

    Args:
        graph: frozen.
        x: points ``(batch, *input_shape)`` in float64.
        labels: an output for each point, ``(batch,)``.
        budget: once it has ended, limbs are added only until the signs of all margins are known.
    """
    bounds = x.new_full((len(x), *graph.output.shape), -torch.inf)
    if not len(x):
        return bounds
    pending = torch.arange(len(x))
    for limbs in (None, *PRECISIONS):
        began, points = budget.clock(), x[pending]
        start: Numbers = Running.of(points) if limbs is None else Limbs.of(points, limb_bits(graph), limbs)
        value, error = _ahead(graph.evaluate(start)[-1], labels[pending]).rounded()
        bounds[pending] = torch.where(error > 0, add_below(value, -error), value)
        bounds[pending, labels[pending]] = 0.0
        value, error = (end.scatter(1, labels[pending].unsqueeze(1), 0.0) for end in (value, error))
        times = DEARER if limbs is None else 2.0
        if has_time(budget, times * (budget.clock() - began)):
            pending = pending[(error > SHARP * value.abs()).any(-1)]
        else:
            pending = pending[((error >= value.abs()) & (error > 0)).any(-1)]
        if not len(pending):
            break
    return bounds


def _ahead(outputs: N, own: Tensor) -> N:
    """f_own - f_j, ``(batch, outputs)``."""
    of_own = outputs.reindexed(lambda t: t[..., torch.arange(len(own)), own].unsqueeze(-1))
    return of_own + -outputs


def zeros(graph: Graph, x: Tensor) -> list[Tensor]:
    """The entries whose value at x is proved to be exactly 0.

    Args:
        graph: frozen, in float64.
        x: ``(batch, *input_shape)``, taken as the exact numbers that it holds.

    Returns:
        For every node, ``(batch, *shape of the node)`` bool.
    """
    *_, finest = precisions(graph, x)
    return [(value == 0) & (error == 0) for value, error in (node.rounded() for node in graph.evaluate(finest))]


def limb_bits(graph: Graph) -> int:
    """The bits that a digit may have so that sums of products with the maps of a graph stay exact."""
    return digit_bits(max(map.roundings for _, node in graph.affines() for map in node.acting()))


def first_digits(graph: Graph, x: Tensor) -> Limbs:
    """x in the first of the limb arithmetics, taken as the exact numbers that it holds."""
    return Limbs.of(x, limb_bits(graph), PRECISIONS[0])


def in_digits(graph: Graph, x: Tensor) -> Limbs:
    """x in the finest of the limb arithmetics, taken as the exact numbers that it holds."""
    return Limbs.of(x, limb_bits(graph), PRECISIONS[-1])
