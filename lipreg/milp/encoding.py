"""The exact program: the regional constant of a family of functionals at one point, p in {inf, 1}.

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

import numpy as np

from lipreg.bounds import Analysis, underflow
from lipreg.linalg.floats import EPS, SPARE
from lipreg.milp.assembly import Assembly
from lipreg.milp.domain import displacement, magnitudes
from lipreg.milp.folded import Gradients, entries_loss, folded
from lipreg.milp.folding import Form, backward_forms, forward_forms, node_form
from lipreg.milp.functionals import Functionals
from lipreg.milp.program import Program
from lipreg.milp.ties import tie_binaries
from lipreg.milp.units import Units, sizes, unstable_units


@dataclass(frozen=True)
class Encoding:
    """A program and how to read and start it.

    Attributes:
        program: maximises the dual norm of the gradient of the functionals over the region.
        units: the unstable units; their binaries are ``program.columns["a"]``, the displacement ``["d"]``.
        loss: what its objective may be short by, where its offset has no room for that yet.
    """

    program: Program
    units: Units
    loss: float = 0.0

    def start(self, pattern: np.ndarray) -> dict[int, float]:
        """A partial point for a MIP start: the activation pattern of the unstable units (1 = active)."""
        if "a" not in self.program.columns:  # every unit is stable
            return {}
        return dict(zip(range(*self.program.columns["a"].indices(len(self.program.cost))), pattern, strict=True))


def encode(
    analysis: Analysis,
    functionals: Functionals | int,
    known: np.ndarray | None = None,
    triangle: bool = True,
) -> Encoding:
    """The program for a family of functionals, or for one row, of a single-point analysis: regional scope.

    Args:
        analysis: of one point, ``analysis[i : i + 1]``.
        functionals: of which the largest is sought.
        known: proved upper bounds on each functional of the family, which cut the relaxation.
        triangle: whether h >= z and h >= leak z are rows. Without them each ReLU is the switch z a alone: the same integer
            points, and a looser relaxation.
    """
    if isinstance(functionals, int):
        functionals = Functionals((functionals,))
    placed, point = analysis.placed, folded(analysis)
    p, units = placed.problem.p, point.units
    program = Assembly()
    _forward(program, analysis, point.forward, units, triangle)
    rows = placed.rows[0, list(functionals.rows)].double().numpy()
    functional = functionals.add(program, rows, p)
    g_unit, g_input = backward_forms(analysis, units, functional)
    gradients = point.gradients.of(list(functionals.rows))
    _backward(program, g_unit, gradients, functionals, p)
    objective = _largest if p == 1.0 else _total
    g_input = g_input.rows(point.moves)
    cost, offset = objective(program, g_input, gradients, functionals)
    low, high = functionals.ends(gradients.unit_lower, gradients.unit_upper, p)
    entries = entries_loss(g_unit, g_input, np.maximum(-low, high))
    loss = (
        functionals.loss(point.loss, placed.problem.dual)
        + float(np.linalg.norm(entries, placed.problem.dual))
        + float(underflow(analysis).max())
    )
    if known is not None and not functionals.single and not functionals.signs:
        tied = {name: np.asarray(block)[None] for name, block in cost.items()}
        tied["functional"] = tied.get("functional", 0.0) - known[None]
        program.at_most(tied, loss - offset)  # rounding may put a program's point above what is known of the network
    return Encoding(program.program(cost, offset + loss), units)


def encode_rise(analysis: Analysis, row: int) -> Encoding:
    """The forward half alone: maximises c . (f(x) - f(x0)), with a variable ``distance`` >= |x - x0|_p at no cost.

    What the pointed constant is made of: see ``estimators/mip_pointed.py``, which prices the distance and asks for both
    signs of c; so ``loss`` is not in the offset.
    """
    placed, point = analysis.placed, folded(analysis)
    units, p = point.units, placed.problem.p
    program = Assembly()
    _forward(program, analysis, point.forward, units)
    reach = float(placed.region.distance(p)[0])
    inputs = program.size("d")
    program.variables("distance", np.zeros(1), np.array([reach]))
    if p == math.inf:
        for sign in (1.0, -1.0):
            program.at_most({"d": sign, "distance": -np.ones((inputs, 1))}, 0.0)
    else:
        magnitudes(program, placed.region)
        program.at_most({"e": np.ones((1, inputs)), "distance": -1.0}, 0.0)
    weights = placed.rows[0, row].double().numpy()
    output = node_form(analysis, units, len(analysis.graph.nodes) - 1)
    at_center, slopes = analysis.reach[-1], weights @ output.matrix
    value = at_center.value[0].flatten().numpy()
    terms = np.abs(output.matrix) @ sizes(analysis, units) + np.abs(output.constant) + np.abs(value)
    lost = output.loss + (len(weights) + SPARE) * EPS * terms  # the second: of the sums over c
    if at_center.error is not None:
        lost = lost + at_center.error[0].flatten().numpy()
    cost, offset = {"d": slopes[:inputs], "h": slopes[inputs:]}, float(weights @ (output.constant - value))
    return Encoding(program.program(cost, offset), units, loss=float(np.abs(weights) @ lost))


def encode_values(analysis: Analysis, index: int) -> tuple[Program, Form]:
    """The forward pass up to an Affine node: a program with no objective yet, and the node over its variables (d, h).

    The form's columns are those of ``program.columns["d"]`` and ``["h"]``, in this order.
    """
    units = unstable_units(analysis).before(index)
    program = Assembly()
    _forward(program, analysis, forward_forms(analysis, units), units)
    return program.program({}, 0.0), node_form(analysis, units, index)


def _forward(program: Assembly, analysis: Analysis, z: Form, units: Units, triangle: bool = True) -> None:
    """The displacement d from the reference point within the region; outputs h and activations a of unstable units."""
    displacement(program, analysis.placed.region)
    low, high, leak, inputs = units.lower, units.upper, units.leak, program.size("d")
    program.variables("h", leak * low if triangle else low, high)
    program.binaries("a", len(units))
    tie_binaries(program, analysis, units)
    on_d, on_h = z.matrix[:, :inputs], z.matrix[:, inputs:]
    itself, loss = np.eye(len(units)), z.loss  # every row has room for what rounding did to its form
    if triangle:
        program.at_most({"d": on_d, "h": on_h - itself}, loss - z.constant)
        if leak.any():  # else the variables' bounds say it
            flat = {"d": leak[:, None] * on_d, "h": leak[:, None] * on_h - itself}
            program.at_most(flat, leak * (loss - z.constant))
    else:
        _switch_from_below(program, z, units)
    flat = {"h": itself - leak[:, None] * on_h, "d": -leak[:, None] * on_d, "a": -(1 - leak) * high}
    program.at_most(flat, leak * (loss + z.constant))
    off = (1 - leak) * low
    program.at_most({"h": itself - on_h, "d": -on_d, "a": -off}, loss + z.constant - off)


def _switch_from_below(program: Assembly, z: Form, units: Units) -> None:
    """l (1 - a) <= z <= u a, and h >= z where a = 1, h >= leak z where a = 0: what the triangle's lower sides replace."""
    low, high, leak, inputs = units.lower, units.upper, units.leak, program.size("d")
    on_d, on_h, itself = z.matrix[:, :inputs], z.matrix[:, inputs:], np.eye(len(units))
    above, below = z.loss - z.constant, z.loss + z.constant
    program.at_most({"d": on_d, "h": on_h, "a": -high}, above)
    program.at_most({"d": -on_d, "h": -on_h, "a": -low}, below - low)
    on = (1 - leak) * high
    program.at_most({"d": on_d, "h": on_h - itself, "a": on}, on + above)
    flat = {"d": leak[:, None] * on_d, "h": leak[:, None] * on_h - itself, "a": (1 - leak) * low}
    program.at_most(flat, leak * above)


def _backward(program: Assembly, g: Form, bounds: Gradients, functionals: Functionals, p: float) -> None:
    """The switched gradients w of the unstable units; g is over (w, functional)."""
    low, high = functionals.ends(bounds.unit_lower, bounds.unit_upper, p)
    program.variables("w", np.minimum(low, 0.0), np.maximum(high, 0.0))
    program.at_most({"w": 1.0, "a": -high}, 0.0)
    program.at_most({"w": -1.0, "a": low}, 0.0)
    on_w, on_c = g.matrix[:, : len(low)], g.matrix[:, len(low) :]
    itself = np.eye(len(low))
    program.at_most({"w": itself - on_w, "functional": -on_c, "a": -low}, g.constant - low)
    program.at_most({"w": on_w - itself, "functional": on_c, "a": high}, high - g.constant)
    if "w" in program:
        most, least = np.maximum(bounds.unit_upper, 0.0), np.minimum(bounds.unit_lower, 0.0)
        functionals.tie(program, "w", most, least)


Objective = tuple[dict[str, np.ndarray], float]


def _total(program: Assembly, g: Form, bounds: Gradients, functionals: Functionals) -> Objective:
    """sum_j |g_j|; g is over (w, functional)."""
    low, high = functionals.ends(bounds.lower, bounds.upper, math.inf)
    open_sign = (low < 0) & (high > 0)
    sign = np.where(high <= 0, -1.0, 1.0) * ~open_sign
    units = program.size("w") if "w" in program else 0
    slopes, offset = sign @ g.matrix, float(sign @ g.constant)
    cost = {"w": slopes[:units], "functional": slopes[units:], "size": np.ones(int(open_sign.sum()))}
    low, high, g = low[open_sign], high[open_sign], g.rows(open_sign)
    program.variables("size", np.zeros(len(low)), np.maximum(-low, high))
    program.binaries("positive", len(low))
    on_w, on_c = g.matrix[:, :units], g.matrix[:, units:]
    program.at_most({"size": 1.0, "w": -on_w, "functional": -on_c, "positive": -2 * low}, g.constant - 2 * low)
    program.at_most({"size": 1.0, "w": on_w, "functional": on_c, "positive": -2 * high}, -g.constant)
    if len(low):
        functionals.tie(program, "size", np.maximum(-bounds.lower, bounds.upper)[:, open_sign])
    return {name: block for name, block in cost.items() if name in program}, offset


def _largest(program: Assembly, g: Form, bounds: Gradients, functionals: Functionals) -> Objective:
    """max_j |g_j|: of the candidates g_j and -g_j the selected one is y, the others 0."""
    low, high = functionals.ends(bounds.lower, bounds.upper, 1.0)
    both = not (
        functionals.signs and not functionals.single
    )  # where c may be -c, the candidates -g_j are g_j of others
    upper, lower = (np.concatenate([high, -low]), np.concatenate([low, -high])) if both else (high, low)
    each = np.concatenate([bounds.upper, -bounds.lower], 1) if both else bounds.upper
    matrix = np.concatenate([g.matrix, -g.matrix]) if both else g.matrix
    constant = np.concatenate([g.constant, -g.constant]) if both else g.constant
    program.binaries("select", len(upper))
    program.variables("y", np.minimum(lower, 0.0), np.maximum(upper, 0.0))
    units = program.size("w") if "w" in program else 0
    program.equal({"select": np.ones((1, len(upper)))}, 1.0)
    program.at_most({"y": 1.0, "select": -upper}, 0.0)
    program.at_most({"y": -1.0, "select": lower}, 0.0)
    on_w, on_c = matrix[:, :units], matrix[:, units:]
    program.at_most({"y": 1.0, "w": -on_w, "functional": -on_c, "select": -lower}, constant - lower)
    functionals.tie(program, "y", np.maximum(each, 0.0))
    return {"y": np.ones(len(upper))}, 0.0
