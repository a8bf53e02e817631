"""The oracles of the attacks: against numbers worked out by hand, against brute force, and against each other."""

from __future__ import annotations

import ast
import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipreg import CertifiedInterval, LinfBall, LocalLipschitz, Logit
from lipreg.results import Witness
from tests import oracles
from tests.attacks.bounded import Enumerated, Planted
from tests.attacks.kinds import chain, dense
from tests.attacks.larger import bump
from tests.attacks.modules import module
from tests.attacks.oracle import Oracle, Where, functional
from tests.attacks.polytopes import Polytope, box, cut, dot, l1_rows, pieces, squared_distance
from tests.attacks.programs import MaxPool, Program, Relu, piece_at, value
from tests.attacks.tally import Tally
from tests.attacks.truths import Constant
from tests.sampling import one_in

FOLDER = Path(__file__).parent
ORACLES = ("polytopes", "programs", "stationary", "truths", "oracle", "bounded")
LOGIT = functional("logit", 1)


def equals(constant: Constant, number: Fraction | int) -> bool:
    """Whether a constant is a number, exactly."""
    return not constant.above(Fraction(number)) and not constant.below(Fraction(number))


@pytest.mark.parametrize("name", ORACLES)
def test_oracles_share_no_code_with_the_library(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    allowed = {
        "__future__",
        "collections.abc",
        "dataclasses",
        "fractions",
        "functools",
        "itertools",
        "math",
        "numpy",
        "scipy.optimize",
    }
    assert set(modules) <= allowed | {f"tests.attacks.{own}" for own in ORACLES}


# ---------------------------------------------------------------- polytopes


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_vertices_are_those_of_all_regular_choices_of_rows(size: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(8):
        polytope = box([Fraction(-1)] * size, [Fraction(1)] * size)
        for row in rng.integers(-3, 4, size=(5, size + 1)).tolist():
            parts = [part for part in polytope.split(tuple(row)) if part is not None]
            polytope = parts[rng.integers(len(parts))]
        assert set(polytope.vertices) == by_choices(polytope)
        for vertex, tight in zip(polytope.vertices, polytope.tight, strict=True):
            assert all(dot(row, vertex) == 0 for i, row in enumerate(polytope.rows) if tight >> i & 1)


def by_choices(polytope: Polytope) -> set[tuple[int, ...]]:
    """The vertices as the feasible intersections of as many rows as there are coordinates."""
    found = set()
    for chosen in itertools.combinations(polytope.rows, polytope.size):
        solved = solve([list(map(Fraction, row)) for row in chosen])
        if solved is not None:
            scale = math.lcm(*(a.denominator for a in solved))
            point = (*(int(a * scale) for a in solved), scale)
            if polytope.holds(point):
                found.add(point)
    return found


def solve(rows: list[list[Fraction]]) -> list[Fraction] | None:
    """The zero of affine forms by Gauss and Jordan; None where they are dependent."""
    size = len(rows)
    for i in range(size):
        at = next((k for k in range(i, size) if rows[k][i]), None)
        if at is None:
            return None
        rows[i], rows[at] = rows[at], rows[i]
        rows[i] = [a / rows[i][i] for a in rows[i]]
        for k in range(size):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [-row[-1] for row in rows]


def test_pieces_fill_the_polytope() -> None:
    square = box([Fraction(0)] * 2, [Fraction(1)] * 2)
    parts = pieces(square, [(3, -2, 0), (1, 1, -1), (0, 0, 0), (2, 0, -1), (1, 0, 0)])
    assert len(parts) == 7 and sum(map(area, parts)) == 1


def area(polygon: Polytope) -> Fraction:
    """By triangles about a vertex, the others in order of their slopes."""
    points = [(Fraction(x, w), Fraction(y, w)) for x, y, w in polygon.vertices]
    middle = [sum(c) / len(points) for c in zip(*points, strict=True)]
    points.sort(key=lambda p: math.atan2(p[1] - middle[1], p[0] - middle[0]))
    return (
        sum((a[0] * b[1] - a[1] * b[0] for a, b in zip(points, [*points[1:], points[0]], strict=True)), Fraction(0)) / 2
    )


@pytest.mark.parametrize(
    ("center", "square"),
    [((0, 0, 0), 0), ((2, 0, 0), 1), ((2, 3, 0), 5), ((2, 2, 2), 3)],
    ids=["inside", "facet", "edge", "vertex"],
)
def test_distances(center: tuple[int, int, int], square: int) -> None:
    cube = box([Fraction(-1)] * 3, [Fraction(1)] * 3)
    assert squared_distance(cube, list(map(Fraction, center))) == square


def test_a_cross_polytope_has_the_unit_vectors_for_vertices() -> None:
    found = cut(box([Fraction(-2)] * 3, [Fraction(2)] * 3), l1_rows([Fraction(0)] * 3, Fraction(1)))
    assert found is not None
    assert set(found.vertices) == {(*(s * int(i == j) for j in range(3)), 1) for i in range(3) for s in (1, -1)}


# ---------------------------------------------------------------- constants by hand


def test_a_hat() -> None:
    """f = relu(x) - 3 relu(x - 1) on [-1, 3] about 0: slopes 0, 1, -2; against 0 the quotient is 1 on (0, 1], -1 at 3."""
    hat = chain([([[1], [1]], [0, -1]), ([[1, -3]], [0])])
    oracle = Oracle(hat, (0.0,), Where("box", lower=(-1.0,), upper=(3.0,)))
    for p in (1.0, 2.0, math.inf):
        assert equals(oracle.regional(LOGIT, p), 2) and equals(oracle.pointed(LOGIT, p), 1)


def test_norms_of_a_linear_map() -> None:
    """[[3, 4], [0, 5]]: columns 3 and 9, rows 7 and 5, Gram matrix [[25, 20], [20, 25]] with eigenvalues 45 and 5."""
    linear = chain([([[3, 4], [0, 5]], [1, 2])])
    oracle = Oracle(linear, (0.0, 0.0), Where("linf", 1.0))
    values = {(1.0, "vector 1"): 9, (math.inf, "vector inf"): 7, (1.0, "vector inf"): 5, (math.inf, "vector 1"): 12}
    for (p, name), truth in values.items():
        assert equals(oracle.regional(functional(name, 2), p), truth)
        assert equals(oracle.pointed(functional(name, 2), p), truth)
    whole = oracle.regional(functional("vector 2", 2), 2.0)
    assert whole.above(Fraction(67082039324993, 10**13)) and whole.below(Fraction(67082039324994, 10**13))
    assert float(whole) == pytest.approx(math.sqrt(45), rel=1e-14)
    assert equals(oracle.pointed(LOGIT.__class__(((1.0, 0.0),)), 2.0), 5)


def test_a_max_pool_and_a_coordinate_without_room() -> None:
    """max(2 x + y, -3 x + y) with y fixed: slope 3; with y free, l1 norms of (2, 1) and (-3, 1)."""
    pool = [*chain([([[2, 1], [-3, 1]], [0, 0])]), MaxPool(2)]
    fixed = Oracle(pool, (0.5, 0.25), Where("box", lower=(-1.0, 0.25), upper=(1.0, 0.25)))
    assert equals(fixed.regional(LOGIT, math.inf), 3)
    assert equals(Oracle(pool, (0.5, 0.25), Where("linf", 1.0)).regional(LOGIT, math.inf), 4)


def test_cancellation_is_exact() -> None:
    """x -> 1e8 x + 1e9, x, 1e8 x + 1e9 -> 1, 1e8, -1 of them: 1e8 x over x > 0."""
    net = chain([([[1e8], [1.0], [1e8]], [1e9, 0.0, 1e9]), ([[1.0, 1e-8, -1.0]], [0.0])])
    assert equals(Oracle(net, (1.0,), Where("linf", 0.5)).regional(LOGIT, 2.0), Fraction(1e-8))


# ---------------------------------------------------------------- against floats, and each other


@pytest.mark.parametrize("kind", ["linf", "l1", "l2"])
@pytest.mark.parametrize("inputs", [1, 2, 3])
@one_in(3)
def test_pieces_are_those_of_the_float_reference(inputs: int, kind: str) -> None:
    rng = np.random.default_rng(inputs)
    program, x0 = chain(dense(rng, [inputs, 4, 4, 2])), tuple((rng.normal(size=inputs) * 0.3).tolist())
    oracle, center = Oracle(program, x0, Where(kind, 0.8)), np.array(x0)
    norm = {"linf": math.inf, "l1": 1.0, "l2": 2.0}[kind]
    domain = oracles.Domain(center, center - 0.8, center + 0.8, norm, math.inf if kind == "linf" else 0.8)
    net = module(program)
    net.input_size = inputs  # type: ignore[assignment]
    cells = oracles.cells(net, domain)
    assert len(cells) == len(oracle.pieces)
    for p in (1.0, 2.0, math.inf):
        for name in ("all_pairs", "vector 1", "vector 2", "vector inf"):
            if (p, name) == (math.inf, "vector 2"):
                continue
            told = functional(name, 2)
            rows = None if told.q else np.array(told.rows)
            assert float(oracle.regional(told, p)) == pytest.approx(oracles.regional(cells, rows, p, told.q), rel=1e-9)
            pointed = float(oracle.pointed(told, p))
            sampled = oracles.sampled_pointed(net, domain, rows, p, told.q)
            if kind != "l2" and (p != 2 or told.q is None):
                assert sampled <= pointed * (1 + 1e-9) and sampled >= 0.8 * pointed
                if p != 2 and inputs > 1:
                    best = oracles.quotients(net, domain, oracles.candidates(cells, domain, p), rows, p, told.q).max()
                    assert pointed == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_enumerated_patterns_are_the_pieces(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = 2 + seed % 2
    program, x0 = chain(dense(rng, [inputs, 4, 3, 2])), tuple(rng.normal(size=inputs).tolist())
    where = Where("linf", 0.7)
    exact, other = Oracle(program, x0, where), Enumerated(program, x0, where)
    assert sum(there for *_, there in other.cells) <= len(exact.pieces) <= len(other.cells)
    for p, name in ((1.0, "all_logits"), (2.0, "vector 2"), (math.inf, "margin")):
        told = functional(name, 2)
        assert float(other.regional(told, p)) == pytest.approx(float(exact.regional(told, p)), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_cell_is_there_and_steep(seed: int) -> None:
    rng = np.random.default_rng(seed)
    center = rng.normal(size=2)
    layers, inside = bump(rng, 2, center, 1e-4, 1e3)
    program, where = chain(layers), Where("linf", 1.0)
    known = Planted(program, tuple(center.tolist()), where, [tuple(inside.tolist())])
    told = functional("all_logits", known.outputs)
    planted, exact = known.regional(told, 1.0), Oracle(program, known.point, where).regional(told, 1.0)
    assert float(planted) > 400 and not exact.below(Fraction(float(planted)) * Fraction(99999, 100000))
    assert not planted.below(Fraction(float(exact)))  # what nothing exceeds is above


def test_a_piece_at_a_point_is_the_one_around_it() -> None:
    rng = np.random.default_rng(0)
    program: Program = [*chain(dense(rng, [2, 6])), MaxPool(2), Relu(0.25), *chain(dense(rng, [3, 2]))]
    x = (0.3, -0.2)
    rows, scale = piece_at(program, x, [0, 1])
    near = [Fraction(a) + Fraction(1, 10**9) for a in x]
    expected = [(row[0] * near[0] + row[1] * near[1] + row[2]) / 2**scale for row in rows]
    assert value(program, near) == expected


# ---------------------------------------------------------------- what is counted


@pytest.mark.parametrize(
    ("ends", "counted"),
    [
        ((2.0, 2.0), {}),
        ((1.0, 3.0), {}),
        ((0.0, 2.0 - 1e-9), {"unsound": 1}),
        ((2.0 + 1e-9, 3.0), {"unsound": 1}),
        ((0.0, 2.0 - 4e-16), {"rounded": 1}),
        ((2.0 + 4e-16, math.inf), {"rounded": 1}),
        ((0.0, 0.0), {"unsound": 1}),
    ],
    ids=str,
)
def test_false_ends_are_seen(ends: tuple[float, float], counted: dict[str, int]) -> None:
    truth = Constant()
    truth.enter(4, 1)
    witness = Witness((0.0,), ends[0]) if ends[0] > 0 else None
    problem = LocalLipschitz(LinfBall(1.0), Logit(0))
    tally = Tally()
    tally.compare(CertifiedInterval(problem, "logit 0", *ends, proof="none", witness=witness), truth)
    assert {name: tally.counts[name] for name in ("unsound", "rounded") if tally.counts[name]} == counted
    assert len(tally.faults) == sum(counted.values())
