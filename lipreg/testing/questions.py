"""The grid of questions about tiny networks on which estimators are judged, each with the exact constant."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.graph import CapturedNetwork, Graph, capture
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Polytope, Region
from lipreg.testing import networks
from lipreg.testing.domains import Array, Domain, domain_of, rows_of, slope_norm
from lipreg.testing.oracle import Enumeration
from lipreg.testing.pieces import evaluate, jacobians
from lipreg.testing.quotients import sampled_pointed

NORMS = {"p1": 1.0, "p2": 2.0, "pinf": math.inf}
SCOPES = ("regional", "pointed")
MET = 150
"""Points that stand below the constants of smooth networks."""
POINTS = 2
"""Reference points of a question, the second with a coordinate at the end of its range."""


def _cut_box(size: int) -> Box:
    """A box in which the last of several coordinates is fixed."""
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

DISTANCES: dict[str, Callable[[int, str], dict[str, Any]]] = {
    "plain": lambda size, scope: {},
    "number": lambda size, scope: {"scale": 2.5},
    "units": lambda size, scope: {"scale": np.geomspace(0.4, 3.0, size).tolist()},
    "measured": lambda size, scope: {} if scope == "pointed" else {"measured": [0]},
    "both": lambda size, scope: (
        DISTANCES["units"](size, scope) | ({} if scope == "pointed" else {"measured": [0, *range(2, size)]})
    ),
}
"""How distances are measured, by the number of inputs and the scope; in pointed scope between all inputs."""
WEIGHED = 3
"""Of so many questions one has another distance than the plain one."""

SCALARS: dict[str, Callable[[int], Output]] = {
    "logit": lambda count: Logit(0),
    "margin": lambda count: Margin(0, 1),
    "all_logits": lambda count: AllLogits(),
    "all_margins": lambda count: AllMargins(1),
    "all_pairs": lambda count: AllPairs(),
    "combination": lambda count: Combination((0.7, -1.3, 0.4)[:count]),
}
Q = {"vector_q1": 1.0, "vector_q2": 2.0, "vector_qinf": math.inf}


OUTPUTS = (*SCALARS, *Q)
"""The names of all outputs."""
SPARSE = 23
"""One in so many are few enough for each value of a factor to be drawn about once; prime, so that scopes, norms and networks
meet every region with every output between them."""


def reference_points(size: int) -> Tensor:
    """Two points in [-0.3, 0.7], the second with a coordinate at the end of that range."""
    x = torch.rand(POINTS, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64) - 0.3
    x[1, 0] = 0.7
    if size > 1:
        x[:, -1] = 0.25
    return x


@dataclass(frozen=True)
class Question:
    """One question about one network of ``networks.EVERY`` at ``POINTS`` reference points.

    Attributes:
        net, seed: the network.
        region, output: names in REGIONS and of OUTPUTS.
        scope, p: as in ``LocalLipschitz``.
        kept: results by key, shared by questions of one ``Questions``, so that each is computed once.
        distance: a name in DISTANCES.
    """

    net: str
    region: str
    scope: str
    p: float
    output: str
    seed: int = 0
    kept: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)
    distance: str = "plain"

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, made once for all questions that share ``kept``."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    @property
    def module(self) -> nn.Module:
        """The network; it is shared, so its weights must not be changed."""
        return self.once(("network", self.net, self.seed), lambda: networks.network(self.net, self.seed))

    @property
    def enumerable(self) -> nn.Module:
        """The same function without max pools."""
        return self.once(("plain", self.net, self.seed), lambda: networks.written_out(self.module))

    @property
    def captured(self) -> CapturedNetwork:
        """The network as estimators take it."""
        return self.once(("captured", self.net, self.seed), lambda: capture(self.module, self.x))

    @property
    def graph(self) -> Graph:
        """Its float64 copy."""
        return self.once(("graph", self.net, self.seed), self.captured.frozen)

    @property
    def x(self) -> Tensor:
        """Reference points in [-0.3, 0.7], the last of several coordinates that of the flat box."""
        return self.once(("points", self.net), lambda: reference_points(networks.input_size(self.module)))

    @property
    def region_itself(self) -> Region:
        """The region as users ask for it."""
        size = self.x.shape[1]
        return self.once(("region", self.region, size), lambda: REGIONS[self.region](size))

    @property
    def problem(self) -> LocalLipschitz:
        """The question as users ask it."""
        size = self.x.shape[1]
        count = self.once(("outputs", self.net), lambda: evaluate(self.module, self.x[:1].numpy()).shape[1])

        def make() -> LocalLipschitz:
            kind = SCALARS.get(self.output, lambda count: Vector())(count)
            measured = DISTANCES[self.distance](size, self.scope)
            return LocalLipschitz(self.region_itself, kind, self.scope, self.p, Q.get(self.output), **measured)  # type: ignore[arg-type]

        names = (self.region, self.scope, self.p, self.output, self.distance)
        return self.once(("problem", *names, size, count), make)

    @property
    def units(self) -> Array:
        """The unit of each input, ``(inputs,)``."""
        scale = self.problem.scale
        return np.broadcast_to(np.array(1.0 if scale is None else scale), (self.x.shape[1],))

    @property
    def weights(self) -> Array:
        """What the columns of a Jacobian over the free inputs count in its norm, ``(free,)``."""
        measured = self.problem.measured
        counted = np.ones(self.x.shape[1]) if measured is None else np.isin(np.arange(self.x.shape[1]), measured)
        return (self.units * counted)[self.domain(0).free]

    def domain(self, point: int) -> Domain:
        """The region around a reference point."""
        return domain_of(self.region_itself, self.x[point].numpy())

    def rows(self, point: int) -> Array | None:
        """The functional's rows at a reference point, ``(rows, outputs)``; None for the whole output."""
        return rows_of(self.problem.output, evaluate(self.module, self.x[point : point + 1].numpy())[0])

    def truth(self, point: int) -> tuple[float, float]:
        """An interval that holds the exact constant: one number, twice, wherever the enumeration has it."""
        place = (self.net, self.seed, self.region, point)
        if self.net in networks.SMOOTH:
            return self.once(("met", *place, self.scope, self.p, self.output, self.distance), lambda: self._met(point))
        listed = self.once(("pieces", *place), lambda: Enumeration(self.enumerable, self.domain(point)))
        return self.once(
            ("truth", *place, self.scope, self.p, self.output, self.distance), lambda: listed.constant(self.problem)
        )

    def _met(self, point: int) -> tuple[float, float]:
        """From the best of points spread through the region to infinity."""
        where, rows, q = self.domain(point), self.rows(point), self.problem.q
        if self.scope == "pointed":
            low = sampled_pointed(self.module, where, rows, self.p, q, count=MET, units=self.units)
            return low, math.inf
        slopes = self.once(("slopes", self.net, self.seed, self.region, point), lambda: self._slopes(where, point))
        return max(slope_norm(slope, rows, self.p, q) for slope in slopes * self.weights), math.inf

    def _slopes(self, where: Domain, point: int) -> Array:
        """Jacobians over the free inputs, at points spread through the region."""
        displacements = where.sample(MET, np.random.default_rng(point))
        points = where.points(np.vstack([np.zeros((1, len(where.free))), displacements]))
        return jacobians(self.module, points)[:, :, where.free]

    def __str__(self) -> str:
        words = f"{self.scope} constant of {self.output} of {self.net}[{self.seed}] on {self.region}, p={self.p:g}"
        return words if self.distance == "plain" else f"{words}, distances by {self.distance!r}"


@dataclass(frozen=True)
class Questions:
    """The questions of checks, drawn by a seed from the grid of all; checks that share one share the truths.

    Args:
        seed: where the draw begins.
        one_in: one in so many is drawn of each network, scope and norm, so that each region meets each output between them;
            1 for all, from SPARSE on other factors are not multiplied with scopes and norms either.
        kept: results by key, which its questions share.
    """

    seed: int = 0
    one_in: int = 8
    kept: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def sparse(self) -> bool:
        """Whether the draw is so small that each value of a factor is met about once."""
        return self.one_in >= SPARSE

    def about(self, net: str, scope: str, p: float) -> Iterator[Question]:
        """Regions and outputs for one network, scope and norm, the same in both scopes; weights and distances take turns.

        Args:
            net: a name of ``networks.EVERY``.
            scope, p: as in ``LocalLipschitz``.
        """
        place = [*networks.EVERY].index(net) + len(REGIONS) * [*NORMS.values()].index(p)
        start, count, others = place + self.seed, 0, [*DISTANCES][1:]
        for turn, region in enumerate(REGIONS):
            for k, kind in enumerate(OUTPUTS):
                if self.taken(start, len(OUTPUTS) * turn, k):
                    count += 1
                    weighed = (count + start) % WEIGHED == 0
                    distance = others[(count + start) // WEIGHED % len(others)] if weighed else "plain"
                    yield Question(net, region, scope, p, kind, turn % 2, self.kept, distance)

    def taken(self, *places: int) -> bool:
        """Whether a combination is drawn, of values that stand at these places of their factors."""
        return sum(places) % self.one_in == 0

    def one(self, net: str, region: str, scope: str, p: float, output: str) -> Question:
        """The question with these values, drawn or not.

        Args:
            net, region, scope, p, output: as in ``Question``.
        """
        return Question(net, region, scope, p, output, kept=self.kept)
