"""Placed regions against linear programs, brute force and their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch import Tensor

from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, PlacedRegion, Region

REGIONS: dict[str, Callable[[], Region]] = {
    "linf": lambda: LinfBall(0.4),
    "linf_cut": lambda: LinfBall(0.4, low=0.0, high=1.0),
    "linf_low_only": lambda: LinfBall(0.4, low=0.0),
    "l2": lambda: L2Ball(0.5),
    "l2_cut": lambda: L2Ball(0.5, low=0.0, high=1.0),
    "l1": lambda: L1Ball(0.6),
    "l1_cut": lambda: L1Ball(0.6, low=0.0, high=1.0),
    "box": lambda: Box([0.0, -1.0, 0.5], [1.0, 2.0, 0.5]),
    "box_of_numbers": lambda: Box(-0.5, 1.5),
}
each_region = pytest.mark.parametrize("region", [build() for build in REGIONS.values()], ids=REGIONS)

CENTERS = torch.tensor([[0.1, 0.9, 0.5], [0.0, 1.0, 0.5], [0.55, 0.45, 0.5]], dtype=torch.float64)


def inside(placed: PlacedRegion, i: int, x: np.ndarray, slack: float = 1e-12) -> np.ndarray:
    """Membership of points ``(count, n)`` by the definition."""
    center, lower, upper = (t[i].flatten().numpy() for t in (placed.center, placed.lower, placed.upper))
    kept = ((x >= lower - slack) & (x <= upper + slack)).all(1)
    return kept & (np.linalg.norm(x - center, placed.norm, axis=1) <= placed.radius + slack)


def best_move(placed: PlacedRegion, i: int, c: np.ndarray) -> float:
    """max c . (x - center) by a linear program (boxes, l1 balls) or a convex solver (l2 balls)."""
    center, lower, upper = (t[i].flatten().numpy() for t in (placed.center, placed.lower, placed.upper))
    down, up = lower - center, upper - center
    if placed.radius == math.inf:
        return -linprog(-c, bounds=list(zip(down, up, strict=True))).fun
    if placed.norm == 1.0:  # d = u - v with u, v >= 0 and sum(u + v) <= radius
        split = np.concatenate([-c, c])
        bounds = [(0, b) for b in up] + [(0, -a) for a in down]
        return -linprog(split, A_ub=np.ones((1, 2 * len(c))), b_ub=[placed.radius], bounds=bounds).fun
    ball = {"type": "ineq", "fun": lambda d: placed.radius**2 - d @ d, "jac": lambda d: -2 * d}
    starts = [np.zeros_like(c), np.clip(placed.radius * c / np.linalg.norm(c), down, up) * 0.5]
    solved = [
        minimize(
            lambda d: -c @ d,
            start,
            jac=lambda d: -c,
            bounds=list(zip(down, up, strict=True)),
            constraints=[ball],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 300},
        )
        for start in starts
    ]
    return max(-s.fun for s in solved)


@each_region
def test_the_region_is_its_definition(region: Region) -> None:
    placed = region.place(CENTERS)
    described = region.describe()
    for i, x0 in enumerate(CENTERS.numpy()):
        if isinstance(region, Box):
            lower, upper = np.broadcast_to(region.lower, 3), np.broadcast_to(region.upper, 3)
        else:
            low = -math.inf if described["low"] is None else described["low"]
            high = math.inf if described["high"] is None else described["high"]
            lower, upper = np.maximum(x0 - region.radius, low), np.minimum(x0 + region.radius, high)
        np.testing.assert_allclose(placed.lower[i].numpy(), lower, rtol=0, atol=1e-15)
        np.testing.assert_allclose(placed.upper[i].numpy(), upper, rtol=0, atol=1e-15)
        np.testing.assert_array_equal(placed.center[i].numpy(), x0)
        np.testing.assert_array_equal(placed.movable[i].numpy(), lower < upper)
    assert placed.batch == 3 and placed.shape == (3,)
    x = 3 * torch.rand(3, 500, 3, dtype=torch.float64) - 1
    for i in range(3):
        np.testing.assert_array_equal(placed.contains(x)[i].numpy(), inside(placed, i, x[i].numpy(), 0.0))


@each_region
def test_support_is_the_best_move(region: Region) -> None:
    placed = region.place(CENTERS)
    rows = torch.randn(3, 12, 3, dtype=torch.float64)
    rows[:, 0] = 0.0
    rows[:, 1] = torch.tensor([1.0, -1.0, 1.0])  # ties
    rows[:, 2] = torch.tensor([0.0, 0.0, -2.0])
    support = placed.support(rows)
    assert support.shape == (3, 12)
    for i in range(3):
        for k in range(12):
            best = best_move(placed, i, rows[i, k].numpy()) if rows[i, k].any() else 0.0
            assert float(support[i, k]) == pytest.approx(best, rel=1e-6, abs=1e-9)


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 6),
    radius=st.floats(0.05, 3.0),
    cut=st.booleans(),
    kind=st.sampled_from([LinfBall, L2Ball, L1Ball]),
)
def test_no_point_of_the_region_beats_the_support(seed: int, size: int, radius: float, cut: bool, kind: type) -> None:
    generator = torch.Generator().manual_seed(seed)
    region = kind(radius, low=0.0, high=1.0) if cut else kind(radius)
    placed = region.place(torch.rand(2, size, generator=generator, dtype=torch.float64))
    rows = torch.randn(2, 5, size, generator=generator, dtype=torch.float64)
    x = placed.sample(100, generator)
    assert placed.contains(x).all()
    gains = torch.einsum("bks,bns->bkn", rows, x - placed.center.unsqueeze(1)).amax(-1)
    assert (gains <= placed.support(rows) + 1e-12).all()
    if kind is L1Ball:  # a knapsack: the linear program is exact
        own = best_move(placed, 0, rows[0, 0].numpy())
        assert float(placed.support(rows)[0, 0]) == pytest.approx(own, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", ["linf", "linf_cut", "l2", "l2_cut", "l1", "l1_cut"])
def test_support_is_differentiable(name: str) -> None:
    placed = REGIONS[name]().place(CENTERS)
    rows = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(placed.support, rows)
    zero = torch.zeros(3, 1, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(placed.support(zero).sum(), zero)
    assert torch.isfinite(gradient).all()


@each_region
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf], ids=["p1", "p2", "pinf"])
def test_distance_is_an_upper_bound(region: Region, p: float) -> None:
    placed = region.place(CENTERS)
    x = placed.sample(2000, torch.Generator().manual_seed(0))
    reached = torch.linalg.vector_norm(x - placed.center.unsqueeze(1), p, dim=2).amax(1)
    distance = placed.distance(p)
    assert distance.shape == (3,)
    assert (reached <= distance + 1e-12).all()
    corners = torch.maximum(placed.upper - placed.center, placed.center - placed.lower)
    if placed.radius == math.inf:  # boxes: the far corner
        torch.testing.assert_close(distance, torch.linalg.vector_norm(corners, p, dim=1))
    elif region.describe()["low"] is None:  # a ball of norm r holds c with |c|_p = radius max(1, n^(1/p - 1/r))
        factor = max(1.0, 3.0 ** (1.0 / p - 1.0 / placed.norm))
        torch.testing.assert_close(distance, torch.full((3,), placed.radius * factor, dtype=torch.float64))


@each_region
def test_samples_lie_in_the_region_and_fill_it(region: Region) -> None:
    placed = region.place(CENTERS)
    x = placed.sample(401, torch.Generator().manual_seed(1))
    assert x.shape == (3, 401, 3) and x.dtype == CENTERS.dtype
    assert torch.isfinite(x).all()
    assert placed.contains(x).all()
    for i in range(3):
        assert inside(placed, i, x[i].numpy()).all()
    spread = x.amax(1) - x.amin(1)
    assert (spread[placed.movable] > 0.4 * (placed.upper - placed.lower)[placed.movable]).all()
    assert (spread[~placed.movable] == 0).all()
    again = placed.sample(401, torch.Generator().manual_seed(1))
    assert torch.equal(x, again)
    assert not torch.equal(x, placed.sample(401, torch.Generator().manual_seed(2)))


@each_region
def test_sampling_leaves_the_global_generator_alone(region: Region) -> None:
    state = torch.get_rng_state()
    region.place(CENTERS).sample(5, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("radius", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("kind", [LinfBall, L2Ball, L1Ball])
def test_samples_are_inside_without_any_tolerance(kind: type, radius: float, dtype: torch.dtype) -> None:
    """A witness outside the region proves nothing about it, however near it lies."""
    x0 = 2 * torch.rand(300, 3, generator=torch.Generator().manual_seed(3), dtype=dtype) - 1
    placed = kind(radius).place(x0)
    assert placed.contains(placed.sample(40, torch.Generator().manual_seed(4))).all()


@each_region
def test_projection_reaches_the_region_and_keeps_its_points(region: Region) -> None:
    placed = region.place(CENTERS)
    far = placed.center.unsqueeze(1) + 5 * torch.randn(3, 50, 3, dtype=torch.float64)
    assert placed.contains(placed.project(far)).all()
    near = placed.sample(50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(placed.project(near), near, rtol=0, atol=1e-12)
    torch.testing.assert_close(placed.project(placed.center.unsqueeze(1)), placed.center.unsqueeze(1))
    if placed.radius == math.inf:  # the Euclidean projection onto a box
        lowest, highest = (end.unsqueeze(1) for end in placed.ends)
        clipped = torch.minimum(torch.maximum(far, lowest), highest)
        assert torch.equal(placed.project(far), clipped)


def test_shaped_inputs_slices_and_conversions() -> None:
    x0 = torch.rand(4, 2, 3, dtype=torch.float64)
    flat = L1Ball(0.7, low=0.0, high=1.0).place(x0.flatten(1))
    placed = L1Ball(0.7, low=0.0, high=1.0).place(x0)
    rows = torch.randn(4, 5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(placed.support(rows), flat.support(rows.flatten(2)))
    assert placed.shape == (2, 3)
    x = placed.sample(7, torch.Generator().manual_seed(0))
    assert x.shape == (4, 7, 2, 3) and placed.contains(x).all()
    assert placed.project(x * 3).shape == x.shape
    part = placed[1:3]
    assert part.batch == 2 and torch.equal(part.center, x0[1:3])
    torch.testing.assert_close(part.support(rows[1:3]), placed.support(rows)[1:3])
    single = placed.to(torch.float32, "cpu")
    assert single.center.dtype == single.lower.dtype == single.upper.dtype == torch.float32


def centers_are_kept_by(placed: PlacedRegion) -> Tensor:
    return (placed.lower <= placed.center) & (placed.center <= placed.upper)


@each_region
def test_the_reference_point_is_in_its_region(region: Region) -> None:
    placed = region.place(CENTERS)
    assert centers_are_kept_by(placed).all()
    assert placed.contains(placed.center.unsqueeze(1)).all()
