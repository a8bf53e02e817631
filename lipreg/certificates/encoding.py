"""A network and a question in the words of a certificate: nodes, maps and regions as plain data, every number exact."""

from __future__ import annotations

import base64
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor

from lipreg.certificates.refusal import NoCertificate
from lipreg.graph import Affine, Curved, Graph, Input, MaxPool, Relu, node_size
from lipreg.linalg import Convolution, LinearMap, norm_name
from lipreg.linalg.joined import Composed, Sum
from lipreg.linalg.selection import Transposed
from lipreg.problem import PlacedProblem
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall

SPARSE = 0.25
"""Share of entries that are not 0 below which a matrix is written by their positions."""


def numbers(values: Any) -> dict[str, Any]:
    """Float64 numbers as they lie in memory, little end first."""
    array = np.atleast_1d(np.ascontiguousarray(values, dtype="<f8"))
    return {"shape": list(array.shape), "float64": base64.b64encode(array.tobytes()).decode()}


def network(graph: Graph) -> dict[str, Any]:
    """The nodes behind the input, each with flat positions.

    Raises:
        NoCertificate: a node is not piecewise linear.
    """
    nodes = []
    for node in graph.nodes[1:]:
        match node:
            case Input():
                raise AssertionError
            case Affine():
                terms = [[source, _map(map.exact_form)] for source, map in node.terms()]
                parts = node.bias_of or ((None, node.bias),)
                bias = [[None if map is None else _map(map.exact_form), numbers(part.flatten())] for map, part in parts]
                nodes.append({"kind": "affine", "size": node_size(node), "terms": terms, "bias": bias})
            case Relu(source=source, slope=slope):
                nodes.append({"kind": "relu", "source": source, "slope": numbers(slope)})
            case MaxPool(source=source, windows=windows):
                nodes.append({"kind": "maxpool", "source": source, "windows": windows.tolist()})
            case Curved(curve=curve):
                raise NoCertificate(
                    f"a Curved node of {curve!r}", where="certificate", accepted="networks of linear pieces"
                )
            case _:
                assert_never(node)
    return {"inputs": node_size(graph.nodes[0]), "nodes": nodes}


def question(placed: PlacedProblem) -> dict[str, Any]:
    """The question at one point, as a certificate writes it.

    Raises:
        NoCertificate: the format has no place for the scope, the norms, the region or the units of distances.
    """
    problem = placed.problem
    covered = "regional questions about linf, l2 and l1 balls or boxes"
    if problem.scope != "regional":
        raise NoCertificate(f"scope={problem.scope!r}", where="certificate", accepted=covered)
    if problem.q == 2.0:
        raise NoCertificate("q=2", where="certificate", accepted='one number of the outputs, q="inf" or q=1')
    return {
        "scope": "regional",
        "p": norm_name(problem.p),
        "q": None if problem.q is None else norm_name(problem.q),
        "region": _region(placed, covered),
        "rows": numbers(placed.rows[0].detach().cpu().numpy()),
        "counts": None if problem.plain else numbers(placed.counts.flatten().detach().cpu().numpy()),
    }


def _region(placed: PlacedProblem, covered: str) -> dict[str, Any]:
    region, center = placed.problem.region, placed.region.center[0].flatten()
    if isinstance(region, Box):
        ends = (torch.as_tensor(end, dtype=torch.float64) for end in (region.lower, region.upper))
        lower, upper = (numbers(end.expand(placed.region.shape).flatten().numpy()) for end in ends)
        return {"kind": "box", "lower": lower, "upper": upper}
    if not isinstance(region, LinfBall | L2Ball | L1Ball):
        raise NoCertificate(f"region={type(region).__name__}", where="certificate", accepted=covered)
    low, high = (None if end is None else numbers(end) for end in (region.low, region.high))
    return {
        "kind": "ball",
        "norm": norm_name(region.norm),
        "center": numbers(center.numpy()),
        "radius": numbers(region.radius),
        "low": low,
        "high": high,
    }


def _map(map: LinearMap, transposed: bool = False) -> dict[str, Any]:
    """A map whose numbers are exact, as factors and terms of matrices."""
    match map:
        case Composed(outer=outer, inner=inner):
            parts = [_map(outer, transposed), _map(inner, transposed)]
            return {"product": parts[::-1] if transposed else parts}
        case Sum(first=first, second=second):
            return {"sum": [_map(first, transposed), _map(second, transposed)]}
        case Transposed(map=inner):
            return _map(inner, not transposed)
    dense = map.dense().detach().cpu()
    if isinstance(map, Convolution):
        _check_moved(dense, map.weight.detach().cpu())
    return _matrix((dense.T if transposed else dense).numpy())


def _check_moved(dense: Tensor, weight: Tensor) -> None:
    """A convolution of unit vectors moves its weights about and computes nothing, unless an engine transforms them."""
    weights = torch.cat([weight.flatten(), weight.new_zeros(1)])
    if not bool(torch.isin(dense, weights).all()):
        raise NoCertificate("a convolution whose matrix torch rounds", where="certificate")


def _matrix(dense: np.ndarray) -> dict[str, Any]:
    rows, columns = dense.nonzero()
    if len(rows) > SPARSE * dense.size:
        return numbers(dense)
    values = numbers(dense[rows, columns])
    return {"shape": list(dense.shape), "rows": rows.tolist(), "columns": columns.tolist(), "values": values}
