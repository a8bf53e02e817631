"""Kinds at the ends of float64: large inputs with small regions, numbers that over- or underflow, kinks on the border."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.attacks.cases import Case
from tests.attacks.kinds import Generator, about, case, dense, kind, sizes
from tests.attacks.oracle import Where


@kind
def far(rng: Generator) -> Case:
    """Inputs up to 1e10 in regions of 1e-10 and less beside them, with kinks inside."""
    widths = sizes(rng)
    center = rng.normal(size=widths[0]) * 10 ** rng.uniform(3, 10)
    spacing = float(np.spacing(np.abs(center).max()))
    radius = spacing * float(rng.choice([1.0, 4.5, 5.0, 7.3, 10.0, 33.0, 100.0, 1e4, 1e6]))
    return _around(rng, widths, center, radius)


@kind
def pixels(rng: Generator) -> Case:
    """Inputs of 0 to 255, whole numbers most of them, radius 1e-6 to 1, cut to that range."""
    widths = sizes(rng)
    center = rng.integers(0, 256, size=widths[0]).astype(float)
    return _around(rng, widths, center, float(10 ** rng.uniform(-6, 0)), 0.0, 255.0)


@kind
def small(rng: Generator) -> Case:
    """Regions of 1e-7 to 1e-13 around ordinary points."""
    widths = sizes(rng)
    return _around(rng, widths, about(rng, widths[0], 1)[0], float(10 ** rng.uniform(-13, -7)))


def _around(
    rng: Generator, widths: list[int], center: np.ndarray, radius: float, low: float = -math.inf, high: float = math.inf
) -> Case:
    layers = dense(rng, widths)
    scale = rng.choice([1.0, 1.0, 1.0 / radius])
    for at, (weight, bias) in enumerate(layers[:-1]):
        if at == 0:  # kinks at a distance of the radius
            weight *= scale
            bias[:] = -weight @ center + rng.normal(size=len(bias)) * radius * np.abs(weight).sum(1)
        else:
            bias *= radius * scale
    points = np.repeat(center[None], 2, 0)
    points[1] = np.clip(points[1] + rng.uniform(-1, 1, widths[0]) * radius, low, high)
    return case(layers, points, Where(str(rng.choice(["linf", "linf", "l1"])), radius, low, high))


@kind
def border(rng: Generator) -> Case:
    """Kinks exactly on the border of the region, or a rounding away: x0 + r is no float most of the time."""
    widths = sizes(rng)
    layers = dense(rng, widths)
    points = about(rng, widths[0], 2)
    radius = float(10 ** rng.uniform(-3, 0))
    weight, bias = layers[0]
    for unit in range(len(bias)):
        along, sign = int(rng.integers(widths[0])), float(rng.choice([1.0, -1.0]))
        weight[unit] = 0.0
        weight[unit, along] = sign
        edge = points[0, along] + sign * radius
        bias[unit] = -sign * float(edge + rng.integers(-2, 3) * np.spacing(edge))
    return case(layers, points, Where(str(rng.choice(["linf", "l1"])), radius))


@kind
def single(rng: Generator) -> Case:
    """Networks in float32: certificates are of the float64 copy of their weights."""
    widths = sizes(rng)
    layers = [tuple(part.astype(np.float32).astype(float) for part in layer) for layer in dense(rng, widths)]
    points = about(rng, widths[0], 3).astype(np.float32)
    drawn = case(layers, points, Where(str(rng.choice(["linf", "l1", "l2"])), float(10 ** rng.uniform(-2, 0))))
    drawn.module.float()
    return drawn


@kind
def huge(rng: Generator) -> Case:
    """Weights of 1e30 to 1e160, one layer undoing the other or not."""
    return _sized(rng, 30.0, float(rng.choice([118.0, 160.0], p=[0.9, 0.1])))


@kind
def tiny(rng: Generator) -> Case:
    """Weights down to the smallest float there is."""
    return _sized(rng, float(rng.choice([-118.0, -323.5], p=[0.9, 0.1])), -30.0)


@kind
def mixed(rng: Generator) -> Case:
    """Huge, ordinary and subnormal entries beside each other."""
    widths = sizes(rng)
    layers = dense(rng, widths)
    for weight, bias in layers:
        for _ in range(2):
            weight[tuple(rng.integers(weight.shape))] *= float(
                rng.choice([0.0, 5e-324, 1e-310, 1e-160, 1e-100, 1e20, 1e100])
            )
        bias[rng.integers(len(bias))] *= float(rng.choice([0.0, 1e-310, 1.0, 1e20]))
    points = about(rng, widths[0], 2)
    return case(layers, points, Where("linf", 1.0), questions=3, searches=2)


def _sized(rng: Generator, least: float, most: float) -> Case:
    widths = sizes(rng)
    layers: list[Any] = []
    total = 0.0
    for at, (weight, bias) in enumerate(dense(rng, widths)):
        power = rng.uniform(least, most)
        if at and rng.random() < 0.5:
            power = float(np.clip(-total, -300, 300))
        total += power
        factor = math.prod([10.0 ** (power / 2)] * 2)
        layers.append((weight * factor, bias * min(10.0 ** min(total, 300.0), 1e300)))
    points = about(rng, widths[0], 2)
    return case(layers, points, Where("linf", 1.0), questions=3, searches=2)


@kind
def spread(rng: Generator) -> Case:
    """Inputs of very different sizes in one box."""
    widths = sizes(rng, inputs=int(rng.integers(2, 4)))
    size = 10.0 ** rng.uniform(-6, 6, size=widths[0])
    layers = dense(rng, widths)
    layers[0] = layers[0][0] / size, layers[0][1]
    points = about(rng, widths[0], 3) * size
    lower, upper = points.min(0) - size * rng.uniform(0.1, 1), points.max(0) + size * rng.uniform(0.1, 1)
    return case(layers, points, Where("box", lower=tuple(lower.tolist()), upper=tuple(upper.tolist())))


@kind
def grazing(rng: Generator) -> Case:
    """Kinks that go through a reference point up to rounding, in pairs whose slopes cancel once both are passed."""
    inputs = int(rng.integers(1, 4))
    points = rng.uniform(1, 2, size=(3, inputs))
    factor = float(np.round(10 ** rng.uniform(0, 2), 1))
    widths = [inputs, *(2 * rng.integers(1, 4, size=int(rng.integers(1, 3)))).tolist(), int(rng.integers(1, 3))]
    # behind the first layer, whose values are known to the last place; its units are on
    layers, at, share = [(np.eye(inputs), np.zeros(inputs))], points[0], rng.choice([0.7, 1.0])
    for weight, bias in dense(rng, widths)[:-1]:
        weight = np.round(weight * rng.choice([1.0, 30.0]), 1)
        weight[1::2] = factor * weight[::2]
        bias = np.where(rng.random(len(bias)) < share, -(weight @ at), bias)
        layers.append((weight, bias))
        at = np.maximum(weight @ at + bias, 0.0)
    last = np.round(rng.normal(size=(widths[-1], widths[-2])), 1)
    last[:, 1::2] = -last[:, ::2] / factor
    where = Where("box", lower=(0.5,) * inputs, upper=(float(rng.choice([3.0, 300.0])),) * inputs)
    if rng.random() < 0.5:
        where = Where("linf", float(rng.choice([1e-3, 0.4, 300.0])), 0.5, 300.0)
    return case([*layers, (last, rng.normal(size=len(last)))], points, where)
