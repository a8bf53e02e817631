"""Kinds in more than 3 inputs: steep cells of tiny volume that are known because they were planted, patterns enumerated."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch

from lipreg import Certificate, certify
from tests.attacks.asking import BUDGET, attack, enter, faults
from tests.attacks.bounded import Enumerated, Planted
from tests.attacks.cases import Case, Question
from tests.attacks.kinds import Generator, attacks, chain, dense, kind
from tests.attacks.modules import module
from tests.attacks.oracle import Where
from tests.attacks.programs import OnKink, piece_at
from tests.attacks.tally import Tally

FEW = 5
"""Inputs up to which searches are asked."""


@attacks
def planted(rng: Generator, tally: Tally) -> None:
    """A steep cell of tiny volume: no upper end may miss it, and in few inputs the exact engines find it."""
    case = steep_cell(rng)
    attack(case, rng, tally)
    if case.points.shape[1] > FEW:
        return
    name, p = str(rng.choice(["branch_and_bound", "mip"])), float(rng.choice([1.0, math.inf]))
    question = Question("regional", p, "all_logits", 0, case.oracles[0].outputs)
    truth, what = question.truth(case.oracles[0]), {"estimator": name, "of": "a planted cell"}
    with faults(tally, **what):
        found = certify(
            case.module, question.problem(case), torch.from_numpy(case.points), estimator=name, budget=BUDGET
        )
        enter(found, [truth], case.oracles, tally, what)
        exact = found[0].certificate is Certificate.EXACT
        tally.counts["reached" if exact else "not closed"] += 1
        if exact and truth.above(Fraction(found[0].lower) * (1 + Fraction(2e-5))):
            tally.fault("unsound", said=[found[0].lower, found[0].upper], truth=float(truth), **what)


def steep_cell(rng: Generator) -> Case:
    """A cell of slope 1 to 1e4, 1e-3 to 1e-6 of the region wide, among random units, in 2 to 20 inputs."""
    inputs = int(rng.choice([2, 2, 3, 4, 5, 6, 8, 12, 20]))
    radius = float(10 ** rng.uniform(-1, 0.5))
    width, steep = radius * float(10 ** rng.uniform(-6, -3)), float(10 ** rng.uniform(0, 4))
    center = rng.normal(size=inputs)
    layers, inside = bump(rng, inputs, center, width, steep)
    if rng.random() < 0.5:  # near the reference point, where the pointed constant sees it too
        x0 = center + width * rng.uniform(-1, 1, size=inputs) / inputs
    else:
        x0 = center + radius * rng.uniform(-0.9, 0.9, size=inputs)
    program = chain(layers)
    try:
        piece_at(program, inside.tolist(), range(inputs))
    except OnKink:
        return steep_cell(rng)
    where = Where("linf", radius)
    known = Planted(program, tuple(x0.tolist()), where, [tuple(inside.tolist())])
    return Case(module(program), program, x0[None], where, searches=int(inputs <= FEW), oracles=(known,))


@kind
def enumerated(rng: Generator) -> Case:
    """3 to 8 inputs, 4 to 12 units."""
    inputs, outputs = int(rng.integers(3, 9)), int(rng.integers(1, 4))
    hidden = [int(rng.integers(2, 7)) for _ in range(int(rng.integers(1, 3)))]
    layers = dense(rng, [inputs, *hidden, outputs])
    if rng.random() < 0.5:
        layers = [(w * (f := 10.0 ** rng.uniform(-2, 2, size=len(b)))[:, None], b * f) for w, b in layers]
    x0, where = rng.normal(size=inputs) * 0.3, Where("linf", float(10 ** rng.uniform(-1, 0)))
    program = chain(layers)
    known = Enumerated(program, tuple(x0.tolist()), where)
    return Case(module(program), program, x0[None], where, searches=4, scopes=("regional",), oracles=(known,))


def bump(
    rng: Generator, inputs: int, center: np.ndarray, width: float, steep: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Layers of a network with a cell of slope ``steep`` in every direction, ``width`` about the center.

    relu(width - sum_i |x_i - c_i|) rises from 0 over an l1 ball of this radius. Random units lie beside it in every layer,
    and the last layer mixes all.

    Returns:
        The layers, and a point of the cell.
    """
    others, outputs = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    eye = np.eye(inputs)
    loose = rng.normal(size=(others, inputs)) / math.sqrt(inputs)
    first = np.concatenate([eye, -eye, loose])
    bias = np.concatenate([-center, center, rng.normal(size=others) * 0.3 - loose @ center])
    second = np.concatenate([-np.ones((1, 2 * inputs)), np.zeros((1, others))], 1)
    second = np.concatenate([second, rng.normal(size=(others, len(first))) / math.sqrt(len(first))])
    layers = [(first, bias), (second, np.append(width, rng.normal(size=others) * 0.3))]
    for _ in range(int(rng.integers(3))):  # the bump goes through unchanged, beside units that may read it
        weight = rng.normal(size=(others + 1, others + 1)) / math.sqrt(others + 1)
        weight[0] = np.eye(others + 1)[0]
        layers.append((weight, np.append(0.0, rng.normal(size=others) * 0.3)))
    last = rng.normal(size=(outputs, others + 1))
    last[:, 0] = steep * rng.choice([1.0, -1.0, 0.5], size=outputs)
    layers = _shuffled(rng, [*layers, (last, np.zeros(outputs))])
    # inside of the ball and off the planes where the magnitudes bend
    point = center + width * rng.choice([-1.0, 1.0], size=inputs) * rng.uniform(0.2, 0.8, size=inputs) / inputs
    return layers, point


def _shuffled(rng: Generator, layers: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same network with the units of every layer in random order."""
    orders = [rng.permutation(len(bias)) for _, bias in layers[:-1]]
    orders = [np.arange(layers[0][0].shape[1]), *orders, np.arange(len(layers[-1][1]))]
    return [(w[np.ix_(own, before)], b[own]) for (w, b), before, own in zip(layers, orders, orders[1:], strict=False)]
