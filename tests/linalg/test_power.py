"""Power iteration against full decompositions: from below, converging, with the norm's gradient, and with state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipreg.linalg import Dense, Diagonal, PowerIteration

ROWS, COLUMNS = 7, 5


def case(batch: int) -> tuple[Dense, Tensor, Tensor]:
    matrix = torch.randn(ROWS, COLUMNS, dtype=torch.float64, requires_grad=True)
    rows, columns = (torch.rand(batch, n, dtype=torch.float64) for n in (ROWS, COLUMNS))
    return Dense(matrix, (COLUMNS,), (ROWS,)), rows.requires_grad_(), columns.requires_grad_()


def exact(map: Dense, rows: Tensor, columns: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(rows.unsqueeze(2) * map.weight * columns.unsqueeze(1), ord=2)


@pytest.mark.parametrize("shared", [False, True])
def test_estimates_come_from_below(shared: bool) -> None:
    power = PowerIteration(shared, first=1)
    for _ in range(6):
        map, rows, columns = case(4)
        sigma = power.norm("a", map, rows, columns)
        assert (sigma <= exact(map, rows, columns) * (1 + 1e-12)).all()
        assert power.vectors["a"].shape == ((4, COLUMNS) if shared else (4, ROWS))


def test_steps_converge_with_the_gradient_of_the_norm() -> None:
    map, rows, columns = case(4)
    power, parameters = PowerIteration(shared=False), (map.weight, rows, columns)
    for _ in range(2000):
        sigma = power.norm("a", map, rows, columns)
    expected = exact(map, rows, columns)
    torch.testing.assert_close(sigma, expected, rtol=1e-12, atol=0.0)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    ours = torch.autograd.grad((weights * sigma).sum(), parameters)
    theirs = torch.autograd.grad((weights * expected).sum(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_a_warm_start_follows_weights_that_move() -> None:
    """One step an evaluation keeps up with a matrix that changes by a per cent each time."""
    map, rows, columns = case(1)
    power, matrix = PowerIteration(shared=True), map.weight.detach()
    for _ in range(50):
        matrix = matrix + 0.01 * matrix.norm() / matrix.numel() ** 0.5 * torch.randn_like(matrix)
        map = Dense(matrix, (COLUMNS,), (ROWS,))
        sigma = power.norm("a", map, rows, columns)
    assert sigma.item() >= 0.97 * exact(map, rows, columns).item()


def test_shaped_maps_and_diagonal_ones() -> None:
    matrix = torch.randn(12, 6, dtype=torch.float64)
    map, power = Dense(matrix, (2, 3), (3, 4)), PowerIteration(shared=True)
    ones = torch.ones(2, 3, 4, dtype=torch.float64), torch.ones(1, 2, 3, dtype=torch.float64)
    for _ in range(500):
        sigma = power.norm("a", map, *ones)
    torch.testing.assert_close(sigma, torch.linalg.matrix_norm(matrix, ord=2).expand(2), rtol=1e-9, atol=0.0)
    diagonal = Diagonal(torch.tensor([1.0, -3.0]), (2,), (2,))
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.1]])
    assert PowerIteration(shared=True).norm("b", diagonal, weights, torch.ones(1, 2)).tolist() == pytest.approx(
        [3.0, 1.0]
    )


def test_maps_that_are_off_have_norm_and_gradient_zero() -> None:
    map, _, columns = case(3)
    power = PowerIteration(shared=False)
    off = torch.zeros(3, ROWS, dtype=torch.float64)
    for _ in range(2):
        sigma = power.norm("a", map, off, columns)
        (gradient,) = torch.autograd.grad(sigma.sum(), map.weight)
        assert sigma.tolist() == [0.0, 0.0, 0.0]
        assert gradient.abs().sum() == 0
    on = torch.ones(3, ROWS, dtype=torch.float64)  # and they come back
    for _ in range(300):
        sigma = power.norm("a", map, on, columns)
    torch.testing.assert_close(sigma, exact(map, on, columns).detach(), rtol=1e-6, atol=0.0)


def test_vectors_of_other_points_are_not_used() -> None:
    power = PowerIteration(shared=False)
    map, rows, columns = case(4)
    power.norm("a", map, rows, columns)
    map, rows, columns = case(3)
    assert power.norm("a", map, rows, columns).shape == (3,)
    assert power.vectors["a"].shape == (3, ROWS)
