"""Regions as sets of real points: every number made of them against exact rationals, on scales that rounding feels."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.estimators import frozen_analysis
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.outputs import Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, PlacedRegion, Polytope
from lipreg.regions.beside import brought_in
from tests.milp.test_quotients import dense

KINDS = [LinfBall, L2Ball, L1Ball]


def exact(x: Tensor) -> list[Fraction]:
    return [Fraction(v) for v in x.flatten().tolist()]


def wild_ball(seed: int, kind: type) -> tuple[PlacedRegion, list[Fraction], list[Fraction]]:
    """A ball whose point, radius and data range lie scales apart, with the real ends of its box."""
    rng = np.random.default_rng(seed)
    x0 = rng.normal(size=int(rng.integers(1, 5))) * 10.0 ** rng.uniform(-6, 9)
    x0 *= 10.0 ** rng.uniform(-3, 0, len(x0))
    radius = float(np.spacing(np.abs(x0).max()) * 10.0 ** rng.uniform(0.7, 12))
    low = float(x0.min() - radius * rng.uniform(0, 2)) if rng.random() < 0.5 else None
    high = float(x0.max() + radius * rng.uniform(0, 2)) if rng.random() < 0.5 else None
    placed = kind(radius, low, high).place(torch.tensor(x0).unsqueeze(0))
    center, r = exact(placed.center), Fraction(radius)
    lower = [c - r if low is None else max(c - r, Fraction(low)) for c in center]
    upper = [c + r if high is None else min(c + r, Fraction(high)) for c in center]
    return placed, lower, upper


def is_inside(placed: PlacedRegion, radius: Fraction, lower: list[Fraction], upper: list[Fraction], x: Tensor) -> bool:
    """Membership in the real region by its definition."""
    point = exact(x)
    if not all(a <= v <= b for a, v, b in zip(lower, point, upper, strict=True)):
        return False
    steps = [abs(v - c) for v, c in zip(point, exact(placed.center), strict=True)]
    if placed.norm == 1.0:
        return sum(steps) <= radius
    return placed.norm == math.inf or sum(s * s for s in steps) <= radius**2


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_ends_are_the_real_ends_rounded_outwards_once(seed: int, kind: type) -> None:
    placed, lower, upper = wild_ball(seed, kind)
    center = exact(placed.center)
    for name, ends, sign in (("lower", lower, -1), ("upper", upper, 1)):
        for found, real in zip(getattr(placed, name).flatten().tolist(), ends, strict=True):
            assert sign * (Fraction(found) - real) >= 0
            assert sign * (Fraction(math.nextafter(found, -sign * math.inf)) - real) < 0, "the next float is inside"
    for name, ends, sign in (("down", lower, -1), ("up", upper, 1)):
        for found, end, c in zip(getattr(placed, name).flatten().tolist(), ends, center, strict=True):
            assert sign * (Fraction(found) - (end - c)) >= 0
            assert sign * (Fraction(math.nextafter(found, -sign * math.inf)) - (end - c)) < 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_ball_that_nothing_cuts_moves_by_its_radius(kind: type, dtype: torch.dtype) -> None:
    placed = kind(0.25).place(torch.tensor([[1e5 + 0.1, -3.0], [0.0, 7e-9]], dtype=dtype))
    assert placed.up.eq(0.25).all() and placed.down.eq(-0.25).all()


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_membership_is_that_of_real_points(seed: int, kind: type) -> None:
    """About the faces, float by float."""
    placed, lower, upper = wild_ball(seed, kind)
    n, generator = placed.center.numel(), torch.Generator().manual_seed(seed)
    r = Fraction(float(placed.radius)) if placed.radius < math.inf else Fraction(0)
    axis = torch.arange(n)
    near = []
    for end in (placed.lower, placed.upper, *placed.ends):
        for j in range(n):  # the far ends of the box, coordinate by coordinate
            x = placed.center[0].clone()
            x[j] = end[0, j]
            near += [
                x,
                torch.where(axis == j, torch.nextafter(x, x + 1e300), x),
                torch.where(axis == j, torch.nextafter(x, x - 1e300), x),
            ]
    drawn = placed.sample(20, generator)[0]
    x = torch.cat([torch.stack(near), drawn, placed.center, placed.lower, placed.upper])
    found = placed.contains(x.unsqueeze(0))[0].tolist()
    for point, said in zip(x, found, strict=True):
        assert said == is_inside(placed, r, lower, upper, point)
    assert found[len(near) + 20], "the reference point is in its region"


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_projection_and_samples_end_in_the_real_region(seed: int, kind: type) -> None:
    placed, lower, upper = wild_ball(seed, kind)
    n, generator = placed.center.numel(), torch.Generator().manual_seed(seed)
    reach = placed.distance(math.inf).item()
    aimed = torch.randn(1, 30, n, generator=generator, dtype=torch.float64)
    far = placed.center + aimed * reach * 10.0 ** torch.linspace(-1, 6, 30).double().reshape(1, 30, 1)
    r = Fraction(float(placed.radius)) if placed.radius < math.inf else Fraction(0)
    for x in (placed.project(far), placed.sample(30, generator)):
        assert placed.contains(x).all()
        assert all(is_inside(placed, r, lower, upper, point) for point in x[0])
        assert torch.equal(placed.project(x), x), "points of the region stay where they are"


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_support_distance_and_cone_radius_err_on_the_safe_side(seed: int, kind: type) -> None:
    placed, lower, upper = wild_ball(seed, kind)
    center, n = exact(placed.center), placed.center.numel()
    down, up = ([e - c for e, c in zip(ends, center, strict=True)] for ends in (lower, upper))
    rng = np.random.default_rng(seed)
    row = rng.normal(size=n) * 10.0 ** rng.uniform(-9, 9, n)
    c = [Fraction(float(v)) for v in row]
    moves = [max(a * d, a * u) for a, d, u in zip(c, down, up, strict=True)]
    best = sum(moves)
    if kind is L1Ball:
        best, left = Fraction(0), Fraction(placed.radius)
        for a, d, u in sorted(zip(c, down, up, strict=True), key=lambda t: -abs(t[0])):
            step = min(left, u if a > 0 else -d)
            best, left = best + abs(a) * step, left - step
    support = Fraction(float(placed.support(torch.tensor(row).reshape(1, 1, n))))
    if kind is L2Ball:  # no more than box or ball allow, no less than the gain of the farthest point by bisection
        radius = Fraction(placed.radius)
        ball = radius**2 * sum(a * a for a in c)
        assert float(support) <= (1 + 1e-14) * min(float(best), math.sqrt(ball))
        assert support >= farthest_gain(c, down, up, radius)
    else:
        assert support >= best and support <= best * (1 + Fraction(1, 10**14))
    reach = [max(u, -d) for d, u in zip(down, up, strict=True)]
    if kind is LinfBall:
        assert Fraction(float(placed.distance(math.inf))) >= max(reach)
        assert Fraction(float(placed.distance(1.0))) >= sum(reach)
        assert Fraction(float(placed.distance(2.0))) ** 2 >= sum(v * v for v in reach)
    room = [v for v in [*up, *(-d for d in down)] if v > 0]
    assert 0 < Fraction(float(placed.cone_radius(math.inf))) <= min(room)


def farthest_gain(c: list[Fraction], down: list[Fraction], up: list[Fraction], radius: Fraction) -> Fraction:
    """c . d at the last point of the path d(t) = clamp(t c) that lies in the ball, t to 90 digits of a bisection."""

    def at(t: Fraction) -> list[Fraction]:
        return [min(max(t * a, low), high) for a, low, high in zip(c, down, up, strict=True)]

    low, high = Fraction(0), Fraction(10) ** 40
    for _ in range(300):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(d * d for d in at(middle)) <= radius**2 else (low, middle)
    return sum((a * d for a, d in zip(c, at(low), strict=True)), Fraction(0))


def test_extreme_rows_neither_vanish_nor_overflow() -> None:
    placed = L2Ball(1e-3).place(torch.zeros(1, 3, dtype=torch.float64))
    rows = torch.tensor([[[3e-200, 4e-200, 0.0], [3e200, 0.0, 4e200], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    np.testing.assert_allclose(placed.support(rows)[0].numpy(), [5e-203, 5e197, 0.0], rtol=1e-14)
    tiny = L2Ball(3e-170).place(torch.zeros(1, 1, dtype=torch.float64))
    assert float(tiny.distance(2.0)) >= 3e-170
    assert tiny.contains(torch.tensor([[[2e-170], [4e-170]]], dtype=torch.float64)).tolist() == [[True, False]]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), relative=st.booleans())
def test_polytopes_hold_real_points_alone(seed: int, relative: bool) -> None:
    rng = np.random.default_rng(seed)
    n, scale = int(rng.integers(1, 4)), 10.0 ** rng.uniform(-3, 3)
    x0 = rng.normal(size=n) * 10.0 ** rng.uniform(-2, 4) * scale if relative else np.zeros(n)
    a = rng.normal(size=(4, n)) * 10.0 ** rng.uniform(-3, 3, (4, 1))
    b = np.abs(a) @ np.full(n, scale) * rng.uniform(0.2, 1.0, 4)
    low, high = x0 - scale * rng.uniform(0.5, 1, n), x0 + scale * rng.uniform(0.5, 1, n)
    region = Polytope(a, b, low=low, high=high, relative=relative)
    placed = region.place(torch.tensor(x0).unsqueeze(0))
    origin = exact(placed.center) if relative else [Fraction(0)] * n

    def real(x: Tensor) -> bool:
        point = exact(x)
        sides = all(Fraction(a) <= v <= Fraction(z) for a, v, z in zip(low, point, high, strict=True))
        steps = [v - o for v, o in zip(point, origin, strict=True)]
        rows = (sum(Fraction(w) * s for w, s in zip(own, steps, strict=True)) for own in a)
        return sides and all(value <= Fraction(level) for value, level in zip(rows, b, strict=True))

    generator = torch.Generator().manual_seed(seed)
    far = placed.center + 3 * scale * torch.randn(1, 20, n, generator=generator, dtype=torch.float64)
    # on the rows as well as floats can: towards the far points until a row stops it
    step = far - placed.center
    used = step @ torch.tensor(a).T
    share = (torch.tensor(b) - (placed.center if not relative else 0 * placed.center) @ torch.tensor(a).T) / used.clamp(
        min=1e-300
    )
    near = placed.center + share.amin(-1, keepdim=True).clamp(max=1.0) * step
    for x in (far, near, placed.project(far), placed.sample(20, generator)):
        for point, said in zip(x[0], placed.contains(x)[0].tolist(), strict=True):
            assert said == real(point)
    assert placed.contains(placed.project(far)).all() and placed.contains(placed.sample(20, generator)).all()
    lowest, highest = exact(placed.lower), exact(placed.upper)
    for x in placed.sample(20, generator)[0]:
        assert all(a <= v <= z for a, v, z in zip(lowest, exact(x), highest, strict=True))


def test_a_polytope_that_float64_cannot_hold_is_refused() -> None:
    square = Polytope([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [1e-7] * 4, relative=True)
    assert square.place(torch.ones(1, 2, dtype=torch.float64)).movable.all()
    with pytest.raises(InvalidInput, match=r"lost in rounding at reference point 0.* 1700000000, .*2\.38e-07 apart"):
        square.place(torch.full((1, 2), 1.7e9, dtype=torch.float64))


@pytest.mark.parametrize("kind", [L1Ball, L2Ball])
def test_balls_of_one_coordinate_hold_exactly_the_floats_between_their_ends(kind: type) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        center, radius = float(generator.normal()), float(10 ** generator.uniform(-9, 1))
        placed = kind(radius).place(torch.tensor([[center]], dtype=torch.float64))
        near = [center + radius]
        near += [math.nextafter(near[0], math.inf), math.nextafter(near[0], -math.inf)]
        inside = placed.contains(torch.tensor(near, dtype=torch.float64).reshape(1, -1, 1))[0].tolist()
        assert inside == [abs(Fraction(x) - Fraction(center)) <= Fraction(radius) for x in near]


@pytest.mark.parametrize("kind", KINDS)
def test_a_radius_that_float64_cannot_hold_is_refused_with_the_numbers(kind: type) -> None:
    x0 = torch.tensor([[0.0, 0.0], [1.0, 1.7e9]], dtype=torch.float64)
    assert kind(1e-5).place(x0).movable.all()
    with pytest.raises(InvalidInput) as caught:
        kind(3.5e-7).place(x0)
    for part in ("radius 3.5e-07", "coordinate 1 of reference point 1", "1700000000", "2.38e-07", "9.54e-07", "Shift"):
        assert part in str(caught.value)
    assert kind(3.5e-7).place(x0[:1]).movable.all()


def test_other_dtypes_keep_the_region_and_its_constants() -> None:
    box = Box([0.1, 0.3], [0.1, 0.7])
    for region in (box, LinfBall(0.1, low=0.05), L1Ball(0.3)):
        placed = region.place(torch.tensor([[0.1, 0.4]], dtype=torch.float64))
        coarse = placed.to(torch.float32, "cpu")
        assert torch.equal(coarse.movable, placed.movable)
        assert ((coarse.lower.double() <= placed.lower) | ~placed.movable).all()
        assert ((coarse.upper.double() >= placed.upper) | ~placed.movable).all()
        assert (coarse.down.double() <= placed.down).all() and (coarse.up.double() >= placed.up).all()
        assert placed.to(torch.float64, "cpu") is placed
        back = coarse.to(torch.float64, "cpu")
        assert torch.equal(back.down, coarse.down.double()) and torch.equal(back.movable, placed.movable)
        assert coarse.contains(coarse.sample(20, torch.Generator().manual_seed(0))).all()
    single = box.place(torch.tensor([[0.1, 0.4]]))
    assert single.movable.tolist() == [[False, True]]


@pytest.mark.parametrize("kind", [L1Ball, L2Ball])
@pytest.mark.parametrize("size", [3, 40])
def test_points_of_the_sphere_are_told_exactly_and_those_beside_it_brought_in(kind: type, size: int) -> None:
    """x0 + r u with |u| = 1 lies outside as often as not, by rounding; brought in it is a point of the region beside it."""
    generator = torch.Generator().manual_seed(size)
    x0 = torch.rand(1, size, dtype=torch.float64, generator=generator)
    placed, p = kind(0.25).place(x0), kind.norm
    u = torch.randn(60, size, dtype=torch.float64, generator=generator)
    u = torch.cat([u, torch.eye(size, dtype=torch.float64), -torch.eye(size, dtype=torch.float64)])
    x = (x0 + 0.25 * u / torch.linalg.vector_norm(u, p, dim=1, keepdim=True)).unsqueeze(0)
    far = [
        sum(abs(Fraction(a) - Fraction(b)) ** int(p) for a, b in zip(y, x0[0].tolist(), strict=True))
        for y in x[0].tolist()
    ]
    real = [each <= Fraction(1, 4) ** int(p) for each in far]
    assert placed.contains(x)[0].tolist() == real and 0 < sum(real) < len(real)
    near = brought_in(placed, x)
    assert placed.contains(near).all() and (near - x).abs().max() < 1e-13
    kept = torch.tensor(real)
    assert torch.equal(near[0][kept], x[0][kept])
    outside = x0 + (x - x0) * (1 + 1e-9)
    assert torch.equal(brought_in(placed, outside), outside), "what is outside by more stays there"


@pytest.mark.parametrize("kind", [L1Ball, L2Ball, LinfBall])
def test_a_witness_beside_the_border_by_rounding_proves_what_the_point_of_the_region_does(kind: type) -> None:
    net = dense(([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0]], [0.1, 0.2]), ([[1.0, 1.0]], [0.0]), dtype=torch.float64)
    x0 = torch.tensor([[0.3, 0.7, 0.11]], dtype=torch.float64)
    analysis = frozen_analysis(net, LocalLipschitz(kind(0.1), Logit(0)), x0, None)
    region, generator = analysis.placed.region, torch.Generator().manual_seed(4)
    u = torch.randn(200, 3, dtype=torch.float64, generator=generator)
    x = x0 + 0.1 * u / torch.linalg.vector_norm(u, kind.norm, dim=1, keepdim=True)
    beside = x[~region.contains(x.unsqueeze(0))[0]]
    assert len(beside) > 10
    for point in beside[:10]:
        witness = best_witness(analysis, 0, point.unsqueeze(0))
        assert witness is not None and witness.attained > 0
        proving = torch.tensor(witness.point, dtype=torch.float64)
        assert region.contains(proving.reshape(1, 1, 3)).all() and (proving - point).abs().max() < 1e-14
    assert best_witness(analysis, 0, x0 + 0.2) is None
