"""How many rows a pass carries, and how many points are taken together, by what they take of the memory and of the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from torch import Tensor

from lipreg.budget import BYTES_PER_NUMBER, Budget
from lipreg.graph import Affine, Graph, MaxPool, Node, node_size
from lipreg.linalg.operators import SIGNS, signed_side
from lipreg.linalg.spectral import direct_work
from lipreg.problem import PlacedProblem

ROW_MEMORY = 2**33
"""Bytes that the rows of one node may take where they are kept for a gradient, unless the user sets another number."""
NUMBER_BYTES = 8
"""Bytes of a number."""
BLINK, SHARE = 0.05, 0.05
"""Seconds, and share of the remaining time, that may pass between two looks at the clock: points whose bounds by a few
passes are judged to take as much are taken together."""
PASSES, ROW_PASSES = 6, 2
"""Passes that the bounds of a point take, and those that each row of its functional takes besides."""
ENDS = 2
"""How many times a row's numbers are kept: as a lower and an upper end."""
SIGN_WORK = 8
"""Multiplications that each number of a signed sum of rows counts for: it is combined, and its magnitude is added."""
DENSE_SPEED = 4
"""How many times as fast a product with a matrix is as a convolution of as many multiplications, at least."""


def slots(wanted: Tensor, dims: int = 1) -> int:
    """How many entries the busiest point wants, those of ``wanted`` above 0; its first ``dims`` dimensions are of points."""
    return int((wanted > 0).flatten(dims).sum(-1).max())


def fits(memory: int | None, rows: int, nodes: Sequence[Node]) -> bool:
    """Whether rows that are carried through nodes and kept at each fit into memory.

    Args:
        memory: in bytes; None for no limit.
        rows: how many there are.
        nodes: through which they are carried.
    """
    return memory is None or NUMBER_BYTES * rows * sum(map(node_size, nodes)) <= memory


def points_at_once(graph: Graph, placed: PlacedProblem, budget: Budget) -> int:
    """How many points are taken together, at least 1: as many as fit into the memory and need no look at the clock between.

    Args:
        graph: of the network.
        placed: the question, whose norm and rows set what a point takes.
        budget: started.
    """
    # bounds are kept at every node, and of rows that are combined those of the gradients of each
    rows = placed.count if placed.problem.q in (1.0, 2.0) and not placed.without_rows else 1
    fitting = budget.rows((1 + rows) * sum(map(node_size, graph.nodes)))
    return max(1, int(min(placed.batch, fitting, budget.pace * blink(budget) / few_passes(graph, placed))))


def blink(budget: Budget) -> float:
    """The seconds that may pass between two looks at the clock of a started budget."""
    return max(BLINK, SHARE * budget.seconds_left)


def few_passes(graph: Graph, placed: PlacedProblem) -> float:
    """About how many multiplications the bounds of a point that cost a few passes take, at least 1."""
    rows = 1 if placed.without_rows else placed.count
    passes: float = (PASSES + ROW_PASSES * rows) * pass_work(graph.nodes)
    norms = (
        (direct_work(map) / DENSE_SPEED for _, node in graph.affines()[:-1] for map in node.maps)
        if placed.problem.p == 2.0
        else ()
    )
    return 1.0 + passes + sum(norms)


def signs_work(placed: PlacedProblem) -> int:
    """About how many multiplications the norm of a Jacobian takes besides, where all signs of its rows or columns are
    tried."""
    return SIGN_WORK * signed_sums(placed)


def signed_sums(placed: PlacedProblem) -> int:
    """How many numbers the signed sums of a Jacobian's rows or columns are, where its norm is the largest of them."""
    p, q, rows = placed.problem.p, placed.problem.q, 0 if placed.without_rows else placed.count
    side = None if q is None else signed_side(p, q)
    if side is None:
        return 0
    columns = prod(placed.region.shape)
    tried, others = (rows, columns) if side == -2 else (columns, rows)
    return 2 ** (tried - 1) * others if 0 < tried <= SIGNS else 0


def rows_at_once(graph: Graph, placed: PlacedProblem, memory: int) -> int:
    """How many rows of the functional are carried through the network together and kept at each of its nodes, at least 1.

    Args:
        graph: of the network.
        placed: the question, at all of its points.
        memory: in bytes.
    """
    read = (node.windows if isinstance(node, MaxPool) else node for node in graph.nodes if not isinstance(node, Affine))
    units = sum(each.numel() if isinstance(each, Tensor) else node_size(each) for each in read)
    numbers = ENDS * placed.batch * (units + max(map(node_size, graph.nodes)))
    return max(1, memory // (BYTES_PER_NUMBER * max(1, numbers)))


class TimeShares:
    """Shares of the time for nodes that are bounded one after the other: one half by what rows for all of a node's entries
    cost, the other the same for all, so that each has some.

    Which entries of a node will be wanted shows only when the pass gets there. Time that one does not use goes to the nodes
    after it.

    Args:
        passes: for each node that is to be bounded, the nodes that its rows go through, itself the first or the last.
        nodes: of the graph.
    """

    def __init__(self, passes: Mapping[int, Iterable[Node]], nodes: Sequence[Node]) -> None:
        self.ahead = {i: node_size(nodes[i]) * max(1, pass_work(through)) for i, through in passes.items()}

    def next_share(self, index: int) -> float:
        """The share of the remaining time for the next node; 1 for a node that has none, or has had it."""
        if index not in self.ahead:
            return 1.0
        equal, whole = 1 / len(self.ahead), max(1, sum(self.ahead.values()))
        return (equal + self.ahead.pop(index) / whole) / 2


def pass_work(nodes: Iterable[Node]) -> int:
    """Multiplications of a row that is carried through nodes, in units of a convolution's: those of matrices are faster."""
    maps = ((node, map) for node in nodes if isinstance(node, Affine) for map in node.maps)
    return sum(node_size(node) * map.roundings // (DENSE_SPEED if map.is_matrix else 1) for node, map in maps)
