"""Kinds of questions: l2 balls, all of R^n, distances in units and between some of the inputs alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.attacks.cases import Case
from tests.attacks.kinds import Generator, case, dense, kind, sizes
from tests.attacks.oracle import Measure, Where
from tests.attacks.places import about, somewhere
from tests.attacks.programs import Relu

EVERYWHERE = Where("everywhere")


@kind
def balls(rng: Generator) -> Case:
    """l2 balls, cut and uncut, with kinks that touch or nearly touch their border, and corners next to it."""
    inputs = int(rng.choice([1, 2, 2, 3, 3]))
    layers = dense(rng, sizes(rng, inputs, deepest=2, widest=6))
    points, radius = about(rng, inputs, 3), float(10 ** rng.uniform(-3, 1))
    weight, bias = layers[0]
    for unit in range(len(bias)):
        distance = radius * float(rng.choice([0.0, 0.3, 0.9, 1 - 1e-9, 1.0, 1 + 1e-9, rng.uniform(0, 1.2)]))
        if rng.random() < 0.3:  # squares of whole numbers: a kink that touches it exactly, or nearly
            weight[unit] = rng.permutation([3.0, 4.0, 0.0] if inputs == 3 else [3.0, 4.0])[:inputs]
        bias[unit] = distance * float(np.linalg.norm(weight[unit])) - float(weight[unit] @ points[0])
    where = Where("l2", radius)
    if rng.random() < 0.5:
        room = radius * float(rng.choice([1e-3, 0.3, 0.8]))
        where = Where("l2", radius, float(points.min()) - room, float(points.max()) + radius * rng.uniform(0, 1))
    return case(layers, points, where, searches=3)


@kind
def everywhere(rng: Generator) -> Case:
    """All of R^n: kinks through one point, patterns far out, copied, dead and always active units."""
    inputs = int(rng.choice([1, 2, 2, 3]))
    return case(endless(rng, inputs), about(rng, inputs, 2), EVERYWHERE, searches=3)


def endless(rng: Generator, inputs: int) -> list[Any]:
    """A few layers, in one of these ways."""
    widths = sizes(rng, inputs, deepest=2, widest=6 if inputs < 3 else 4)
    layers = dense(rng, widths)
    way = rng.integers(6)
    weight, bias = layers[0]
    i, j = rng.permutation(len(bias))[:2]
    if way == 0:  # a fan of cones
        for _, own in layers:
            own[:] = 0.0
    elif way == 1:  # kinks that meet far out alone
        weight[j] = weight[i] * (1 + 10 ** rng.uniform(-12, -3) * rng.normal(size=inputs))
    elif way == 2:  # at distances of every order
        bias *= 10 ** rng.uniform(-6, 10, size=len(bias))
    elif way == 3:  # on one plane, and beside it
        weight[j], bias[j] = weight[i] * (s := float(rng.choice([1.0, -1.0, 2.0]))), bias[i] * s
        bias[j] *= float(rng.choice([1.0, 1.0, 1 + 1e-12]))
    elif way == 4:  # dead behind the first layer, whatever x is; always on where it has nothing to read
        weight, bias = layers[-2] if len(layers) > 2 else layers[0]
        weight[:], bias[:] = (-abs(weight) if len(layers) > 2 else 0.0), bias
    else:  # small whole numbers
        layers = [(np.round(2 * weight), np.round(2 * bias)) for weight, bias in layers]
    if rng.random() < 0.2:
        leak = Relu(float(rng.choice([0.01, 0.3])))
        return [layers[0], *(part for layer in layers[1:] for part in (leak, layer))]
    return layers


@kind
def weighed(rng: Generator) -> Case:
    """Units of the inputs from 1e-8 to 1e8, and distances between some of the inputs, over every region."""
    inputs = int(rng.choice([1, 2, 2, 3]))
    points = about(rng, inputs, 3)
    where, layers = somewhere(rng, points), dense(rng, sizes(rng, inputs, deepest=2, widest=6))
    if rng.random() < 0.2:
        where, layers = EVERYWHERE, endless(rng, inputs)
    drawn = case(layers, points, where, searches=3)
    return replace(drawn, measures=measures(rng, inputs, drawn.oracles[0].free))  # type: ignore[attr-defined]


def measures(rng: Generator, inputs: int, free: list[int]) -> tuple[Measure, ...]:
    """Some: one unit, one for each input, simple ones or of every order; all inputs, or some, one with room among them."""
    found = []
    for _ in range(5):
        most = float(rng.choice([0.5, 2.0, 8.0], p=[0.5, 0.3, 0.2]))
        units: Any = 10 ** rng.uniform(-most, most, size=inputs)
        if rng.random() < 0.4:
            units = rng.choice([0.1, 0.5, 1.0, 3.0, 255.0], size=inputs)
        if rng.random() < 0.2:
            units[:] = units[0]
        among = [int(rng.choice(free)), *np.flatnonzero(rng.random(inputs) < 0.3).tolist()] if free else None
        found.append(
            Measure(
                tuple(units.tolist()) if rng.random() < 0.8 else None,
                None if among is None or rng.random() < 0.5 else tuple(sorted(set(among))),
            )
        )
    return tuple(found)
