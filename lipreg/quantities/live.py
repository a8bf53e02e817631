"""A network while it is trained: its structure, traced once and watched, and its weights, read anew at every step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph import CapturedNetwork, Graph, ReluChain, capture, chain_of, fixed_chain, unwrap

CHECK_EVERY = 256
"""Steps between two comparisons of the graph with the network's own forward, where no change is noticed."""


class NetworkState:
    """The network with its weights as they are at one step; each part is computed when it is first read.

    Args:
        captured: the traced network.
        dtype: number type of its graph.
        fixed: the network as a chain whose layers follow the weights in place; None where there is none.
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
    """A network in training: its structure and chain are kept from one step to the next."""

    def __init__(self) -> None:
        self.captured: CapturedNetwork | None = None
        self.chain: ReluChain | None = None
        self._trace: Any = None  # what the chain was read from
        self._checks = 0

    def read(self, network: nn.Module, x: Tensor, accept: Callable[[Graph], None]) -> NetworkState:
        """The network as it is now: its structure is read once, and again if another network or input shape takes its place.

        It is compared with the network's own forward at the first step and when something about it has changed; and now
        and then, for what nobody can watch.

        Args:
            network: wrapped or not.
            x: points ``(points, *shape)``.
            accept: raises for networks that are not covered; it is called whenever the structure has been read.

        Raises:
            UnsupportedModel: calls in the network that no graph covers.
        """
        module, captured = unwrap(network), self.captured
        if captured is None or captured.module is not module or captured.input_shape != tuple(x.shape[1:]):
            # a step runs in training mode; the penalty is on the function that will be used
            captured = self.captured = capture(module, x, running_statistics=True)
        dtype = torch.promote_types(next(module.parameters(), x).dtype, torch.float32)
        if len(x):
            captured.check(x, anew=self._checks % CHECK_EVERY == 0)
            self._checks += 1
        if captured.trace is not self._trace or (self.chain is not None and not self.chain.is_current()):
            with torch.no_grad():
                accept(captured.live(dtype))
            self.chain, self._trace = fixed_chain(captured), captured.trace
        return NetworkState(captured, dtype, self.chain)

    def stored_tensors(self) -> list[Tensor]:
        """The tensors that a chain keeps between steps."""
        return [] if self.chain is None else [layer.size for layer in self.chain.layers]

    def release(self) -> None:
        """Forgets the network and what was read of it."""
        self.captured = self.chain = self._trace = None
