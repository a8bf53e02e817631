"""Arithmetic in limbs against fractions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lipreg.linalg import Composed, Convolution, Dense, Diagonal, Limbs, LinearMap, Repeated, Sum, digit_bits
from lipreg.linalg.limbs import _cut
from tests.linalg.test_maps import MAPS, conv, random
from tests.sampling import one_in

Fractions = list[Fraction]
EPS = Fraction(2) ** -52


LARGEST = Fraction(2) ** 1024


def exact(x: Tensor) -> Fractions:
    return [Fraction(v) if math.isfinite(v) else LARGEST for v in x.flatten().tolist()]


def chained(parts: Iterable[Fractions]) -> Fractions:
    return list(itertools.chain.from_iterable(parts))


def matrix(map: LinearMap) -> list[Fractions]:
    """A, its rows as fractions: of a map put together from others from theirs, since products of entries are rounded."""
    match map:
        case Composed(outer=outer, inner=inner):
            columns = list(zip(*matrix(inner), strict=True))
            return [[dot(row, column) for column in columns] for row in matrix(outer)]
        case Sum(first=first, second=second):
            pairs = zip(matrix(first), matrix(second), strict=True)
            return [[a + b for a, b in zip(*rows, strict=True)] for rows in pairs]
    return [exact(row) for row in map.dense()]


def dot(a, b) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True) if x and y), Fraction(0))


def held(limbs: Limbs) -> Fractions:
    """The number that the digits are, ``error`` aside."""
    digits = limbs.digits.flatten(1).tolist()
    places = [Fraction(2) ** (limbs.bits * (limbs.top - i)) for i in range(len(digits))]
    return [dot(places, column) for column in zip(*digits, strict=True)]


def check(limbs: Limbs, truth: Fractions) -> None:
    """Within the error; and rounded, within its own."""
    assert int(limbs.digits.abs().max()) <= 2 ** (limbs.bits - 1)
    value, error = limbs.rounded()
    pairs = zip(held(limbs), exact(limbs.error), exact(value), exact(error), truth, strict=True)
    for digits, bound, rounded, whole, right in pairs:
        assert bound == LARGEST or abs(digits - right) <= bound
        assert whole == LARGEST or abs(rounded - right) <= whole
        assert rounded == LARGEST == whole or abs(rounded - digits) <= EPS * abs(digits) + Fraction(5e-324)


def wild(*shape: int, seed: int, decades: float = 120.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sizes = (2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1) * decades
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * 10.0**sizes


each_map = pytest.mark.parametrize("map", [build() for build in MAPS.values()], ids=MAPS)


@each_map
@pytest.mark.parametrize("batch", [(), (3,), (2, 1)], ids=str)
@one_in(3)
def test_maps_and_their_transposes_are_exact(map: LinearMap, batch: tuple[int, ...]) -> None:
    rows, bits = matrix(map.exact_form), digit_bits(map.exact_form.roundings)
    x, y = random(*batch, *map.in_shape, seed=1), random(*batch, *map.out_shape, seed=2)
    through, back = Limbs.of(x, bits).through(map), Limbs.of(y, bits).back(map)
    assert not through.error.any() and not back.error.any()
    assert through.shape == (*batch, *map.out_shape) and back.shape == (*batch, *map.in_shape)
    points = x.reshape(-1, map.in_size), y.reshape(-1, map.out_size)
    check(through, [dot(row, exact(point)) for point in points[0] for row in rows])
    columns = list(zip(*rows, strict=True))
    check(back, [dot(column, exact(point)) for point in points[1] for column in columns])


KERNELS: dict[str, Callable[[], Convolution]] = {
    "3 x 3 of many channels": lambda: conv((8, 16, 3, 3), (16, 7, 7), padding=((1, 1), (1, 1))),
    "5 x 5 strided, dilated, grouped": lambda: conv(
        (6, 4, 5, 5), (8, 12, 13), stride=(2, 3), dilation=(2, 2), groups=2, padding=((4, 4), (3, 3))
    ),
    "one dimension": lambda: conv((5, 7, 9), (7, 31), stride=(2,), padding=((4, 4),)),
    "three dimensions": lambda: conv((3, 2, 3, 3, 3), (2, 5, 6, 5), padding=((1, 1), (1, 0), (2, 1))),
    "depthwise": lambda: conv((12, 1, 3, 3), (12, 6, 6), padding=((1, 1), (1, 1)), groups=12),
    "1 x 1": lambda: conv((64, 64, 1, 1), (64, 4, 4)),
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_convolutions_add_up_integers_without_a_rounding(kernel: str) -> None:
    """Digits of full width, all of one sign in part of the sums: a fast convolution's other terms would be rounded."""
    map = KERNELS[kernel]()
    bits = digit_bits(map.roundings)
    top = 2 ** (bits - 1)
    draw = torch.Generator().manual_seed(0)

    def digits(*shape: int) -> Tensor:
        return torch.randint(top - 9, top, shape, generator=draw).double()

    full = Convolution(digits(*map.weight.shape), map.stride, map.padding, map.dilation, map.groups, map.in_shape)
    signs = torch.randint(0, 2, (2, *map.in_shape), generator=draw) * 2 - 1
    signs[0] = 1
    x, y = digits(2, *map.in_shape) * signs, digits(2, *map.out_shape)
    whole = full.dense().long()
    for batch in (1, 2):
        assert full(x[:batch]).flatten(1).long().equal(x[:batch].flatten(1).long() @ whole.T)
        assert full.transpose(y[:batch]).flatten(1).long().equal(y[:batch].flatten(1).long() @ whole)


@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([4, 19, 22, 25]), st.integers(0, 300))
@settings(max_examples=60)
def test_wild_numbers_are_held_within_the_error(seed: int, limbs: int, bits: int, decades: int) -> None:
    x = wild(3, 4, seed=seed, decades=float(decades))
    check(Limbs.of(x, bits, limbs), exact(x))
    if decades <= 100:  # of numbers that far apart float64 itself rounds the small ones when all are scaled down
        assert not Limbs.of(x, bits, 1000 // bits).error.any(), "all digits are there where there are enough"


@given(st.integers(0, 10**6), st.integers(2, 12), st.sampled_from([12, 22]), st.sampled_from([0, 3, 20, 120]))
@settings(max_examples=60)
def test_errors_cover_what_is_dropped(seed: int, limbs: int, bits: int, decades: int) -> None:
    maps = [Dense(wild(4, 4, seed=seed + k, decades=decades / 3), (4,), (4,)) for k in range(3)]
    x, scale = wild(2, 4, seed=seed + 3, decades=decades / 3), wild(4, seed=seed + 4, decades=decades / 3)
    value = Limbs.of(x, bits, limbs)
    truth = [exact(row) for row in x]
    for map in maps:
        rows = matrix(map)
        value, truth = value.through(map), [[dot(row, point) for row in rows] for point in truth]
        check(value, chained(truth))
    value = value.times(scale) + Limbs.of(scale, bits, limbs)
    truth = [[(t + 1) * s for t, s in zip(point, exact(scale), strict=True)] for point in truth]
    check(value, chained(truth))
    for map in maps:
        columns = list(zip(*matrix(map), strict=True))
        value, truth = value.back(map), [[dot(column, point) for column in columns] for point in truth]
        check(value, chained(truth))


def test_sums_that_cancel_keep_their_digits() -> None:
    row = torch.tensor([[1e17, 1.0, -1e17, 1e-17]], dtype=torch.float64)
    value = Limbs.of(torch.ones(4, dtype=torch.float64), 22).through(Dense(row, (4,), (1,)))
    assert exact(value.rounded()[0]) == [Fraction(float(1 + Fraction(1e-17)))]
    less = Limbs.of(torch.ones(4, dtype=torch.float64), 22, 2).through(Dense(row, (4,), (1,)))
    assert less.rounded()[1].item() > 1.0, "two digits do not hold the sum"


def test_zero_and_moved_and_largest() -> None:
    zero = Limbs.of(torch.zeros(2, 3, dtype=torch.float64), 22)
    assert zero.rounded()[0].eq(0).all() and zero.rounded()[1].eq(0).all()
    x = random(2, 3)
    flipped = Limbs.of(x, 22).reindexed(lambda t: t.flip(-1))
    check(flipped, exact(x.flip(-1)))
    folded = Limbs.of(x, 22).reindexed(lambda t: t.sum(-1), copies=3)
    check(folded, [sum(exact(row), Fraction(0)) for row in x])
    check(-flipped, exact(-x.flip(-1)))
    close = torch.tensor([[1.0, 1.0 + 2.0**-52, -3.0], [-2.0, -5.0, -2.0]], dtype=torch.float64)
    check(Limbs.of(close, 22).amax(), [Fraction(1) + EPS, Fraction(-2)])
    check(Limbs.of(close, 22).relu(0.3), [max(z, Fraction(0.3) * z) for z in exact(close)])
    check(Limbs.of(close, 22).relu(0.0), [max(z, Fraction(0)) for z in exact(close)])


def test_digits_fit_the_longest_sum() -> None:
    for terms in (1, 2, 3, 1000, 1024, 10**6):
        bits = digit_bits(terms)
        assert terms * 2 ** (2 * bits - 2) <= 2**53
    map = Repeated(random(2, 40000), (1, 40000), (1, 2))
    x = random(1, 1, 40000, seed=1)
    check(Limbs.of(x, digit_bits(map.roundings)).through(map), [dot(exact(row), exact(x)) for row in map.weight])


def test_ordinary_weights_take_few_digits() -> None:
    """Which is what the cost hangs on."""
    digits, _, rest = _cut(random(50, 50).float().double(), 22, 10)
    assert len(digits) <= 3 and rest is None
    assert math.isclose(float(digits[0].abs().max()), 2**21, rel_tol=1.0)
    map = Diagonal(torch.tensor(0.5, dtype=torch.float64), (3,), (3,))
    assert len(Limbs.of(random(3), 22).through(map).digits) <= 4
