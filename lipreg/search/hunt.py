"""A hunt for the steepest points of one region, in turns of one kind of move each.

A regional promise is constant on each cell, so each kind of move finds what the others miss: points drawn at random and
bred from each other, where inputs are few; ascents of a smoothed promise, where they are many; units switched as far as
points follow, where weights are deep or random. Every turn starts from the best points of all turns before, and a kind that
finds nothing better waits twice as long for its next turn. Turns are counted in numbers, not in seconds: a hunt of as much
work finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.graph import node_size
from lipreg.search.cooling import FINE, WIDE, Cooling
from lipreg.search.screen import AIMS, Screen
from lipreg.search.wanted import SETS, wanted_signs

POINTS = 512
"""Random points of the first turn."""
FACES = 128
"""Points of the first turn beside these, on faces."""
MORE = 16
"""Times as many random points in every further turn, up to what ``DRAWN`` numbers pay for, and four times as many then."""
DRAWN = 2**23
KEPT = 64
"""The best points that a hunt goes on from."""
ASCENTS = 32
"""Points that climb together."""
BRED = (256, 1024)
"""Points bred at once, in the first turn and in later ones where they cost no more than ``DRAWN`` numbers."""
LITTERS = 6
"""Of a turn."""
PARENTS = 8
"""Points of which units are switched, ``SETS`` sets of them for each."""
PULLS = 20
"""Steps towards the wanted signs, at most."""
PULL = 1.5
"""Length of such a step, in those that would end it if what is short were linear."""
MARGIN = 1e-3
"""How far from its kink a unit is wanted, as a part of its range."""
AIMED = 4
"""Times that points are aimed anew."""
GAIN = 1e-6
"""Least relative growth that counts as better."""
SPREAD = 0.2
"""Of a point's first offspring, as a part of the region's width."""
FIRST = {"bred": (2 * LITTERS, BRED[0]), "switched": (4 * PULLS, PARENTS * SETS)}
FIRST |= {"climbed": (6 * WIDE.steps, ASCENTS), "refined": (6 * FINE.steps, ASCENTS)}
"""Passes of the first turn of a kind, about, and the points of each."""


class Hunt:
    """The state of a hunt: the best points so far, all with different promises.

    Args:
        screen: of the question.
        generator: of all draws.
        drawn: random points of the first turn.

    Attributes:
        points: ``(k, *shape)``, the best first, at most ``KEPT``; at first the reference point alone.
        values: what they promise, ``(k,)``.
        settled: whether all points of the region promise the same.
        looked_at: how many points were.
    """

    def __init__(self, screen: Screen, generator: torch.Generator, drawn: int = POINTS) -> None:
        self.screen, self.generator, self.drawn, self.looked_at = screen, generator, drawn, 0
        center, affine = screen.region.center, not any(bool(units.any()) for units in screen.undecided.values())
        self.settled = affine and not (screen.pointed or screen.graph.pools() or screen.graph.curves())
        self.points, self.values, self.spread = center[:0], center.new_zeros(0), center.new_zeros(0)
        self.choice = torch.zeros(0, dtype=torch.long)
        self._enter(center, screen.functionals(center))
        kinds: dict[str, Callable[[Callable[[], bool]], None]] = {"drawn": self._draw, "bred": self._breed}
        kinds |= {"climbed": self.climb, "switched": self._switch, "refined": self._refine}
        if screen.pointed:
            kinds["switched"] = self._aim
        elif not screen.graph.relus():
            del kinds["switched"]
        self._kinds = kinds
        self._fresh: tuple[Tensor, Tensor] | None = None
        self._due = dict.fromkeys(self._kinds, 0.0)
        self._cost = {kind: passes * screen.numbers(points) for kind, (passes, points) in FIRST.items()}
        self._cost["drawn"] = first_turn(screen.local)
        self._stale, self._room = False, math.inf
        self.turns = dict.fromkeys(self._kinds, 0)

    @property
    def best(self) -> float:
        return float(self.values[0])

    def turn(self, ended: Callable[[], bool]) -> None:
        """One turn of the kind whose turn it is.

        Args:
            ended: asked before every pass; ends the turn early.
        """
        kind = self._next()
        before, work = self.best, self.screen.work
        with torch.no_grad():
            self._kinds[kind](ended)
        self.turns[kind] += 1
        cost = self._cost[kind] = self.screen.work - work
        better = self.best > before * (1.0 + GAIN)
        self._due[kind] = self._due[kind] / 2.0 + cost if better else 2.0 * self._due[kind] + cost

    def go(self, ended: Callable[[], bool], turns: float = math.inf, upper: float = math.inf) -> int:
        """Turns, at most so many, until ``ended``, nothing is left to find or ``upper`` is promised; returns how many."""
        done = 0
        while done < turns and not self.settled and self.best < upper and not ended():
            self.turn(ended)
            done += 1
        return done

    def within(self, numbers: float, ended: Callable[[], bool]) -> None:
        """Turns, as long as one more fits where so many numbers may be computed in all, going by its kind's last.

        It is random points of which there may be fewer.
        """
        while not self.settled and not ended():
            self._room = numbers - self.screen.work
            if min(DRAWN, self._cost[self._next()]) > self._room:
                break
            self.turn(ended)
        self._room = math.inf

    def _next(self) -> str:
        """The kind whose turn it is."""
        return min(self._due, key=self._due.__getitem__)

    def found(self, count: int) -> Tensor:
        """The best points as points of the region itself, ``(count or fewer, *shape)``."""
        region = self.screen.local.placed.region
        return region.project(self.points[:count].to(region.center).unsqueeze(0))[0]

    def take(self, points: Tensor) -> None:
        """Enters points ``(k, *shape)`` that were found elsewhere."""
        x = self.screen.inside(points.to(self.points))
        self._enter(x, self.screen.functionals(x))

    # ---------------------------------------------------------------- the kinds of turns

    def _draw(self, ended: Callable[[], bool]) -> None:
        """Random points, at first half of them near the border; later more where looking at them costs little."""
        x, more = self.screen.sample(self.drawn, self.generator), 0
        if turns := self.turns["drawn"]:
            numbers = min(DRAWN * 4 ** (turns - 1), self._room)
            affordable = int(numbers // ((1 + len(self.screen.rows)) * self.screen.size))
            more = min(affordable, self.drawn * MORE**turns) - self.drawn
        elif self.screen.region.bounded:
            x = torch.cat([x, self.screen.on_faces(FACES, self.generator)])
        held = x[:0], x.new_zeros(0), torch.zeros(0, dtype=torch.long, device=x.device)
        at_once = max(1, self.screen.at_once // x[0].numel())
        while True:
            x, values, choice = self._looked(x, None, ended)
            self._enter(x, values, choice)
            seen = [torch.cat(pair) for pair in zip(held, (x, values, choice), strict=True)]
            top = seen[1].topk(min(ASCENTS, len(seen[1]))).indices
            held = seen[0][top], seen[1][top], seen[2][top]
            if more <= 0 or ended():
                break
            x = self.screen.spread(min(more, at_once), self.generator)
            more -= len(x)
        self._fresh = held[0], held[2]

    def climb(self, ended: Callable[[], bool]) -> None:
        """Wide ascents from the best of random points, of which none has climbed."""
        if self._fresh is None:
            self._draw(ended)
        assert self._fresh is not None
        (x, choice), self._fresh = self._fresh, None
        self._ascend(x, choice, WIDE, ended)

    def _refine(self, ended: Callable[[], bool]) -> None:
        """Fine ascents from the best points, whose functionals are chosen anew."""
        self.take(self.points)
        self._ascend(self.points[:ASCENTS], self.choice[:ASCENTS], FINE, ended)

    def _ascend(self, x: Tensor, choice: Tensor, course: Cooling, ended: Callable[[], bool]) -> None:
        for temperature, step in course:
            if ended():
                return
            gradient = self.screen.uphill(x, choice, temperature)
            x = self.screen.inside(x + self.screen.room(x) * step * gradient.sign())
            self._enter(x, self.screen.values(x, choice), choice)

    def _breed(self, ended: Callable[[], bool]) -> None:
        """Offspring of the best points, or after a turn that found nothing better, of fresh random ones."""
        held = self.points, self.values, self.choice, self.spread
        if self._stale:
            self.points, self.values, self.choice, self.spread = (part[:0] for part in held)
            self._draw(ended)
        self._litters(ended)
        if self._stale:
            self._enter(*held)
        self._stale = self.best <= float(held[1][0]) * (1.0 + GAIN)

    def _litters(self, ended: Callable[[], bool]) -> None:
        """Points bred from those at hand: of one some coordinates from another, some moved at random."""
        shape, (few, many) = self.points.shape[1:], BRED
        affordable = int(min(DRAWN, self._room) // (2 * LITTERS * self.screen.size)) if self.turns["bred"] else 0
        count = max(few, min(many, affordable))

        def uniform(*shape: int) -> Tensor:
            return torch.rand(count, *shape, generator=self.generator).to(self.points)

        def normal(*shape: int) -> Tensor:
            return torch.randn(count, *shape, generator=self.generator).to(self.points)

        def tall(t: Tensor) -> Tensor:
            return t.reshape(-1, *(1,) * len(shape))

        for _ in range(LITTERS):
            if ended():
                return
            first, second, other = torch.randint(len(self.points), (3, count), generator=self.generator)
            one = torch.minimum(first, second)  # the better ones more often
            crossed = (uniform() < 0.5) * 0.5 * uniform()
            x = torch.where(uniform(*shape) < tall(crossed), self.points[other], self.points[one])
            spread = self.spread[one] * torch.exp(0.5 * normal())
            moved = uniform(*shape) < tall(uniform() ** 2)
            x = x + normal(*shape) * tall(spread) * self.screen.room(x) * moved
            x, values, choice = self._looked(self.screen.inside(x), self.choice[one], ended)
            self._enter(x, values, choice, spread[: len(x)])

    def _aim(self, ended: Callable[[], bool]) -> None:
        """Points from the reference point along the gradients at the best points, again and again."""
        self.take(self.points)
        x, choice = self.points[:ASCENTS], self.choice[:ASCENTS]
        for _ in range(AIMED):
            if ended():
                return
            x = self.screen.along(x, choice)
            choice = choice.repeat_interleave(AIMS)
            values = self.screen.values(x, choice)
            self._enter(x, values, choice)
            top = values.topk(min(ASCENTS, len(x))).indices
            x, choice = x[top], choice[top]

    def _switch(self, ended: Callable[[], bool]) -> None:
        """Units of the best points whose switching would add most, in sets, and points that follow.

        The other units are to stay as they are, but for those whose switching would add something too.
        """
        if ended():
            return
        x, choice = self.points[:PARENTS], self.choice[:PARENTS]
        wanted = wanted_signs(self.screen, x, choice, self.generator)
        x, choice = x.repeat_interleave(SETS, 0), choice.repeat_interleave(SETS)
        for _ in range(PULLS):
            x, missing = self.screen.towards(x, wanted, MARGIN, PULL)
            if ended() or not bool(missing.any()):
                break
        self._enter(x, self.screen.values(x, choice), choice)

    # ---------------------------------------------------------------- what they share

    def _looked(self, x: Tensor, choice: Tensor | None, ended: Callable[[], bool]) -> tuple[Tensor, Tensor, Tensor]:
        """Points, what they promise and the functionals that count, of as many as are looked at before the end.

        Args:
            choice: the functionals, ``(k,)``; None for the best ones.
        """
        some = max(1, self.screen.at_once // ((1 + len(self.screen.rows)) * self.screen.size))
        parts: list[Tensor] = []
        for at in torch.arange(len(x)).split(some):
            parts.append(self.screen.functionals(x[at]) if choice is None else self.screen.values(x[at], choice[at]))
            if ended():
                break
        values, choice = (torch.cat(parts), choice) if choice is not None else torch.cat(parts).max(-1)
        return x[: len(values)], values, choice[: len(values)]

    def _enter(self, x: Tensor, values: Tensor, choice: Tensor | None = None, spread: Tensor | None = None) -> None:
        """Keeps the best points, one of each promise; values ``(k, rows)`` where no choice was made, else ``(k,)``."""
        self.looked_at += len(x)
        if choice is None:
            values, choice = values.max(-1)
        spread = torch.full_like(values, SPREAD) if spread is None else spread
        if len(values) > KEPT:
            top = values.topk(KEPT).indices
            x, values, choice, spread = x[top], values[top], choice[top], spread[top]
        values = torch.cat([values, self.values])  # of equal ones the new: the old may lie on kinks
        order = values.argsort(descending=True, stable=True)
        ranked = values[order]
        order = order[torch.cat([ranked.new_ones(1, dtype=torch.bool), ranked[1:] < ranked[:-1]])][:KEPT]
        self.points, self.values = torch.cat([x, self.points])[order], values[order]
        self.choice, self.spread = torch.cat([choice, self.choice])[order], torch.cat([spread, self.spread])[order]


def first_turn(local: Analysis) -> int:
    """Numbers that the first turn of a hunt computes, of random points, which is about the least of all."""
    size = sum(map(node_size, local.graph.nodes))
    return POINTS * (1 + local.placed.count) * size
