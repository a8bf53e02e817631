"""The exact program: the regional constant of a family of functionals at one point, p in {inf, 1}.

Jordan & Dimakis 2020, section 5. Per unstable unit a binary a (1 = active), its output h and its switched gradient w:

    h >= z,  h >= s z,  h <= s z + (1 - s) u a,  h <= z - (1 - s) l (1 - a)
    w = g where a = 1, 0 where a = 0:  L a <= w <= U a,  g - U (1 - a) <= w <= g - L (1 - a),  L <= g <= U

s is the slope of the negative side; z and g are affine in the variables (see ``lipreg.folding``), so stable units take
neither binary nor variable. The objective is sum_j |g_j| for p = inf, with a sign binary only where the sign of g_j is not
fixed, and max_j |g_j| for p = 1, with one selection binary a candidate. Relaxing the binaries gives the LP bound; the
triangle relaxation of each ReLU is then implied, because the two upper rows on h, weighted -l and u, add up to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.folding import AffineForm, FoldedValues, UnstableUnits, fold, fold_values
from lipreg.linalg.floats import EPS, SPARE
from lipreg.milp.assembly import Assembly, SparseMatrix
from lipreg.milp.domain import OUTSIDE, cut_off, displacement, leaves, magnitudes
from lipreg.milp.functionals import FunctionalFamily
from lipreg.milp.gradients import AffineGradient, GradientBounds, gradient_bounds
from lipreg.milp.program import Program


@dataclass(frozen=True)
class Encoding:
    """A program and how to read and start it.

    Attributes:
        program: maximises the dual norm of the gradient of the functionals over the region.
        folded: the network that it is made of; its units' binaries are ``program.columns["a"]``, displacements ``["d"]``.
        loss: how far its objective may be below the true one, as far as the offset does not include that yet.
        left_out: what there was no time for in the bounds on gradients that enter it.
    """

    program: Program
    folded: FoldedValues
    loss: float = 0.0
    left_out: str = ""

    @property
    def units(self) -> UnstableUnits:
        """The unstable units."""
        return self.folded.units

    def points(self, variables: np.ndarray) -> Tensor:
        """The point of the region at values of the program's variables, ``(1, *shape)``."""
        d = variables[self.program.columns["d"]]
        return self.folded.domain.points(torch.from_numpy(d).unsqueeze(0))

    def without(self, point: np.ndarray | None, outside: float = OUTSIDE) -> Encoding | None:
        """The encoding with tighter rows around an l2 ball, which exclude a point outside of it; None where it is inside."""
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
    family: FunctionalFamily | int,
    proved_bounds: np.ndarray | None = None,
    triangle: bool = True,
    budget: Budget | None = None,
) -> Encoding:
    """The program for a family of functionals, or for one row, of a single-point analysis: regional scope.

    Args:
        analysis: of one point, ``analysis[i : i + 1]``.
        family: the functionals of which the largest is sought, or the index of one row.
        proved_bounds: upper bounds on each functional of the family, which cut the relaxation.
        triangle: whether h >= z and h >= s z are rows. Without them each ReLU is the switch z a alone: the same integer
            points, and a looser relaxation.
        budget: started, of the folding and the bounds on gradients that enter it; None for no limit.

    Raises:
        OutOfBudget: the budget ended before the network was folded.
    """
    if isinstance(family, int):
        family = FunctionalFamily((family,))
    network, rows, p = fold(analysis, budget), list(family.rows), analysis.placed.problem.p
    program = Assembly()
    _forward(program, network, triangle)
    of_row, fixed = family.add(program, p)

    def gradient(on_w: Tensor, offset: Tensor) -> AffineGradient:
        offsets = offset[rows].numpy().T
        return AffineGradient(on_w.numpy(), offsets @ of_row, offsets @ fixed)

    bounds = gradient_bounds(analysis, None if budget is None else budget.share(0.5)).of(rows)
    _backward(program, gradient(network.g_unit, network.g_offset), bounds, family, p)
    objective = _largest if p == 1.0 else _total
    cost, offset = objective(program, gradient(network.j_unit, network.j_offset), bounds, family)
    loss = family.loss(network.row_rounding.numpy())
    if proved_bounds is not None and not family.single and not family.signs:
        tied = {name: np.asarray(block)[None] for name, block in cost.items()}
        tied["functional"] = tied.get("functional", 0.0) - proved_bounds[None]
        program.at_most(tied, loss - offset)  # rounding may put a program's point above the bounds on the network
    return Encoding(program.program(cost, offset + loss), network, left_out=bounds.left_out)


def encode_rise(analysis: Analysis, row: int, budget: Budget | None = None) -> Encoding:
    """The forward half alone: maximises c . (f(x) - f(x0)), with a variable ``distance`` >= |x - x0|_p at no cost.

    The pointed constant is made of such programs by an estimator (``mip_pointed``), which prices the distance and solves for
    both signs of c; so ``loss`` is not in the offset.

    Args:
        analysis: of one point.
        row: the index of c.
        budget: started, of the folding; None for no limit.

    Raises:
        OutOfBudget: the budget ended before the network was folded.
    """
    placed, folded = analysis.placed, fold_values(analysis, budget)
    domain, p = folded.domain, placed.problem.p
    program = Assembly()
    _forward(program, folded)
    farthest, units = float(placed.farthest[0]), placed.counts.flatten()[domain.movable].double().numpy()
    program.variables("distance", np.zeros(1), np.array([farthest]))
    if p == math.inf:
        for sign in (1.0, -1.0):
            program.at_most({"d": sign, "distance": -units[:, None]}, 0.0)
    else:
        magnitudes(program, domain)
        # a quotient may be rounded: a relative hair of the distance, which the prover's own widening covers
        program.at_most({"e": 1.0 / units[None], "distance": -1.0}, 0.0)
    weights = placed.rows[0, row].double().numpy()
    on_d, on_h, constant, error = folded.output.arrays
    at_center = analysis.value_bounds[-1]
    value = at_center.value[0].flatten().numpy()
    terms = np.abs(on_d) @ domain.size.numpy() + np.abs(on_h) @ folded.units.size + np.abs(constant) + np.abs(value)
    lost = error + (len(weights) + SPARE) * EPS * terms  # the second: of the sums over c
    if at_center.error is not None:
        lost = lost + at_center.error[0].flatten().numpy()
    cost, offset = {"d": weights @ on_d, "h": weights @ on_h}, float(weights @ (constant - value))
    return Encoding(program.program(cost, offset), folded, loss=float(np.abs(weights) @ lost))


def encode_forward(folded: FoldedValues) -> Program:
    """The forward pass of a folded network, as a program with no objective yet.

    Args:
        folded: on the CPU.
    """
    program = Assembly()
    _forward(program, folded)
    return program.program({}, 0.0)


def encode_values(analysis: Analysis, index: int, budget: Budget | None = None) -> tuple[Program, AffineForm]:
    """The forward pass up to a Relu node: a program with no objective yet, and the pre-activations of its unstable units.

    The form is over the program's variables: ``on_input`` of ``program.columns["d"]``, ``on_unit`` of ``["h"]``.

    Args:
        analysis: of one point.
        index: of the Relu node.
        budget: started, of the folding; None for no limit.

    Raises:
        OutOfBudget: the budget ended before the network was folded.
    """
    folded = fold_values(analysis, budget)
    before = folded.before(index)
    program = Assembly()
    _forward(program, before)
    return program.program({}, 0.0), folded.z[folded.units.of(index)].over_first(before.count)


def _forward(program: Assembly, folded: FoldedValues, triangle: bool = True) -> None:
    """Adds d, the displacement within the region, and of the unstable units the outputs h and the activations a."""
    displacement(program, folded.domain)
    units = folded.units
    low, high, slope = units.lower, units.upper, units.negative_slope
    program.variables("h", slope * low if triangle else low, high)
    program.binaries("a", len(units))
    _tie(program, folded)
    on_d, on_h, constant, loss = _entries(folded.z)  # every row allows for the rounding of its form
    if triangle:
        program.at_most({"d": on_d, "h": (on_h, -1.0)}, loss - constant)
        if slope.any():  # else it is the bounds of the variables
            program.at_most({"d": on_d * slope, "h": (on_h * slope, -1.0)}, slope * (loss - constant))
    else:
        _switch_from_below(program, folded)
    flat = {"h": (on_h * -slope, 1.0), "d": on_d * -slope} if slope.any() else {"h": 1.0}
    program.at_most({**flat, "a": -(1 - slope) * high}, slope * (loss + constant))
    off = (1 - slope) * low
    program.at_most({"h": (-on_h, 1.0), "d": -on_d, "a": -off}, loss + constant - off)
    _keep_close(program, folded)


def _tie(program: Assembly, folded: FoldedValues) -> None:
    """Adds a_i = a_first, or a_i + a_first = 1, for tied units; off their kink the rows hold by themselves."""
    (first, other), sign = folded.tied.numpy(), folded.sign.numpy().astype(np.float64)
    pairs, ones = np.arange(len(sign)), np.ones(len(sign))
    rows = SparseMatrix(len(sign), pairs, other, ones), SparseMatrix(len(sign), pairs, first, -sign)
    program.equal({"a": rows}, (1 - sign) / 2)


def _keep_close(program: Assembly, folded: FoldedValues) -> None:
    """Adds bounds on h_i - h_j for pairs of units of two networks, which otherwise are relaxed independently."""
    pairs = folded.pairs
    rows, ones = np.arange(len(pairs)), np.ones(len(pairs))
    first, second = (SparseMatrix(len(pairs), rows, unit.numpy(), ones) for unit in (pairs.first, pairs.second))
    program.at_most({"h": (first, -second)}, pairs.h_upper.numpy())
    program.at_most({"h": (-first, second)}, -pairs.h_lower.numpy())


def _entries(form: AffineForm) -> tuple[SparseMatrix, SparseMatrix, np.ndarray, np.ndarray]:
    """A form's arrays, with sparse matrices."""
    on_d, on_h, constant, error = form.arrays
    return SparseMatrix.of(on_d), SparseMatrix.of(on_h), constant, error


def _switch_from_below(program: Assembly, folded: FoldedValues) -> None:
    """Adds l (1 - a) <= z <= u a, h >= z where a = 1 and h >= s z where a = 0, in place of the triangle's lower sides."""
    low, high, slope = folded.units.lower, folded.units.upper, folded.units.negative_slope
    on_d, on_h, constant, loss = _entries(folded.z)
    above, below = loss - constant, loss + constant
    program.at_most({"d": on_d, "h": on_h, "a": -high}, above)
    program.at_most({"d": -on_d, "h": -on_h, "a": -low}, below - low)
    on = (1 - slope) * high
    program.at_most({"d": on_d, "h": (on_h, -1.0), "a": on}, on + above)
    program.at_most({"d": on_d * slope, "h": (on_h * slope, -1.0), "a": (1 - slope) * low}, slope * above)


def _backward(program: Assembly, g: AffineGradient, bounds: GradientBounds, family: FunctionalFamily, p: float) -> None:
    """Adds w, the switched gradients of the unstable units."""
    low, high = family.ends(bounds.unit_lower, bounds.unit_upper, p)
    program.variables("w", np.minimum(low, 0.0), np.maximum(high, 0.0))
    program.at_most({"w": 1.0, "a": -high}, 0.0)
    program.at_most({"w": -1.0, "a": low}, 0.0)
    on_w = SparseMatrix.of(g.on_w)
    program.at_most({"w": (-on_w, 1.0), "functional": -g.on_c, "a": -low}, g.constant - low)
    program.at_most({"w": (on_w, -1.0), "functional": g.on_c, "a": high}, high - g.constant)
    if "w" in program:
        most, least = np.maximum(bounds.unit_upper, 0.0), np.minimum(bounds.unit_lower, 0.0)
        family.add_linking_rows(program, "w", most, least)


Objective = tuple[dict[str, np.ndarray], float]
"""Coefficients of the variables by name, and an offset."""


def _total(program: Assembly, g: AffineGradient, bounds: GradientBounds, family: FunctionalFamily) -> Objective:
    """Adds the variables of sum_j |g_j|; returns it."""
    low, high = family.ends(bounds.lower, bounds.upper, math.inf)
    mixed = (low < 0) & (high > 0)
    sign = np.where(high <= 0, -1.0, 1.0) * ~mixed
    offset = float(sign @ g.constant)
    cost = {"w": sign @ g.on_w, "functional": sign @ g.on_c, "size": np.ones(int(mixed.sum()))}
    low, high, g = low[mixed], high[mixed], g[mixed]
    program.variables("size", np.zeros(len(low)), np.maximum(-low, high))
    program.binaries("positive", len(low))
    on_w = SparseMatrix.of(g.on_w)
    program.at_most({"size": 1.0, "w": -on_w, "functional": -g.on_c, "positive": -2 * low}, g.constant - 2 * low)
    program.at_most({"size": 1.0, "w": on_w, "functional": g.on_c, "positive": -2 * high}, -g.constant)
    if len(low):
        family.add_linking_rows(program, "size", np.maximum(-bounds.lower, bounds.upper)[:, mixed])
    return {name: block for name, block in cost.items() if name in program}, offset


def _largest(program: Assembly, g: AffineGradient, bounds: GradientBounds, family: FunctionalFamily) -> Objective:
    """Adds the variables of max_j |g_j|, y of the selected candidate g_j or -g_j and 0 of the others; returns it."""
    low, high = family.ends(bounds.lower, bounds.upper, 1.0)
    most = bounds.upper
    if family.single or not family.signs:  # where c may be -c, the candidates -g_j are g_j of others
        low, high = np.concatenate([low, -high]), np.concatenate([high, -low])
        most = np.concatenate([most, -bounds.lower], 1)
        g = g.with_negative()
    program.binaries("select", len(high))
    program.variables("y", np.minimum(low, 0.0), np.maximum(high, 0.0))
    program.equal({"select": np.ones((1, len(high)))}, 1.0)
    program.at_most({"y": 1.0, "select": -high}, 0.0)
    program.at_most({"y": -1.0, "select": low}, 0.0)
    program.at_most({"y": 1.0, "w": -SparseMatrix.of(g.on_w), "functional": -g.on_c, "select": -low}, g.constant - low)
    family.add_linking_rows(program, "y", np.maximum(most, 0.0))
    return {"y": np.ones(len(high))}, 0.0
