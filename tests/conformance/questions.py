"""The grid of questions on which every registered estimator is judged, each with its independent reference."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Polytope, Region
from tests import oracles
from tests.oracles import Array, Domain

EVERYTHING = os.environ.get("LIPREG_TESTS") == "all"
"""Whether full products are run (``make test-all``), not only the samples of them that reach every value of every factor."""


def sampled(one_in: int, *places: int) -> bool:
    """Whether a combination is run, of values that stand at these places of their factors.

    All of them with ``make test-all``; else one in so many, in diagonals through the product, which reach each value of each
    factor, and every pair of values of two factors where a third has so many.
    """
    return EVERYTHING or sum(places) % one_in == 0


NORMS = {"p1": 1.0, "p2": 2.0, "pinf": math.inf}
SCOPES = ("regional", "pointed")
POINTS = 2


def _cut_box(size: int) -> Box:
    """A box in which the last of several coordinates has no room."""
    lower, upper = [-1.0] * size, [0.9] * size
    if size > 1:
        lower[-1] = upper[-1] = 0.25
    return Box(lower, upper)


def _polytope(size: int) -> Polytope:
    """A cube with two slanted faces; both reference points are inside."""
    slant = np.linspace(1.0, -0.5, size)
    return Polytope(np.stack([slant, -slant[::-1]]), [0.75, 0.3], low=-0.9, high=0.8)


REGIONS: dict[str, Callable[[int], Region]] = {
    "linf": lambda size: LinfBall(0.8),
    "linf_cut": lambda size: LinfBall(0.8, low=-0.3, high=0.7),
    "l2": lambda size: L2Ball(0.9),
    "l2_cut": lambda size: L2Ball(0.9, low=-0.3, high=0.7),
    "l1": lambda size: L1Ball(1.2),
    "l1_cut": lambda size: L1Ball(1.2, low=-0.3),
    "box_flat": _cut_box,
    "polytope": _polytope,
}

WEIGHTS = (0.7, -1.3, 0.4)
SCALARS = ("logit", "margin", "all_logits", "all_margins", "all_pairs", "combination")
VECTORS = {
    1.0: ("vector_q1", "vector_q2", "vector_qinf"),
    2.0: ("vector_q1", "vector_q2", "vector_qinf"),
    math.inf: ("vector_q1", "vector_qinf"),
}
Q = {"vector_q1": 1.0, "vector_q2": 2.0, "vector_qinf": math.inf}


def outputs_for(p: float) -> tuple[str, ...]:
    """The names of all outputs that have an operator norm with p."""
    return SCALARS + VECTORS[p]


def output(name: str, count: int) -> tuple[Output, Array | None, float | None]:
    """An output functional, its rows c written out by hand (None: the whole output), and q."""
    eye = np.eye(count)
    others = np.array([i for i in range(count) if i != 1])
    match name:
        case "logit":
            return Logit(0), eye[:1], None
        case "margin":
            return Margin(0, 1), eye[:1] - eye[1:2], None
        case "all_logits":
            return AllLogits(), eye, None
        case "all_margins":
            return AllMargins(1), eye[1] - eye[others], None
        case "all_pairs":
            return AllPairs(), np.array([eye[i] - eye[j] for i, j in itertools.permutations(range(count), 2)]), None
        case "combination":
            return Combination(WEIGHTS[:count]), np.array([WEIGHTS[:count]]), None
        case _:
            return Vector(), None, Q[name]


@functools.cache
def network(name: str, seed: int = 0) -> nn.Module:
    return oracles.network(name, seed)


@functools.cache
def reference_points(name: str) -> Tensor:
    """Two points in [-0.3, 0.7], the second with a coordinate at the end of that range."""
    size = oracles.input_size(network(name))
    x = torch.rand(POINTS, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64) - 0.3
    x[1, 0] = 0.7
    if size > 1:
        x[:, -1] = 0.25
    return x


def domain(region: str, x0: Array) -> Domain:
    """The region around one point, written out from its definition."""
    placed = REGIONS[region](len(x0))
    if isinstance(placed, Box):
        return Domain(x0, np.array(placed.lower), np.array(placed.upper))
    if isinstance(placed, Polytope):
        ends = np.full(len(x0), placed.low), np.full(len(x0), placed.high)
        return Domain(x0, *ends, rows=np.array(placed.A), levels=np.array(placed.b))
    radius = placed.radius
    low = -math.inf if placed.low is None else placed.low
    high = math.inf if placed.high is None else placed.high
    lower, upper = np.maximum(x0 - radius, low), np.minimum(x0 + radius, high)
    norm = {LinfBall: math.inf, L2Ball: 2.0, L1Ball: 1.0}[type(placed)]
    return Domain(x0, lower, upper, norm, math.inf if norm == math.inf else radius)


@functools.cache
def _cells(name: str, seed: int, region: str, point: int) -> list[oracles.Cell]:
    return oracles.cells(network(name, seed), domain(region, reference_points(name)[point].numpy()))


@functools.cache
def _candidates(name: str, seed: int, region: str, point: int, p: float) -> Array:
    where = domain(region, reference_points(name)[point].numpy())
    return oracles.candidates(_cells(name, seed, region, point), where, p)


@dataclass(frozen=True)
class Question:
    """One question about one network of the zoo.

    Attributes:
        net, seed: the network.
        region, output: names in REGIONS and ``output``.
        scope, p: as in ``LocalLipschitz``.
    """

    net: str
    region: str
    scope: str
    p: float
    output: str
    seed: int = 0

    @property
    def module(self) -> nn.Module:
        return network(self.net, self.seed)

    @property
    def x(self) -> Tensor:
        return reference_points(self.net)

    @functools.cached_property
    def outputs(self) -> int:
        """How many outputs the network has."""
        return oracles.evaluate(self.module, self.x[:1].numpy()).shape[1]

    @functools.cached_property
    def problem(self) -> LocalLipschitz:
        size = self.x.shape[1]
        kind, _, q = output(self.output, self.outputs)
        return LocalLipschitz(REGIONS[self.region](size), kind, self.scope, self.p, q)  # type: ignore[arg-type]

    @functools.cache  # noqa: B019  (questions live as long as the suite)
    def truth(self, point: int) -> tuple[float, float]:
        """An interval that holds the exact constant: a single number wherever the definitions can be evaluated."""
        x0 = self.x[point].numpy()
        where = domain(self.region, x0)
        _, rows, q = output(self.output, self.outputs)
        found = _cells(self.net, self.seed, self.region, point)
        regional = oracles.regional(found, rows, self.p, q)
        if self.scope == "regional":
            return regional, regional
        if len(x0) == 1:
            return (oracles.segments(self.module, where, rows, q)[1],) * 2
        if where.polyhedral and self.p != 2:
            at = _candidates(self.net, self.seed, self.region, point, self.p)
            return (float(oracles.quotients(self.module, where, at, rows, self.p, q).max()),) * 2
        sampled = oracles.sampled_pointed(self.module, where, rows, self.p, q, count=600)
        return sampled, regional

    def __str__(self) -> str:
        return f"{self.scope} constant of {self.output} of {self.net}[{self.seed}] on {self.region}, p={self.p:g}"
