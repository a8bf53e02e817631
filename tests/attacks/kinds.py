"""Kinds of networks that brought false figures about, or might: each draws a case from a generator."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.attacks.asking import attack
from tests.attacks.cases import Case
from tests.attacks.modules import module
from tests.attacks.oracle import TooMany, Where
from tests.attacks.places import Generator, about, somewhere
from tests.attacks.programs import Add, Affine, Keep, MaxPool, Program, Relu
from tests.attacks.tally import Tally

KINDS: dict[str, Callable[[Generator, Tally], None]] = {}
"""By name, what draws one attack and enters what came of it."""


def attacks(run: Callable[[Generator, Tally], None]) -> Callable[[Generator, Tally], None]:
    """Enters a kind under its function's name."""
    KINDS[run.__name__] = run
    return run


def kind(draw: Callable[[Generator], Case]) -> Callable[[Generator], Case]:
    """Enters a kind of networks under its function's name: all estimators are asked about them."""
    KINDS[draw.__name__] = lambda rng, tally: attack(draw(rng), rng, tally)
    return draw


def strike(name: str, seed: int, index: int) -> Tally:
    """One attack of a kind, the same each time."""
    tally = Tally()
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    try:
        KINDS[name](rng, tally)
    except TooMany:
        tally.counts["left out"] += 1
    for fault in tally.faults:
        fault.update(kind=name, seed=seed, index=index)
    return tally


def case(layers: Sequence[Any], points: np.ndarray, where: Where, **counts: int) -> Case:
    """The case of a program: every layer but the last is followed by a ReLU where it says nothing else."""
    program = chain(layers)
    return Case(module(program), program, points, where, **counts)


def chain(layers: Sequence[Any]) -> Program:
    """Pairs of weights and biases with ReLUs between them; steps stay as they are."""
    program: list[Any] = []
    for layer in layers:
        if isinstance(layer, tuple):
            if program and isinstance(program[-1], Affine):
                program.append(Relu())
            program.append(Affine(np.asarray(layer[0], float), np.asarray(layer[1], float)))
        else:
            program.append(layer)
    return program


def sizes(rng: Generator, inputs: int | None = None, deepest: int = 3, widest: int = 7) -> list[int]:
    """Widths from the inputs to the outputs."""
    inputs = inputs or int(rng.choice([1, 2, 2, 2, 3]))
    hidden = rng.integers(2, widest if inputs < 3 else 5, size=rng.integers(1, deepest + 1))
    return [inputs, *hidden.tolist(), int(rng.integers(1, 5))]


def dense(rng: Generator, widths: Sequence[int], bias: float = 0.4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random layers whose kinks lie about the origin."""
    return [
        (rng.normal(size=(b, a)) * math.sqrt(2 / a), rng.normal(size=b) * bias) for a, b in itertools.pairwise(widths)
    ]


# ---------------------------------------------------------------- plain ones


@kind
def plain(rng: Generator) -> Case:
    widths = sizes(rng)
    points = about(rng, widths[0])
    return case(dense(rng, widths), points, somewhere(rng, points))


@kind
def leaky(rng: Generator) -> Case:
    layers: list[Any] = []
    for layer in dense(rng, sizes(rng)):
        layers += [layer, Relu(float(rng.choice([0.0, 0.01, 0.3, 0.9])))]
    points = about(rng, layers[0][0].shape[1])
    return case(layers[:-1], points, somewhere(rng, points))


@kind
def skip(rng: Generator) -> Case:
    """Branches added over one activation and over several."""
    inputs, width = int(rng.integers(1, 3)), int(rng.integers(2, 5))
    (first,), inner, (last,) = dense(rng, [inputs, width]), dense(rng, [width] * 3), dense(rng, [width, 2])
    steps = [first, Relu(), Keep(), inner[0], Relu(), inner[1], Add(), Relu(), last]
    if rng.random() < 0.5 and inputs == width:
        steps = [Keep(), *steps[:2], inner[0], Add(), Relu(), last]
    points = about(rng, inputs)
    return case(steps, points, somewhere(rng, points))


@kind
def pooled(rng: Generator) -> Case:
    """Max pools of linear values and of ReLUs, with equal members now and then."""
    inputs, count = int(rng.integers(1, 3)), int(rng.integers(2, 4))
    size = int(rng.integers(2, 4))
    (first,), (last,) = dense(rng, [inputs, count * size]), dense(rng, [count, 2])
    if rng.random() < 0.3:
        first[0][1], first[1][1] = first[0][0], first[1][0]
    middle = [Relu()] if rng.random() < 0.5 else []
    after = [Relu()] if rng.random() < 0.5 else []
    points = about(rng, inputs)
    return case([first, *middle, MaxPool(size), *after, last], points, somewhere(rng, points))


# ---------------------------------------------------------------- badly scaled


@kind
def scaled(rng: Generator) -> Case:
    """Rows scaled by powers of ten between 1e-3 and 1e3, as in the programs on which solvers were wrong."""
    return _scaled(rng, 3.0)


@kind
def very_scaled(rng: Generator) -> Case:
    return _scaled(rng, 6.0)


def _scaled(rng: Generator, most: float) -> Case:
    widths = sizes(rng, widest=8)
    factors = [10.0 ** rng.uniform(-most, most, size=b) for b in widths[1:]]
    layers = [(w * f[:, None], b * f) for (w, b), f in zip(dense(rng, widths), factors, strict=True)]
    points = about(rng, widths[0])
    return case(layers, points, somewhere(rng, points), searches=4)


# ---------------------------------------------------------------- cancellation


@kind
def cancelled(rng: Generator) -> Case:
    """Decided units of large slopes and biases whose sum is small: x -> 1e8 x, x, 1e8 x -> their 1, 1e8, -1 fold."""
    inputs, count = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    size = float(10 ** rng.uniform(2, 9))
    one = rng.normal(size=(count, inputs)) * size
    rest = rng.normal(size=(2, inputs))
    whole = rng.random() < 0.5
    if whole:
        one, rest = np.round(one), np.round(3 * rest)
    weight = np.concatenate([one, rest, one])
    shift = 10 * float(np.abs(one).sum(1).max()) + 10
    bias = np.concatenate(
        [np.full(count, shift), rng.normal(size=2) if not whole else [0.0, 1.0], np.full(count, shift)]
    )
    out = rng.normal(size=(2, count)) * float(10 ** rng.uniform(0, 9))
    if whole:
        out = np.round(out)
    back = -out * (1 if whole else 1 + rng.normal(size=(2, count)) * 1e-16)
    middle = rng.normal(size=(2, 2)) * float(10 ** rng.uniform(-2, 4))
    points = about(rng, inputs)
    return case(
        [(weight, bias), (np.concatenate([out, middle, back], 1), rng.normal(size=2))], points, somewhere(rng, points)
    )


@kind
def cancelled_deep(rng: Generator) -> Case:
    """Several decided layers with large weights, whose product is of the size of the rounding."""
    inputs, width, depth = int(rng.integers(1, 3)), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    size = float(10 ** rng.uniform(1, 5))
    layers = []
    reach = 3.0
    for a, b in itertools.pairwise([inputs, *[width] * depth]):
        weight = np.round(rng.normal(size=(b, a)) * size)
        weight[-1] = weight[0]  # so that a difference downstream has nothing left
        bound = float(np.abs(weight).sum(1).max()) * reach
        layers.append((weight, np.full(b, 2.0 * bound + 1)))
        reach = 3 * bound + 1
    last = rng.normal(size=(2, width))
    last[0] = 0.0
    last[0, 0], last[0, -1] = size, -size * (1 + float(rng.choice([0.0, 2.0**-50, 1e-9])))
    points = about(rng, inputs)
    return case([*layers, (last, np.zeros(2))], points, Where("linf", float(10 ** rng.uniform(-2, 0))))


@kind
def deep(rng: Generator) -> Case:
    """15 to 40 layers of 2 to 8 units: near the identity with noise, or free of kinks over the region."""
    inputs, width, depth = int(rng.integers(1, 3)), int(rng.integers(2, 9)), int(rng.integers(15, 41))
    noise = float(10 ** rng.uniform(-3, -0.5))
    offset = float(rng.choice([0.0, 0.5, 3.0]))
    (first,) = dense(rng, [inputs, width])
    layers: list[Any] = [(first[0], first[1] + offset)]
    for _ in range(depth):
        weight = np.eye(width) + noise * rng.normal(size=(width, width)) / math.sqrt(width)
        layers.append((weight, noise * rng.normal(size=width)))
    layers += dense(rng, [width, 2])
    points = about(rng, inputs, 2)
    return case(layers, points, Where("linf", float(10 ** rng.uniform(-3, -0.5))), questions=2, searches=1)


@kind
def wild(rng: Generator) -> Case:
    """15 to 25 layers of random weights that grow or fade from layer to layer, around a small region."""
    inputs, width, depth = int(rng.integers(1, 3)), int(rng.integers(3, 17)), int(rng.integers(15, 26))
    gain = float(rng.choice([0.5, 1.0, 1.5, 3.0]))
    layers = [(w * gain, b) for w, b in dense(rng, [inputs, *[width] * depth, 2])]
    points = about(rng, inputs, 2)
    return case(layers, points, Where("linf", float(10 ** rng.uniform(-6, -2))), questions=2, searches=1)


# ---------------------------------------------------------------- degenerate


@kind
def tied(rng: Generator) -> Case:
    """Small whole numbers: kinks at the reference point and on the border, copied, dead and empty units, ties in pools."""
    widths = sizes(rng, widest=6)
    layers = [
        (rng.integers(-2, 3, size=(b, a)).astype(float), rng.integers(-1, 2, size=b).astype(float))
        for a, b in itertools.pairwise(widths)
    ]
    points = rng.integers(-1, 2, size=(3, widths[0])).astype(float)
    kinds = ["linf", "l1", "l2"]
    return case(layers, points, Where(str(rng.choice(kinds)), float(rng.choice([0.5, 1.0, 2.0]))))


@kind
def copied(rng: Generator) -> Case:
    """Copied, negated, dead and always active units among random ones, and kinks through the reference point."""
    widths = sizes(rng)
    layers = dense(rng, widths)
    points = about(rng, widths[0], 3)
    for weight, bias in layers[:-1]:
        i, j = rng.integers(len(bias), size=2)
        weight[j], bias[j] = weight[i] * (s := float(rng.choice([1.0, -1.0, 2.0]))), bias[i] * s
        bias[rng.integers(len(bias))] = float(rng.choice([-30.0, 30.0, 0.0]))
        if rng.random() < 0.3:
            weight[rng.integers(len(bias))] = 0.0
    weight, bias = layers[0]
    bias[0] = -float(weight[0] @ points[0])
    return case(layers, points, somewhere(rng, points))


@kind
def constant(rng: Generator) -> Case:
    """Networks that do not change: nothing flows, everything is off, or what flows cancels."""
    widths = sizes(rng)
    layers = dense(rng, widths)
    way = rng.integers(3)
    if way == 0:
        layers[-1][0][:] = 0.0
    elif way == 1:
        layers[-2][1][:] = -50.0
    else:
        weight, bias = layers[-2]
        weight[:], bias[:] = weight[:1], bias[:1]
        layers[-1][0][:] = 0.0
        layers[-1][0][:, 0], layers[-1][0][:, -1] = 3.0, -3.0
    points = about(rng, widths[0])
    return case(layers, points, somewhere(rng, points))
