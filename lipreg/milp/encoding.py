"""The LipMIP encoding, written once in cvxpy: regional constant of one functional at one point, p in {inf, 1}.

Jordan & Dimakis 2020, section 5. Per unstable unit a binary a (1 = active), its output h and its switched gradient w:

    h >= z,  h >= leak z,  h <= leak z + (1 - leak) u a,  h <= z - (1 - leak) l (1 - a)
    w = g where a = 1, 0 where a = 0:  L a <= w <= U a,  g - U (1 - a) <= w <= g - L (1 - a),  L <= g <= U

z and g are affine in the variables (see folding.py), so stable units take neither binary nor variable. The objective is
sum_j |g_j| for p = inf, with a sign binary only where the sign of g_j is open, and max_j |g_j| for p = 1, with one
selection binary a candidate. Relaxing the binaries gives the LP bound; the triangle relaxation of each ReLU is then
implied, because the two upper rows on h, weighted -l and u, add up to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
from scipy.sparse import csc_array

from lipreg.bounds import Analysis, interval_jacobian
from lipreg.milp.folding import Form, Units, backward_forms, forward_forms, node_form, unstable_units
from lipreg.milp.program import Program


@dataclass(frozen=True)
class Encoding:
    """A program and how to read and start it.

    Attributes:
        program: maximises the dual norm of the gradient of one functional over the region.
        units: the unstable units; their binaries are ``program.columns["a"]``, the displacement ``["d"]``.
    """

    program: Program
    units: Units

    def start(self, pattern: np.ndarray) -> dict[int, float]:
        """A partial point for a MIP start: the activation pattern of the unstable units (1 = active)."""
        if "a" not in self.program.columns:  # every unit is stable
            return {}
        return dict(zip(range(*self.program.columns["a"].indices(len(self.program.cost))), pattern, strict=True))


def encode(analysis: Analysis, row: int) -> Encoding:
    """The program for functional ``row`` of a single-point analysis (``analysis[i : i + 1]``): regional scope."""
    placed = analysis.placed
    units = unstable_units(analysis)
    moves = placed.region.moves[0].flatten().numpy()
    gradient_low, gradient_high = _gradient_bounds(analysis, units, row)
    variables, constraints, _ = _network(analysis, units)
    g_unit, g_input = backward_forms(analysis, units, placed.rows[0, row].double())
    w: cp.Variable | None = None
    if len(units):
        low, high = np.concatenate(gradient_low[1:]), np.concatenate(gradient_high[1:])
        # the switched gradients of the unstable units
        w = cp.Variable(len(units), bounds=[np.minimum(low, 0.0), np.maximum(high, 0.0)], name="w")
        a, g = variables["a"], g_unit.matrix @ w + g_unit.constant
        constraints += [
            w <= cp.multiply(high, a),
            w >= cp.multiply(low, a),
            w <= g - cp.multiply(low, 1 - a),
            w >= g - cp.multiply(high, 1 - a),
        ]
        variables["w"] = w
    ends = gradient_low[0][moves], gradient_high[0][moves]
    objective, extra, more = _objective(g_input.rows(moves), w, ends, largest=placed.problem.p == 1.0)
    return Encoding(_canonical(objective, constraints + extra, variables | more), units)


def encode_rise(analysis: Analysis, row: int) -> Encoding:
    """The forward half alone: maximises c . (f(x) - f(x0)), with a variable ``distance`` >= |x - x0|_p at no cost.

    What the pointed constant is made of: see ``estimators/mip_pointed.py``, which prices the distance.
    """
    placed = analysis.placed
    units = unstable_units(analysis)
    variables, constraints, inputs = _network(analysis, units)
    d, p = variables["d"], placed.problem.p
    reach = float(placed.region.distance(p)[0])
    distance = cp.Variable(1, bounds=[0.0, reach], name="distance")
    constraints.append((cp.norm_inf(d) if p == math.inf else cp.norm1(d)) <= distance[0])
    weights = placed.rows[0, row].double().numpy()
    output = node_form(analysis, units, len(analysis.graph.nodes) - 1)
    at_center = float(weights @ analysis.reach[-1].value[0].flatten().numpy())
    rise = (weights @ output.matrix) @ inputs + (float(weights @ output.constant) - at_center)
    return Encoding(_canonical(rise, constraints, variables | {"distance": distance}), units)


def encode_values(analysis: Analysis, index: int) -> tuple[Program, Form]:
    """The forward pass up to an Affine node: a program with no objective yet, and the node over its variables (d, h).

    The form's columns are those of ``program.columns["d"]`` and ``["h"]``, which stand first and in this order.
    """
    units = unstable_units(analysis).before(index)
    variables, constraints, inputs = _network(analysis, units)
    program = _canonical(np.zeros(inputs.size) @ inputs, constraints, variables)
    return program, node_form(analysis, units, index)


def _network(analysis: Analysis, units: Units) -> tuple[dict[str, cp.Variable], list[Any], cp.Expression]:
    """The forward pass: displacement d from the reference point, outputs h and activations a of the unstable units.

    Returns:
        The variables by name, the rows, and (d, h) stacked, over which ``folding`` writes its forms.
    """
    region = analysis.placed.region
    room_down = (region.lower - region.center)[0].flatten().numpy()
    room_up = (region.upper - region.center)[0].flatten().numpy()
    d = cp.Variable(len(room_up), bounds=[room_down, room_up], name="d")
    # an l1 ball; l2 balls are refused before
    constraints: list[Any] = [] if region.radius == math.inf else [cp.norm1(d) <= region.radius]
    if not len(units):
        return {"d": d}, constraints, d
    low, high, leak = units.lower, units.upper, units.leak
    h = cp.Variable(len(units), bounds=[leak * low, high], name="h")
    a = cp.Variable(len(units), boolean=True, name="a")
    inputs = cp.hstack([d, h])
    form = forward_forms(analysis, units)
    z = form.matrix @ inputs + form.constant
    constraints += [
        h >= z,
        h >= cp.multiply(leak, z),
        h <= cp.multiply(leak, z) + cp.multiply((1 - leak) * high, a),
        h <= z - cp.multiply((1 - leak) * low, 1 - a),
    ]
    return {"d": d, "h": h, "a": a}, constraints, inputs


def _gradient_bounds(analysis: Analysis, units: Units, row: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Interval bounds on the gradient of one row: of the inputs first, then of the unstable units node by node."""
    bounds = interval_jacobian(analysis)
    low, high = ([end[0, row].flatten().numpy()] for end in bounds[0])
    for index, _ in analysis.graph.relus():
        chosen = units.position[units.of(index)]
        if index in bounds:
            low.append(bounds[index][0][0, row].flatten().numpy()[chosen])
            high.append(bounds[index][1][0, row].flatten().numpy()[chosen])
        else:  # the output does not depend on this node
            low.append(np.zeros(len(chosen)))
            high.append(np.zeros(len(chosen)))
    return low, high


def _objective(
    gradient: Form, w: cp.Variable | None, ends: tuple[np.ndarray, np.ndarray], largest: bool
) -> tuple[cp.Expression, list[Any], dict[str, cp.Variable]]:
    """sum_j |g_j|, or max_j |g_j|, as a linear objective to maximise; g = gradient.matrix @ w + constant."""
    low, high = ends
    g = cp.Constant(gradient.constant) if w is None else gradient.matrix @ w + gradient.constant
    if largest:
        # candidates +g_j and -g_j; the selected one is y, the others 0
        upper, lower = np.concatenate([high, -low]), np.concatenate([low, -high])
        select = cp.Variable(len(upper), boolean=True, name="select")
        y = cp.Variable(len(upper), bounds=[np.minimum(lower, 0.0), np.maximum(upper, 0.0)], name="y")
        candidates = cp.hstack([g, -g])
        rows = [
            cp.sum(select) == 1,
            y <= cp.multiply(upper, select),
            y >= cp.multiply(lower, select),
            y <= candidates - cp.multiply(lower, 1 - select),
        ]
        return y.sum(), rows, {"select": select, "y": y}
    open_sign = (low < 0) & (high > 0)
    sign = np.where(high <= 0, -1.0, 1.0) * ~open_sign
    total: cp.Expression = sign @ g
    if not open_sign.any():
        return total, [], {}
    low, high = low[open_sign], high[open_sign]
    size = cp.Variable(len(low), bounds=[0.0, np.maximum(-low, high)], name="size")
    positive = cp.Variable(len(low), boolean=True, name="positive")
    g = g[np.flatnonzero(open_sign)]
    rows = [size <= g - cp.multiply(2 * low, 1 - positive), size <= -g + cp.multiply(2 * high, positive)]
    return total + size.sum(), rows, {"size": size, "positive": positive}


def _canonical(objective: cp.Expression, constraints: list[Any], variables: dict[str, cp.Variable]) -> Program:
    """cvxpy's canonical matrices as a Program, in maximise sense with its offset."""
    # without undecided units the objective is a number; the zero term keeps it a program like any other
    problem = cp.Problem(cp.Maximize(objective + np.zeros(variables["d"].size) @ variables["d"]), constraints)
    data, _, _ = problem.get_problem_data(cp.HIGHS)
    cone = data["param_prob"]
    _, minimum_offset, *_ = cone.apply_parameters()
    cost = -np.asarray(data["c"], dtype=np.float64)
    lower, upper = np.full(len(cost), -np.inf), np.full(len(cost), np.inf)
    if data.get("lower_bounds") is not None:
        lower = np.asarray(data["lower_bounds"], dtype=np.float64).copy()
    if data.get("upper_bounds") is not None:
        upper = np.asarray(data["upper_bounds"], dtype=np.float64).copy()
    integer = np.asarray(data["bool_vars_idx"], dtype=np.int64)
    lower[integer], upper[integer] = 0.0, 1.0
    columns = {}
    for name, variable in variables.items():
        if variable.id in cone.var_id_to_col:
            begin = cone.var_id_to_col[variable.id]
            columns[name] = slice(begin, begin + variable.size)
    # the l1 ball's auxiliaries |d_j| are the only variables without bounds of their own
    d = columns["d"]
    reach = max(np.abs(lower[d]).max(), np.abs(upper[d]).max())
    lower[~np.isfinite(lower)], upper[~np.isfinite(upper)] = -reach, reach
    return Program(
        cost=cost,
        offset=-float(minimum_offset),
        matrix=csc_array(data["A"]),
        right=np.asarray(data["b"], dtype=np.float64),
        equalities=int(data["dims"].zero),
        lower=lower,
        upper=upper,
        integer=integer,
        columns=columns,
    )
