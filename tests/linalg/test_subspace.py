"""Spectral norms of many masked products from shared directions, against full decompositions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lipreg import AllMargins, Bound, L2Ball, LipschitzPenalty, LocalLipschitz, Vector, estimate
from lipreg.linalg import Dense, PowerIteration

SIZES = st.integers(1, 9)


def masked(batch: int, *sizes: int, all_columns: bool = False, weighted: bool = False) -> tuple[Dense, Tensor, Tensor]:
    """A random matrix with masks, or weights, of many points."""
    out, into = sizes
    map = Dense(torch.randn(out, into, dtype=torch.float64), (into,), (out,))
    rows, columns = (torch.bernoulli(torch.full((batch, n), 0.6, dtype=torch.float64)) for n in sizes)
    if weighted:
        rows, columns = rows * torch.rand_like(rows), columns * torch.rand_like(columns)
    return map, rows, torch.ones(1, into, dtype=torch.float64) if all_columns else columns


def exact(map: Dense, rows: Tensor, columns: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(rows.unsqueeze(2) * map.weight * columns.unsqueeze(1), ord=2)


def settled(map: Dense, rows: Tensor, columns: Tensor, calls: int = 40) -> Tensor:
    """Estimates as shares of the norms, after some calls."""
    power = PowerIteration(shared=True)
    for _ in range(calls):
        sigma = power.norm("a", map, rows, columns)
    return sigma / exact(map, rows, columns)


@given(
    seed=st.integers(0, 10_000),
    out=SIZES,
    into=SIZES,
    alike=st.booleans(),
    weighted=st.booleans(),
    single=st.booleans(),
)
def test_never_above_the_norm_and_never_zero_below_it(
    seed: int, out: int, into: int, alike: bool, weighted: bool, single: bool
) -> None:
    """Whatever came before: masks change from call to call."""
    torch.manual_seed(seed)
    power = PowerIteration(shared=True, first=2)
    dtype = torch.float32 if single else torch.float64
    for _ in range(4):
        map, rows, columns = masked(5, out, into, all_columns=alike, weighted=weighted)
        map, rows, columns = Dense(map.weight.to(dtype), (into,), (out,)), rows.to(dtype), columns.to(dtype)
        norm = exact(map, rows, columns)
        sigma, u, v = power.iterate("a", rows, columns, map, map.transpose)
        assert (sigma <= norm * (1 + 100 * torch.finfo(dtype).eps)).all()
        assert (sigma[norm > 0] > 0).all()
        pulled = (rows * u * map(columns * v)).sum(1)
        torch.testing.assert_close(sigma, pulled, rtol=1e-4 if single else 1e-10, atol=1e-30)


@given(seed=st.integers(0, 10_000), out=SIZES, into=SIZES, alike=st.booleans())
def test_a_batch_is_its_points_one_by_one(seed: int, out: int, into: int, alike: bool) -> None:
    torch.manual_seed(seed)
    map, rows, columns = masked(6, out, into, all_columns=alike)
    state = PowerIteration(shared=True)
    for _ in range(3):
        state.norm("a", map, rows, columns)
    together = PowerIteration(shared=True)
    together.vectors = dict(state.vectors)
    found = together.iterate("a", rows, columns, map, map.transpose)
    for i in range(6):
        alone = PowerIteration(shared=True)
        alone.vectors = dict(state.vectors)
        own = columns if alike else columns[i : i + 1]
        one = alone.iterate("a", rows[i : i + 1], own, map, map.transpose)
        for a, b in zip(found, one, strict=True):
            torch.testing.assert_close(a[i : i + 1], b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize(("alike", "mean", "least"), [(True, 0.97, 0.8), (False, 0.94, 0.7)])
def test_points_with_masks_drawn_apart_are_read_to_a_few_per_cent(
    size: int, alike: bool, mean: float, least: float
) -> None:
    """Three fifths of all units on, independently: no network's points are as unlike as that."""
    share = settled(*masked(64, size, size, all_columns=alike))
    assert share.mean() >= mean
    assert share.min() >= least


def clusters(kind: str, counts: list[int], size: int) -> tuple[Dense, Tensor, Tensor]:
    """Groups of points that see a block each, with a top singular vector (3, the others 1) that is nothing to the others."""
    blocks = []
    for _ in counts:
        left, right = (torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0] for _ in range(2))
        values = torch.ones(size, dtype=torch.float64)
        values[0] = 3.0
        blocks.append((left * values) @ right)
    group = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    own = nn.functional.one_hot(group, len(counts)).double().repeat_interleave(size, 1)
    all_on = torch.ones(len(group), size, dtype=torch.float64)
    if kind == "columns":
        matrix = torch.cat(blocks, 1)
        return Dense(matrix, (matrix.shape[1],), (size,)), all_on, own
    matrix = torch.cat(blocks, 0)
    return Dense(matrix, (size,), (len(matrix),)), own, all_on[:1] if kind == "first layer" else all_on


@pytest.mark.parametrize("kind", ["columns", "rows", "first layer"])
@pytest.mark.parametrize(
    ("counts", "least"), [([15, 1], 0.99), ([127, 1], 0.99), ([100, 20, 7, 1], 0.99), ([113] + 15 * [1], 0.9)], ids=str
)
def test_points_unlike_the_batch_are_not_read_far_below(kind: str, counts: list[int], least: float) -> None:
    share = settled(*clusters(kind, counts, 8))
    assert share.min() >= least


def test_units_that_were_off_come_back() -> None:
    """At once with a norm and a gradient, and soon with the right ones."""
    matrix = torch.block_diag(torch.randn(4, 4), torch.randn(4, 4)).double().requires_grad_()
    map = Dense(matrix, (8,), (8,))
    first = torch.tensor([1.0] * 4 + [0.0] * 4, dtype=torch.float64).repeat(5, 1)
    power = PowerIteration(shared=True)
    for _ in range(50):
        power.norm("a", map, first, first)
    second = 1.0 - first
    norm = power.norm("a", map, second, second)
    (gradient,) = torch.autograd.grad(norm.sum(), matrix)
    assert gradient.norm() == pytest.approx(5.0, rel=1e-6), "of u v^T at each of five points"
    for _ in range(10):
        norm = power.norm("a", map, second, second)
    torch.testing.assert_close(norm, exact(map, second, second), rtol=0.01, atol=0.0)


def test_what_is_kept_goes_on_elsewhere() -> None:
    map, rows, columns = masked(5, 7, 6)
    power, other = PowerIteration(shared=True), PowerIteration(shared=True)
    for _ in range(3):
        power.norm("a", map, rows, columns)
    other.vectors = {"a": power.vectors["a"].clone()}
    for _ in range(3):
        assert torch.equal(power.norm("a", map, rows, columns), other.norm("a", map, rows, columns))
    other.vectors = {"a": torch.ones(1, 7, dtype=torch.float64)}  # what versions with one left vector kept
    assert (other.norm("a", map, rows, columns) > 0).all()
    assert other.vectors["a"].shape == (4, 6)


# ---------------------------------------------------------------- of a network


def test_a_point_unlike_its_batch_has_the_bound_and_the_gradient_of_its_own() -> None:
    """Fifteen points see columns 0 and 1 of the second layer, one sees 2 and 3; the norm of either part is 3."""
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0.01, 1, 0], [0.01, 0, 1], [-0.01, 1, 0], [-0.01, 0, 1]]))
        net[2].weight.copy_(torch.tensor([[3.0, 0, 1, 0], [0, 1, 0, 3]]))
        net[2].bias.fill_(100.0)
        net[4].weight.copy_(torch.eye(2))
    one = torch.tensor([[1000.0, 0, 0]])
    x, problem = torch.cat([one] * 15 + [-one]), LocalLipschitz(L2Ball(0.05), Vector(), p=2)
    penalty = LipschitzPenalty(net, problem, weight=1.0)
    for _ in range(100):
        term = penalty(x)
    exactly = estimate(net, problem, x, bound=Bound("affine_relu", spectral_norms="exact"))
    assert penalty.last is not None
    torch.testing.assert_close(penalty.last.bounds, exactly.detach(), rtol=1e-3, atol=0.0)
    ours, theirs = (torch.autograd.grad(value, net[2].weight)[0] for value in (term, exactly.mean()))
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=1e-3)


def test_the_penalty_and_its_gradient_are_near_those_of_exact_norms() -> None:
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    x, y = torch.rand(32, 8, dtype=torch.float64), torch.randint(3, (32,))
    problem = LocalLipschitz(L2Ball(0.1), AllMargins())
    penalty = LipschitzPenalty(net, problem, weight=1.0)
    for _ in range(40):
        term = penalty(x, y)
    exactly = estimate(net, problem, x, y, bound=Bound("affine_relu", spectral_norms="exact"))
    assert penalty.last is not None
    share = penalty.last.bounds / exactly.detach()
    assert share.mean() >= 0.97
    assert share.min() >= 0.9
    parameters = [net[0].weight, net[2].weight, net[4].weight]
    for ours, theirs in zip(
        torch.autograd.grad(term, parameters), torch.autograd.grad(exactly.mean(), parameters), strict=True
    ):
        assert nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) >= 0.95
