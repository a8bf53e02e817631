"""The bounds inside the engines against enumeration: max-cut bounds, weak duality, and the tree of linear programs."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import torch
from scipy.sparse import csc_array

from lipreg.bounds.semidefinite import norm_bound
from lipreg.budget import Budget
from lipreg.milp import Program, prove
from tests.attacks.kinds import Generator, attacks
from tests.attacks.tally import Tally
from tests.attacks.truths import Constant

INSTANCES = 48


@attacks
def max_cut(rng: Generator, tally: Tally) -> None:
    """max |c + S t| over signs t, for |.|_1 and |.|_2, with rows and columns of every size, zeros and copies."""
    rows, columns = int(rng.integers(1, 6)), int(rng.integers(1, 8))
    matrix = rng.normal(size=(INSTANCES, rows, columns + 1))
    spread = float(rng.choice([0.0, 1.0, 4.0, 8.0]))
    matrix *= 10.0 ** rng.uniform(-spread, spread, size=(INSTANCES, rows, 1))
    matrix *= 10.0 ** rng.uniform(-spread, spread, size=(INSTANCES, 1, columns + 1))
    matrix[rng.random(matrix.shape) < rng.choice([0.0, 0.3, 0.8])] = 0.0
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=columns)))
    images = matrix[:, None, :, 0] + np.einsum("imn,sn->ism", matrix[:, :, 1:], signs)
    for p, sizes in ((math.inf, np.abs(images).sum(-1)), (2.0, (images**2).sum(-1))):
        center, deviations = (torch.from_numpy(part) for part in (matrix[:, :, 0], matrix[:, :, 1:]))
        bounds = norm_bound(center.contiguous(), deviations.contiguous(), p).tolist()
        for instance, bound, best in zip(matrix, bounds, sizes.argmax(1), strict=True):
            exact = [
                sum(map(Fraction, (a * t for a, t in zip(row, [1.0, *signs[best]], strict=True)))) for row in instance
            ]
            square = sum(map(abs, exact)) ** 2 if p == math.inf else sum(a * a for a in exact)
            tally.counts["inner"] += 1
            if Fraction(bound) ** 2 < square:
                tally.fault("inner unsound", of=f"max-cut, p={p}", said=bound, truth=math.sqrt(square))


@attacks
def trees(rng: Generator, tally: Tally) -> None:
    """Random programs with up to 7 binaries and 2 continuous variables, bounded by the tree and by random multipliers."""
    binaries, others = int(rng.integers(1, 8)), int(rng.integers(0, 3))
    size, count = binaries + others, int(rng.integers(1, 6))
    spread = float(rng.choice([0.0, 2.0, 5.0]))
    matrix = rng.normal(size=(count, size)) * 10.0 ** rng.uniform(-spread, spread, size=(count, 1))
    cost = rng.normal(size=size) * 10.0 ** rng.uniform(-spread, spread, size=size)
    lower, upper = np.zeros(size), np.ones(size)
    lower[binaries:] = -rng.uniform(0, 2, others)
    ends = [(lower[j], upper[j]) for j in range(size)]
    points = [list(map(Fraction, point)) for point in itertools.product(*ends)]
    # the rows pass through one of the points, so that there is one that no rounding decides on
    chosen = points[rng.integers(len(points))]
    right = np.array([float(sum(Fraction(a) * v for a, v in zip(row, chosen, strict=True))) for row in matrix])
    right += rng.choice([0.0, 1.0], size=count) * np.abs(right)
    program = Program(cost, float(rng.normal()), csc_array(matrix), right, 0, lower, upper, np.arange(binaries))
    best: Fraction | None = None
    for point in points:
        if all(
            sum(Fraction(a) * v for a, v in zip(row, point, strict=True)) <= Fraction(b)
            for row, b in zip(matrix, right, strict=True)
        ):
            reached = sum((Fraction(c) * v for c, v in zip(cost, point, strict=True)), Fraction(program.offset))
            best = reached if best is None else max(best, reached)
    if best is None:
        tally.counts["left out"] += 1
        return
    aims = [-math.inf, float(best), float(best) + abs(float(best)) * 1e-9, float(best) - 0.1]
    bounds = [prove(program, aim, Budget(60.0, nodes=200)).bound for aim in aims[int(rng.integers(2)) :]]
    bounds += [program.dual_bound(rng.exponential(size=count) * 10.0 ** rng.uniform(-4, 4)) for _ in range(12)]
    for bound in bounds:
        tally.counts["inner"] += 1
        if bound < math.inf and Fraction(bound) < best:
            tally.fault("inner unsound", of="tree of programs", said=bound, truth=float(best))


@attacks
def norms(rng: Generator, tally: Tally) -> None:
    """Spectral norms of matrices of up to 300 rows, graded and low in rank too, against a vector that is stretched."""
    from lipreg import LinfBall, LocalLipschitz, Vector, certify

    rows, columns = (int(n) for n in rng.choice([1, 2, 3, 8, 30, 100, 300], size=2))
    matrix = np.round(rng.normal(size=(rows, columns)) * 8) / 8
    way = rng.integers(3)
    if way == 1:
        matrix = np.outer(rng.integers(-3, 4, rows), rng.integers(-3, 4, columns)) + np.eye(rows, columns) * 0.5
    elif way == 2:
        matrix = np.eye(rows, columns) * (1 + np.arange(columns) * 2.0**-30)
    if not matrix.any():
        matrix[0, 0] = 1.0
    vector = np.round(np.linalg.svd(matrix)[2][0] * 2.0**20)
    stretched = [sum(int(a * 2**40) * int(v) for a, v in zip(row, vector, strict=True) if a) for row in matrix]
    constant = Constant(attained=False)
    constant.enter(sum(a * a for a in stretched), sum(int(v) ** 2 for v in vector) << 80)
    layer = torch.nn.Linear(columns, rows, dtype=torch.float64)
    layer.weight.data = torch.from_numpy(matrix)
    problem = LocalLipschitz(LinfBall(1.0), Vector(), p=2, q=2)
    for name in ("spectral", "affine_relu", "frobenius", "deviation"):
        found = certify(layer, problem, torch.zeros(1, columns, dtype=torch.float64), estimator=name)
        tally.compare(found[0], constant, estimator=name, matrix=f"{rows} x {columns}, way {way}")
