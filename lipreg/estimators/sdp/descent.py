"""Multipliers by descent on the bound itself: for forms on which a first-order solver of semidefinite programs is slow.

rho is a function of the multipliers alone (see ``multipliers.py``), and any multipliers with a rho prove a bound. So
log rho is minimised over log lambda by L-BFGS, with the gradient through the Cholesky factor of S. A largest eigenvalue
has no gradient where it is not simple; there the gradients of the top eigenvalues are averaged with weights that fall
with their distance to the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import scipy
import torch

from lipreg.estimators.sdp.multipliers import QuadraticForm

STEPS = 300
TOP = 8
"""Eigenvalues whose gradients are averaged."""
SMOOTHING = 1e-3
"""Relative distance to the largest eigenvalue at which the weight has fallen to 1 / e."""
INFEASIBLE = 1e3
"""log rho where there is none: higher than any on the way."""
START_SCALES = 2.0 ** np.arange(-8, 24)


class _Ended(Exception):
    """Stops the minimiser from inside."""


def descend(form: QuadraticForm, start: np.ndarray | None, ended: Callable[[], bool]) -> np.ndarray | None:
    """Multipliers with the smallest rho seen; None where no start has one.

    Args:
        start: multipliers to begin with; without any, or where they have no rho, simple ones are tried.
        ended: asked before each evaluation.

    Cost: an eigenvalue decomposition of the inputs' side and a factorisation of the units' side an evaluation.
    """
    first = start if start is not None and (start > 0).all() and form.smallest(start) is not None else _start(form)
    if first is None:
        return None
    inputs = form.unit_input.shape[1]
    m, t, rows = (torch.from_numpy(part) for part in (form.unit_input, form.unit_unit, form.rows))
    c, g = rows[:, :inputs], rows[:, inputs:]
    seen: list[tuple[float, np.ndarray]] = [(np.inf, first)]

    def evaluate(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        if ended():
            raise _Ended
        variable = torch.from_numpy(logarithms).requires_grad_()
        with torch.enable_grad():
            multipliers = variable.exp()
            coupled = multipliers.unsqueeze(1) * t / 2
            factor, wrong = torch.linalg.cholesky_ex(torch.diag(multipliers) - coupled - coupled.T - g.T @ g)
            if wrong:
                return INFEASIBLE, np.zeros_like(logarithms)
            cross = multipliers.unsqueeze(1) * m / 2 + g.T @ c
            half = torch.linalg.solve_triangular(factor, cross, upper=False)
            reduced = half.T @ half + c.T @ c
            values, vectors = torch.linalg.eigh(reduced.detach())
            largest, kept = values[-1].clamp(min=1e-300), vectors[:, -TOP:]
            weights = torch.softmax((values[-TOP:] - largest) / (SMOOTHING * largest), 0)
            smooth = (weights * (kept * (reduced @ kept)).sum(0)).sum() / largest
        (gradient,) = torch.autograd.grad(smooth, variable)
        value = float(largest.log())
        if value < seen[0][0]:
            seen[0] = value, multipliers.detach().numpy().copy()
        return value, gradient.numpy()

    with suppress(_Ended):
        limits = {"maxiter": STEPS, "maxfun": 2 * STEPS}
        scipy.optimize.minimize(evaluate, np.log(first), jac=True, method="L-BFGS-B", options=limits)
    return seen[0][1]


def _start(form: QuadraticForm) -> np.ndarray | None:
    """The best multiple of kappa, of equal multipliers in the network's own units, or of equal ones in each level.

    With one hidden layer the second gives the product of the two norms; the third keeps deep networks in range.
    """
    shapes = form.slack()[1], np.square(form.reach) / np.square(form.reach).mean(), _by_level(form)
    tried = [scale * shape for shape in shapes for scale in START_SCALES]
    found = [(rho, k) for k, multipliers in enumerate(tried) if (rho := form.smallest(multipliers)) is not None]
    return tried[min(found)[1]] if found else None


def _by_level(form: QuadraticForm) -> np.ndarray:
    """kappa's recursion over whole levels: units that do not see each other, with spectral norms between levels."""
    level = np.zeros(form.units, dtype=np.int64)
    for u in range(form.units):
        seen = np.flatnonzero(form.unit_unit[u])
        level[u] = level[seen].max() + 1 if len(seen) else 0
    groups = [np.flatnonzero(level == k) for k in range(int(level.max()) + 1)]
    inputs = form.unit_input.shape[1]
    found = np.zeros(form.units)
    weight = np.array([2.0 * np.linalg.norm(form.rows[:, inputs + group], 2) ** 2 for group in groups]) + 1e-6
    for later in reversed(range(len(groups))):
        found[groups[later]] = weight[later]
        reads = [np.linalg.norm(form.unit_unit[np.ix_(groups[later], group)], 2) for group in groups[:later]]
        reach = np.linalg.norm(form.unit_input[groups[later]], 2) + sum(reads)
        for before, read in enumerate(reads):
            weight[before] += weight[later] * reach * read
    return found
