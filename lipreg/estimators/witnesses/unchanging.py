"""Units on their kink that do not change near a point, and members of a window that differ by nothing that changes there.

What is identically 0 for a network's structure, as a difference of duplicates is, lies on its kink at every point, and no
point would be a witness. Near a point where the slopes of the other units are proved every node is affine. A unit whose
gradient is exactly 0 is constant there, so its slope does not matter; a member whose gradient is exactly that of the
largest is larger or smaller than it by a constant, so that it does not matter which of them is the largest. Units are
unresolved in several layers: where all gradients are 0 under slopes that are assumed for the unresolved ones, these do not
matter one layer after the other.
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
"""Rows of the first pass: at most points the first unresolved unit is on a kink."""
DIGITS = 16
"""The numbers of an exact gradient for one entry of a node, about."""


def without_unchanging(analysis: Analysis, seen: Pattern, budget: Budget) -> Pattern | None:
    """A single point's pattern without unresolved units, where all of them are proved not to change near it.

    Their slopes do not matter then, of curves too. The gradients are exact, in whole numbers, over the inputs that can move.

    Args:
        analysis: the analysis of the single point.
        seen: its pattern, in limbs.
        budget: started.

    Returns:
        The pattern; None where a unit may change, or where the budget ends before.
    """
    graph, movable = analysis.graph, analysis.placed.region.movable[0].flatten()
    largest = max(node_size(node) for node in graph.nodes)
    slopes = dict(seen.slopes)
    for i, _ in graph.curves():
        slope = slopes[i]
        assert isinstance(slope, Limbs)
        slopes[i] = replace(slope, error=slope.error.masked_fill(seen.unresolved[i].unsqueeze(2), 0.0))
    with torch.no_grad():
        for source, rows in _unresolved_rows(analysis, seen, budget.rows(largest * DIGITS)):
            if budget.stop_reason() is not None:
                return None
            value, error = graph.differentiate(slopes, in_digits(graph, rows), at=source).rounded()
            changes = ((value != 0) | (error != 0)).flatten(3) & movable
            if bool(changes.any()):
                return None
    return Pattern(slopes, {}, torch.ones_like(seen.smooth))


def _unresolved_rows(analysis: Analysis, seen: Pattern, most: int) -> Iterator[tuple[int, Tensor]]:
    """For each Affine node of unresolved units some functionals of it that have to be constant, ``(1, 1, rows, *shape)``."""
    graph = analysis.graph
    for index, units in seen.unresolved.items():
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
