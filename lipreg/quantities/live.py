"""A network while it is trained: its structure, traced once and watched, and its weights, read anew at every step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph import CapturedNetwork, Graph, ReluChain, capture, chain_of, fixed_chain, unwrap

CHECK_EVERY = 256
"""Readings between two comparisons of the graph with the network's own forward, where no change is noticed."""


class Reading:
    """The network with its weights as they are at one step; nothing is computed before it is asked for.

    Attributes:
        dtype: of its graph.
    """

    def __init__(self, captured: CapturedNetwork, dtype: torch.dtype, fixed: ReluChain | None) -> None:
        self._captured, self.dtype, self._fixed = captured, dtype, fixed

    @cached_property
    def graph(self) -> Graph:
        """The live graph, differentiable in the parameters."""
        return self._captured.live(self.dtype)

    @cached_property
    def chain(self) -> ReluChain | None:
        """The network as a chain of layers; None where it is none."""
        return chain_of(self.graph) if self._fixed is None else self._fixed


class LiveNetwork:
    """What is known of a network from one step to the next."""

    def __init__(self) -> None:
        self.captured: CapturedNetwork | None = None
        self.chain: ReluChain | None = None
        self._trace: Any = None  # what the chain was read from
        self._checks = 0

    def read(self, network: nn.Module, x: Tensor, accept: Callable[[Graph], None]) -> Reading:
        """The network as it is now: its structure is read once, and again if another network or input shape takes its place.

        It is compared with the network's own forward at the first step and when something about it has changed; and now
        and then, for what nobody can watch.

        Args:
            network: wrapped or not.
            x: points ``(points, *shape)``.
            accept: refuses networks that are not covered; asked whenever the structure has been read.
        """
        own, known = unwrap(network), self.captured
        if known is None or known.module is not own or known.input_shape != tuple(x.shape[1:]):
            # a step runs in training mode; the penalty is on the function that will be used
            known = self.captured = capture(own, x, running_statistics=True)
        dtype = torch.promote_types(next(own.parameters(), x).dtype, torch.float32)
        if len(x):
            known.check(x, anew=self._checks % CHECK_EVERY == 0)
            self._checks += 1
        if known.trace is not self._trace or (self.chain is not None and not self.chain.is_current()):
            with torch.no_grad():
                accept(known.live(dtype))
            self.chain, self._trace = fixed_chain(known), known.trace
        return Reading(known, dtype, self.chain)

    def held(self) -> list[Tensor]:
        """What a chain keeps in memory between steps."""
        return [] if self.chain is None else [layer.size for layer in self.chain.layers]

    def release(self) -> None:
        """Forgets the network and what was read of it."""
        self.captured = self.chain = self._trace = None
