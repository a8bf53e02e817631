"""Linear pieces over one and two inputs, against triangles at whose corners networks are evaluated in fractions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
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
from lipreg.milp.planar_pieces import LinearPieces
from lipreg.regions.halfspaces import Halfspaces
from tests.sampling import sampled
from tests.test_budget import Clock

Point = tuple[Fraction, ...]
UNLIMITED = Budget(math.inf).started()


class Net(nn.Module):
    """Linear layers with pools of neighbours between them, after ReLUs or not; ``coarse`` weights make ties."""

    def __init__(self, seed: int, inputs: int, coarse: bool) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in ((inputs, 5), (4, 4), (2, 3))]).double()
        self.relu, self.pools = seed % 3, nn.ModuleList([nn.MaxPool1d(2, stride=1), nn.MaxPool1d(3, stride=1)])
        if coarse:
            for weight in self.parameters():
                weight.data = (weight.data * 4).round() / 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for at, layer in enumerate(self.layers[:2]):
            x = layer(x)
            x = x.relu() if self.relu == at else x
            x = self.pools[at](x.unsqueeze(1)).squeeze(1)
        return self.layers[2](x)


def kinks(net: Net, x: Point) -> Iterator[list[tuple[str, list[Fraction]]]]:
    """Of each step its groups of values, of which the largest, or the sign, counts; at last the outputs."""
    values = list(x)
    for at, layer in enumerate(net.layers):
        assert isinstance(layer, nn.Linear)
        weight, bias = layer.weight.tolist(), layer.bias.tolist()
        values = [
            Fraction(b) + sum(Fraction(w) * v for w, v in zip(row, values, strict=True))
            for row, b in zip(weight, bias, strict=True)
        ]
        if at == 2:
            yield [("output", values)]
            return
        if net.relu == at:
            yield [("window", [value, Fraction(0)]) for value in values]
            values = [max(value, Fraction(0)) for value in values]
        windows = [values[i : i + at + 2] for i in range(len(values) - at - 1)]
        yield [("window", window) for window in windows]
        values = [max(window) for window in windows]


def linear(
    net: Net, corners: Sequence[Point]
) -> tuple[list[list[Fraction]], None] | tuple[None, tuple[int, int, Fraction]]:
    """The outputs at a simplex's corners where the network is linear over it, or an edge and how far along it divides."""
    for steps in zip(*(kinks(net, corner) for corner in corners), strict=True):
        for groups in zip(*steps, strict=True):
            values = [group for _, group in groups]
            if groups[0][0] == "output":
                return values, None
            members = range(len(values[0]))
            if any(all(max(corner) == corner[m] for corner in values) for m in members):
                continue
            for m, o in product(members, members):
                ahead = [corner[m] - corner[o] for corner in values]
                for i, j in product(range(len(corners)), repeat=2):
                    if ahead[i] > 0 > ahead[j]:
                        return None, (i, j, ahead[i] / (ahead[i] - ahead[j]))
    raise AssertionError("there are outputs")


def simplices(net: Net, corners: Sequence[Point]) -> Iterator[tuple[Sequence[Point], list[list[Fraction]]]]:
    """The parts of an interval or a triangle over which the network is linear, with the outputs at their corners."""
    open_parts = [list(corners)]
    while open_parts:
        part = open_parts.pop()
        values, crossing = linear(net, part)
        if crossing is None:
            assert values is not None
            yield part, values
            continue
        i, j, share = crossing
        between = tuple(a + share * (b - a) for a, b in zip(part[i], part[j], strict=True))
        open_parts += [[between if at == end else corner for at, corner in enumerate(part)] for end in (i, j)]


def jacobian(corners: Sequence[Point], values: list[list[Fraction]], free: list[int]) -> np.ndarray:
    steps = np.array([[float(c[f] - corners[0][f]) for f in free] for c in corners[1:]])
    rises = np.array([[float(b - a) for a, b in zip(values[0], other, strict=True)] for other in values[1:]])
    return np.linalg.solve(steps, rises).T


def operator_norm(j: np.ndarray, p: float, q: float) -> float:
    """By signs and columns; the whole of l2 by its singular values, and into l1 by a fine circle and signs of outputs."""
    if p == 1.0:
        return max(float(np.linalg.norm(column, q)) for column in j.T)
    if p == math.inf:
        return max(float(np.linalg.norm(j @ np.array(d), q)) for d in product((1, -1), repeat=j.shape[1]))
    if q == math.inf:
        return max(float(np.linalg.norm(row)) for row in j)
    return (
        float(np.linalg.norm(j, 2))
        if q == 2.0
        else max(float(np.linalg.norm(np.array(s) @ j)) for s in product((1, -1), repeat=len(j)))
    )


def triangles(corners: Sequence[Point]) -> Iterator[Sequence[Point]]:
    if len(corners) == 2:
        yield corners
    for a, b in pairwise(corners[1:]):
        yield [corners[0], a, b]


def meets_disc(corners: Sequence[Point], center: Point, radius: Fraction) -> bool:
    """Whether a triangle has points nearer than the radius: by points of its edges, and the centre inside it."""
    (ax, ay), (bx, by), (cx, cy) = [tuple(a - c for a, c in zip(corner, center, strict=True)) for corner in corners]
    turns = [
        px * qy - py * qx for (px, py), (qx, qy) in (((ax, ay), (bx, by)), ((bx, by), (cx, cy)), ((cx, cy), (ax, ay)))
    ]
    if min(turns) >= 0 or max(turns) <= 0:
        return True
    for (px, py), (qx, qy) in (((ax, ay), (bx, by)), ((bx, by), (cx, cy)), ((cx, cy), (ax, ay))):
        dx, dy = qx - px, qy - py
        t = min(max(-(px * dx + py * dy) / (dx * dx + dy * dy), Fraction(0)), Fraction(1))
        if (px + t * dx) ** 2 + (py + t * dy) ** 2 < radius**2:
            return True
    return False


def truth(
    net: Net, corners: list[Point], free: list[int], norms: Callable[[np.ndarray], float], disc: Any = None
) -> float:
    largest = 0.0
    for triangle in triangles(corners):
        for part, values in simplices(net, triangle):
            if disc is None or meets_disc(part, *disc):
                largest = max(largest, norms(jacobian(part, values, free)))
    return largest


def fractions(rows: Sequence[Any]) -> list[Point]:
    return [tuple(map(Fraction, row)) for row in rows]


NORMS = (1.0, 2.0, math.inf)
KINDS = ("box", "interval", "linf", "l1", "l2", "polytope")
CASES = [(seed, kind) for seed in range(6) for turn, kind in enumerate(KINDS) if sampled(2, seed // 3, turn)]
"""Of each kind of region half of the seeds, three in a row, so that all pools, norms and weights are among them."""


@pytest.mark.parametrize("seed, kind", CASES, ids=lambda value: str(value))
def test_the_constant_is_that_of_the_steepest_triangle(seed: int, kind: str) -> None:
    generator = np.random.default_rng(seed)
    inputs, free = (4, [1, 3][: 1 + (kind == "box")]) if kind in ("box", "interval") else (2, [0, 1])
    net = Net(seed, inputs, coarse=seed % 2 == 0)
    x = generator.integers(-4, 5, inputs) / 4
    low, high = x.copy(), x.copy()
    low[free], high[free] = x[free] - 1.5, x[free] + 1.0
    disc = None
    ends = {"linf": (x - 1.25, x + 1.25), "l2": (x - 1.25, x + 1.25)}.get(kind, (low, high))
    corners = [ends[0].copy() for _ in range(2 ** len(free))]
    for corner, sides in zip(
        corners, ((0, 0), (1, 0), (1, 1), (0, 1)) if len(free) == 2 else ((0,), (1,)), strict=True
    ):
        corner[free] = [ends[side][f] for side, f in zip(sides, free, strict=True)]
    region: Any = Box(low.tolist(), high.tolist())
    if kind == "linf":
        region = LinfBall(1.25)
    if kind == "l1":
        region, corners = L1Ball(1.25), [x + np.array(d) * 1.25 for d in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    if kind == "l2":
        region, disc = L2Ball(1.25), (fractions([x])[0], Fraction(1.25))
    if kind == "polytope":
        corners = [x + np.array(d) for d in ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0))]
        region = Polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [1.0 - x[0], 1.0 - x[1], float(x.sum())])
    p, q = NORMS[seed % 3], NORMS[(seed + 1) % 3]
    output, of = [
        (Logit(1), lambda j: operator_norm(j[1:2], p, 2.0)),
        (AllLogits(), lambda j: operator_norm(j, p, math.inf)),
        (Vector(), lambda j: operator_norm(j, p, q)),
        (
            AllPairs(),
            lambda j: max(operator_norm(j[a : a + 1] - j[b : b + 1], p, 2.0) for a in range(3) for b in range(a)),
        ),
    ][seed % 4]
    problem = LocalLipschitz(region, output, p=p, q=q if isinstance(output, Vector) else None)
    expected = truth(net, fractions(corners), free, of, disc)
    point = torch.tensor(x[None])
    pieces = LinearPieces(frozen_analysis(net, problem, point, None))
    assert pieces.run(UNLIMITED) and pieces.upper == pytest.approx(expected, rel=1e-9, abs=1e-12)
    (found,) = certify(net, problem, point, estimator="branch_and_bound", budget=Budget(600.0))
    assert found.certificate is Certificate.EXACT and found.upper == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_questions_in_units_and_about_some_inputs_are_weighed() -> None:
    net, x = Net(1, 2, False), torch.zeros(1, 2, dtype=torch.float64)
    weighings: list[dict[str, Any]] = [{}, {"scale": [4.0, 4.0]}, {"measured": [1]}]
    plain, weighed, some = (
        LinearPieces(frozen_analysis(net, LocalLipschitz(LinfBall(1.0), Logit(0), p=1.0, **more), x, None))
        for more in weighings
    )
    assert plain.run(UNLIMITED) and weighed.run(UNLIMITED) and some.run(UNLIMITED)
    assert weighed.upper == pytest.approx(4.0 * plain.upper) and 0.0 < some.upper <= plain.upper


def test_what_is_not_covered() -> None:
    """More inputs and curves."""

    def covered(net: nn.Module, inputs: int, **more: Any) -> bool:
        problem = LocalLipschitz(LinfBall(1.0), Logit(0), **more)
        return LinearPieces.covered(frozen_analysis(net.double(), problem, torch.zeros(1, inputs).double(), None))

    assert covered(Net(0, 2, False), 2) and covered(Net(0, 1, False), 1) and not covered(Net(0, 3, False), 3)
    assert covered(Net(0, 2, False), 2, scope="pointed") and not covered(Net(0, 3, False), 3, scope="pointed")
    assert not covered(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)), 2)


def test_they_go_on_where_a_budget_ended_them() -> None:
    analysis = frozen_analysis(
        Net(0, 2, False), LocalLipschitz(LinfBall(1.0), AllLogits()), torch.zeros(1, 2).double(), None
    )
    whole, by_and_by = LinearPieces(analysis), LinearPieces(analysis)
    assert whole.run(UNLIMITED)
    clock, runs = Clock(), 0

    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 1.0
            return self.now

    while not by_and_by.run(Budget(6.0, clock=Ticking()).started()):
        runs += 1
    assert runs > 3 and (by_and_by.count, by_and_by.upper) == (whole.count, whole.upper)
    assert LinearPieces.least_seconds(analysis, Budget(memory=1, clock=clock)) == math.inf


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_a_region_without_interior_is_not_settled(scope: Any) -> None:
    """Two rows leave a segment of the box, which has no pieces: not even 0 is a bound then."""
    problem = LocalLipschitz(LinfBall(1.0), AllLogits(), scope=scope)
    analysis = frozen_analysis(Net(0, 2, False), problem, torch.zeros(1, 2).double(), None)
    placed = analysis.placed
    rows, zero = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    flat = Halfspaces(rows, zero, zero, zero)
    pieces = LinearPieces(analysis.for_question(replace(placed, region=replace(placed.region, halfspaces=flat))))
    assert not pieces.run(UNLIMITED) and pieces.count == 0
