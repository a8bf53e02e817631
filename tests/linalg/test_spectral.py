"""Certified spectral norms against singular values of the written-out matrix."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lipreg import AllLogits, LinfBall, LocalLipschitz, certify
from lipreg.linalg import Convolution, Dense, LinearMap, lanczos, spectral, spectral_norm
from lipreg.linalg.lanczos import lanczos_bound
from lipreg.linalg.spectral import FIRST_STEPS


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def conv(size: int = 12, channels: int = 3, out: int = 6, seed: int = 0, stride: int = 1) -> Convolution:
    kernel = random(out, channels, 3, 3, seed=seed)
    return Convolution(kernel, (stride, stride), ((1, 1), (1, 1)), (1, 1), 1, (channels, size, size))


def weighted(map: LinearMap, batch: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of rows and columns, some 0, and the singular value of the weighted matrix by SVD."""
    rows, columns = random(batch, *map.out_shape, seed=seed).abs(), random(batch, *map.in_shape, seed=seed + 1).abs()
    rows, columns = rows * (rows > 0.4), columns * (columns > 0.4)
    matrix = rows.flatten(1).unsqueeze(2) * map.dense() * columns.flatten(1).unsqueeze(1)
    return rows, columns, torch.linalg.matrix_norm(matrix, ord=2)


@pytest.fixture
def always_lanczos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "SVD_ENTRIES", 0)
    monkeypatch.setattr(spectral, "GRAM_SIDE", 0)
    monkeypatch.setattr(spectral, "FIRST_STEPS", 0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_lanczos_is_above_and_narrow(stride: int, batch: int, always_lanczos: None) -> None:
    for seed in range(5):
        map = conv(seed=seed, stride=stride)
        rows, columns, exact = weighted(map, batch, seed)
        norm = spectral_norm(map, rows, columns)
        assert norm.certified and norm.failure == spectral.FAILURE and norm.steps > 0
        assert (norm.upper >= exact).all() and (norm.lower <= exact * (1 + 1e-12)).all()
        assert (norm.upper <= norm.lower * (1 + spectral.WIDTH)).all()


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_lanczos_ends_with_its_time_and_is_above_all_the_same(steps: int, always_lanczos: None) -> None:
    for seed in range(3):
        map, counted = conv(seed=seed), itertools.count(1)
        rows, columns, exact = weighted(map, 2, seed)
        norm = spectral_norm(map, rows, columns, is_over=lambda counted=counted: next(counted) == steps)
        assert norm.steps == steps and (norm.upper >= exact).all() and (norm.lower <= exact * (1 + 1e-12)).all()
        assert (norm.upper > norm.lower * (1 + spectral.WIDTH)).any(), "there was time for all of it"


@pytest.mark.parametrize(("work", "steps"), [(2**28, FIRST_STEPS), (1, 1)])
def test_lanczos_takes_its_first_steps_where_they_cost_next_to_nothing(
    work: int, steps: int, always_lanczos: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    map = conv(seed=1)
    rows, columns, exact = weighted(map, 2, 1)
    monkeypatch.setattr(spectral, "FIRST_STEPS", FIRST_STEPS)
    monkeypatch.setattr(spectral, "QUICK", work)
    norm = spectral_norm(map, rows, columns, is_over=lambda: True)
    assert norm.cut and norm.steps == steps and (norm.upper >= exact).all()


def test_a_bound_by_norms_ends_with_its_budget_and_says_how_wide_it_is(always_lanczos: None) -> None:
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(9, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ).double()
    problem, x = LocalLipschitz(LinfBall(0.5), AllLogits(), p=2), torch.rand(1, 3, 3, dtype=torch.float64)
    (whole,) = certify(net, problem, x, estimator="affine_relu")
    (cut,) = certify(net, problem, x, estimator="affine_relu", budget=0.0)
    assert whole.upper <= cut.upper and "1 steps" in cut.detail and "relative width" in cut.detail


def test_gram_and_svd_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    map = conv(size=8)
    rows, columns, exact = weighted(map, 2)
    monkeypatch.setattr(spectral, "SVD_ENTRIES", 0)
    norm = spectral_norm(map, rows, columns)
    assert norm.steps == 0 and norm.failure == 0.0
    assert (norm.upper >= exact).all() and (norm.lower <= exact).all()
    assert (norm.upper <= exact * (1 + 1e-9)).all()


def test_a_start_without_the_top_direction_is_the_stated_failure() -> None:
    """The bound by Lanczos speaks of starts: one that is orthogonal to the top vector sees the second eigenvalue."""
    values = torch.linspace(0.1, 1.0, 50, dtype=torch.float64)

    def apply(x: Tensor) -> Tensor:
        return x * values

    one = torch.ones(1, dtype=torch.float64)
    whole = torch.ones(1, 50, dtype=torch.bool)
    _, high, _ = lanczos_bound(apply, whole, 1e-14 * one, 10 * one, 1e-4, 1e-10, 7)
    assert 1.0 <= high.item() <= 1.0 + 2e-4
    blind = whole.clone()
    blind[0, -1] = False  # starts without that coordinate
    _, high, _ = lanczos_bound(apply, blind, 1e-14 * one, 10 * one, 1e-4, 1e-10, 7)
    assert high.item() < 1.0


def test_no_map_can_be_made_for_the_starts() -> None:
    """A map whose top vector the draws of one seed cannot see: those draws are not made again. The truth is 10."""
    draws = torch.randn(3, 600, generator=torch.Generator().manual_seed(20), dtype=torch.float64)
    basis, _ = torch.linalg.qr(draws.T)
    top = random(600, seed=1)
    top = top - basis @ (basis.T @ top)
    top = top / top.norm()
    map = Dense(torch.eye(600, dtype=torch.float64) + 9.0 * torch.outer(top, top), (600,), (600,))
    state = torch.get_rng_state()
    ones = torch.ones(1, 600, dtype=torch.float64)
    first, second = (spectral_norm(map, ones, ones) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for norm in (first, second):
        assert norm.steps > 0 and 10.0 <= norm.upper.item() <= 10.0 * (1 + 2 * spectral.WIDTH)
    assert first.entropy != second.entropy and len(first.entropy) == 32
    again = spectral_norm(map, ones, ones, entropy=first.entropy)
    assert again.upper.item() == first.upper.item(), "what was recorded repeats the run"


@given(seed=st.integers(0, 10**6), gap=st.sampled_from([0.0, 1e-8, 1e-4, 1e-2, 0.5]), copies=st.integers(1, 5))
def test_lanczos_holds_on_clustered_spectra(seed: int, gap: float, copies: int) -> None:
    """Equal and nearly equal largest eigenvalues, where a power iteration stalls."""
    spread = torch.rand(60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * (1.0 - gap)
    values = torch.cat([spread, torch.ones(copies, dtype=torch.float64)])
    one = torch.ones(1, dtype=torch.float64)
    whole = torch.ones(1, len(values), dtype=torch.bool)
    low, high, _ = lanczos_bound(lambda x: x * values, whole, 1e-14 * one, 10 * one, 2e-4, 1e-10, seed)
    assert low.item() <= 1.0 + 1e-12 and 1.0 <= high.item() <= 1.0 + 3e-4


def test_stopped_early_the_bound_is_wide_and_true(always_lanczos: None, monkeypatch: pytest.MonkeyPatch) -> None:
    map = conv(size=16)
    rows, columns, exact = weighted(map, 2)
    before = torch.full((2,), math.inf, dtype=torch.float64)
    for steps in (1, 3, 8, 16, 30):
        monkeypatch.setattr(lanczos, "MAX_STEPS", steps)
        norm = spectral_norm(map, rows, columns)
        assert (norm.upper >= exact).all() and norm.steps <= steps
        assert (norm.upper <= before * (1 + 1e-9)).all()
        before = norm.upper


def test_zero_weights_and_tiny_spaces(always_lanczos: None) -> None:
    map = conv(size=4)
    rows, columns = torch.ones(2, *map.out_shape, dtype=torch.float64), torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    columns[1, 0, 0, 0] = 1.0  # one column: the space is exhausted after one step
    norm = spectral_norm(map, rows, columns)
    column = map(columns[1]).norm()
    assert norm.upper[0] == 0.0
    assert column <= norm.upper[1] <= column * (1 + 1e-6)


@pytest.mark.parametrize("grown", ["rows", "columns", "kernel"])
def test_the_estimate_for_training_has_the_norms_gradient(grown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "SVD_ENTRIES", 0)
    map = conv(size=6, channels=2, out=3)
    rows, columns, _ = weighted(map, 2)
    leaf = {"rows": rows, "columns": columns, "kernel": map.weight}[grown].requires_grad_(True)
    exact = torch.linalg.matrix_norm(
        rows.flatten(1).unsqueeze(2) * map.dense() * columns.flatten(1).unsqueeze(1), ord=2
    )
    (expected,) = torch.autograd.grad(exact.sum(), leaf)
    monkeypatch.setattr(spectral, "GRAM_ENTRIES", 0)
    monkeypatch.setattr(lanczos, "TRAINING_STEPS", 60)
    norm = spectral_norm(map, rows, columns)
    assert not norm.certified
    torch.testing.assert_close(norm.upper, exact)
    (got,) = torch.autograd.grad(norm.upper.sum(), leaf)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_single_precision_is_an_estimate() -> None:
    map = Dense(random(80, 900).float(), (900,), (80,))
    ones = torch.ones(1, 80), torch.ones(1, 900)
    norm = spectral_norm(map, *ones)
    assert not norm.certified and norm.upper.dtype == torch.float32
    map = conv(size=64)
    single = Convolution(map.weight.float(), map.stride, map.padding, map.dilation, 1, map.in_shape)
    ones = torch.ones(1, *map.out_shape), torch.ones(1, *map.in_shape)
    norm, exact = spectral_norm(single, *ones), spectral_norm(map, *(o.double() for o in ones))
    assert norm.upper.dtype == torch.float32 and not norm.certified
    assert 0.97 * exact.lower <= norm.upper.double() <= exact.upper * (1 + 1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_norms_stay_on_the_device(always_lanczos: None) -> None:
    map = conv()
    rows, columns, exact = weighted(map, 2)
    there = Convolution(map.weight.cuda(), map.stride, map.padding, map.dilation, 1, map.in_shape)
    norm = spectral_norm(there, rows.cuda(), columns.cuda())
    assert norm.upper.is_cuda and (norm.upper.cpu() >= exact).all()
    assert (norm.upper <= norm.lower * (1 + spectral.WIDTH)).all()


def test_narrow_numbers_are_widened() -> None:
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    norm = spectral_norm(Dense(weight, (3,), (5,)), torch.ones(1, 5).bfloat16(), torch.ones(1, 3).bfloat16())
    assert norm.upper.dtype == torch.bfloat16 and not norm.certified
    assert float(norm.upper) == pytest.approx(
        float(torch.linalg.matrix_norm(weight.detach().double(), ord=2)), rel=0.01
    )
