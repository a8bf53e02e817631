"""Linear maps against their written-out matrices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lipreg.linalg import (
    Convolution,
    Dense,
    Diagonal,
    LinearMap,
    Repeated,
    Transposed,
    add,
    compose,
    composition,
    convolution,
    gather,
    identity,
    induced_norm,
)
from tests import oracles

NORMS = {"1": 1.0, "2": 2.0, "inf": math.inf}
each_norm = pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def conv(kernel: tuple[int, ...], in_shape: tuple[int, ...], seed: int = 0, **settings) -> Convolution:
    dims = len(kernel) - 2
    plain = {"stride": (1,) * dims, "padding": ((0, 0),) * dims, "dilation": (1,) * dims, "groups": 1}
    return Convolution(random(*kernel, seed=seed), in_shape=in_shape, **(plain | settings))


MAPS: dict[str, Callable[[], LinearMap]] = {
    "dense": lambda: Dense(random(6, 4), (4,), (6,)),
    "dense_shaped": lambda: Dense(random(6, 8), (2, 4), (3, 2)),
    "dense_with_zero_row": lambda: Dense(random(4, 4) * torch.tensor([[1.0], [0.0], [1.0], [1.0]]), (4,), (4,)),
    "diagonal": lambda: Diagonal(random(5), (5,), (5,)),
    "diagonal_reshaped": lambda: Diagonal(random(2, 3), (2, 3), (3, 2)),
    "reshape": lambda: identity((2, 3), (6,), random(1)),
    "composed": lambda: compose(Dense(random(3, 6), (6,), (3,)), Diagonal(random(2, 3, seed=1), (2, 3), (6,))),
    "repeated": lambda: Repeated(random(3, 2), (4, 2), (2, 6)),
    "permuted": lambda: gather(torch.tensor([4, -1, 0, 2, 1]), (5,), (5, 1), random(1)),
    "copied": lambda: gather(torch.tensor([1, 1, 0, 1]), (2,), (2, 2), random(1)),
    "conv": lambda: conv((3, 2, 3), (2, 5), stride=(2,), padding=((1, 1),)),
    "conv_dilated_grouped": lambda: conv((4, 1, 2, 2), (2, 4, 5), dilation=(2, 1), groups=2),
    "conv_uneven": lambda: conv((2, 2, 3, 2), (2, 5, 4), stride=(2, 3), padding=((2, 0), (-1, 1))),
    "conv_transposed": lambda: Transposed(conv((2, 3, 2, 3), (3, 4, 5), stride=(2, 2), padding=((1, 1), (0, 0)))),
    "conv_of_conv": lambda: compose(
        conv((2, 3, 2, 2), (3, 4, 7), seed=3), conv((3, 2, 3, 2), (2, 9, 6), stride=(2, 1), padding=((0, 1), (1, 1)))
    ),
    "conv_of_dilated": lambda: compose(
        conv((4, 2, 2), (4, 9), dilation=(2,), groups=2, seed=3), conv((4, 1, 3), (2, 13), dilation=(2,), groups=2)
    ),
    "conv_of_padded": lambda: compose(
        conv((2, 3, 3), (3, 4), padding=((1, 1),), seed=3), conv((3, 2, 2), (2, 4), padding=((1, 0),))
    ),
    "conv_scaled": lambda: compose(
        Diagonal(random(2, 1, 1, seed=5), (2, 4, 4), (2, 4, 4)),
        compose(conv((2, 1, 2, 2), (2, 5, 5), groups=2), Diagonal(random(2, 1, 1, seed=6), (2, 5, 5), (2, 5, 5))),
    ),
    "conv_scaled_by_entry": lambda: compose(
        Diagonal(random(2, 4, seed=5), (2, 4), (8,)),
        conv((2, 2, 2), (2, 5)),
    ),
    "conv_flattened": lambda: compose(
        Dense(random(3, 8, seed=2), (8,), (3,)), compose(identity((2, 4), (8,), random(1)), conv((2, 2, 2), (2, 5)))
    ),
    "conv_reflected": lambda: compose(
        conv((2, 2, 3), (2, 6)), gather(torch.tensor([1, 0, 1, 2, 3, 2, 5, 4, 5, 6, 7, 6]), (2, 4), (2, 6), random(1))
    ),
    "conv_sums": lambda: add(
        conv((2, 2, 3, 3), (2, 4, 4), padding=((1, 1), (1, 1))), identity((2, 4, 4), (2, 4, 4), random(1))
    ),
    "conv_sums_strided": lambda: add(
        conv((2, 2, 3), (2, 8), stride=(2,), padding=((1, 1),)), conv((2, 2, 1), (2, 8), stride=(2,), seed=4)
    ),
    "concatenated": lambda: add(
        compose(gather(torch.tensor([0, 1, 2, 3, -1, -1]), (4,), (6,), random(1)), Diagonal(random(4), (4,), (4,))),
        gather(torch.tensor([-1, -1, -1, -1, 3, 2]), (4,), (6,), random(1)),
    ),
    "summed": lambda: add(Dense(random(4, 4), (4,), (4,)), Diagonal(random(4, seed=1), (4,), (4,))),
}
each_map = pytest.mark.parametrize("map", [build() for build in MAPS.values()], ids=MAPS)


def matrix_of(map: LinearMap) -> np.ndarray:
    """The matrix by applying the map to the unit vectors, the definition that ``dense`` must agree with."""
    size = math.prod(map.in_shape)
    columns = map(torch.eye(size, dtype=torch.float64).reshape(size, *map.in_shape))
    return columns.reshape(size, -1).T.numpy()


def weights(batch: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Non-negative weights, some of them 0 as masks are."""
    w = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.where(w < 0.3, torch.zeros_like(w), w)


@each_map
def test_dense_is_the_matrix_of_the_map(map: LinearMap) -> None:
    np.testing.assert_allclose(map.dense().numpy(), matrix_of(map))
    assert map.dense().shape == (math.prod(map.out_shape), math.prod(map.in_shape))


@each_map
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_call_and_transpose_act_on_trailing_dimensions(map: LinearMap, batch: tuple[int, ...]) -> None:
    x, y = random(*batch, *map.in_shape, seed=2), random(*batch, *map.out_shape, seed=3)
    matrix = matrix_of(map)
    assert map(x).shape == (*batch, *map.out_shape)
    assert map.transpose(y).shape == (*batch, *map.in_shape)
    flat = map(x).reshape(*batch, -1).numpy()
    np.testing.assert_allclose(flat, x.reshape(*batch, -1).numpy() @ matrix.T)
    np.testing.assert_allclose(map.transpose(y).reshape(*batch, -1).numpy(), y.reshape(*batch, -1).numpy() @ matrix)
    # <A x, y> = <x, A^T y>
    np.testing.assert_allclose((map(x) * y).sum().item(), (x * map.transpose(y)).sum().item())


@each_map
def test_abs_and_square_are_entrywise(map: LinearMap) -> None:
    np.testing.assert_allclose(matrix_of(map.abs()), np.abs(matrix_of(map)))
    np.testing.assert_allclose(matrix_of(map.square()), matrix_of(map) ** 2)


@each_map
@each_norm
def test_row_norms(map: LinearMap, p: float) -> None:
    columns = weights(3, map.in_shape, seed=4)
    norms = map.row_norms(p, columns)
    assert norms.shape == (3, *map.out_shape)
    for i in range(3):
        own = np.linalg.norm(matrix_of(map) * columns[i].flatten().numpy(), p, axis=1)
        np.testing.assert_allclose(norms[i].flatten().numpy(), own, atol=1e-14)


@each_map
@each_norm
def test_induced_norm(map: LinearMap, p: float) -> None:
    rows, columns = weights(3, map.out_shape, seed=5), weights(3, map.in_shape, seed=6)
    norms = induced_norm(map, p, rows, columns)
    assert norms.shape == (3,)
    for i in range(3):
        scaled = rows[i].flatten().numpy()[:, None] * matrix_of(map) * columns[i].flatten().numpy()
        if scaled.size <= 64:  # the definition, over all extreme points
            assert float(norms[i]) == pytest.approx(oracles.operator_norm(scaled, p, p), rel=1e-12)
        assert float(norms[i]) == pytest.approx(np.linalg.norm(scaled, p), rel=1e-12)


@each_map
@each_norm
def test_masked_norms_have_finite_gradients(map: LinearMap, p: float) -> None:
    """All columns masked: norms are 0, and so must their gradients be, not NaN."""
    columns = torch.zeros(1, *map.in_shape, dtype=torch.float64, requires_grad=True)
    rows = torch.ones(1, *map.out_shape, dtype=torch.float64)
    for value in (map.row_norms(p, columns).sum(), induced_norm(map, p, rows, columns).sum()):
        assert value == 0
        (gradient,) = torch.autograd.grad(value, columns, allow_unused=True, retain_graph=True)
        assert gradient is None or torch.isfinite(gradient).all()


SHAPES = {"flat": ((6,), (6,)), "shaped": ((2, 3), (3, 2))}


def dense_or_diagonal(kind: str, in_shape: tuple[int, ...], out_shape: tuple[int, ...], seed: int) -> LinearMap:
    if kind == "diagonal":
        return Diagonal(random(*in_shape, seed=seed), in_shape, out_shape)
    return Dense(random(math.prod(out_shape), math.prod(in_shape), seed=seed), in_shape, out_shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(("dense", "diagonal"), repeat=2)))
def test_compose_is_the_matrix_product(outer: str, inner: str, shape: str) -> None:
    first_shape, second_shape = SHAPES[shape]
    second = dense_or_diagonal(outer, second_shape, (1, 6), 7)
    first = dense_or_diagonal(inner, first_shape, second_shape, 8)
    whole = compose(second, first)
    assert (whole.in_shape, whole.out_shape) == (first_shape, (1, 6))
    np.testing.assert_allclose(matrix_of(whole), matrix_of(second) @ matrix_of(first))
    x = random(2, *first_shape, seed=9)
    torch.testing.assert_close(whole(x), second(first(x)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("left", "right"), list(itertools.product(("dense", "diagonal"), repeat=2)))
def test_add_is_the_matrix_sum(left: str, right: str, shape: str) -> None:
    first, second = (dense_or_diagonal(kind, *SHAPES[shape], seed) for seed, kind in enumerate((left, right)))
    whole = add(first, second)
    assert (whole.in_shape, whole.out_shape) == SHAPES[shape]
    np.testing.assert_allclose(matrix_of(whole), matrix_of(first) + matrix_of(second))
    np.testing.assert_allclose(matrix_of(add(first, first)), 2 * matrix_of(first))


def test_parallel_branches_cancel() -> None:
    map = Dense(random(3, 3), (3,), (3,))
    minus = compose(Diagonal(-torch.ones(3, dtype=torch.float64), (3,), (3,)), map)
    ones = torch.ones(1, 3, dtype=torch.float64)
    assert induced_norm(add(map, minus), math.inf, ones, ones) == 0


def test_maps_stay_maps_where_that_is_exact() -> None:
    """No form of convolution that nets are made of is written out as a matrix."""
    kinds = {name: type(build()).__name__ for name, build in MAPS.items()}
    for name in ("conv_of_conv", "conv_of_dilated", "conv_scaled", "conv_sums", "conv_sums_strided"):
        assert kinds[name] == "Convolution", name
    assert kinds["conv_scaled_by_entry"] == "Composed" and kinds["conv_flattened"] == "Dense"
    assert all(build().exact for build in MAPS.values())


@pytest.mark.parametrize("name", ["conv_of_padded", "conv_reflected", "concatenated"])
def test_large_maps_that_no_form_fits_have_upper_bounds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = MAPS[name]()
    monkeypatch.setattr(composition, "WRITTEN_OUT", 0)
    map = MAPS[name]()
    assert not map.exact
    np.testing.assert_allclose(matrix_of(map), matrix_of(exact))
    assert (matrix_of(map.abs()) >= np.abs(matrix_of(exact)) - 1e-15).all()
    columns = weights(2, map.in_shape, 4)
    for p in NORMS.values():
        assert (map.row_norms(p, columns) >= exact.row_norms(p, columns) - 1e-15).all()


@each_norm
def test_gradients_of_norms_match_finite_differences(p: float) -> None:
    rows, columns = weights(2, (3,), seed=1), weights(2, (4,), seed=2)

    def norms(weight: Tensor) -> Tensor:
        map = Dense(weight, (4,), (3,))
        return torch.cat([map.row_norms(p, columns).flatten(), induced_norm(map, p, rows, columns)])

    assert torch.autograd.gradcheck(norms, random(3, 4, seed=11).requires_grad_())


def test_dtype_and_device_follow_the_example() -> None:
    like = torch.zeros(1, dtype=torch.float32)
    map = identity((2, 2), (4,), like)
    assert map.entries[0].dtype == torch.float32 and map.entries[0].device == like.device
    assert Dense(random(2, 3), (3,), (2,)).entries[0].shape == (2, 3)


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    p=st.sampled_from([1.0, 2.0, math.inf]),
)
def test_no_vector_is_stretched_beyond_the_induced_norm(seed: int, rows: int, columns: int, p: float) -> None:
    map = Dense(random(rows, columns, seed=seed), (columns,), (rows,))
    ones = torch.ones(1, rows, dtype=torch.float64), torch.ones(1, columns, dtype=torch.float64)
    x = random(200, columns, seed=seed + 1)
    stretched = torch.linalg.vector_norm(map(x), p, dim=1) / torch.linalg.vector_norm(x, p, dim=1)
    assert stretched.max() <= induced_norm(map, p, *ones).item() * (1 + 1e-12)


@pytest.mark.parametrize("name", [name for name in MAPS if name.startswith("conv")])
def test_convolutions_in_parts_are_those_of_the_whole_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last digit, and with a gradient at once."""
    map = MAPS[name]()
    x, y = random(7, *map.in_shape), random(7, *map.out_shape, seed=1)
    whole = map(x), map.transpose(y)
    monkeypatch.setattr(convolution, "WINDOWS", 1)
    for found, expected in zip((map(x), map.transpose(y)), whole, strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(map(x.requires_grad_()), whole[0]) and map(x).requires_grad
