"""A survey: audits at points that are drawn at random from a data set, until they say enough of all its points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from lipreg.auditing import AuditPlan, AuditProgress, PointAudit
from lipreg.auditing import audit as audit_points
from lipreg.auditing.beforehand import every_margin, prior_ends
from lipreg.auditing.drawn import SampleDesign, margins_of, population_record
from lipreg.auditing.executors import Executing, get_executor
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.estimators.evaluate import Network, frozen_graph, structure_of
from lipreg.population import AnyTime, Draw, Planned, Rule, Sample, over_constants
from lipreg.population.between import check_confidence, whole_number
from lipreg.population.draws import digest
from lipreg.population.wording import population_sentences, statements
from lipreg.records import AuditRecord, PopulationRecord
from lipreg.records.drawn import mark_of
from lipreg.regions.reference import check_reference_points

WHERE = "audit"
BEFORE = 0.25
"""Share of the budget in which something cheap is proved at every point of the population, drawn or not."""
DIGESTED = 4096
"""Points whose numbers are in memory at once for the digest of all."""
FIRST = 8
"""Points that are audited before the sample is looked at for the first time."""
AGAIN = 1 / 8
"""Share of the points so far that are audited before it is looked at again."""


@dataclass(frozen=True)
class Population:
    """The data set about which statements are wanted.

    Args:
        x, y: all its points ``(N, *shape)`` and, where the functional needs them, labels ``(N,)``.
        until: how many points are drawn, a number that no result may change; or a rule, ``QuantileWithin(0.9, 0.1)``,
            that is evaluated again and again, which widens the intervals that a fixed number of points gives.
        confidence: with which each statement by itself holds over the draw.
        seed: of the draw.
        above: values above which the share of all points is reported. They are named here, before there is any result; for
            one that is chosen after looking there is ``Sample.band``.
        together: whether all statements hold together with the confidence, and not each by itself.

    Raises:
        InvalidInput: something else.
    """

    x: Tensor
    y: Tensor | None = None
    until: int | Rule = 60
    confidence: float = 0.95
    seed: int = 0
    above: float | tuple[float, ...] = ()
    together: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.x, Tensor):
            raise InvalidInput(
                f"x of type {type(self.x).__name__}", where="Population", accepted="a tensor of all points"
            )
        check_reference_points(self.x, "Population")
        if self.y is not None and len(self.y) != len(self.x):
            raise InvalidInput(
                f"{len(self.y)} labels", where="Population", accepted=f"one for each of {len(self.x)} points"
            )
        check_confidence(self.confidence, "Population")
        number = whole_number(self.until, 1)
        if number:
            object.__setattr__(self, "until", int(self.until))  # type: ignore[call-overload]
        if isinstance(self.until, type) or (
            not number and not (hasattr(self.until, "met") and hasattr(self.until, "sentence"))
        ):
            accepted = "a number of points of at least 1, or a rule such as QuantileWithin(0.9, 0.1)"
            raise InvalidInput(f"until={self.until!r}", where="Population", accepted=accepted)
        Draw(len(self.x), self.seed)
        named = self.above if isinstance(self.above, list | tuple) else (self.above,)
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in named):
            raise InvalidInput(f"above={self.above!r}", where="Population", accepted="a number, or several")
        object.__setattr__(self, "above", tuple(map(float, named)))
        if not isinstance(self.together, bool):
            raise InvalidInput(f"together={self.together!r}", where="Population", accepted="True or False")
        self.sample([], [], [])

    @classmethod
    def of(cls, user_value: Population | Tensor | tuple[Tensor, Tensor]) -> Population:
        """The population that a user means by such an object, by its points, or by its points and labels."""
        if isinstance(user_value, cls):
            return user_value
        pair = user_value if isinstance(user_value, tuple | list) and len(user_value) == 2 else (user_value, None)
        return cls(*pair)  # type: ignore[arg-type]  # refused if it is something else

    @property
    def rule(self) -> Rule | None:
        """The rule that ends the draw; None for a number of points."""
        return None if isinstance(self.until, int) else self.until

    @property
    def most(self) -> int:
        """How many points are audited at most."""
        return min(len(self.x), self.until) if isinstance(self.until, int) else len(self.x)

    @property
    def named(self) -> tuple[float, ...]:
        """The values of ``above``."""
        return self.above if isinstance(self.above, tuple) else (self.above,)

    @cached_property
    def mark(self) -> str:
        """A digest of the points and labels, by which two populations are distinguished."""
        x, y = (None if part is None else part.detach().cpu() for part in (self.x, self.y))
        assert x is not None
        read = (part.double().numpy().tobytes() for part in x.split(DIGESTED))
        return digest((*read, b"" if y is None else y.double().numpy().tobytes()))

    def sample(
        self, drawn: Sequence[int], low: Sequence[float], high: Sequence[float], prior_bounds: Any = None
    ) -> Sample:
        """The sample that results at drawn points make.

        Args:
            drawn: indices of the points, in the order of the draw.
            low, high: the ends that were proved at each of them.
            prior_bounds: ends at every point that were proved before the draw, two arrays ``(N,)``; None for none.
        """
        floor, ceiling = (None, None) if prior_bounds is None else prior_bounds
        evidence = Planned() if self.rule is None else AnyTime()
        return Sample(len(self.x), drawn, low, high, floor, ceiling, self.confidence, evidence)


@dataclass(frozen=True)
class Survey:
    """Audits at points drawn from a population, and what they say of all its points.

    Attributes:
        population: from which the points were drawn.
        points: what is proved at the drawn points; ``point`` is the index in the data set.
        prior_bounds: ends that were proved at every point before the draw, ``(N,)`` each.
        margins: the smallest logit margin at every point, rounded down; None where there was no time or no class for them.
    """

    population: Population
    points: tuple[PointAudit, ...]
    prior_bounds: tuple[np.ndarray, np.ndarray]
    margins: np.ndarray | None = None

    @cached_property
    def sample(self) -> Sample:
        """The constant at the drawn points, as a sample of the population."""
        low, high = [p.combined.lower for p in self.points], [p.combined.upper for p in self.points]
        sample = self.population.sample([p.point for p in self.points], low, high, self.prior_bounds)
        return replace(sample, of=mark_of(self.population.mark, self.points[0].combined.problem.describe()))

    @cached_property
    def over_constant(self) -> Sample | None:
        """The margin over the constant, likewise; None without classes, or where the constant bounds no margins."""
        margins, factor = margins_of(self.points)
        return over_constants(self.sample, margins, self._margins, factor) if margins else None

    @property
    def _margins(self) -> list[float] | None:
        return None if self.margins is None else self.margins.tolist()

    @property
    def _own(self) -> Sample:
        """The sample that the rule evaluates: with its part of the level, where all statements are to hold together."""
        if not self.population.together:
            return self.sample
        of = self.population
        return self.sample.together(statements(of.rule is not None, of.named, self.over_constant is not None))

    @property
    def met(self) -> bool:
        """Whether the rule was met, or as many points drawn as were wanted."""
        rule, until = self.population.rule, self.population.until
        if rule is not None:
            return rule.met(self._own)
        return len(self.points) >= min(len(self.population.x), until if isinstance(until, int) else 0)

    def sentences(self) -> list[str]:
        """What holds for the population, in words that stand by themselves."""
        return population_sentences(self.record("", ""))

    @property
    def figure(self) -> str:
        """What the rule was about, in words; empty where a number of points was drawn."""
        return "" if self.population.rule is None else self.population.rule.figure(self._own)

    @property
    def until(self) -> str:
        """When the draw was to end, in words."""
        rule = self.population.rule
        return f"{self.population.most} points are drawn" if rule is None else rule.sentence()

    def record(self, run: str, run_id: str) -> PopulationRecord:
        """The draw and the ends at its points, as they are saved."""
        of = self.population
        drawing = SampleDesign(of.seed, self.until, self.met, self.figure, of.mark, of.named, of.together)
        return population_record(self.sample, self.points, (run, run_id, 0), drawing, self._margins)


def survey(
    network: Network,
    plan: AuditPlan,
    population: Population,
    executor: Executing | None = None,
    on_progress: Callable[[AuditProgress], None] | None = None,
    earlier: Sequence[AuditRecord] = (),
) -> Survey:
    """Audits points of a population in the order of a random draw.

    Before the draw, the closed-form bounds of the plan and random points of each region are evaluated at every point of the
    population, within a quarter of the budget: points that they settle need no luck, and the mean has its range by them.

    Args:
        network, plan, executor: as for ``lipreg.auditing.audit``; the budget is that of everything together.
        population: of what, and until when.
        on_progress: called whenever something was added to a point, which has its index in the data set; ``points`` is how
            many there may be at most.
        earlier: records of the same points by these indices, as for ``lipreg.auditing.audit``.

    Raises:
        As ``lipreg.auditing.audit``.
    """
    whole = plan.budget.started()
    graph = frozen_graph(structure_of(network, population.x[:2], None, WHERE))
    about = population.x, population.y
    margins = every_margin(graph, *about, whole.share(BEFORE * BEFORE))
    before = prior_ends(graph, plan, *about, whole.share(BEFORE))
    order = Draw(len(population.x), population.seed).order()
    running, points = get_executor(executor, WHERE), []
    try:
        while True:
            wanted = next_points(population.until, len(points), len(order))
            part = order[len(points) : len(points) + wanted]
            plan_of_part = replace(
                plan, budget=replace(plan.budget, seconds=max(1e-3, _time(population, whole, len(points), wanted)))
            )
            y = None if population.y is None else population.y[part]
            listener = None if on_progress is None else _renumbered(on_progress, part, len(points), population.most)
            records = [replace(r, point=part.index(r.point)) for r in earlier if r.point in part]
            part_points = audit_points(
                network, plan_of_part, population.x[part], y, executor=running, earlier=records, on_progress=listener
            )
            points += [replace(point, point=index) for point, index in zip(part_points, part, strict=True)]
            done = Survey(population, tuple(points), before, margins)
            if len(points) >= len(order) or population.rule is None or whole.stop_reason() is not None or done.met:
                return done
    finally:
        if running is not executor:
            running.close()


def _renumbered(
    on_progress: Callable[[AuditProgress], None], part: Sequence[int], before: int, points: int
) -> Callable[[AuditProgress], None]:
    """The listener of one audit, which renumbers its points as those of the data set."""

    def report(progress: AuditProgress) -> None:
        point = replace(progress.point, point=part[progress.point.point])
        on_progress(replace(progress, point=point, done=before + progress.done, points=points))

    return report


def next_points(until: int | Rule, done: int, size: int) -> int:
    """How many points more are audited before the sample is looked at: all of a number, some under a rule.

    Args:
        until: a number of points, or a rule.
        done: how many points are audited so far.
        size: how many points the population has.
    """
    if isinstance(until, int):
        return min(until, size)
    return min(size - done, max(FIRST, math.ceil(AGAIN * done)))


def _time(population: Population, whole: Budget, done: int, wanted: int) -> float:
    """Seconds for the next points: under a rule, as many points again as there were are expected to follow."""
    return whole.seconds_left if population.rule is None else whole.seconds_left * wanted / (wanted + max(done, FIRST))
