"""Certified radii against the linear pieces: in the ball of the radius no point has another class."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch

from lipreg.estimators.radius import certified_radii
from tests.attacks.asking import faults
from tests.attacks.kinds import Generator, attacks, chain, dense
from tests.attacks.modules import module
from tests.attacks.oracle import Oracle, Where
from tests.attacks.polytopes import squared_distance
from tests.attacks.tally import Tally

BALLS = {1.0: "l1", 2.0: "l2", math.inf: "linf"}


@attacks
def radii(rng: Generator, tally: Tally) -> None:
    """Random classifiers with two inputs, some of them badly scaled, large or steep, or with margins that hardly show."""
    widths = [2, *rng.integers(2, 7, size=int(rng.integers(1, 4))).tolist(), int(rng.integers(2, 4))]
    layers = dense(rng, widths)
    if rng.random() < 0.3:
        layers = [(w * (f := 10.0 ** rng.uniform(-3, 3, size=len(b)))[:, None], b * f) for w, b in layers]
    points = rng.normal(size=(4, 2)) * 0.5
    if rng.random() < 0.3:
        shift = rng.normal(size=2) * 10 ** rng.uniform(1, 7)
        points = points + shift
        layers[0] = layers[0][0], layers[0][1] - layers[0][0] @ shift
    if rng.random() < 0.3:  # beside the logits' own size
        layers[-1] = layers[-1][0], layers[-1][1] + 10 ** rng.uniform(4, 16)
    if rng.random() < 0.3:  # beside that of the features, which the last layer takes away again
        (weight, bias), (last, own) = layers[-2:]
        offset = 10 ** rng.uniform(3, 12)
        layers[-2:] = [(weight, bias + offset), (last, own - last.sum(1) * offset)]
    program = chain(layers)
    p = float(rng.choice([1.0, 2.0, math.inf]))
    bounds = str(rng.choice(["spectral", "affine_relu", "abs_chain", "fastlip", "deviation"]))
    with faults(tally, estimator=f"certified_radii by {bounds}"):
        for point, found in zip(
            points, certified_radii(module(program), torch.from_numpy(points), p=p, bounds=[bounds]), strict=True
        ):
            if 0 < found.radius < 1e6:
                tally.counts["upper"] += 1
                nearest = _other_class(program, point, BALLS[p], found.radius, found.label)
                if nearest:
                    tally.fault("unsound", of=f"certified radius, p={p}, by {bounds}", said=found.radius)


def _other_class(program, point: np.ndarray, ball: str, radius: float, label: int) -> bool:
    """Whether some piece within the ball has room for a point of another class."""
    oracle = Oracle(program, tuple(point.tolist()), Where(ball, radius))
    center, square = [Fraction(a) for a in oracle.point], Fraction(radius) ** 2
    for piece in oracle.pieces:
        for rival in range(len(piece.rows)):
            margin = tuple(b - a for a, b in zip(piece.rows[label], piece.rows[rival], strict=True))
            beyond = piece.polytope.split(margin)[0] if rival != label and any(margin) else None
            if beyond is not None and (ball != "l2" or squared_distance(beyond, center) < square):
                return True
    return False
