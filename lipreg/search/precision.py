"""The precision in which a hunt evaluates points: float32 where that distinguishes a region's points."""

from __future__ import annotations

from dataclasses import replace

import torch

from lipreg.bounds import Analysis
from lipreg.graph import Affine, Graph

FLOAT32_ERROR = 2.0**-10
"""Most that float32 may be off at the center in any unstable pre-activation, as a part of its range."""


def in_dtype(graph: Graph, dtype: torch.dtype) -> Graph:
    """The graph with its weights rounded to another dtype."""

    def rounded(node: Affine) -> Affine:
        return replace(
            node, maps=tuple(m.with_entries(lambda t: t.to(dtype)) for m in node.maps), bias=node.bias.to(dtype)
        )

    if dtype == graph.dtype:
        return graph
    return replace(graph, nodes=tuple(rounded(node) if isinstance(node, Affine) else node for node in graph.nodes))


def float32_suffices(local: Analysis) -> bool:
    """Whether float32 is enough: quotients are differences, and of small or far regions all points are one number."""
    region = local.placed.region
    if local.placed.problem.scope == "pointed" or not region.bounded:
        return False
    values = in_dtype(local.graph, torch.float32).values(region.center.float())
    for node in (node for _, node in local.graph.relus()):
        bounds = local.value_bounds[node.source]
        off = (values[node.source].double() - bounds.value).abs()
        unstable = (bounds.lower < 0) & (bounds.upper > 0)
        if not bool((off <= FLOAT32_ERROR * (bounds.upper - bounds.lower))[unstable].all()):
            return False
    return True
