"""Units on their kink that do not change near a point, and members of a window that differ by nothing that changes there.

What is identically 0 for a network's structure, as a difference of duplicates is, lies on its kink at every point, and no
point would be a witness. Near a point where the other units have known slopes every node is affine. A unit whose gradient
is exactly 0 is constant there, so its slope does not matter; a member whose gradient is exactly that of the largest is
larger or smaller than it by a constant, so that it does not matter which of them is the largest. Units are open in several
layers: where all gradients are 0 under slopes that are assumed for the open ones, these do not matter one layer after the
other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators.witnesses.pattern import Pattern
from lipreg.graph import Curved, MaxPool, Relu, node_size
from lipreg.graph.accurate import in_digits
from lipreg.linalg import Limbs

FIRST = 4
"""Rows of the first pass: at most points the first unit that is open is on a kink."""
DIGITS = 16
"""Numbers that an exact gradient takes for one entry of a node, about."""


def without_unchanging(analysis: Analysis, seen: Pattern, budget: Budget) -> Pattern | None:
    """A single point's pattern, in limbs, without open units, where all of them are proved not to change near it: their
    slopes are as good as any, of curves too. None where they are not, or where the budget, which is started, ends before.

    The gradients are exact, in whole numbers, over the inputs that have room.
    """
    graph, moves = analysis.graph, analysis.placed.region.moves[0].flatten()
    largest = max(node_size(node) for node in graph.nodes)
    slopes = dict(seen.slopes)
    for i, _ in graph.curves():
        slope = slopes[i]
        assert isinstance(slope, Limbs)
        slopes[i] = replace(slope, error=slope.error.masked_fill(seen.open[i].unsqueeze(2), 0.0))
    with torch.no_grad():
        for source, rows in _open_rows(analysis, seen, budget.rows(largest * DIGITS)):
            if budget.ended() is not None:
                return None
            value, error = graph.differentiate(slopes, in_digits(graph, rows), at=source).rounded()
            changes = ((value != 0) | (error != 0)).flatten(3) & moves
            if bool(changes.any()):
                return None
    return Pattern(slopes, {}, torch.ones_like(seen.smooth))


def _open_rows(analysis: Analysis, seen: Pattern, most: int) -> Iterator[tuple[int, Tensor]]:
    """For each Affine node with open units some functionals of it that have to be constant, ``(1, 1, rows, *shape)``."""
    graph = analysis.graph
    for index, units in seen.open.items():
        at = units[0, 0].flatten().nonzero().flatten()
        node = graph.nodes[index]
        assert isinstance(node, Relu | MaxPool | Curved)
        shape = graph.affine(node.source).shape
        size = torch.Size(shape).numel()
        for some in filter(len, (at[:FIRST], *at[FIRST:].split(most))):
            rows = torch.zeros(len(some), size, dtype=graph.dtype)
            each = torch.arange(len(some))
            if isinstance(node, MaxPool):
                window = some // node.windows.shape[1]
                members = seen.slopes[index]
                assert isinstance(members, Tensor)
                largest = members[0, 0, 0].argmax(-1)
                rows[each, node.windows[window, largest[window]]] = 1.0
                rows[each, node.windows.flatten()[some]] -= 1.0
            else:
                rows[each, some] = 1.0
            yield node.source, rows.reshape(1, 1, len(some), *shape)
