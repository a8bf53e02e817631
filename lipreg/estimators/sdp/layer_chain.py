"""A chain of layers cut into blocks: between them every map is split in half by its singular value decomposition.

With W = A B, A = U sqrt(Sigma) and B = sqrt(Sigma) V^T, the norm of a chain is at most the product of the norms of its
blocks, and each block begins and ends with half a map. With one hidden layer in each it is SeqLip's product.

Source: Virmaux & Scaman 2018, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lipreg.bounds import Analysis, Slopes
from lipreg.estimators.sdp.sectors import Sectors, sectors
from lipreg.graph import Affine, Graph, Input, Node, Relu
from lipreg.linalg import Dense

ENTRIES = 2**24
"""Entries up to which a map is written out and decomposed."""


@dataclass(frozen=True)
class Chain:
    """W_K S_{K-1} W_{K-1} ... S_1 W_1 with diagonal S_k between ``lower[k]`` and ``upper[k]``.

    Attributes:
        maps: W_1, ..., W_K as matrices; the columns of the first times the weights of the inputs.
        lower, upper: the ends of the slopes of each hidden layer, ``(units,)``.
        slack: a bound on the rounding of splitting maps, relative to the product of all norms.
    """

    maps: tuple[Tensor, ...]
    lower: tuple[Tensor, ...]
    upper: tuple[Tensor, ...]
    slack: float = 0.0

    @property
    def unstable_counts(self) -> list[int]:
        """The number of unstable units of each hidden layer."""
        return [int((high > low).sum()) for low, high in zip(self.lower, self.upper, strict=True)]

    def norms(self) -> Tensor:
        """|S_k W_k|_2 of the largest slopes for every map, the last without slopes; at least the norm as a product."""
        sizes = [torch.maximum(high, -low).unsqueeze(1) for low, high in zip(self.lower, self.upper, strict=True)]
        scaled = [size * map for map, size in zip(self.maps, sizes, strict=False)]
        return torch.stack([torch.linalg.matrix_norm(map, ord=2) for map in (*scaled, self.maps[-1])])

    def with_last(self, rows: Tensor) -> Chain:
        """The chain of functionals of its output: ``rows @ W_K`` in place of W_K."""
        return Chain((*self.maps[:-1], rows @ self.maps[-1]), self.lower, self.upper, self.slack)

    def folded(self) -> Chain:
        """The same chain with hidden layers of stable units alone folded into one map with their neighbours."""
        maps, lower, upper = [self.maps[0]], [], []
        for map, low, high in zip(self.maps[1:], self.lower, self.upper, strict=True):
            if bool((high > low).any()):
                maps.append(map)
                lower.append(low)
                upper.append(high)
            else:
                maps[-1] = (map * low) @ maps[-1]
        return Chain(tuple(maps), tuple(lower), tuple(upper), self.slack)

    def cut(self, most: int) -> list[Chain]:
        """Blocks of consecutive layers with at most ``most`` unstable units together; a layer with more is one alone.

        With ``most`` = 0 every hidden layer of a folded chain is a block.
        """
        groups: list[list[int]] = []
        for layer, count in enumerate(self.unstable_counts):
            if groups and sum(self.unstable_counts[k] for k in groups[-1]) + count <= most:
                groups[-1].append(layer)
            else:
                groups.append([layer])
        if len(groups) <= 1:
            return [self]
        halves = {group[0]: _halves(self.maps[group[0]]) for group in groups[1:]}
        blocks = []
        for group, after in pairwise([*groups, []]):
            first = halves[group[0]][0] if group[0] in halves else self.maps[group[0]]
            last = self.maps[group[-1] + 1] if not after else halves[after[0]][1]
            slack = halves[group[0]][2] if group[0] in halves else 0.0
            layers = slice(group[0], group[-1] + 1)
            maps = (first, *self.maps[group[0] + 1 : group[-1] + 1], last)
            blocks.append(Chain(maps, self.lower[layers], self.upper[layers], slack))
        return blocks

    def sectors(self) -> Sectors:
        """The differences of the chain as sectors, a row for each output."""
        nodes: list[Node] = [Input(self.maps[0].shape[1:])]
        slopes: dict[int, Slopes] = {}
        for k, map in enumerate(self.maps):
            if k:
                nodes.append(Relu(len(nodes) - 1, map.shape[1:]))
                slopes[len(nodes) - 1] = Slopes(self.lower[k - 1].unsqueeze(0), self.upper[k - 1].unsqueeze(0))
            dense = Dense(map, tuple(map.shape[1:]), tuple(map.shape[:1]))
            nodes.append(Affine((len(nodes) - 1,), (dense,), map.new_zeros(len(map))))
        columns = self.maps[0].new_ones(self.maps[0].shape[1])
        rows = torch.eye(len(self.maps[-1]), dtype=self.maps[-1].dtype)
        return sectors(Graph(tuple(nodes)), slopes, {}, columns, rows)


def chain(local: Analysis, slopes: dict[int, Slopes]) -> Chain | None:
    """The layers of a single-point analysis as a chain; None where it branches, or has max pools or too large a map.

    Args:
        local: the analysis of the single point.
        slopes: the slopes of every Relu and Curved, with a batch axis of one.
    """
    affines, units = local.graph.affines(), local.graph.entrywise()
    large = any(node.maps[0].in_size * node.maps[0].out_size > ENTRIES for _, node in affines if node.maps)
    if local.graph.branches or local.graph.pools() or large:
        return None
    maps, bounds = [node.maps[0].dense() for _, node in affines], [slopes[index] for index, _ in units]
    maps[0] = maps[0] * local.placed.weights[0].flatten().to(maps[0].dtype)
    lower, upper = (
        tuple(end[0].flatten() for end in ends) for ends in ([b.lower for b in bounds], [b.upper for b in bounds])
    )
    return Chain(tuple(maps), lower, upper)


def _halves(map: Tensor) -> tuple[Tensor, Tensor, float]:
    """(A, B, r): A B = W up to |W - A B| <= r |W|."""
    u, values, v = torch.linalg.svd(map, full_matrices=False)
    root = values.sqrt()
    a, b = u * root, root.unsqueeze(1) * v
    size = float(values[0])
    if size == 0.0:
        return a, b, 0.0
    eps = (len(values) + 4) * torch.finfo(map.dtype).eps
    error = torch.linalg.matrix_norm(map - a @ b) + eps * torch.linalg.matrix_norm(a) * torch.linalg.matrix_norm(b)
    return a, b, float(error) / size
