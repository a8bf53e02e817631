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
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.folding import FoldedValues, Form, Units, fold, fold_values
from lipreg.linalg.floats import EPS, SPARE
from lipreg.milp.assembly import Assembly, Entries
from lipreg.milp.domain import OUTSIDE, cut_off, displacement, leaves, magnitudes
from lipreg.milp.functionals import Functionals
from lipreg.milp.gradients import Gradient, GradientBounds, gradient_bounds
from lipreg.milp.program import Program


@dataclass(frozen=True)
class Encoding:
    """A program and how to read and start it.

    Attributes:
        program: maximises the dual norm of the gradient of the functionals over the region.
        folded: the network that it is made of; its units' binaries are ``program.columns["a"]``, displacements ``["d"]``.
        loss: what its objective may be short by, where its offset has no room for that yet.
    """

    program: Program
    folded: FoldedValues
    loss: float = 0.0

    @property
    def units(self) -> Units:
        """The unstable units."""
        return self.folded.units

    def points(self, variables: np.ndarray) -> Tensor:
        """Where in the region values of the program's variables are, ``(1, *shape)``."""
        moved = variables[self.program.columns["d"]]
        return self.folded.domain.points(torch.from_numpy(moved).unsqueeze(0))

    def without(self, point: np.ndarray | None, outside: float = OUTSIDE) -> Encoding | None:
        """The same with tighter rows around an l2 ball, where a point of its program is outside of it; None where not."""
        ball = self.folded.domain.ball
        if point is None or not leaves(self.program, ball, point, outside):
            return None
        return replace(self, program=cut_off(self.program, ball, point))

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
    budget: Budget | None = None,
) -> Encoding:
    """The program for a family of functionals, or for one row, of a single-point analysis: regional scope.

    Args:
        analysis: of one point, ``analysis[i : i + 1]``.
        functionals: of which the largest is sought.
        known: proved upper bounds on each functional of the family, which cut the relaxation.
        triangle: whether h >= z and h >= leak z are rows. Without them each ReLU is the switch z a alone: the same integer
            points, and a looser relaxation.
        budget: started, of the folding and the bounds on gradients that enter it; None for no limit.

    Raises:
        OutOfBudget: the budget ended before the network was folded.
    """
    if isinstance(functionals, int):
        functionals = Functionals((functionals,))
    network, rows, p = fold(analysis, budget), list(functionals.rows), analysis.placed.problem.p
    program = Assembly()
    _forward(program, network, triangle)
    of_row, fixed = functionals.add(program, p)

    def gradient(on_w: Tensor, offset: Tensor) -> Gradient:
        own = offset[rows].numpy().T
        return Gradient(on_w.numpy(), own @ of_row, own @ fixed)

    bounds = gradient_bounds(analysis, None if budget is None else budget.share(0.5)).of(rows)
    _backward(program, gradient(network.g_unit, network.g_offset), bounds, functionals, p)
    objective = _largest if p == 1.0 else _total
    cost, offset = objective(program, gradient(network.j_unit, network.j_offset), bounds, functionals)
    loss = functionals.loss(network.row_rounding.numpy())
    if known is not None and not functionals.single and not functionals.signs:
        tied = {name: np.asarray(block)[None] for name, block in cost.items()}
        tied["functional"] = tied.get("functional", 0.0) - known[None]
        program.at_most(tied, loss - offset)  # rounding may put a program's point above what is known of the network
    return Encoding(program.program(cost, offset + loss), network)


def encode_rise(analysis: Analysis, row: int, budget: Budget | None = None) -> Encoding:
    """The forward half alone: maximises c . (f(x) - f(x0)), with a variable ``distance`` >= |x - x0|_p at no cost.

    What the pointed constant is made of: see ``estimators/mip_pointed.py``, which prices the distance and asks for both
    signs of c; so ``loss`` is not in the offset.

    Raises:
        OutOfBudget: the budget, which is started, ended before the network was folded.
    """
    placed, folded = analysis.placed, fold_values(analysis, budget)
    domain, p = folded.domain, placed.problem.p
    program = Assembly()
    _forward(program, folded)
    reach, units = float(placed.reach[0]), placed.counts.flatten()[domain.moves].double().numpy()
    program.variables("distance", np.zeros(1), np.array([reach]))
    if p == math.inf:
        for sign in (1.0, -1.0):
            program.at_most({"d": sign, "distance": -units[:, None]}, 0.0)
    else:
        magnitudes(program, domain)
        # a quotient may be rounded: a relative hair of the distance, which the prover's own widening covers
        program.at_most({"e": 1.0 / units[None], "distance": -1.0}, 0.0)
    weights = placed.rows[0, row].double().numpy()
    on_d, on_h, constant, error = folded.output.arrays
    at_center = analysis.reach[-1]
    value = at_center.value[0].flatten().numpy()
    terms = np.abs(on_d) @ domain.size.numpy() + np.abs(on_h) @ folded.units.size + np.abs(constant) + np.abs(value)
    lost = error + (len(weights) + SPARE) * EPS * terms  # the second: of the sums over c
    if at_center.error is not None:
        lost = lost + at_center.error[0].flatten().numpy()
    cost, offset = {"d": weights @ on_d, "h": weights @ on_h}, float(weights @ (constant - value))
    return Encoding(program.program(cost, offset), folded, loss=float(np.abs(weights) @ lost))


def encode_values(analysis: Analysis, index: int, budget: Budget | None = None) -> tuple[Program, Form]:
    """The forward pass up to a Relu node: a program with no objective yet, and the pre-activations of its unstable units.

    The form is over the program's variables: ``on_input`` of ``program.columns["d"]``, ``on_unit`` of ``["h"]``.

    Raises:
        OutOfBudget: the budget, which is started, ended before the network was folded.
    """
    folded = fold_values(analysis, budget)
    before = folded.before(index)
    program = Assembly()
    _forward(program, before)
    return program.program({}, 0.0), folded.z[folded.units.of(index)].over_first(before.count)


def _forward(program: Assembly, folded: FoldedValues, triangle: bool = True) -> None:
    """The displacement d from the reference point within the region; outputs h and activations a of unstable units."""
    displacement(program, folded.domain)
    units = folded.units
    low, high, leak = units.lower, units.upper, units.leak
    program.variables("h", leak * low if triangle else low, high)
    program.binaries("a", len(units))
    _tie(program, folded)
    on_d, on_h, constant, loss = _entries(folded.z)  # every row has room for what rounding did to its form
    if triangle:
        program.at_most({"d": on_d, "h": (on_h, -1.0)}, loss - constant)
        if leak.any():  # else the variables' bounds say it
            program.at_most({"d": on_d * leak, "h": (on_h * leak, -1.0)}, leak * (loss - constant))
    else:
        _switch_from_below(program, folded)
    flat = {"h": (on_h * -leak, 1.0), "d": on_d * -leak} if leak.any() else {"h": 1.0}
    program.at_most({**flat, "a": -(1 - leak) * high}, leak * (loss + constant))
    off = (1 - leak) * low
    program.at_most({"h": (-on_h, 1.0), "d": -on_d, "a": -off}, loss + constant - off)
    _keep_close(program, folded)


def _tie(program: Assembly, folded: FoldedValues) -> None:
    """Adds a_i = a_first, or a_i + a_first = 1, for tied units; off their kink the rows hold by themselves."""
    (first, other), sign = folded.tied.numpy(), folded.sign.numpy().astype(np.float64)
    pairs, ones = np.arange(len(sign)), np.ones(len(sign))
    rows = Entries(len(sign), pairs, other, ones), Entries(len(sign), pairs, first, -sign)
    program.equal({"a": rows}, (1 - sign) / 2)


def _keep_close(program: Assembly, folded: FoldedValues) -> None:
    """Adds the bounds on h_i - h_j of units of two networks that belong together: the relaxations of the two are apart."""
    pairs = folded.pairs
    rows, ones = np.arange(len(pairs)), np.ones(len(pairs))
    first, second = (Entries(len(pairs), rows, unit.numpy(), ones) for unit in (pairs.first, pairs.second))
    program.at_most({"h": (first, -second)}, pairs.h_upper.numpy())
    program.at_most({"h": (-first, second)}, -pairs.h_lower.numpy())


def _entries(form: Form) -> tuple[Entries, Entries, np.ndarray, np.ndarray]:
    """A form's arrays, of the matrices what is not 0."""
    on_d, on_h, constant, error = form.arrays
    return Entries.of(on_d), Entries.of(on_h), constant, error


def _switch_from_below(program: Assembly, folded: FoldedValues) -> None:
    """l (1 - a) <= z <= u a, and h >= z where a = 1, h >= leak z where a = 0: what the triangle's lower sides replace."""
    low, high, leak = folded.units.lower, folded.units.upper, folded.units.leak
    on_d, on_h, constant, loss = _entries(folded.z)
    above, below = loss - constant, loss + constant
    program.at_most({"d": on_d, "h": on_h, "a": -high}, above)
    program.at_most({"d": -on_d, "h": -on_h, "a": -low}, below - low)
    on = (1 - leak) * high
    program.at_most({"d": on_d, "h": (on_h, -1.0), "a": on}, on + above)
    program.at_most({"d": on_d * leak, "h": (on_h * leak, -1.0), "a": (1 - leak) * low}, leak * above)


def _backward(program: Assembly, g: Gradient, bounds: GradientBounds, functionals: Functionals, p: float) -> None:
    """The switched gradients w of the unstable units."""
    low, high = functionals.ends(bounds.unit_lower, bounds.unit_upper, p)
    program.variables("w", np.minimum(low, 0.0), np.maximum(high, 0.0))
    program.at_most({"w": 1.0, "a": -high}, 0.0)
    program.at_most({"w": -1.0, "a": low}, 0.0)
    on_w = Entries.of(g.on_w)
    program.at_most({"w": (-on_w, 1.0), "functional": -g.on_c, "a": -low}, g.constant - low)
    program.at_most({"w": (on_w, -1.0), "functional": g.on_c, "a": high}, high - g.constant)
    if "w" in program:
        most, least = np.maximum(bounds.unit_upper, 0.0), np.minimum(bounds.unit_lower, 0.0)
        functionals.tie(program, "w", most, least)


Objective = tuple[dict[str, np.ndarray], float]


def _total(program: Assembly, g: Gradient, bounds: GradientBounds, functionals: Functionals) -> Objective:
    """sum_j |g_j|."""
    low, high = functionals.ends(bounds.lower, bounds.upper, math.inf)
    open_sign = (low < 0) & (high > 0)
    sign = np.where(high <= 0, -1.0, 1.0) * ~open_sign
    offset = float(sign @ g.constant)
    cost = {"w": sign @ g.on_w, "functional": sign @ g.on_c, "size": np.ones(int(open_sign.sum()))}
    low, high, g = low[open_sign], high[open_sign], g[open_sign]
    program.variables("size", np.zeros(len(low)), np.maximum(-low, high))
    program.binaries("positive", len(low))
    on_w = Entries.of(g.on_w)
    program.at_most({"size": 1.0, "w": -on_w, "functional": -g.on_c, "positive": -2 * low}, g.constant - 2 * low)
    program.at_most({"size": 1.0, "w": on_w, "functional": g.on_c, "positive": -2 * high}, -g.constant)
    if len(low):
        functionals.tie(program, "size", np.maximum(-bounds.lower, bounds.upper)[:, open_sign])
    return {name: block for name, block in cost.items() if name in program}, offset


def _largest(program: Assembly, g: Gradient, bounds: GradientBounds, functionals: Functionals) -> Objective:
    """max_j |g_j|: of the candidates g_j and -g_j the selected one is y, the others 0."""
    low, high = functionals.ends(bounds.lower, bounds.upper, 1.0)
    most = bounds.upper
    if functionals.single or not functionals.signs:  # where c may be -c, the candidates -g_j are g_j of others
        low, high = np.concatenate([low, -high]), np.concatenate([high, -low])
        most = np.concatenate([most, -bounds.lower], 1)
        g = g.with_negative()
    program.binaries("select", len(high))
    program.variables("y", np.minimum(low, 0.0), np.maximum(high, 0.0))
    program.equal({"select": np.ones((1, len(high)))}, 1.0)
    program.at_most({"y": 1.0, "select": -high}, 0.0)
    program.at_most({"y": -1.0, "select": low}, 0.0)
    program.at_most({"y": 1.0, "w": -Entries.of(g.on_w), "functional": -g.on_c, "select": -low}, g.constant - low)
    functionals.tie(program, "y", np.maximum(most, 0.0))
    return {"y": np.ones(len(high))}, 0.0
