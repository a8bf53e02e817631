"""Curves in decimals against mpmath: values and derivatives of numbers that float64 does not hold, of every size."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import mpmath
import pytest
import torch

from lipreg.curves import (
    BentHardswish,
    Curve,
    Elu,
    Erf,
    Gelu,
    GeluTanh,
    Hardswish,
    Mish,
    Silu,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
)
from lipreg.linalg import DecimalArithmetic, Limbs
from tests.curves.test_curves import CURVES
from tests.linalg.test_limbs import held
from tests.sampling import one_in

mpf = mpmath.mpf
FAR = 2000
"""From where on mpmath is told what is left: less than 10^-700 of what there is."""
ARITHMETICS = [(10, 25), (10, 18), (20, 22), (40, 25)]


def _sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def _values(curve: Curve, z):
    """f(z) and f'(z), in mpmath's working precision."""
    flat = (z if z > 0 else mpf(0)), mpf(z > 0)
    match curve:
        case Tanh():
            return (mpmath.tanh(z), mpmath.sech(z) ** 2) if abs(z) < FAR else (mpmath.sign(z), mpf(0))
        case Tanhshrink():
            value = mpmath.tanh(z) if abs(z) < FAR else mpmath.sign(z)
            return z - value, value**2
        case Erf():
            slope = 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-z * z)
            return (mpmath.erf(z), slope) if abs(z) < FAR else (mpmath.sign(z), mpf(0))
        case Softsign():
            return z / (1 + abs(z)), 1 / (1 + abs(z)) ** 2
        case Softplus():
            return (mpmath.log1p(mpmath.exp(z)), _sigmoid(z)) if abs(z) < FAR else flat
        case Elu(scale=scale):
            return (z, mpf(1)) if z > 0 else (mpf(scale) * mpmath.expm1(z), mpf(scale) * mpmath.exp(z))
        case Silu():
            share = _sigmoid(z) if abs(z) < FAR else mpf(z > 0)
            return (z * share, share + z * share * _sigmoid(-z)) if abs(z) < FAR else flat
        case Gelu():
            share = mpmath.erfc(-z / mpmath.sqrt(2)) / 2 if abs(z) < FAR else mpf(z > 0)
            density = mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi) if abs(z) < FAR else 0
            return (z * share, share + z * density) if abs(z) < FAR else flat
        case GeluTanh(cube=cube):
            if abs(z) > FAR:
                return flat
            root = mpmath.sqrt(2 / mpmath.pi)
            t = mpmath.tanh(root * (z + mpf(cube) * z**3))
            return z / 2 * (1 + t), (1 + t) / 2 + z / 2 * (1 - t * t) * root * (1 + 3 * mpf(cube) * z * z)
        case Mish():
            if abs(z) > FAR:
                return flat
            share = mpmath.tanh(mpmath.log1p(mpmath.exp(z)))
            return z * share, share + z * (1 - share * share) * _sigmoid(z)
        case Hardswish():
            return z * min(max(z + 3, 0), 6) / 6, (2 * z + 3) / 6 if abs(z) <= 3 else mpf(z > 0)
        case BentHardswish():
            slope = (2 * min(max(z, -3), 3) + 3) / 6
            return (z * (z + 3) / 6 if abs(z) <= 3 else slope * z - mpf(1.5)), slope
        case _:
            raise AssertionError(curve)


def _numbers(bits: int, limbs: int, seed: int) -> list[Limbs]:
    """Some at which networks evaluate curves, and some of every size, subnormal ones and kinks among them."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*scale: float) -> torch.Tensor:
        sizes = scale[0] + (scale[-1] - scale[0]) * torch.rand(12, generator=draw, dtype=torch.float64)
        return torch.randn(12, generator=draw, dtype=torch.float64) * 10.0**sizes

    special = [
        0.0,
        5e-324,
        -5e-324,
        2.3e-308,
        3.0,
        -3.0,
        math.nextafter(3, 4),
        math.nextafter(-3, 0),
        1.0,
        -1e-16,
        40.0,
        -700.0,
    ]
    drawn = [
        normal(0.3),
        normal(-16, 2),
        normal(1.5),
        normal(-320, -200),
        normal(-320, 300),
        torch.tensor(special).double(),
    ]
    exact = [Limbs.of(x, bits, limbs) for x in drawn]
    return [*exact, *(x + Limbs.of(normal(-17) * part, bits, limbs) for x, part in zip(exact[:3], drawn, strict=False))]


def _exact(number: Limbs) -> list:
    return [mpf(value.numerator) / value.denominator for value in held(number)]


@one_in(4)
@pytest.mark.parametrize(("limbs", "bits"), ARITHMETICS)
@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_decimals_hold_the_values_and_hardly_more(curve: Curve, limbs: int, bits: int) -> None:
    with mpmath.workdps(450):
        for number in _numbers(bits, limbs, seed=limbs):
            points, found, slopes = _exact(number), number.applied(curve), number.applied(curve.derivative)
            errors = (n.error.tolist() for n in (number, found, slopes))
            unit = mpf(2) ** (-bits * (limbs - 2))
            largest = max(abs(value) for value in _exact(found))
            for z, value, slope, moved, off, slope_off in zip(
                points, _exact(found), _exact(slopes), *errors, strict=True
            ):
                true, steep = _values(curve, z)
                assert abs(value - true) <= mpf(off), (float(z), mpmath.nstr(abs(value - true)), off)
                assert abs(slope - steep) <= mpf(slope_off), (float(z), mpmath.nstr(abs(slope - steep)), slope_off)
                spread = 3 * mpf(moved)  # of numbers so far apart that not all of their digits are kept
                assert mpf(off) <= unit * max(largest, abs(true)) + spread + 1e-320, float(z)
                jumps = not bool(curve.smooth(torch.tensor(float(z)).double(), torch.tensor(moved).double()))
                assert mpf(slope_off) <= unit + spread or (jumps and slope_off <= 1), float(z)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_decimals_of_numbers_within_errors_hold_all_of_them(curve: Curve) -> None:
    draw = torch.Generator().manual_seed(1)
    z = torch.cat([4 * torch.randn(20, generator=draw, dtype=torch.float64), torch.tensor([0.0, 3.0, -3.0]).double()])
    size = 10.0 ** (20 * torch.rand(23, generator=draw, dtype=torch.float64) - 20)
    number = replace(Limbs.of(z, 24), error=size)
    with mpmath.workdps(100):
        images = number.applied(curve), number.applied(curve.derivative)
        ends = [[(v - mpf(e), v + mpf(e)) for v, e in zip(_exact(i), i.error.tolist(), strict=True)] for i in images]
        for at, (middle, error) in enumerate(zip(z.tolist(), size.tolist(), strict=True)):
            for share in (-1, -0.7, 0, 0.3, 1):
                both = _values(curve, mpf(middle) + mpf(share) * mpf(error))
                for (low, high), true in zip((ends[0][at], ends[1][at]), both, strict=True):
                    assert low <= true <= high, (middle, error, share)


def test_functions_in_places() -> None:
    for promised in (5, 40, 67, 301):
        places = DecimalArithmetic(promised)
        with mpmath.workdps(2 * promised + 40), places.context():
            unit = mpf(10) ** (3 - places.carried)
            assert abs(mpf(str(places.pi)) - mpmath.pi) <= unit
            for size in (1e-320, 1e-30, 1e-3, 0.4, 1.0):
                x = Decimal(size)
                exact = mpf(size)
                for got, true in (
                    (places.expm1(-x), mpmath.expm1(-exact)),
                    (places.log1p(x), mpmath.log1p(exact)),
                    (places.erf(x), mpmath.erf(exact)),
                    (places.expm1(-37 * x), mpmath.expm1(-37 * exact)),
                    (places.erf(7 * x), mpmath.erf(7 * exact)),
                ):
                    assert abs(mpf(str(got)) - true) <= unit * abs(true), (promised, size)
