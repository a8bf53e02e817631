"""Polytopes: the box around them against their vertices, moves inside them, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, Polytope, Region, UnitCube

TRIANGLE = ([[-1.0, 0.0], [0.0, -1.0], [1.0, 2.0]], [0.5, 0.5, 1.0])


def vertices(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All vertices of {x : a x <= b}, by solving every choice of n rows."""
    size = a.shape[1]
    found = []
    for chosen in itertools.combinations(range(len(a)), size):
        own = a[list(chosen)]
        if abs(np.linalg.det(own)) > 1e-9:
            x = np.linalg.solve(own, b[list(chosen)])
            if (a @ x <= b + 1e-9).all():
                found.append(x)
    return np.array(found)


def random_polytope(seed: int, size: int, rows: int, boxed: bool, **options: bool) -> Polytope:
    """Random faces around the origin; without a box enough of them to close it, as a random simplex does."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, size)) * 10.0 ** rng.integers(-3, 4, (rows, 1))
    b = np.linalg.norm(a, axis=1) * rng.uniform(0.1, 1.0, rows)
    if boxed:
        return Polytope(a, b, low=-1.0, high=0.8, **options)
    return Polytope(np.vstack([a, np.eye(size), -np.ones((1, size))]), np.append(b, np.full(size + 1, 2.0)), **options)


def all_rows(region: Polytope) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.array(region.A), np.array(region.b)
    eye, ones = np.eye(a.shape[1]), np.ones(a.shape[1])
    for end, sign in ((region.low, -1.0), (region.high, 1.0)):
        if end is not None:
            a, b = np.vstack([a, sign * eye]), np.append(b, sign * np.array(end) * ones)
    return a, b


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 4), rows=st.integers(1, 6), boxed=st.booleans())
def test_the_box_is_that_of_the_vertices(seed: int, size: int, rows: int, boxed: bool) -> None:
    region = random_polytope(seed, size, rows, boxed)
    corners = vertices(*all_rows(region))
    placed = region.place(torch.zeros(1, size, dtype=torch.float64))
    lower, upper = placed.lower[0].numpy(), placed.upper[0].numpy()
    np.testing.assert_allclose(lower, corners.min(0), atol=1e-7)
    np.testing.assert_allclose(upper, corners.max(0), atol=1e-7)
    assert (lower <= corners.min(0) + 1e-12).all() and (upper >= corners.max(0) - 1e-12).all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 5), boxed=st.booleans(), relative=st.booleans())
def test_moves_stay_inside_without_any_tolerance(seed: int, size: int, boxed: bool, relative: bool) -> None:
    region = random_polytope(seed, size, 4, boxed, relative=relative)
    generator = torch.Generator().manual_seed(seed)
    x0 = (
        0.05 * torch.randn(3, size, generator=generator, dtype=torch.float64) / size
        if relative
        else torch.zeros(3, size)
    )
    placed = region.place(x0.double())
    assert placed.contains(placed.center.unsqueeze(1)).all()
    x = placed.sample(200, generator)
    assert placed.contains(x).all()
    a, b = (torch.tensor(v, dtype=torch.float64) for v in (region.A, region.b))
    shift = placed.center.unsqueeze(1) if relative else torch.zeros(1, 1, size, dtype=torch.float64)
    assert ((x - shift) @ a.T <= b + 1e-9 * a.abs().sum(-1)).all(), (
        "by the definition, from the rows as they were given"
    )
    far = placed.center.unsqueeze(1) + 5 * torch.randn(3, 50, size, generator=generator, dtype=torch.float64)
    assert placed.contains(placed.project(far)).all()
    assert torch.equal(placed.project(x), x), "points of the region stay where they are"
    rows = torch.randn(3, 4, size, generator=generator, dtype=torch.float64)
    gains = torch.einsum("bks,bns->bkn", rows, x - placed.center.unsqueeze(1)).amax(-1)
    assert (gains <= placed.support(rows) + 1e-12).all()
    for p in (1.0, 2.0, math.inf):
        reached = torch.linalg.vector_norm(x - placed.center.unsqueeze(1), p, dim=2).amax(1)
        assert (reached <= placed.distance(p) + 1e-12).all()


def test_many_coordinates_get_a_box_that_is_exact_for_one_row() -> None:
    rng = np.random.default_rng(0)
    row = rng.normal(size=(1, 100))
    for rows, level in ((row, [-20.0]), (np.vstack([row, np.ones(100)]), [-20.0, 3.0])):
        x = np.clip(-np.sign(rows[0]), -1.0, 0.5)
        placed = Polytope(rows, level, -1.0, 0.5).place(torch.tensor(x).unsqueeze(0))
        for j in (0, 7, 55):
            for sign, end in ((-1.0, placed.upper[0, j]), (1.0, placed.lower[0, j])):
                best = linprog(sign * np.eye(100)[j], rows, level, bounds=(-1.0, 0.5)).fun
                assert sign * float(end) <= best + 1e-12
                if len(rows) == 1:
                    assert sign * float(end) == pytest.approx(best, abs=1e-7)


def test_samples_fill_the_polytope_and_touch_its_border() -> None:
    placed = Polytope(*TRIANGLE).place(torch.zeros(1, 2, dtype=torch.float64))
    x = placed.sample(400, torch.Generator().manual_seed(0))[0].numpy()
    corners = vertices(np.array(TRIANGLE[0]), np.array(TRIANGLE[1]))
    for corner in corners:  # the triangle is 2.5 by 1.25
        assert np.linalg.norm(x - corner, axis=1).min() < 0.35
    room = np.array(TRIANGLE[1]) - x @ np.array(TRIANGLE[0]).T
    assert (room[1::2].min(1) < 1e-9).all() and (room[::2].min(1) > 1e-9).any()
    inside = np.random.default_rng(0).uniform(-0.5, 2.0, (4000, 2))
    inside = inside[(inside @ np.array(TRIANGLE[0]).T <= TRIANGLE[1]).all(1)]
    np.testing.assert_allclose(x[::2].mean(0), inside.mean(0), atol=0.1)


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize(
    "region", [Polytope(*TRIANGLE), Polytope([[1.0, 1.0]], [0.0], -1.0, 1.0), Box(-0.5, 1.0)], ids=["in", "on", "box"]
)
def test_within_the_cone_radius_the_region_is_a_cone(region: Region, p: float) -> None:
    placed = region.place(torch.zeros(1, 2, dtype=torch.float64))
    radius = float(placed.cone_radius(p)[0])
    assert radius > 0
    directions = torch.randn(1, 500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = directions / torch.linalg.vector_norm(directions, ord=p, dim=-1, keepdim=True)
    near, far = placed.contains(unit * radius * 1e-3), placed.contains(unit * radius * (1 - 1e-12))
    assert torch.equal(near, far)
    assert not torch.equal(near, placed.contains(unit * radius * 1.5)), "and no further than that"


def test_reference_points_are_checked_row_by_row() -> None:
    region = Polytope(*TRIANGLE)
    x = torch.zeros(2, 2)
    x[1, 0] = 1.5
    with pytest.raises(InvalidInput, match=r"reference point 1 violates row 2.*1\.5.*b\[2\] = 1"):
        region.place(x)
    with pytest.raises(InvalidInput, match="reference point 0 has coordinate 1"):
        Polytope(*TRIANGLE, low=-0.3, high=0.3).place(torch.tensor([[0.0, 0.4]]))
    with pytest.raises(InvalidInput, match="2 columns"):
        region.place(torch.zeros(1, 3))
    # float32 data may sit a rounding error outside; it is drawn in
    x = torch.tensor([[0.2, 0.4]]) + 1e-8
    for dtype in (torch.float32, torch.float64):
        placed = region.place(x.to(dtype))
        assert placed.contains(placed.center.unsqueeze(1)).all()
        torch.testing.assert_close(placed.center, x.to(dtype), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("a", "b", "options", "text"),
    [
        ([[1.0, 0.0], [-1.0, 0.0]], [0.0, -1.0], {"low": -3.0, "high": 3.0}, "empty.*rows 0, 1"),
        ([[1.0, 1.0], [0.0, 1.0]], [-7.0, 9.0], {"low": -3.0, "high": 3.0}, "empty.*rows 0 "),
        ([[1.0, 1.0], [-1.0, -1.0], [0.0, 1.0]], [0.5, -0.5, 1.0], {"low": -3.0, "high": 3.0}, "flat.*rows 0, 1"),
        ([[1.0, 1.0]], [1.0], {}, "coordinate 0 has no upper end"),
        ([[1.0, 1.0]], [1.0], {"low": 0.0}, None),
        ([[1.0, -1.0], [-1.0, 1.0]], [1.0, 1.0], {}, "coordinate 0 has no upper end"),
        ([[1.0, 0.0]], [1.0], {"low": [0.0, 0.0], "high": [2.0, 0.0]}, None),
        ([[0.0, 1.0]], [1.0], {"low": [0.0, 0.0], "high": [2.0, 0.0]}, "row 0 of A is 0 in every coordinate"),
        ([[1.0, 0.0]], [math.inf], {"low": 0.0, "high": 1.0}, "b holds NaN or infinity"),
        ([[1.0, math.nan]], [1.0], {"low": 0.0, "high": 1.0}, "A holds NaN"),
        ([1.0, 2.0], [1.0], {}, "shape"),
        ([[1.0, 2.0]], [1.0, 2.0], {}, "shape"),
        ([[1.0, 2.0]], [1.0], {"low": [0.0, 0.0, 0.0]}, "low of shape"),
        ([[1.0, 2.0]], [1.0], {"low": 1.0, "high": 0.0}, "low above high"),
        ([[1.0, 2.0]], ["a"], {}, "b="),
        ([[1.0, 1.0]], [0.0], {"low": -1.0, "high": 1.0, "relative": True}, r"b\[0\] = 0"),
    ],
)
def test_what_is_no_region_is_refused_by_name(a: object, b: object, options: dict, text: str | None) -> None:
    if text is None:
        Polytope(a, b, **options)
        return
    with pytest.raises(InvalidInput, match=text):
        Polytope(a, b, **options)


def test_it_is_plain_data() -> None:
    same = [Polytope(*TRIANGLE), Polytope(np.array(TRIANGLE[0]), torch.tensor(TRIANGLE[1]))]
    assert same[0] == same[1] and hash(same[0]) == hash(same[1])
    assert json.loads(json.dumps(same[0].describe()))["A"] == TRIANGLE[0]
    again = pickle.loads(pickle.dumps(same[0]))
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert again == same[0] and torch.equal(again.place(x).upper, same[0].place(x).upper)
    problem = LocalLipschitz(same[0])
    assert problem.p == math.inf and "polytope of 3 half-spaces" in problem.sentence()
    large = [Polytope(np.ones((1, 300)), [b], 0.0, 1.0).describe() for b in (10.0, 10.0, 11.0)]
    assert large[0] == large[1] != large[2]
    assert large[0]["A"]["shape"] == [1, 300] and len(large[0]["A"]["sha256"]) == 64


def test_images_and_slices() -> None:
    rows = torch.ones(1, 2, 3)
    flat, shaped = Polytope(rows.flatten(1), [3.0], 0.0, 1.0), Polytope(rows, [3.0], 0.0, torch.ones(2, 3))
    x0 = 0.5 * torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    placed, plain = shaped.place(x0), flat.place(x0.flatten(1))
    torch.testing.assert_close(placed.upper.flatten(1), plain.upper)
    x = placed.sample(7, torch.Generator().manual_seed(0))
    assert x.shape == (4, 7, 2, 3) and placed.contains(x).all()
    part = placed[1:3].to(torch.float32, "cpu")
    assert part.halfspaces is not None and part.halfspaces.levels.shape == (2, 1)
    assert part.sample(5, torch.Generator().manual_seed(0)).dtype == torch.float32


def test_a_relative_polytope_moves_with_its_point_and_not_with_the_data_range() -> None:
    region = Polytope(*TRIANGLE, low=0.0, high=1.0, relative=True)
    x0 = torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)
    placed = region.place(x0)
    np.testing.assert_allclose(placed.lower.numpy(), [[0.0, 0.0], [0.0, 0.5]])
    np.testing.assert_allclose(placed.upper.numpy()[0], [1.0, 1.0])
    inside = torch.tensor([[[0.89, 0.8], [0.9, 0.9], [0.0, 0.5]], [[1.0, 1.0], [0.1, 1.0], [0.9, 0.45]]]).double()
    assert placed.contains(inside).tolist() == [[True, False, True], [True, True, False]]


def test_the_unit_cube_is_a_box_by_name() -> None:
    cube = UnitCube()
    assert cube.describe() == Box(0.0, 1.0).describe()
    assert cube == pickle.loads(pickle.dumps(cube))
    placed = cube.place(torch.full((2, 3), 0.25))
    assert placed.upper.eq(1.0).all() and placed.lower.eq(0.0).all()
    assert "unit cube" in LocalLipschitz(cube).sentence() and LocalLipschitz(cube).p == math.inf
    with pytest.raises(InvalidInput, match="outside the box"):
        cube.place(torch.full((1, 3), 1.5))


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_rows_beyond_the_range_are_refused_by_number(size: float) -> None:
    with pytest.raises(InvalidInput, match="row 1"):
        Polytope([[1.0, 1.0], [size, size]], [1.0, size], low=0.0, high=1.0)
