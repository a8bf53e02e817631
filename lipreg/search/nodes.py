"""Nodes of the search as tensors: a batch of them, and the frontier of those that are open."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from lipreg.bounds import MixingVectors
from lipreg.folding import FoldedNetwork


@dataclass
class Nodes:
    """A batch of N nodes; each is the part of the region where the units follow the fixed phases, inside a box.

    Attributes:
        phase: 1 active, -1 not, 0 unstable; ``(N, n)`` int8.
        row: the family, ``(N,)``: a functional, or of an operator itself or a column.
        upper: proved upper bound on that family's constant within the node, ``(N,)``.
        depth: decisions taken on the way from the root, ``(N,)``.
        z_lower, z_upper: pre-activation bounds within the node, ``(N, n)``.
        d_lower, d_upper: the node's box of displacements, ``(N, m)``.
        vectors: of the units and of the functional's numbers, where the relaxation of the parent's gradient ended
            (``lipreg.bounds.lifted_bound``), ``(N, n + k, r)`` float32.
        unit_gaps: how much each unit's switch changes between its ends, in that relaxation of the node or of the last one
            before that was relaxed, ``(N, n)`` float32; equal where none was.
        sides: proved upper bounds on what the node holds where each unit is active, and where it is not, ``(N, 2, n)``;
            infinite where none is known.
        strain: how far the last linear program of the node, or of one before it, has each unit from its likely side, 0 to 1,
            ``(N, n)`` float32.
        exclusive: multipliers of the network's exclusive sides, in the same relaxation, ``(N, e)`` float32.
    """

    phase: Tensor
    row: Tensor
    upper: Tensor
    depth: Tensor
    z_lower: Tensor
    z_upper: Tensor
    d_lower: Tensor
    d_upper: Tensor
    vectors: Tensor
    unit_gaps: Tensor
    exclusive: Tensor
    sides: Tensor
    strain: Tensor

    def __len__(self) -> int:
        return self.row.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Self:
        """Some of the nodes; itself for a mask that leaves out none."""
        tensors = vars(self).values()  # in the order of the fields
        if isinstance(index, slice):
            return type(self)(*(tensor[index] for tensor in tensors))
        if index.dtype == torch.bool:
            index = index.nonzero().flatten()  # once, and not for each of the tensors
            if len(index) == len(self):
                return self
        return type(self)(*(tensor.index_select(0, index) for tensor in tensors))

    @property
    def unstable(self) -> Tensor:
        """Which units have no fixed phase, ``(N, n)``."""
        return self.phase == 0

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """The nodes of several batches in one, in their order; of a single batch that is not empty, itself."""
        parts = [part for part in parts if len(part)] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        return cls(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))

    @staticmethod
    def roots(network: FoldedNetwork, uppers: Tensor) -> Nodes:
        """One node a family, with nothing decided; one bound for all of them will do."""
        count = network.family_count

        def repeated(tensor: Tensor) -> Tensor:
            return tensor.expand(count, -1).clone()

        start = MixingVectors.start(count, network.count, 1 if network.q is None else network.rows, uppers.float())
        return Nodes(
            phase=torch.zeros(count, network.count, dtype=torch.int8, device=uppers.device),
            row=torch.arange(count, device=uppers.device),
            upper=uppers.expand(count).clone(),
            depth=torch.zeros(count, dtype=torch.int64, device=uppers.device),
            z_lower=repeated(network.z_lower),
            z_upper=repeated(network.z_upper),
            d_lower=repeated(network.domain.lower),
            d_upper=repeated(network.domain.upper),
            vectors=torch.cat([start.directions, start.input_vectors], 1),
            unit_gaps=torch.ones(count, network.count, device=uppers.device),
            exclusive=torch.zeros(count, network.exclusive.shape[1], device=uppers.device),
            strain=torch.zeros(count, network.count, device=uppers.device),
            sides=torch.full((count, 2, network.count), torch.inf, dtype=torch.float64, device=uppers.device),
        )


N = TypeVar("N", bound=Nodes)


class Frontier(Generic[N]):
    """The open nodes, in one growing block of memory.

    Best bound first. A frontier that reaches its limit drops nothing: it turns depth-first, which adds only a few nodes a
    level, until it is down to half of the limit.

    Args:
        nodes: the first ones.
        limit: bytes from which to go depth-first.
    """

    def __init__(self, nodes: N, limit: int) -> None:
        self._store = nodes
        self._count = len(nodes)
        columns = (getattr(nodes, f.name) for f in fields(nodes))
        size = sum(math.prod(column.shape[1:]) * column.element_size() for column in columns)
        self.limit = max(2, limit // max(1, size))
        self.diving = False

    def __len__(self) -> int:
        return self._count

    @property
    def upper(self) -> float:
        """The largest bound of an open node, -inf without one."""
        return float(self._store.upper[: self._count].max()) if self._count else -float("inf")

    def all(self) -> N:
        """Every open node; they stay open."""
        return self._store[: self._count]

    def take(self, count: int) -> N:
        """Removes and returns the next ``count`` nodes."""
        self.diving = self._count > (self.limit // 2 if self.diving else self.limit)
        upper, depth = self._store.upper[: self._count], self._store.depth[: self._count]
        key = depth.to(upper) + upper / (1.0 + upper.abs().amax()) if self.diving else upper
        index = key.topk(min(count, self._count)).indices
        taken = self._store[index]
        self._remove(index)
        return taken

    def add(self, nodes: N) -> None:
        """Enters nodes; the block of memory grows, at least twofold, where they do not fit."""
        needed = self._count + len(nodes)
        if needed > len(self._store):
            spare = type(nodes)(
                *(
                    t.new_empty(max(needed, 2 * len(self._store)), *t.shape[1:])
                    for t in (getattr(self._store, f.name) for f in fields(nodes))
                )
            )
            for f in fields(nodes):
                getattr(spare, f.name)[: self._count] = getattr(self._store, f.name)[: self._count]
            self._store = spare
        for f in fields(nodes):
            getattr(self._store, f.name)[self._count : needed] = getattr(nodes, f.name)
        self._count = needed

    def drop(self, cutoff: float) -> float:
        """Removes the nodes whose bound is at most ``cutoff``; returns the largest of their bounds, 0 without one."""
        upper = self._store.upper[: self._count]
        closed = (upper <= cutoff).nonzero().flatten()
        if not len(closed):
            return 0.0
        largest = float(upper[closed].max())
        self._remove(closed)
        return largest

    def _remove(self, slots: Tensor) -> None:
        """Fills slots with nodes from the end of the block."""
        remaining = self._count - len(slots)
        keep = torch.ones(self._count, dtype=torch.bool, device=slots.device)
        keep[slots] = False
        holes = (~keep[:remaining]).nonzero().flatten()
        movers = keep[remaining:].nonzero().flatten() + remaining
        for f in fields(self._store):
            tensor = getattr(self._store, f.name)
            tensor[holes] = tensor[movers]
        self._count = remaining
