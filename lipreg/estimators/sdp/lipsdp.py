"""LipSDP: the semidefinite bound in l2, from repaired multipliers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch

from lipreg.bounds import Analysis, PoolWeights, Slopes, norm_rounding, pool_shares
from lipreg.budget import Budget
from lipreg.ctrl_c import delayed_ctrl_c
from lipreg.estimators.base import Estimator, EstimatorTask, register, upper_interval
from lipreg.estimators.cheap_bounds import cheap_intervals, least_form, one_by_one
from lipreg.estimators.products.spectral import Spectral
from lipreg.estimators.rounding import rounded_up
from lipreg.estimators.sdp.ascent import affordable, what_is_short
from lipreg.estimators.sdp.layer_chain import Chain, chain
from lipreg.estimators.sdp.multipliers import QuadraticForm
from lipreg.estimators.sdp.sector_norms import Norm, Run, Solution, sector_norm
from lipreg.estimators.sdp.sectors import fits, sectors, unstable_count
from lipreg.estimators.sdp_solvers import check_sdp_solver, solver_version
from lipreg.graph import Affine, Curved, MaxPool, Relu
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.words import counted

UNITS = 128
"""Unstable units that share a solver's program where the network can be cut: their third power an iteration."""
LARGEST = 512
"""Unstable units up to which a program is written down for a solver at all."""
ACCURACIES = (1e-4, 1e-6)
"""Tolerances of a first-order solver, one attempt after another, for a program that is scaled to size 1."""
CLOSE = 1e-4
"""Relative difference by the repair up to which the coarser tolerance was enough."""
ITERATIONS = 20000
"""The most iterations of a first-order solver in one attempt."""

LIMITS: dict[str, Callable[[float, int], list[dict[str, Any]]]] = {
    "SCS": lambda seconds, steps: [
        {"eps_abs": accuracy, "eps_rel": accuracy, "max_iters": steps, "time_limit_secs": seconds}
        for accuracy in ACCURACIES
    ],
    "CLARABEL": lambda seconds, steps: [{"time_limit": seconds, "max_iter": min(steps, 200)}],
}
"""The options of a solver for seconds and iterations, one set for each attempt; other solvers keep their defaults."""


@register("lipsdp")
class LipSDP(Estimator):
    """L^2 <= rho, the least with rho |d|^2 + sum_u lambda_u w_u (w_u - Delta z_u) - |Delta f|^2 >= 0 for some lambda >= 0.

    Neuron form, with every unit's slope in the interval that the region allows: of derivatives in regional scope, of
    secants from x0 in pointed scope. Stable units are folded away, so a program has the unstable ones alone; max pools
    and branches are covered. Multipliers are repaired to a feasible point in float64 before anything is called a bound.
    They come from an ascent that needs no solver, and mostly comes within 1e-6 of the program's value; from a solver of
    semidefinite programs where ``Settings(sdp_solver=...)`` names one, whose value before the repair is the result's
    ``estimate`` and in its detail.

    Several functionals are one program each; those that the multipliers of an earlier one already bound below its value are
    not solved. With more unstable units than time and memory allow, or than ``UNITS`` for a solver, a chain of layers is
    cut between layers and the blocks' bounds are multiplied, which is looser; beyond that, or with more than ``LARGEST`` in
    one block, the least of the product of norms, ``affine_relu`` and ``fastlip`` is the bound, and the status is FAILED for
    a solver, else says what was short.

    Args:
        iterations: the limit on a solver's iterations.

    Attributes:
        local: whether the slopes are those of the region: then the result is never above ``affine_relu`` and ``fastlip``;
            else these stand in where something ended it alone.

    Source: Fazlyab et al. 2019 (LipSDP-Neuron; their form with coupled multipliers is invalid, Pauli et al. 2021).
    """

    certificate = Certificate.UPPER
    norms = (2.0,)
    output_norms = (2.0, float("inf"))
    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    searches = True
    solver_option = "sdp_solver"
    source = "Fazlyab et al. 2019 (LipSDP)"
    local: ClassVar[bool] = True

    def __init__(self, iterations: int = ITERATIONS) -> None:
        self.iterations = iterations

    def engine(self, solver: str | None) -> str:
        return super().engine(solver) if solver is None else f"cvxpy {version('cvxpy')}, {solver_version(solver)}"

    def slopes(self, local: Analysis) -> tuple[dict[int, Slopes], dict[int, PoolWeights]]:
        """The slopes of units and the shares of pool members of a single-point analysis, by node."""
        return local.slopes, local.shares

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        solver = work.settings.sdp_solver
        if solver is not None:
            check_sdp_solver(solver)

        @torch.no_grad()
        def answered(local: Analysis, own: Budget) -> CertifiedInterval:
            run = Run(None if solver is None else partial(_solve, solver, self.iterations), own)
            (beside,) = cheap_intervals(local, own)  # before the time is spent
            found = self._point(local, run, solver)
            return least_form(found, beside) if self.local or found.status is not Status.BOUNDED else found

        return one_by_one(work, answered)

    def _point(self, local: Analysis, run: Run, solver: str | None) -> CertifiedInterval:
        trivial = Spectral().intervals(local, run.budget)[0].upper
        placed = local.placed.scalarised()
        rows, joint = placed.rows[0].to(local.graph.dtype), placed.problem.output.joint
        slopes, shares = self.slopes(local)
        units, columns = unstable_count(slopes, shares), placed.weights[0]
        few, most = UNITS, LARGEST
        if solver is None and units > UNITS:  # fewer units fit in any case, whatever the clock
            side = affordable(run.budget)  # of a form over the units and the inputs, or directions that the units see
            few = most = max(UNITS, side - int((columns > 0).sum()), side // 2)
        whole = chain(local, slopes) if units > few else None
        if whole is None and (units > most or not fits(local.graph, units, columns)):
            inputs = counted(int((columns > 0).sum()), "input")
            detail = f"{counted(units, 'unstable unit')} and {inputs} are too many for one program"
            short = what_is_short(run.budget) if solver is None and units > most else Status.FAILED
            return upper_interval(local, 0, trivial, "spectral", short, f"{detail}: product of norms")
        if whole is None:
            norm = sector_norm(sectors(local.graph, slopes, shares, columns, rows), joint, run)
        else:
            norm = _product(whole.with_last(rows).cut(few), most, joint, run, trivial)
        upper, raw = rounded_up(local, norm.upper + float(norm_rounding(local)))[0], norm.raw
        notes = [
            counted(units, "unstable unit"),
            "by ascent" if solver is None else f"{run.programs} programs by {solver_version(solver)}",
            *run.notes,
        ]
        if run.norms and upper <= trivial:
            # an unfinished solution is repaired like any other; the detail names it
            status = Status.BOUNDED if run.status is Status.FAILED else run.status
            if run.answers == 0:  # multipliers by ascent, or no unstable unit: there was nothing to repair
                return upper_interval(local, 0, upper, "LipSDP", status, ", ".join(notes))
            detail = f"{raw:.9g} before the repair; {', '.join(notes)}"
            return replace(upper_interval(local, 0, upper, "LipSDP, repaired", status, detail), estimate=raw)
        status = run.status if run.norms else Status.FAILED  # of blocks that are all too large
        return upper_interval(local, 0, trivial, "spectral", status, f"{', '.join(notes)}: product of norms")


@register("lipsdp_global")
class GlobalLipSDP(LipSDP):
    """LipSDP as published: slopes between the least and the largest of the activation, 0 and 1 of a ReLU, anywhere.

    Valid for every region and both scopes, like the spectral product, which it never exceeds by more than the repair.

    Source: Fazlyab et al. 2019 (LipSDP-Neuron).
    """

    local = False

    def slopes(self, local: Analysis) -> tuple[dict[int, Slopes], dict[int, PoolWeights]]:
        slopes, shares = {}, {}
        for index, node in local.graph.relus():
            one = torch.ones_like(local.value_bounds[node.source].value)
            slopes[index] = Slopes(node.slope * one, one)
        for index, node in local.graph.curves():
            one, (least, most) = torch.ones_like(local.value_bounds[node.source].value), node.curve.slopes_everywhere
            slopes[index] = Slopes(least * one, most * one)
        for index, node in local.graph.pools():
            one = torch.ones_like(local.value_bounds[node.source].value)
            shares[index] = pool_shares(node, -one, one, one > 0)
        return slopes, shares


def _product(blocks: list[Chain], most: int, joint: bool, run: Run, trivial: float) -> Norm:
    """The product of the blocks' norms, with the rounding of the cuts; blocks have equal shares of the remaining time."""
    if len(blocks) > 1:
        run.notes.append(f"a product over {len(blocks)} blocks of the network")
    upper = raw = 1.0
    whole = run.budget
    for k, block in enumerate(blocks):
        run.budget = whole.share(1 / (len(blocks) - k))
        together = joint or k < len(blocks) - 1
        if sum(block.unstable_counts) <= most:
            norm = sector_norm(block.sectors(), together, run)
        else:
            run.notes.append(
                f"one of them, with {counted(sum(block.unstable_counts), 'unstable unit')}, by the product of norms"
            )
            # of scalar functionals the largest, not the operator norm of all
            last = torch.linalg.matrix_norm(block.maps[-1], ord=2) if together else block.maps[-1].norm(dim=1).amax()
            norm = Norm(*[float(block.norms()[:-1].prod() * last)] * 2)
        upper, raw = upper * norm.upper, raw * norm.raw
    return Norm(upper + trivial * sum(block.slack for block in blocks), raw)


def _solve(solver: str, iterations: int, form: QuadraticForm, budget: Budget) -> Solution:
    """min rho subject to Q(rho, lambda) >= 0, lambda >= 0."""
    with delayed_ctrl_c():
        import cvxpy as cp

    entries, constant = form.coefficients()
    size = len(form)
    x = cp.Variable(1 + form.units, nonneg=True)
    matrix = cp.reshape(entries @ x + constant, (size, size), order="C")
    problem = cp.Problem(cp.Minimize(x[0]), [matrix >> 0])
    solution = Solution(0.0, None, False, "")
    for options in LIMITS[solver](budget.seconds_left, iterations) if solver in LIMITS else [{}]:
        if "time_limit_secs" in options:
            options["time_limit_secs"] = max(0.01, budget.seconds_left)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an inaccurate solution is repaired and reported
                problem.solve(solver=solver, warm_start=True, **options)
        except (cp.SolverError, ArithmeticError, ValueError) as error:
            return replace(solution, solved=False, words=f"{solver}: {error}")
        if x.value is None or not np.isfinite(x.value).all():
            return replace(solution, solved=False, words=f"{solver}: {problem.status}")
        rho, multipliers = float(x.value[0]), x.value[1:]
        solution = Solution(rho, multipliers, problem.status == cp.OPTIMAL, str(problem.status))
        raw = form.size * math.sqrt(max(0.0, rho))
        if not solution.solved or abs(form.bound(rho, multipliers)[0] - raw) <= CLOSE * raw:
            break
    return solution
