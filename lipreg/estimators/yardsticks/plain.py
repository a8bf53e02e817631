"""LipMIP as it was published, in cvxpy: the yardstick for the encoding that lipreg solves.

Jordan & Dimakis 2020, section 5, for one functional: variables for every unit, its activation and its switched gradient, a
sign for every input; nothing folded away, no cutoff, no start. The bounds are those of the analysis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cvxpy as cp
import numpy as np
import scipy
import torch
from torch import Tensor

from lipreg.bounds import Analysis, interval_jacobian
from lipreg.folding import Displacements
from lipreg.graph import Affine, Relu
from lipreg.graph.passes import Backward, Forward, WithoutCurves, WithoutPools
from lipreg.linalg import LinearMap
from lipreg.milp.program import Program


def encode_plain(analysis: Analysis, row: int) -> Program:
    """The published program for one row of a single-point analysis.

    Columns "d" are the displacement from the reference point, "a" the activations of all units in the graph's order.
    """
    region, graph = analysis.placed.region, analysis.graph
    graph.require(Affine, Relu, who="lipmip")
    domain, ends = Displacements.within(region), [end[0].numpy() for end in region.displacement_ends]
    movable = np.flatnonzero(domain.movable.numpy())
    d = cp.Variable(len(ends[0]), bounds=ends)
    rows: list[Any] = [] if region.radius == math.inf else [cp.norm1(d) <= region.radius]
    if region.halfspaces is not None:
        rows.append(domain.faces.numpy() @ d[movable] <= domain.slack.numpy())
    sizes = [analysis.value_bounds[node.source].value[0].numel() for _, node in graph.relus()]
    a = cp.Variable(max(1, sum(sizes)), boolean=True)
    starts = np.cumsum([0, *sizes])
    active = {index: a[starts[k] : starts[k + 1]] for k, (index, _) in enumerate(graph.relus())}
    values = _Values(analysis, active, rows)
    graph.forward({0: d + _flat(region.center)}, values)
    gradients = interval_jacobian(analysis)
    ends_of = {index: [end[0, row].flatten().numpy() for end in bounds] for index, bounds in gradients.items()}
    seed = analysis.placed.rows[0, row].double().numpy()
    flowing = graph.backward([(len(graph.nodes) - 1, seed)], _Gradients(active, ends_of, rows))
    weights = analysis.placed.weights[0].flatten().double().numpy()
    measured = np.flatnonzero(weights)
    weights = weights[measured]
    low, high = (weights * end[measured] for end in ends_of[0])
    norm = _largest if analysis.placed.problem.p == 1.0 else _total
    gradient = cp.Constant(np.zeros(len(measured))) if flowing is None else cp.multiply(weights, flowing[measured])
    objective, added = norm(gradient, low, high)
    return _canonical(objective, rows + added, d, a)


class _Values(WithoutCurves, WithoutPools, Forward[Any]):
    """Outputs of every unit as variables; notes their rows."""

    def __init__(self, analysis: Analysis, active: dict[int, Any], rows: list[Any]) -> None:
        self.analysis, self.active, self.rows = analysis, active, rows

    def affine(self, index: int, node: Affine, values: Mapping[int, Any]) -> Any:
        return sum((_matrix(map) @ values[i] for i, map in node.terms()), start=_flat(node.bias, 0))

    def relu(self, index: int, node: Relu, value: Any) -> Any:
        bounds = self.analysis.value_bounds[node.source]
        h, added = _relu(value, self.active[index], _flat(bounds.lower), _flat(bounds.upper), node.slope)
        self.rows += added
        return h


class _Gradients(WithoutCurves, WithoutPools, Backward[Any]):
    """Switched gradients of every unit as variables, between the ends of the gradients; notes their rows."""

    def __init__(self, active: dict[int, Any], ends: dict[int, list[np.ndarray]], rows: list[Any]) -> None:
        self.active, self.ends, self.rows = active, ends, rows

    def back(self, map: LinearMap, value: Any) -> Any:
        return _matrix(map).T @ value

    def relu(self, index: int, node: Relu, value: Any) -> Any:
        w, added = _switch(value, self.active[index], *self.ends[index])
        self.rows += added
        return node.slope * value + (1 - node.slope) * w


def _relu(z: Any, a: Any, low: np.ndarray, high: np.ndarray, negative_slope: float) -> tuple[cp.Variable, list[Any]]:
    """h = z where a = 1, negative_slope z where a = 0, and a agrees with the sign of z."""
    h = cp.Variable(
        len(low), bounds=[np.where(low < 0, negative_slope * low, low), np.where(high < 0, negative_slope * high, high)]
    )
    on, off = (1 - negative_slope) * np.maximum(high, 0.0), (1 - negative_slope) * np.minimum(low, 0.0)
    return h, [
        h >= z,
        h >= negative_slope * z,
        h <= negative_slope * z + cp.multiply(on, a),
        h <= z - cp.multiply(off, 1 - a),
        a >= (low > 0).astype(float),
        a <= (high > 0).astype(float),
    ]


def _switch(g: Any, a: Any, low: np.ndarray, high: np.ndarray) -> tuple[cp.Variable, list[Any]]:
    """w = g where a = 1, 0 where a = 0."""
    w = cp.Variable(len(low), bounds=[np.minimum(low, 0.0), np.maximum(high, 0.0)])
    return w, [
        w <= cp.multiply(high, a),
        w >= cp.multiply(low, a),
        w <= g - cp.multiply(low, 1 - a),
        w >= g - cp.multiply(high, 1 - a),
    ]


def _total(g: Any, low: np.ndarray, high: np.ndarray) -> tuple[Any, list[Any]]:
    """sum_j |g_j| with a sign binary for every j."""
    size = cp.Variable(len(low), bounds=[0.0, np.maximum(np.abs(low), np.abs(high))])
    positive = cp.Variable(len(low), boolean=True)
    return cp.sum(size), [
        size <= g - cp.multiply(2 * np.minimum(low, 0.0), 1 - positive),
        size <= -g + cp.multiply(2 * np.maximum(high, 0.0), positive),
    ]


def _largest(g: Any, low: np.ndarray, high: np.ndarray) -> tuple[Any, list[Any]]:
    """max_j |g_j| with a selection binary for every g_j and -g_j."""
    upper, lower = np.concatenate([high, -low]), np.concatenate([low, -high])
    select = cp.Variable(len(upper), boolean=True)
    y = cp.Variable(len(upper), bounds=[np.minimum(lower, 0.0), np.maximum(upper, 0.0)])
    return cp.sum(y), [
        cp.sum(select) == 1,
        y <= cp.multiply(upper, select),
        y >= cp.multiply(lower, select),
        y <= cp.hstack([g, -g]) - cp.multiply(lower, 1 - select),
    ]


def _flat(x: Tensor, index: int | None = None) -> np.ndarray:
    """A tensor's one point as a vector; ``index`` 0 for tensors without a batch axis."""
    return (x if index is not None else x[0]).detach().flatten().numpy()


def _matrix(map: LinearMap) -> np.ndarray:
    size = torch.Size(map.in_shape).numel()
    return map(torch.eye(size, dtype=torch.float64).reshape(size, *map.in_shape)).flatten(1).T.detach().numpy()


def _canonical(objective: Any, rows: list[Any], d: cp.Variable, a: cp.Variable) -> Program:
    """cvxpy's canonical matrices as a Program, in maximise sense with its offset."""
    # zero terms keep variables that nothing else mentions
    whole = objective + np.zeros(d.size) @ d + np.zeros(a.size) @ a
    data, _, _ = cp.Problem(cp.Maximize(whole), rows).get_problem_data(cp.HIGHS)
    cone = data["param_prob"]
    _, minimum_offset, *_ = cone.apply_parameters()
    cost = -np.asarray(data["c"], dtype=np.float64)
    lower, upper = (np.full(len(cost), end) for end in (-np.inf, np.inf))
    for bounds, ends in ((lower, data.get("lower_bounds")), (upper, data.get("upper_bounds"))):
        if ends is not None:
            bounds[:] = ends
    integer = np.asarray(data["bool_vars_idx"], dtype=np.int64)
    lower[integer], upper[integer] = 0.0, 1.0
    at = {name: cone.var_id_to_col[variable.id] for name, variable in (("d", d), ("a", a))}
    columns = {name: slice(at[name], at[name] + variable.size) for name, variable in (("d", d), ("a", a))}
    # the l1 ball's auxiliaries |d_j| are the only variables without bounds of their own
    farthest = max(np.abs(lower[columns["d"]]).max(), np.abs(upper[columns["d"]]).max())
    lower[~np.isfinite(lower)], upper[~np.isfinite(upper)] = -farthest, farthest
    return Program(
        cost=cost,
        offset=-float(minimum_offset),
        matrix=scipy.sparse.csc_array(data["A"]),
        right=np.asarray(data["b"], dtype=np.float64),
        equalities=int(data["dims"].zero),
        lower=lower,
        upper=upper,
        integer=integer,
        columns=columns,
    )
