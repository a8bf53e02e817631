"""Operator norms against brute force over the extreme points of the unit balls, and random vectors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from lipreg.linalg import attained_norm, best_signs, operator_norm, operators, vector_norm
from lipreg.linalg.norms import dual_norm
from lipreg.linalg.operators import SIGNS

PAIRS = list(itertools.product((1.0, 2.0, math.inf), repeat=2))
PAIR_IDS = [f"{p:g} to {q:g}" for p, q in PAIRS]


def brute(matrix: Tensor, p: float, q: float) -> float:
    """The largest |M y|_q over the corners of the ball, of y or of the dual vector; an SVD from l2 to l2."""
    rows, columns = matrix.shape
    if (p, q) == (2.0, 2.0):
        return float(torch.linalg.svdvals(matrix)[0])
    if p == 1.0:
        return max(float(torch.linalg.vector_norm(matrix[:, j], q)) for j in range(columns))
    if p == math.inf:
        corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=columns)), dtype=matrix.dtype)
        return float(torch.linalg.vector_norm(corners @ matrix.T, q, dim=1).max())
    signs = list(itertools.product((-1.0, 1.0), repeat=rows)) if q == 1.0 else torch.eye(rows).tolist()
    return float(torch.linalg.vector_norm(torch.tensor(signs, dtype=matrix.dtype) @ matrix, 2, dim=1).max())


@pytest.mark.parametrize(("p", "q"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("shape", [(1, 5), (4, 1), (3, 6), (6, 3)])
def test_a_norm_is_the_largest_over_extreme_points(p: float, q: float, shape: tuple[int, int]) -> None:
    matrices = torch.randn(7, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, attained = operator_norm(matrices, p, q), attained_norm(matrices, p, q)
    for matrix, norm, least in zip(matrices, found, attained, strict=True):
        assert float(norm) == pytest.approx(brute(matrix, p, q), rel=1e-12)
        assert float(least) <= float(norm) * (1 + 1e-12)
        assert float(least) >= 0.8 * float(norm)


@pytest.mark.parametrize(("p", "q"), [(math.inf, 2.0), (2.0, 1.0), (math.inf, 1.0)])
def test_beyond_the_signs_that_can_be_tried_a_vector_attains_it(p: float, q: float) -> None:
    matrix = torch.randn(SIGNS + 3, SIGNS + 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    drawn = torch.randn(4000, SIGNS + 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    drawn = drawn.sign() if p == math.inf else drawn / drawn.norm(dim=1, keepdim=True)
    best = float(torch.linalg.vector_norm(drawn @ matrix.T, q, dim=1).max())
    above = float(torch.linalg.vector_norm(torch.linalg.vector_norm(matrix, 1 if p == math.inf else 2, dim=1), q))
    assert best < float(operator_norm(matrix, p, q)) < above
    positive = matrix.abs()  # at the vector of ones, whatever the size
    if p == math.inf:
        assert float(operator_norm(positive, p, q)) == pytest.approx(
            float(torch.linalg.vector_norm(positive.sum(1), q)), rel=1e-12
        )


@pytest.mark.parametrize("shape", [(5, 4, 3), (2, 3, 6, 4), (4, 3), (0, 3, 4)])
def test_signs_tried_in_parts_find_the_same_with_few_numbers_at_once(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrices, seen = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4)), list[int]()
    norms, signs = best_signs(matrices, 2.0)
    assert norms.shape == shape[:-2] and signs.shape == shape[:-1]
    attained = torch.linalg.vector_norm((signs.unsqueeze(-2) @ matrices).squeeze(-2), 2, dim=-1)
    torch.testing.assert_close(attained, norms)

    def noted(vectors: Tensor, norm: float) -> Tensor:
        seen.append(vectors.numel())
        return vector_norm(vectors, norm)

    monkeypatch.setattr(operators, "vector_norm", noted)
    monkeypatch.setattr(operators, "NUMBERS", 8 * shape[-1])
    in_parts, _ = best_signs(matrices, 2.0)
    torch.testing.assert_close(in_parts, norms)
    assert max(seen, default=0) <= 8 * shape[-1]
    for matrix, norm in zip(matrices.reshape(-1, *shape[-2:]) if norms.numel() else [], norms.flatten(), strict=True):
        assert float(norm) == pytest.approx(brute(matrix, 2.0, 1.0), rel=1e-12)


@pytest.mark.parametrize(("p", "q"), [(math.inf, 1.0), (2.0, 1.0), (math.inf, 2.0)])
def test_norms_of_magnitudes_are_those_over_all_signs(p: float, q: float) -> None:
    matrices = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    every = best_signs(matrices, dual_norm(p))[0] if q == 1.0 else best_signs(matrices.mT, q)[0]
    torch.testing.assert_close(operator_norm(matrices, p, q), every, rtol=1e-14, atol=0.0)
