"""Layers whose weights are so large or so small that float64 certifies nothing about them."""

from __future__ import annotations

import torch

from lipreg.errors import InvalidInput
from lipreg.graph.nodes import Affine, Graph, Relu

LARGEST, LEAST = 1e120, 1e-120
"""Row sums of magnitudes between which squares, and sums and quotients of them, stay in the range of float64."""


def check_magnitudes(graph: Graph, where: str) -> None:
    """Raises InvalidInput where a layer's largest row sum of magnitudes is beyond the range, unless it is 0.

    Squares of such weights overflow or underflow, so that upper ends would be infinite, no numbers, or below the constant.
    Single tiny entries beside ordinary ones are no matter: they are far below the rounding of the others.
    """
    followers = {node.source: node.name for node in graph.nodes if isinstance(node, Relu)}
    for index, node in enumerate(graph.nodes):
        if not isinstance(node, Affine):
            continue
        for _, map in node.terms():
            ones = torch.ones(1, *map.in_shape, dtype=graph.dtype, device=graph.device)
            with torch.no_grad():
                size = float(map.abs()(ones).amax())
            if size > LARGEST or 0 < size < LEAST:
                last = index == len(graph.nodes) - 1
                layer = "the last linear layer" if last else f"the linear layer before {followers.get(index, index)!r}"
                raise InvalidInput(
                    f"weights of which a row adds up to {size:.3g}, in {layer}",
                    where=where,
                    accepted=f"0, or row sums from {LEAST:g} to {LARGEST:g}",
                    todo="Their squares leave the range of float64. Rescale the layers, or see whether training diverged",
                )
