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
from lipreg.milp.folding import Form, Units, backward_forms, forward_forms, unstable_units
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
        return dict(zip(range(*self.program.columns["a"].indices(len(self.program.cost))), pattern, strict=True))


def encode(analysis: Analysis, row: int) -> Encoding:
    """The program for functional ``row`` of a single-point analysis (``analysis[i : i + 1]``)."""
    placed = analysis.placed
    region, p = placed.region, placed.problem.p
    units = unstable_units(analysis)
    count = len(units)
    moves = region.moves[0].flatten().numpy()
    gradient_low, gradient_high = _gradient_bounds(analysis, units, row)

    # displacement from the reference point, outputs, activations and switched gradients of the unstable units
    room_down = (region.lower - region.center)[0].flatten().numpy()
    room_up = (region.upper - region.center)[0].flatten().numpy()
    d = cp.Variable(len(moves), bounds=[room_down, room_up], name="d")
    constraints: list[Any] = []
    variables: dict[str, cp.Variable] = {"d": d}
    if region.radius < math.inf:  # an l1 ball; l2 balls are refused before
        constraints.append(cp.norm1(d) <= region.radius)
    g_unit, g_input = backward_forms(analysis, units, placed.rows[0, row].double())
    w: cp.Variable | None = None
    if count:
        z_form = forward_forms(analysis, units)
        low, high, leak = units.lower, units.upper, units.leak
        h = cp.Variable(count, bounds=[leak * low, high], name="h")
        a = cp.Variable(count, boolean=True, name="a")
        g_low, g_high = gradient_low[1:], gradient_high[1:]
        units_low, units_high = np.concatenate(g_low), np.concatenate(g_high)
        w = cp.Variable(count, bounds=[np.minimum(units_low, 0.0), np.maximum(units_high, 0.0)], name="w")
        z = z_form.matrix @ cp.hstack([d, h]) + z_form.constant
        g = g_unit.matrix @ w + g_unit.constant
        constraints += [
            h >= z,
            h >= cp.multiply(leak, z),
            h <= cp.multiply(leak, z) + cp.multiply((1 - leak) * high, a),
            h <= z - cp.multiply((1 - leak) * low, 1 - a),
            w <= cp.multiply(units_high, a),
            w >= cp.multiply(units_low, a),
            w <= g - cp.multiply(units_low, 1 - a),
            w >= g - cp.multiply(units_high, 1 - a),
        ]
        variables |= {"h": h, "a": a, "w": w}
    ends = gradient_low[0][moves], gradient_high[0][moves]
    objective, extra, more = _objective(g_input.rows(moves), w, ends, largest=p == 1.0)
    return Encoding(_canonical(objective, constraints + extra, variables | more), units)


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
