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
from lipreg.search.breeding import offspring
from lipreg.search.cooling import FINE, WIDE, AnnealingSchedule
from lipreg.search.screen import AIMS, PointEvaluator, pass_size
from lipreg.search.wanted import SETS, wanted_signs

POINTS = 512
"""Random points of the first turn."""
FACES = 128
"""Points of the first turn beside these, on faces."""
MORE = 16
"""Times as many random points in every further turn, up to what ``DRAWN`` numbers pay for, and four times as many then."""
DRAWN = 2**23
"""Numbers up to which a turn draws more points than the one before."""
KEPT = 64
"""The best points that a hunt goes on from."""
ASCENTS = 32
"""Points that ascend together."""
BRED = (256, 1024)
"""Points bred at once, in the first turn and in later ones where they cost no more than ``DRAWN`` numbers."""
GENERATIONS = 6
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
FIRST = {"bred": (2 * GENERATIONS, BRED[0]), "switched": (4 * PULLS, PARENTS * SETS)}
FIRST |= {"climbed": (6 * WIDE.steps, ASCENTS), "refined": (6 * FINE.steps, ASCENTS)}
"""Passes of the first turn of a kind, about, and the points of each."""


class WitnessSearch:
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

    def __init__(self, screen: PointEvaluator, generator: torch.Generator, drawn: int = POINTS) -> None:
        self.screen, self.generator, self.drawn, self.looked_at = screen, generator, drawn, 0
        center, affine = screen.region.center, not any(bool(units.any()) for units in screen.unstable.values())
        self.settled = affine and not (screen.pointed or screen.graph.pools() or screen.graph.curves())
        self.points, self.values, self.spread = center[:0], center.new_zeros(0), center.new_zeros(0)
        self.choice = torch.zeros(0, dtype=torch.long)
        self._enter(center, screen.all_values(center))
        hunt = WitnessSearch  # functions, not methods of this hunt: it is freed as soon as nobody reads it
        kinds: dict[str, Callable[[WitnessSearch, Callable[[], bool]], None]] = {
            "drawn": hunt._draw,
            "bred": hunt._breed,
        }
        kinds |= {"climbed": hunt.wide_ascents, "switched": hunt._switch, "refined": hunt._fine_ascents}
        if screen.pointed:
            kinds["switched"] = hunt._aim
        elif not screen.graph.relus():
            del kinds["switched"]
        self._kinds = kinds
        self._fresh: tuple[Tensor, Tensor] | None = None
        self._due = dict.fromkeys(self._kinds, 0.0)
        self._cost = {kind: passes * screen.numbers(points) for kind, (passes, points) in FIRST.items()}
        self._cost["drawn"] = first_turn(screen.local)
        self._stale, self._remaining = False, math.inf
        self.turns = dict.fromkeys(self._kinds, 0)

    @property
    def best(self) -> float:
        """The largest value that one of its points promises."""
        return float(self.values[0])

    def round(self, is_over: Callable[[], bool]) -> None:
        """One turn of the kind whose turn it is.

        Args:
            is_over: called before every pass; True ends the turn early.
        """
        kind = self._next()
        before, work = self.best, self.screen.work
        with torch.no_grad():
            self._kinds[kind](self, is_over)
        self.turns[kind] += 1
        cost = self._cost[kind] = self.screen.work - work
        better = self.best > before * (1.0 + GAIN)
        self._due[kind] = self._due[kind] / 2.0 + cost if better else 2.0 * self._due[kind] + cost

    def go(self, is_over: Callable[[], bool], turns: float = math.inf, upper: float = math.inf) -> int:
        """Takes turns until a limit ends them or nothing is left to find, and returns how many.

        Args:
            is_over: called before every turn and every pass; True ends them.
            turns: most that are taken.
            upper: the value beyond which nothing is looked for.
        """
        done = 0
        while done < turns and not self.settled and self.best < upper and not is_over():
            self.round(is_over)
            done += 1
        return done

    def within(self, numbers: float, is_over: Callable[[], bool]) -> None:
        """Turns, as long as one more fits where so many numbers may be computed in all, going by its kind's last.

        It is random points of which there may be fewer.
        """
        while not self.settled and not is_over():
            self._remaining = numbers - self.screen.work
            if min(DRAWN, self._cost[self._next()]) > self._remaining:
                break
            self.round(is_over)
        self._remaining = math.inf

    def _next(self) -> str:
        """The kind whose turn it is."""
        return min(self._due, key=self._due.__getitem__)

    def best_points(self, count: int) -> Tensor:
        """The best points as points of the region itself, ``(count or fewer, *shape)``."""
        region = self.screen.local.placed.region
        return region.project(self.points[:count].to(region.center).unsqueeze(0))[0]

    def take(self, points: Tensor) -> None:
        """Enters points ``(k, *shape)`` from elsewhere."""
        x = self.screen.inside(points.to(self.points))
        self._enter(x, self.screen.all_values(x))

    # ---------------------------------------------------------------- the kinds of turns

    def _draw(self, is_over: Callable[[], bool]) -> None:
        """Random points, at first half of them near the border; later more where looking at them costs little."""
        x, more = self.screen.sample(self.drawn, self.generator), 0
        if turns := self.turns["drawn"]:
            numbers = min(DRAWN * 4 ** (turns - 1), self._remaining)
            affordable = int(numbers // ((1 + len(self.screen.rows)) * self.screen.size))
            more = min(affordable, self.drawn * MORE**turns) - self.drawn
        elif self.screen.region.bounded:
            x = torch.cat([x, self.screen.on_faces(FACES, self.generator)])  # mixed, so that a part holds every kind
            x = x[torch.randperm(len(x), generator=self.generator)]
        best = x[:0], x.new_zeros(0), torch.zeros(0, dtype=torch.long, device=x.device)
        at_once = max(1, self.screen.at_once // x[0].numel())
        while True:
            x, values, choice = self._looked(x, None, is_over)
            self._enter(x, values, choice)
            seen = [torch.cat(pair) for pair in zip(best, (x, values, choice), strict=True)]
            top = seen[1].topk(min(ASCENTS, len(seen[1]))).indices
            best = seen[0][top], seen[1][top], seen[2][top]
            if more <= 0 or is_over():
                break
            x = self.screen.sample_interior(min(more, at_once), self.generator)
            more -= len(x)
        self._fresh = best[0], best[2]

    def wide_ascents(self, is_over: Callable[[], bool]) -> None:
        """Wide ascents from the best of random points, from which no ascent has begun."""
        if self._fresh is None:
            self._draw(is_over)
        assert self._fresh is not None
        (x, choice), self._fresh = self._fresh, None
        self._ascend(x, choice, WIDE, is_over)

    def _fine_ascents(self, is_over: Callable[[], bool]) -> None:
        """Fine ascents from the best points, whose functionals are selected anew."""
        self.take(self.points)
        self._ascend(self.points[:ASCENTS], self.choice[:ASCENTS], FINE, is_over)

    def _ascend(self, x: Tensor, choice: Tensor, course: AnnealingSchedule, is_over: Callable[[], bool]) -> None:
        for temperature, step in course:
            if is_over():
                return
            gradient = self.screen.surrogate_gradient(x, choice, temperature)
            x = self.screen.inside(x + self.screen.extent(x) * step * gradient.sign())
            self._enter(x, self.screen.values(x, choice), choice)

    def _breed(self, is_over: Callable[[], bool]) -> None:
        """Offspring of the best points, or after a turn that found nothing better, of fresh random ones."""
        before = self.points, self.values, self.choice, self.spread
        if self._stale:
            self.points, self.values, self.choice, self.spread = (part[:0] for part in before)
            self._draw(is_over)
        self._generations(is_over)
        if self._stale:
            self._enter(*before)
        self._stale = self.best <= float(before[1][0]) * (1.0 + GAIN)

    def _generations(self, is_over: Callable[[], bool]) -> None:
        """Points bred from those at hand, and from these in turn."""
        few, many = BRED
        affordable = (
            int(min(DRAWN, self._remaining) // (2 * GENERATIONS * self.screen.size)) if self.turns["bred"] else 0
        )
        count = max(few, min(many, affordable))
        for _ in range(GENERATIONS):
            if is_over():
                return
            x, parent, spread = offspring(self.screen, self.points, self.spread, count, self.generator)
            x, values, choice = self._looked(x, self.choice[parent], is_over)
            self._enter(x, values, choice, spread[: len(x)])

    def _aim(self, is_over: Callable[[], bool]) -> None:
        """Points from the reference point along the gradients at the best points, again and again."""
        self.take(self.points)
        x, choice = self.points[:ASCENTS], self.choice[:ASCENTS]
        for _ in range(AIMED):
            if is_over():
                return
            x = self.screen.points_along_gradient(x, choice)
            choice = choice.repeat_interleave(AIMS)
            values = self.screen.values(x, choice)
            self._enter(x, values, choice)
            top = values.topk(min(ASCENTS, len(x))).indices
            x, choice = x[top], choice[top]

    def _switch(self, is_over: Callable[[], bool]) -> None:
        """Units of the best points whose switching would add most, in sets, and points that follow.

        The other units are to stay as they are, but for those whose switching would add something too.
        """
        if is_over():
            return
        x, choice = self.points[:PARENTS], self.choice[:PARENTS]
        wanted = wanted_signs(self.screen, x, choice, self.generator)
        x, choice = x.repeat_interleave(SETS, 0), choice.repeat_interleave(SETS)
        for _ in range(PULLS):
            x, missing = self.screen.towards(x, wanted, MARGIN, PULL)
            if is_over() or not bool(missing.any()):
                break
        self._enter(x, self.screen.values(x, choice), choice)

    # ---------------------------------------------------------------- what they share

    def _looked(self, x: Tensor, choice: Tensor | None, is_over: Callable[[], bool]) -> tuple[Tensor, Tensor, Tensor]:
        """Points, what they promise and the functionals that count, of as many as are evaluated before the end.

        Args:
            choice: the functionals, ``(k,)``; None for the best ones.
        """
        some = max(1, self.screen.at_once // ((1 + len(self.screen.rows)) * self.screen.size))
        parts: list[Tensor] = []
        for at in torch.arange(len(x)).split(some):
            parts.append(self.screen.all_values(x[at]) if choice is None else self.screen.values(x[at], choice[at]))
            if is_over():
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
    return POINTS * (1 + local.placed.count) * pass_size(local)
