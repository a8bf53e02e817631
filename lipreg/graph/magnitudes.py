"""Layers whose weights are so large or so small that float64 certifies nothing about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Affine, Curved, MaxPool, Relu
from lipreg.graph.passes import Forward
from lipreg.identity import coefficient_sums
from lipreg.problem import PlacedProblem

LARGEST, LEAST = 1e120, 1e-120
"""Row sums of magnitudes between which their squares, and sums and quotients of these, stay in the range of float64."""
PRODUCT = 1e150
"""Products of the row sums of consecutive layers up to which their squares stay in it."""
VALUES = 1e250
"""Values over the region up to which sums of them stay in it; they are not squared."""


def check_question(graph: Graph, placed: PlacedProblem, where: str) -> None:
    """Raises InvalidInput where weights, region, functionals or values over the region leave the range of float64.

    Values are bounded by passing the largest magnitudes of the inputs through the magnitudes of the weights.

    Args:
        graph: frozen.
        placed: the question at its points.
        where: who asks, for messages.
    """
    least, most = check_magnitudes(graph, where)
    region = placed.region
    ends, slack = torch.maximum(region.lower.abs(), region.upper.abs()).to(graph.dtype), region.up - region.down
    if not region.bounded:  # points so far out that values overflow are as good as others on their rays
        ends, slack = region.center.abs().to(graph.dtype), torch.ones_like(slack)
    slack = slack[region.movable]
    if not bool((ends <= PRODUCT).all()) or not bool((slack >= 1.0 / PRODUCT).all()):
        got = f"inputs up to {float(ends.max()):.3g}" + (f", moved by {float(slack.min()):.3g}" if len(slack) else "")
        accepted = f"inputs up to {PRODUCT:g} that are moved by at least {1.0 / PRODUCT:g}"
        raise InvalidInput(got, where=where, accepted=accepted, todo="Choose another region, or rescale the inputs")
    for size in magnitudes(graph, ends, lambda _, node: node.bias.abs()).values():
        if not bool((size <= VALUES).all()):
            got = f"values that may reach {float(size.max()):.3g} over the region"
            todo = "Choose a smaller region, or rescale the layers"
            raise InvalidInput(got, where=where, accepted=f"up to {VALUES:g}", todo=todo)
    rows, units = coefficient_sums(placed.coefficients), placed.counts[placed.counts > 0]
    small, large = float(rows[rows > 0].min()) if rows.any() else 1.0, float(rows.max())
    beyond = large > LARGEST or large * most > PRODUCT
    if beyond or small < LEAST or (least > 0 and small * least < LEAST):
        got = f"a functional whose coefficients add up to {large if beyond else small:.3g}"
        accepted = f"magnitudes that add up to 0, or to {LEAST:g} to {LARGEST:g}, and with the layers' to {PRODUCT:g}"
        raise InvalidInput(got, where=where, accepted=accepted, todo="Scale it, and the answer back")
    finest, coarsest = float(units.min()), float(units.max())
    if coarsest > LARGEST or finest < LEAST or large * most * coarsest > PRODUCT or 0 < small * least * finest < LEAST:
        got = f"a scale of the inputs from {finest:.3g} to {coarsest:.3g}"
        accepted = f"{LEAST:g} to {LARGEST:g}, and with the layers and the functional up to {PRODUCT:g}"
        raise InvalidInput(got, where=where, accepted=accepted, todo="Choose other units, and scale the answer back")


def check_magnitudes(graph: Graph, where: str) -> tuple[float, float]:
    """Raises InvalidInput where the weights of a layer, or of consecutive layers, are outside of the range and not 0.

    Their squares overflow or underflow, so that upper ends would be infinite, no numbers, or below the constant. What is
    measured are the largest row sum of magnitudes of each layer, and the products of these over consecutive layers. Single
    tiny entries beside ordinary ones do not matter: they are far below the rounding of the others.

    Args:
        graph: live or frozen.
        where: who asks, for messages.

    Returns:
        The smallest and the largest product of consecutive layers that end at the output.
    """
    return graph.forward({0: (1.0, 1.0)}, _Products(graph, where))[len(graph.nodes) - 1]


def magnitudes(graph: Graph, inputs: Tensor, bias_magnitudes: Callable[[int, Affine], Tensor]) -> dict[int, Tensor]:
    """Bounds on the magnitudes at every node from those of the inputs: |W| z at maps, z at ReLUs, the largest at pools.

    At curves it is |f(0)| + L z, with L the Lipschitz constant of f.

    Args:
        graph: live or frozen.
        inputs: magnitudes ``(batch, *input_shape)``.
        bias_magnitudes: those that an Affine node adds itself, by its index and node, ``(batch or nothing, *shape)``.

    Returns:
        By index of the node, ``(batch, *shape)``.
    """
    return graph.forward({0: inputs}, _Magnitudes(bias_magnitudes))


class _Magnitudes(Forward[Tensor]):
    """The rules of ``magnitudes``."""

    def __init__(self, own: Callable[[int, Affine], Tensor]) -> None:
        self.own = own

    def affine(self, index: int, node: Affine, values: Mapping[int, Tensor]) -> Tensor:
        return sum((map.sizes()(values[source]) for source, map in node.terms()), start=self.own(index, node))

    def relu(self, index: int, node: Relu, value: Tensor) -> Tensor:
        return value

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        return node(value)

    def curved(self, index: int, node: Curved, value: Tensor) -> Tensor:
        curve = node.curve
        return curve.value(torch.zeros_like(value)).abs() + curve.steepest * value


LeastAndMost = tuple[float, float]
"""The smallest and the largest product of row sums."""


class _Products(Forward[LeastAndMost]):
    """The smallest and the largest product of row sums of consecutive layers that end at a node."""

    def __init__(self, graph: Graph, where: str) -> None:
        self.graph, self.where = graph, where
        self.followers = {node.source: repr(node.name) for _, node in (*graph.entrywise(), *graph.pools()) if node.name}

    def affine(self, index: int, node: Affine, values: Mapping[int, LeastAndMost]) -> LeastAndMost:
        last = index == len(self.graph.nodes) - 1
        layer = "the last linear layer" if last else f"the linear layer before {self.followers.get(index, index)}"
        least = most = 0.0
        for source, map in node.terms():
            ones = torch.ones(1, *map.in_shape, dtype=node.bias.dtype, device=node.bias.device)
            with torch.no_grad():
                size = float(map.sizes()(ones).amax())
            if size > LARGEST or 0 < size < LEAST:
                self._refuse(f"weights of which a row adds up to {size:.3g}, in {layer}")
            least = max(least, size * min(1.0, values[source][0]))
            most += size * max(1.0, values[source][1])
        product = least if 0 < least < LEAST else most
        if 0 < product < LEAST or product > PRODUCT:
            self._refuse(f"layers whose row sums have the product {product:.3g}, up to {layer}")
        return least, most

    def relu(self, index: int, node: Relu, value: LeastAndMost) -> LeastAndMost:
        return value

    def max_pool(self, index: int, node: MaxPool, value: LeastAndMost) -> LeastAndMost:
        return value

    def curved(self, index: int, node: Curved, value: LeastAndMost) -> LeastAndMost:
        return value[0], value[1] * node.curve.steepest

    def _refuse(self, got: str) -> None:
        raise InvalidInput(
            got,
            where=self.where,
            accepted=f"0, or row sums from {LEAST:g} to {LARGEST:g} with products from {LEAST:g} to {PRODUCT:g}",
            todo="Their squares leave the range of float64. Rescale the layers, or see whether training diverged",
        )
