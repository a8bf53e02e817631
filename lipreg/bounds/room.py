"""How many rows a pass carries, and what they take: of memory where they are kept for a gradient, and of the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from lipreg.graph import Affine, Node, node_size

KEPT = 2**33
"""Bytes that the rows of one node may take where they are kept for a gradient, unless another number is asked for."""
NUMBER = 8
"""Bytes of a number."""
DENSE = 4
"""How many times as fast a product with a matrix is as a convolution of as many multiplications, at least."""


def slots(wanted: Tensor, dims: int = 1) -> int:
    """How many entries the busiest point wants, those of ``wanted`` above 0; its first ``dims`` dimensions are of points."""
    return int((wanted > 0).flatten(dims).sum(-1).max())


def fits(memory: int | None, rows: int, nodes: Sequence[Node]) -> bool:
    """Whether so many rows, carried through all of these nodes and kept at each, fit into so many bytes; None for any."""
    return memory is None or NUMBER * rows * sum(map(node_size, nodes)) <= memory


class Turns:
    """Shares of the time for nodes that are bounded one after the other: one half by what rows for all of a node's entries
    cost, the other the same for all, so that none is left without.

    Which entries will be wanted is known of a node only when it is reached. What one leaves of its time goes to those after
    it.

    Args:
        passes: for each node that is to be bounded, the nodes that its rows go through, itself the first or the last.
        nodes: of the graph.
    """

    def __init__(self, passes: Mapping[int, Iterable[Node]], nodes: Sequence[Node]) -> None:
        self.ahead = {i: node_size(nodes[i]) * max(1, pass_work(through)) for i, through in passes.items()}

    def next(self, index: int) -> float:
        """The share of the time that is left for the node whose turn it is."""
        if index not in self.ahead:
            return 1.0
        equal, whole = 1 / len(self.ahead), max(1, sum(self.ahead.values()))
        return (equal + self.ahead.pop(index) / whole) / 2


def pass_work(nodes: Iterable[Node]) -> int:
    """Multiplications of a row that is carried through these nodes, in units of a convolution's: of matrices more are done
    at a time."""
    maps = ((node, map) for node in nodes if isinstance(node, Affine) for map in node.maps)
    return sum(node_size(node) * map.roundings // (DENSE if map.is_matrix else 1) for node, map in maps)
