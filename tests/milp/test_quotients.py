"""Pointed questions by pieces, against networks evaluated densely along the edges of exact pieces."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import (
    AllLogits,
    AllPairs,
    Box,
    Budget,
    Certificate,
    L1Ball,
    L2Ball,
    LinfBall,
    LocalLipschitz,
    Logit,
    Polytope,
    Vector,
    certify,
)
from lipreg.estimators import frozen_analysis
from lipreg.milp.edges import End, maxima
from lipreg.milp.planar_pieces import LinearPieces
from lipreg.milp.rounded_up import quotient_above
from tests.milp.test_planar_pieces import KINDS, NORMS, UNLIMITED, Net, fractions, simplices, triangles
from tests.sampling import sampled

CASES = [(seed, kind) for seed in range(9) for turn, kind in enumerate(KINDS) if sampled(2, seed // 3, turn)]
"""Of each kind of region half of the seeds, three in a row: some coarse, some on kinks, some at a corner."""


def dense(*layers: tuple[list[list[float]], list[float]], dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Linear layers of given weights and biases, with ReLUs between them."""
    modules = list[nn.Module]()
    for weights, biases in layers:
        layer = nn.Linear(len(weights[0]), len(weights), dtype=dtype)
        layer.weight.data = torch.tensor(weights, dtype=dtype)
        layer.bias.data = torch.tensor(biases, dtype=dtype)
        modules += [layer, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def edges(net: Net, corners: list[Any]) -> np.ndarray:
    """Points along all edges of all linear pieces, ``(k, inputs)``, close to the ends of each too."""
    shares = np.sort(
        np.concatenate([np.linspace(0.0, 1.0, 301), np.geomspace(1e-5, 1e-2, 6), 1 - np.geomspace(1e-5, 1e-2, 6)])
    )
    found = []
    for triangle in triangles(corners):
        for part, _ in simplices(net, triangle):
            for a, b in combinations(np.array([[float(c) for c in corner] for corner in part]), 2):
                found.append(a + shares[:, None] * (b - a))
    return np.concatenate(found)


def quotients(net: Net, output: Any, x0: np.ndarray, x: np.ndarray, p: float, q: float) -> np.ndarray:
    with torch.no_grad():
        start, values = (net(torch.tensor(points)).numpy() for points in (x0[None], x))
    rise = values - start
    if isinstance(output, Logit):
        rise = rise[:, 1:2]
    if isinstance(output, AllPairs):
        rise = np.stack([rise[:, a] - rise[:, b] for a, b in combinations(range(rise.shape[1]), 2)], axis=1)
    return np.linalg.norm(rise, q if isinstance(output, Vector) else math.inf, axis=1) / np.linalg.norm(
        x - x0, p, axis=1
    )


@pytest.mark.parametrize("seed, kind", CASES, ids=lambda value: str(value))
def test_the_constant_is_the_largest_quotient_along_edges(seed: int, kind: str) -> None:
    generator = np.random.default_rng(seed)
    inputs, free = (4, [1, 3][: 1 + (kind == "box")]) if kind in ("box", "interval") else (2, [0, 1])
    net, x = Net(seed, inputs, coarse=seed % 2 == 0), generator.integers(-4, 5, inputs) / 4
    if seed % 3 == 0:  # else on kinks of coarse networks
        x = x + generator.normal(size=inputs) / 8
    down, up = (0.0 if seed % 4 == 1 else 1.5), 1.0  # the reference point at a corner too
    low, high = x.copy(), x.copy()
    low[free], high[free] = x[free] - down, x[free] + up
    ends = (x - 1.25, x + 1.25) if kind in ("linf", "l2") else (low, high)
    sides = ((0, 0), (1, 0), (1, 1), (0, 1)) if len(free) == 2 else ((0,), (1,))
    corners = [x.copy() for _ in sides]
    for corner, sides_of_it in zip(corners, sides, strict=True):
        corner[free] = [ends[side][f] for side, f in zip(sides_of_it, free, strict=True)]
    region: Any = Box(low.tolist(), high.tolist())
    if kind == "linf":
        region = LinfBall(1.25)
    if kind == "l1":
        region, corners = L1Ball(1.25), [x + np.array(d) * 1.25 for d in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    if kind == "l2":
        region = L2Ball(1.25)
    if kind == "polytope":
        corners = [x + np.array(d) for d in ((-down, -1.0), (1.0, -1.0), (-down, down))]
        region = Polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [down - x[0], 1.0 - x[1], float(x.sum())])
    p, q = NORMS[seed % 3], NORMS[(seed // 3 + seed) % 3]
    output = [Vector(), Logit(1), Vector(), AllPairs(), AllLogits()][seed % 5]
    points = edges(net, fractions(corners))
    if kind == "l2":
        angles = np.linspace(0.0, 2 * np.pi, 40_001)
        circle = x + 1.25 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.concatenate([points[np.linalg.norm(points - x, axis=1) <= 1.25], circle])
    points = points[np.abs(points - x).max(1) > 1e-7]
    problem = LocalLipschitz(region, output, scope="pointed", p=p, q=q if isinstance(output, Vector) else None)
    pieces = LinearPieces(frozen_analysis(net, problem, torch.tensor(x[None]), None))
    assert pieces.run(UNLIMITED)
    expected = float(quotients(net, output, x, points, p, q).max())
    assert expected * (1 - 1e-8) <= pieces.upper <= expected * (1 + 5e-3) + 1e-12
    attained = [point.flatten().numpy() for _, of_piece in pieces.points() for point in of_piece]
    attained = [point for point in attained if np.abs(point - x).max() > 0.0]
    if pieces.upper > 0.0:
        best = quotients(net, output, x, np.array(attained), p, q).max()  # dense points miss kinks of |x - x0|_p
        assert best == pytest.approx(pieces.upper, rel=1e-9)


@pytest.mark.parametrize("p", NORMS)
def test_units_are_those_of_distances(p: float) -> None:
    net, x = Net(1, 2, False), torch.zeros(1, 2, dtype=torch.float64)
    uppers = []
    for scale in (None, [4.0, 4.0], [4.0, 0.5]):
        problem = LocalLipschitz(L2Ball(1.0), AllLogits(), scope="pointed", p=p, scale=scale)
        pieces = LinearPieces(frozen_analysis(net, problem, x, None))
        assert pieces.run(UNLIMITED)
        uppers.append(pieces.upper)
    assert uppers[1] == pytest.approx(4.0 * uppers[0], rel=1e-9)
    angles = torch.linspace(0.0, 2 * math.pi, 2001).double()
    reach = torch.linspace(0.01, 1.0, 100).double()
    points = torch.stack([angles.cos(), angles.sin()], 1)[:, None] * reach[:, None]
    with torch.no_grad():
        rise = (net(points.reshape(-1, 2)) - net(x)).abs().amax(1)
    largest = float((rise / torch.linalg.vector_norm(points.reshape(-1, 2) / torch.tensor([4.0, 0.5]), p, dim=1)).max())
    assert largest * (1 - 1e-12) <= uppers[2] <= largest * 1.01


def test_squares_along_edges_are_those_of_the_best_of_many_points() -> None:
    """Small whole numbers make every special case: ends that are stationary, rows that are 0, lines through x0."""
    generator, shares = np.random.default_rng(0), np.linspace(0.0, 1.0, 4001)[:, None]
    between = 0
    for _ in range(300):
        rises, steps = generator.integers(-3, 4, (2, generator.integers(1, 4))), generator.integers(-3, 4, (2, 2))
        if not steps.any(1).all() or np.linalg.det(steps) == 0:
            continue
        one, other = (
            End(np.array([at, 1 - at, 1], dtype=object), rises[at].astype(object), steps[at].astype(object))
            for at in range(2)
        )
        n, d = rises[0] + shares * (rises[1] - rises[0]), steps[0] + shares * (steps[1] - steps[0])
        for q in NORMS:
            values = np.linalg.norm(n, q, axis=1) / np.linalg.norm(d, 2, axis=1)
            found = [(quotient_above(a, b, 0, squared=True), end) for a, b, end in maxima(one, other, q)]
            most = max([values[0], values[-1], *(value for value, _ in found)])
            assert values.max() * (1 - 1e-12) <= most <= values.max() * (1 + 1e-5) + 1e-12
            between += bool(found)
            for value, end in found:
                assert all(entry >= 0 for entry in end.vertex), "between both ends"
                rise, step = ([float(Fraction(int(e), int(end.vertex[2]))) for e in of] for of in (end.rise, end.step))
                # of several rows each has its own largest
                assert value <= np.linalg.norm(rise, q) / np.linalg.norm(step) * (1 + 1e-9)
    assert between > 200


def test_quotients_are_rounded_up_and_hardly() -> None:
    for number, by, exponent in product((1, 3, 10**40, 1 << 3000), (1, 7, 10**60), (-40, 0, 20)):
        for squared in (False, True):
            exact = Fraction(number, by) * Fraction(2) ** (exponent * (1 + squared))
            found = quotient_above(number, by, exponent, squared)
            if found == math.inf:
                assert exact**1 > 2**1000
                continue
            power = Fraction(found) ** (1 + squared)
            assert exact <= power <= exact * (1 + Fraction(1, 10**14))
    assert quotient_above(0, 3, 5) == 0.0 and quotient_above(1 << 4000, 1, 0) == math.inf


def test_the_default_estimator_closes_what_float64_does_not_tell() -> None:
    """Weights that differ by many orders of magnitude, and kinks next to the reference point."""
    net = dense(
        ([[-5.8613384e7, 4.5e-7], [-1.08317e5, 9.2236592e7], [-2.16634e5, 1.84473184e8]], [-3.6760124e7, 1.36, -16.7]),
        ([[-5e-7, 3e-7, -9.46e4], [-2.8e-4, -3e-5, -6.6e-3], [1.8747868e7, 11.67, -8.49e6]], [0.0, 0.0, 4e-8]),
        ([[-3.3e5, 9.4e-3, -425.3]], [0.0]),
    )
    problem = LocalLipschitz(Box([1.0, -5.0], [6.0, 5.0]), Logit(0), scope="pointed", p=1)
    (found,) = certify(net, problem, torch.tensor([[1.0, 0.0]]), budget=Budget(600.0), estimator="branch_and_bound")
    x = torch.tensor(
        [[1.0 + 5 * a / 2000, 10 * b / 2000 - 5] for a, b in product(range(0, 2001, 20), range(0, 2001, 4))]
    )
    x = torch.cat([x.double(), torch.tensor([[1.0, 0.0]]).double() + torch.rand(2000, 2).double() * 1e-5])
    double = net.double()
    with torch.no_grad():
        rise = (double(x) - double(torch.tensor([[1.0, 0.0]]).double()))[:, 0].abs()
    distance = (x - torch.tensor([1.0, 0.0])).abs().sum(1)
    assert found.certificate is Certificate.EXACT
    assert float((rise / distance)[distance > 0].max()) <= found.upper
