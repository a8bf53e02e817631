"""Curves against mpmath and against dense grids: nothing of a range is missed, and little is added."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import Tensor

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
    relaxed,
    secants,
    unkinked,
)

CURVES = [
    Tanh(),
    Tanhshrink(),
    Erf(),
    Softsign(),
    Softplus(),
    Elu(),
    Elu(1.6732632423543772),
    Elu(0.5),
    Silu(),
    Gelu(),
    GeluTanh(),
    GeluTanh(0.0447149),
    GeluTanh(0.0443),
    Mish(),
    Hardswish(),
    BentHardswish(),
]
EXACT = {
    "Tanh": mpmath.tanh,
    "Tanhshrink": lambda z: z - mpmath.tanh(z),
    "Erf": mpmath.erf,
    "Softsign": lambda z: z / (1 + abs(z)),
    "Softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "Silu": lambda z: z / (1 + mpmath.exp(-z)),
    "Gelu": lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2,
    "Mish": lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z))),
    "Hardswish": lambda z: z * min(max(z + 3, 0), 6) / 6,
    "BentHardswish": lambda z: z * (z + 3) / 6 if abs(z) <= 3 else (3 * z - 3) / 2 if z > 3 else -(z + 3) / 2,
}


def exact(curve: Curve):
    if isinstance(curve, Elu):
        return lambda z: z if z > 0 else curve.scale * mpmath.expm1(z)
    if isinstance(curve, GeluTanh):
        inner = mpmath.sqrt(2 / mpmath.pi)
        return lambda z: z / 2 * (1 + mpmath.tanh(inner * (z + mpmath.mpf(repr(curve.cube)) * z**3)))
    return EXACT[type(curve).__name__]


def intervals(seed: int = 0, count: int = 400) -> tuple[Tensor, Tensor]:
    """Ends of all sizes, many of them about bends."""
    draw = torch.Generator().manual_seed(seed)
    scale = 10.0 ** (3.5 * torch.rand(count, generator=draw, dtype=torch.float64) - 2.5)
    middle = 3.0 * torch.randn(count, generator=draw, dtype=torch.float64)
    middle[::3] = middle[::3].round()
    return middle - scale * torch.rand(count, generator=draw, dtype=torch.float64), middle + scale


def grid(lower: Tensor, upper: Tensor, points: int = 801) -> Tensor:
    return lower + (upper - lower) * torch.linspace(0, 1, points, dtype=torch.float64).unsqueeze(1)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_values_and_derivatives_are_off_by_no_more_than_is_charged(curve):
    function, points = exact(curve), [0.0, 1e-9, -1e-300]
    points += torch.cat(
        [torch.linspace(-8, 8, 90), torch.logspace(-12, 2.6, 30), -torch.logspace(-12, 2.6, 30)]
    ).tolist()
    points += [place + side for place in curve.places for side in (0.0, 1e-13, -1e-13, 1e-6)]
    z = torch.tensor(points, dtype=torch.float64)
    value, slope = curve.value(z), curve.slope(z)
    off, slope_off = curve.value_rounding(z, value), curve.slope_rounding(z, slope)
    with mpmath.workdps(60):
        for i, point in enumerate(points):
            at = mpmath.mpf(point)
            assert abs(function(at) - mpmath.mpf(float(value[i]))) <= mpmath.mpf(float(off[i])), point
            if min(abs(point - place) for place in (*curve.places, 1e9)) > 1e-5:
                own = mpmath.diff(function, at, h=mpmath.mpf(10) ** -25)
                assert (
                    abs(own - mpmath.mpf(float(slope[i]))) <= mpmath.mpf(float(slope_off[i])) + mpmath.mpf(10) ** -30
                ), point


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_tables_are_those_of_the_function(curve):
    function = exact(curve)
    with mpmath.workdps(60):
        for turn in curve.extrema:
            low, high = turn.ends
            assert low <= function(mpmath.mpf(turn.location)) <= high
            assert abs(mpmath.diff(function, turn.location)) < 1e-13
        jumps = {b.location for b in curve.inflections if sum(o.location == b.location for o in curve.inflections) > 1}
        for bend in curve.inflections:
            low, high = bend.ends
            if bend.location not in jumps:
                assert (
                    low <= mpmath.diff(function, bend.location) <= high + mpmath.mpf(10) ** -40
                )  # what is off is mpmath's own
                assert (
                    isinstance(curve, Softsign | BentHardswish) or abs(mpmath.diff(function, bend.location, 2)) < 1e-13
                )
        for kind, start, end in curve.pieces():
            a, b = max(start, -6.0), min(end, 6.0)
            for share in (0.05, 0.3, 0.6, 0.95):
                bent = mpmath.diff(function, a + share * (b - a), 2)
                assert {"convex": bent > 0, "concave": bent < 0, "straight": abs(bent) < 1e-25}[kind], (kind, a, b)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_ranges_hold_all_that_a_grid_meets_and_hardly_more(curve):
    lower, upper = intervals()
    z = grid(lower, upper)
    for function, (low, high) in ((curve.value, curve.range(lower, upper)), (curve.slope, curve.slopes(lower, upper))):
        met = function(z)
        assert (met >= low).all() and (met <= high).all()
        width = 3e-3 * (upper - lower) + 1e-13
        jumps = 0.0 if function == curve.value or bool(curve.smooth(z, 0.01 * torch.ones_like(z)).all()) else 1.0
        assert ((met.amin(0) - low) <= width + jumps).all() and ((high - met.amax(0)) <= width + jumps).all()


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_ranges_without_ends(curve):
    far, zero = torch.tensor([torch.inf], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    z = torch.linspace(-40, 40, 4001, dtype=torch.float64)
    value, slope = curve.value(z), curve.slope(z)
    low, high = curve.range(-far, far)
    assert low <= value.min() and high >= value.max()
    assert (high == torch.inf) == (curve.limits[1] == math.inf)
    assert (low == -torch.inf) == (curve.limits[0] == -math.inf) and low >= min(value.min(), curve.limits[0]) - 3e-2
    low, high = curve.slopes(-far, far)
    assert low <= slope.min() and high >= slope.max() and high <= slope.max() + 1e-3 and low >= slope.min() - 1e-3
    assert curve.steepest == max(float(high), -float(low)) or curve.steepest >= float(high)
    least, most = secants(curve, zero, None, -far, far)
    assert least <= low + 1e-12 and most >= high - 1e-12


@pytest.mark.parametrize("curve", CURVES, ids=repr)
@pytest.mark.parametrize("outside", [False, True])
def test_secants_hold_all_that_a_grid_meets_and_hardly_more(curve, outside):
    lower, upper = intervals(1)
    share = torch.rand(len(lower), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    share[::5], share[1::5] = 0.0, 1.0
    y = lower + (upper - lower) * (3.0 * share - 1.0 if outside else share)
    error = 1e-15 * (1.0 + y.abs())
    for off in (None, error):
        low, high = secants(curve, y, off, lower, upper)
        z = grid(lower, upper)
        far = (z - y).abs() > 1e-6
        met = (curve.value(z) - curve.value(y)) / torch.where(far, z - y, 1.0)
        slack = 3e-15 * (1.0 + curve.value(z).abs() + curve.value(y).abs()) / (z - y).abs().clamp(min=1e-6)
        assert ((met >= low - slack) | ~far).all() and ((met <= high + slack) | ~far).all()
        met_low, met_high = (torch.where(far, met, end).to(met) for end in (torch.inf, -torch.inf))
        wide = (upper - lower > 0.05) & ((y == lower) | (y - lower > 1e-3)) & ((y == upper) | (upper - y > 1e-3))
        width = (2e-3 if curve.smooth(y, torch.full_like(y, 99.0)).all() else 2e-2) * (upper - lower) + 1e-8
        assert (((met_low.amin(0) - low) <= width) | ~wide).all(), ((met_low.amin(0) - low) / width)[wide].max()
        assert (((high - met_high.amax(0)) <= width) | ~wide).all()


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_lines_lie_outside_and_near(curve):
    lower, upper = intervals(2)
    lines = relaxed(curve, lower, upper)
    z = grid(lower, upper)
    value = curve.value(z)
    above, below = lines.upper_slope * z + lines.upper_offset, lines.lower_slope * z + lines.lower_offset
    slack = 1e-15 * (value.abs() + z.abs())
    assert (above >= value - slack).all() and (below <= value + slack).all()
    # each line touches the curve
    near = 2e-3 * (upper - lower) + 1e-12
    assert ((above - value).amin(0) <= near).all() and ((value - below).amin(0) <= near).all()
    # and is no wider than the range of values, in the middle
    low, high = curve.range(lower, upper)
    middle = 0.5 * (above - below).mean(0)
    assert (middle <= (high - low) + 1e-12).all()


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_everything_is_differentiable(curve):
    lower, upper = intervals(3, 60)
    wide = (upper - lower > 0.1) & ((lower.abs() > 0.02) & (upper.abs() > 0.02))
    lower, upper = lower[wide].requires_grad_(), upper[wide].requires_grad_()
    y = (0.3 * lower + 0.7 * upper).detach()

    def outputs(lower: Tensor, upper: Tensor) -> Tensor:
        lines = relaxed(curve, lower, upper)
        parts = (*curve.range(lower, upper), *curve.slopes(lower, upper), *secants(curve, y, None, lower, upper))
        return torch.stack([*parts, lines.lower_offset, lines.upper_offset, lines.lower_slope, lines.upper_slope])

    found = outputs(lower, upper)
    step = 1e-6
    with torch.no_grad():
        moved = [
            outputs(lower + step, upper) - outputs(lower - step, upper),
            outputs(lower, upper + step) - outputs(lower, upper - step),
        ]
    for row, *numerics in zip(found, *moved, strict=True):
        gradients = torch.autograd.grad(row.sum(), (lower, upper), retain_graph=True)
        for gradient, numeric in zip(gradients, (numeric / (2 * step) for numeric in numerics), strict=True):
            assert torch.isfinite(gradient).all()
            off = (gradient - numeric).abs() > 1e-3 * (1.0 + numeric.abs())
            assert off.double().mean() < 0.1  # but where a minimum changes over


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_secants_have_the_gradients_of_their_values(curve):
    """Beside bends and kinks too, where the line from a point touches the curve near by."""
    draw = torch.Generator().manual_seed(0)
    share = [torch.rand(1000, generator=draw, dtype=torch.float64) for _ in range(3)]
    y = torch.cat(
        [2 * torch.randn(500, generator=draw, dtype=torch.float64), *(at + 0.1 * share[0][:250] for at in (0, 1.4))]
    )
    given = y, y - 3 * share[1], y + 3 * share[2]
    asked = [end.clone().requires_grad_() for end in given]
    for side in (0, 1):
        own = torch.autograd.grad(secants(curve, asked[0], None, *asked[1:])[side].sum(), asked)
        for place, gradient in enumerate(own):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [end + step * (place == i) for i, end in enumerate(given)]
                ends.append(secants(curve, moved[0], None, *moved[1:])[side])
            off = (gradient - (ends[0] - ends[1]) / 2e-6).abs() / (1 + gradient.abs())
            assert float(off.max()) < 1e-3, (side, place)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_second_derivatives_and_their_ranges(curve):
    function, points = exact(curve), torch.linspace(-7.9, 8.1, 41, dtype=torch.float64)
    found = curve.curvature(points)
    with mpmath.workdps(60):
        for point, own in zip(points.tolist(), found.tolist(), strict=True):
            wanted = mpmath.diff(function, mpmath.mpf(point), 2, h=mpmath.mpf(10) ** -18)
            assert abs(wanted - own) <= 1e-13, point
    lower, upper = intervals(4)
    met = curve.curvature(grid(lower, upper))
    low, high = curve.curvatures(lower, upper)
    assert (low <= met).all() and (high >= met).all()
    if isinstance(curve, Tanh | Silu | Gelu | Mish | Softplus):
        width = 3e-3 * (upper - lower) + 1e-13
        assert ((met.amin(0) - low) <= width).all() and ((high - met.amax(0)) <= width).all()


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_a_curve_is_its_smooth_part_and_its_ramps(curve):
    known, far = unkinked(curve), torch.full((1,), 99.0, dtype=torch.float64)
    whole = bool(curve.smooth(torch.zeros_like(far), far))
    assert (known is None) == whole
    if known is None:
        return
    assert bool(known.smooth.smooth(torch.zeros_like(far), far))
    function, smooth = exact(curve), exact(known.smooth)
    with mpmath.workdps(60):
        for point in [*torch.linspace(-9, 9, 145).tolist(), 1e-9, -1e-9, 2.999999, 3.000001, -3.000001, 700.0, -700.0]:
            z = mpmath.mpf(point)
            found = mpmath.mpf(known.factor) * smooth(z)
            for ramp in known.ramps:
                found += mpmath.fsum(ramp.weights) * max(mpmath.mpf(ramp.side) * (z - mpmath.mpf(ramp.at)), 0)
            assert abs(function(z) - found) <= mpmath.mpf(10) ** -50, point
