"""Rows held by windows against the same rows held whole."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from lipreg.linalg import (
    Convolution,
    Dense,
    Diagonal,
    LinearMap,
    Rows,
    Shape,
    Transposed,
    WholeRows,
    compose,
    entries,
    unit_windows,
)
from lipreg.linalg.composition import Composed, Sum
from lipreg.linalg.windows import WindowGeometry, Windows


def random_convolution(random_: random.Random, generator: torch.Generator, dims: int, groups: int = 1) -> Convolution:
    """Of any stride, dilation and padding, cropping included, uneven at the ends."""
    kernel, stride, dilation = ([random_.choice([1, 1, 2, 3]) for _ in range(dims)] for _ in range(3))
    size = [random_.randint(7, 12 if dims < 3 else 8) for _ in range(dims)]
    padding = tuple((random_.randint(-1, 3), random_.randint(-1, 3)) for _ in range(dims))
    weight = torch.randn(2 * groups, 3, *kernel, generator=generator, dtype=torch.float64)
    return Convolution(weight, tuple(stride), padding, tuple(dilation), groups, (3 * groups, *size))


def some_units(shape: Shape, generator: torch.Generator, batch: int = 2, k: int = 6) -> Tensor:
    """Entries of a shape, its corners among them."""
    units = torch.randint(math.prod(shape), (batch, k), generator=generator)
    units[0, 0], units[0, 1] = 0, math.prod(shape) - 1
    return units


def one_hot(units: Tensor, shape: Shape) -> WholeRows:
    rows = torch.zeros(*units.shape, math.prod(shape), dtype=torch.float64).scatter_(2, units.unsqueeze(2), 1.0)
    return WholeRows(rows.reshape(*units.shape, *shape))


def both(units: Tensor, shape: Shape) -> tuple[Rows, Rows]:
    """As windows and whole; every two units share a window, that of the first, if there is an even number of them."""
    size, rows = math.prod(shape[1:]), 1 + (units.shape[1] % 2 == 0)
    places, channels = (units % size)[:, ::rows], (units // size).unflatten(1, (-1, rows))
    whole = one_hot((channels * size + places.unsqueeze(-1)).flatten(1), shape)
    return unit_windows(places, channels, shape, torch.zeros((), dtype=torch.float64)), whole


def agree(windows: Rows, whole: Rows) -> None:
    torch.testing.assert_close(windows.whole(), whole.whole(), rtol=1e-12, atol=1e-12)
    shape, batch = whole.values.shape[2:], len(whole.values)
    numbers = torch.randn(batch, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    read = [rows.sums(rows.values * rows.read(entries(numbers))[0]) for rows in (windows, whole)]
    torch.testing.assert_close(*read, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_windows_go_through_convolutions_as_images_do(seed: int, dims: int) -> None:
    generator, random_ = torch.Generator().manual_seed(seed), random.Random(seed)
    map = random_convolution(random_, generator, dims, groups=1 + seed % 2)
    for transposed, shape in ((True, map.out_shape), (False, map.in_shape)):
        moved = [rows.act(map, transposed) for rows in both(some_units(shape, generator), shape)]
        assert isinstance(moved[0], Windows)
        agree(*moved)
        # and back, from windows of more than one place that hang over the edges
        agree(*(rows.act(map, not transposed) for rows in moved))


def test_maps_put_together_and_maps_that_know_no_windows() -> None:
    generator = torch.Generator().manual_seed(1)
    first = Convolution(torch.randn(2, 3, 3, 3, dtype=torch.float64), (2, 1), ((1, 1), (0, 2)), (1, 1), 1, (3, 9, 8))
    out = first.out_shape
    second = Convolution(torch.randn(2, 1, 2, 2, dtype=torch.float64), (1, 1), ((1, 0), (0, 1)), (1, 1), 2, out)
    scale = Diagonal(torch.rand(out, generator=generator, dtype=torch.float64), out, out)
    channel = Diagonal(torch.rand(2, 1, 1, generator=generator, dtype=torch.float64), out, out)
    matrix = Dense(torch.randn(7, math.prod(out), dtype=torch.float64), out, (7,))
    reshape = Diagonal(torch.ones((), dtype=torch.float64), out, (math.prod(out),), unit=True)
    maps: list[LinearMap] = [
        Composed(second, first), Composed(scale, first), Composed(channel, first), Sum(Composed(second, first), first),
        Composed(first, Transposed(first)), Composed(matrix, first), compose(reshape, first), Transposed(first),
    ]  # fmt: skip
    for map in maps:
        windows, whole = both(some_units(map.in_shape, generator), map.in_shape)
        agree(windows.through(map), whole.through(map))
        if len(map.out_shape) > 1:
            windows, whole = both(some_units(map.out_shape, generator), map.out_shape)
            agree(windows.back(map), whole.back(map))


def test_a_matrix_multiplies_the_columns_that_windows_touch() -> None:
    """Rows with the same window are multiplied together, whichever they are, and beyond the edges there is nothing."""
    generator = torch.Generator().manual_seed(2)
    shape = (4, 30, 30)
    units = torch.tensor([[0, 899, 900, 450, 1350, 2250, 450], [5, 6, 7, 905, 906, 907, 5]])
    kernel = Convolution(
        torch.randn(4, 4, 3, 3, generator=generator, dtype=torch.float64), (1, 1), ((1, 1),) * 2, (1, 1), 1, shape
    )
    matrix = Dense(torch.randn(5, 3600, generator=generator, dtype=torch.float64), shape, (5,))
    windows, whole = (rows.through(kernel) for rows in both(units.repeat(1, 40), shape))
    assert isinstance(windows, Windows) and windows._few()
    agree(windows.through(matrix), whole.through(matrix))
    alone, _ = both(units[:, :1], shape)
    assert isinstance(alone, Windows) and alone._few()


@pytest.mark.parametrize("shift", [(0, 0), (1, -2), (5, 5)])
def test_windows_add_up_wherever_they_lie(shift: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    shape = (2, 8, 9)
    origin = torch.stack([torch.randint(-2, n, (2, 6), generator=generator) for n in shape[1:]], -1)
    one, two, uneven = (
        Windows(
            torch.randn(2, 6, 3, *extent, 2, generator=generator, dtype=torch.float64),
            WindowGeometry(first, extent, shape),
        )
        for first, extent in ((origin, (3, 2)), (origin + torch.tensor(shift), (2, 4)), (origin.flip(1), (2, 4)))
    )
    for other in (two, uneven, uneven.through(Diagonal(torch.rand(8, 9, dtype=torch.float64), shape, shape))):
        torch.testing.assert_close((one + other).whole(), one.whole() + other.whole())
        agree(one + other, WholeRows(one.whole() + other.whole()))
        agree(one + WholeRows(other.whole()), WholeRows(other.whole()) + one)
