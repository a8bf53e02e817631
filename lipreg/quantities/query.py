"""The input of a quantity: network, question and points, each part computed when it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from lipreg.bounds.chain import place_batch
from lipreg.distances import check_measured, counts_of
from lipreg.estimators import Constants
from lipreg.estimators.closed_form import BY_LABEL, rows_of
from lipreg.graph import Graph, ReluChain
from lipreg.linalg import PowerIteration
from lipreg.problem import LocalLipschitz
from lipreg.quantities.live import NetworkState
from lipreg.regions import PlacedRegion
from lipreg.seen import Seen


class Query(Seen):
    """A batch of points at which a quantity is asked for; penalties see the same.

    Args:
        problem: the question.
        network: the module in training.
        x, labels: points ``(points, *shape)`` and their labels or targets, whatever these are; None without any.
        read: returns the network as it is now; it traces the module where that has not been done yet.
        constants: tensors that closed forms keep from step to step.
        power: estimates spectral norms in their place; None where they are to be exact.
        seed: the seed of the quantity's random draws.
    """

    def __init__(
        self,
        problem: LocalLipschitz,
        network: nn.Module,
        x: Tensor,
        labels: Tensor | None,
        read: Callable[[], NetworkState],
        constants: Constants | None = None,
        power: PowerIteration | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(labels=labels)
        self.problem, self.network, self.x = problem, network, x.detach()
        self.constants, self.power, self.seed = constants or Constants(), power, seed
        self._read = read

    @cached_property
    def network_state(self) -> NetworkState:
        """The network with its weights as they are now."""
        return self._read()

    @property
    def graph(self) -> Graph:
        """The network's live graph, differentiable in the parameters, in evaluation mode."""
        return self.network_state.graph

    @property
    def chain(self) -> ReluChain | None:
        """The network as a chain of layers and ReLUs in float32 or float64; None where it is none."""
        chain = self.network_state.chain
        return None if chain is None or chain.dtype not in (torch.float32, torch.float64) else chain

    @property
    def dtype(self) -> torch.dtype:
        """The number type of the computation."""
        return self.network_state.dtype

    @cached_property
    def points(self) -> Tensor:
        """x in ``dtype``, ``(points, *shape)``."""
        return self.x.to(self.dtype)

    @property
    def outputs(self) -> Tensor:
        """The network's outputs at the points, ``(points, outputs)``, differentiable in its parameters."""
        if self._outputs is None:
            self._outputs = self.graph(self.points)
        return self._outputs

    @property
    def weights(self) -> Sequence[Tensor]:
        """The network's trained parameters with two dimensions or more: matrices and kernels."""
        return [weight for weight in self.network.parameters() if weight.dim() >= 2 and weight.requires_grad]

    @cached_property
    def region(self) -> PlacedRegion:
        """The problem's region around each point."""
        region = self.problem.region.place(self.points)
        if not self.problem.plain:
            check_measured(region, self.problem.scale, self.problem.measured)
        return region

    @cached_property
    def columns(self) -> Tensor | None:
        """The inputs' weights, 0 for those that the region holds fixed, ``(points, inputs)``; None where each is 1.

        Raises:
            InvalidInput: points outside the region's data range; units or measured inputs that do not fit.
        """
        if self.problem.plain:
            placed = place_batch(self.problem, self.points)
            columns = self.region.movable.to(self.dtype) if placed is None else placed.movable
        else:
            columns = self.problem.weights(self.region)
        return None if columns is None else columns.flatten(1)

    @cached_property
    def counts(self) -> Tensor | None:
        """The inputs' weights by the question alone, whatever the region, ``(inputs,)``; None where each is 1."""
        if self.problem.plain:
            return None
        return counts_of(self.region.shape, self.problem.scale, self.problem.measured, self.points).flatten()

    @cached_property
    def rows(self) -> Tensor:
        """The functional's rows c at each point, ``(points, rows, outputs)``."""
        chain, output = self.chain, self.problem.output
        if chain is not None and type(output) in BY_LABEL:
            label_rows = rows_of(self.problem, chain.weights[-1], self.points, self.labels, self.constants)
            if label_rows is not None:
                return label_rows.table.unflatten(0, (-1, label_rows.count)).index_select(0, label_rows.labels)
        with torch.no_grad():
            return output.rows(self.graph(self.points), self.labels)

    def slopes(self, points: Tensor) -> dict[int, Tensor]:
        """The slopes of the graph's units at points ``(points, *shape)``, for ``Graph.gradients``; those of curves alone
        have a gradient."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(self.graph.curves())):
            patterns = self.graph.patterns(self.graph.values(points))
        return {node: slopes.unsqueeze(1) for node, slopes in patterns.items()}

    @property
    def generator(self) -> torch.Generator:
        """A generator that begins at ``seed``, on the CPU: what is drawn is the same on every device."""
        return torch.Generator().manual_seed(self.seed)
