"""Sample: a quantity between two proved ends at drawn points, and what follows for the whole population."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.population.band import STEPS, Band
from lipreg.population.between import Between, check_confidence, rank_of, whole_number
from lipreg.population.ends import Ends, difference, quotient
from lipreg.population.evidence import AnyTime, Evidence, Planned, most
from lipreg.population.means import mean_at_least, mean_at_most
from lipreg.population.ranks import ranks

WHERE = "Sample"
Numbers = Sequence[float] | np.ndarray
TOGETHER = 4096
"""Values at which a quantile is tried at once."""
SUMMED = 1e-12
"""By so much, relative, means are widened: more than what their sums lose in float64."""
LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Sample:
    """A quantity at points drawn at random from a finite population.

    Args:
        size: N, how many points the population has.
        drawn: their indices in the population, in the order in which they were drawn (``Draw``).
        low, high: two ends between which the quantity lies at each of them; -inf and inf where nothing is proved.
        floor, ceiling: ends at every point of the population, drawn or not, ``(N,)``, settled before the draw; None for
            none.
        confidence: with which each statement by itself holds over the draw.
        evidence: whether the number of points was fixed beforehand (``Planned()``), or the sample may be looked at after
            every point and ended when one likes (``AnyTime()``).
        of: marks the population and the question; samples of two marks are not compared. Empty for unknown.

    Raises:
        InvalidInput: ends that cross, indices twice or outside the population, or a confidence that is none.
    """

    size: int
    drawn: Sequence[int]
    low: Numbers
    high: Numbers
    floor: Numbers | None = None
    ceiling: Numbers | None = None
    confidence: float = 0.95
    evidence: Evidence = field(default_factory=Planned)
    of: str = ""

    def __post_init__(self) -> None:
        check_confidence(self.confidence, WHERE)
        if not whole_number(self.size, 1):
            raise InvalidInput(f"size={self.size!r}", where=WHERE, accepted="a whole number of at least 1")
        whole = all(whole_number(i, 0) and i < self.size for i in self.drawn)
        if not whole or len(set(self.drawn)) != len(self.drawn):
            got = f"{len(self.drawn)} indices of points"
            raise InvalidInput(got, where=WHERE, accepted=f"each once, from 0 to {self.size - 1}")
        for name, length in (
            ("low", len(self.drawn)),
            ("high", len(self.drawn)),
            ("floor", self.size),
            ("ceiling", self.size),
        ):
            values = getattr(self, name)
            if values is not None and len(values) != length:
                raise InvalidInput(f"{len(values)} values of {name}", where=WHERE, accepted=f"{length}")
        low, high = self.ends
        if np.isnan(low).any() or np.isnan(high).any() or (low > high).any():
            raise InvalidInput(
                "ends that cross, or NaN", where=WHERE, accepted="low <= high, floor <= ceiling at each point"
            )

    @property
    def level(self) -> float:
        """The probability over the draw with which a statement may fail."""
        return 1 - self.confidence

    @cached_property
    def prior_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """``floor`` and ``ceiling`` as arrays, ``(N,)`` each: the ends at every point that were proved before the draw."""
        nothing = np.full(self.size, np.inf)
        floor = -nothing if self.floor is None else np.asarray(self.floor, dtype=np.float64)
        return floor, nothing if self.ceiling is None else np.asarray(self.ceiling, dtype=np.float64)

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The ends at the drawn points, ``(n,)`` each: the narrower of what was proved there and before the draw."""
        at, (floor, ceiling) = np.asarray(self.drawn, dtype=np.int64), self.prior_ends
        low, high = (np.asarray(v, dtype=np.float64) for v in (self.low, self.high))
        return np.maximum(low, floor[at]), np.minimum(high, ceiling[at])

    @cached_property
    def everywhere(self) -> tuple[np.ndarray, np.ndarray]:
        """The ends at every point that hold for certain after the draw, ``(N,)`` each."""
        floor, ceiling = (v.copy() for v in self.prior_ends)
        floor[list(self.drawn)], ceiling[list(self.drawn)] = self.ends
        return floor, ceiling

    @property
    def negated(self) -> Sample:
        """The sample of minus the quantity at the same points."""
        floor, ceiling = self.prior_ends
        low, high = self.ends
        return replace(self, low=-high, high=-low, floor=-ceiling, ceiling=-floor)

    def share_above(self, value: float) -> Between:
        """The share of the population's points at which the quantity is larger than ``value``.

        Points of which that is known without the draw are counted; of the others, those drawn are a sample. The value is to
        be named before any result is looked at: ``band().share_above`` is for one chosen after looking.

        Raises:
            InvalidInput: a value that is no number.
        """
        if math.isnan(value):
            raise InvalidInput(f"value={value!r}", where="share_above", accepted="a number")
        (floor, ceiling), (low, high) = self.prior_ends, self.ends
        unsettled, at = (floor <= value) & (ceiling > value), np.asarray(self.drawn, dtype=np.int64)
        sure, size, seen = int((floor > value).sum()), int(unsettled.sum()), unsettled[at]
        drawn, may, does = int(seen.sum()), int((seen & (high > value)).sum()), int((seen & (low > value)).sum())
        at_most = most(self.evidence, may, drawn, size, self.level)
        at_least = size - most(self.evidence, drawn - does, drawn, size, self.level)
        return Between((sure + at_least) / self.size, (sure + at_most) / self.size, self.confidence)

    def share_below(self, value: float) -> Between:
        """The share of the population's points at which the quantity is smaller than ``value``, as for ``share_above``."""
        return self.negated.share_above(-value)

    def quantile(self, share: float) -> Between:
        """The smallest value that at least this share of the population's points do not exceed.

        It is the m-th smallest of all N values, m the least whole number not below share * N. A number v is refuted as
        too large for it where "at least N - m + 1 points are at least v" is refuted, and as too small where "at least m
        points are at most v" is; the interval holds all that are not, so it misses the truth only where that one number
        is refuted. (Conover 1999, section 3.2, for populations without end and known values.)

        Raises:
            InvalidInput: a share that is not above 0 and at most 1.
        """
        rank = rank_of(share, self.size)
        low, high = self._least(rank), -self.negated._least(self.size - rank + 1)
        return Between(low, high, self.confidence)

    def _least(self, rank: int) -> float:
        """The least v for which "at least ``rank`` points are at most v" is not refuted.

        What is refuted changes at the ends of the points alone, and at each of them in favour of v.
        """
        (floor, ceiling), (low, _), at = self.prior_ends, self.ends, np.asarray(self.drawn, dtype=np.int64)
        certain, enough = (np.sort(ends)[rank - 1] for ends in self.everywhere)  # whatever was drawn
        values = np.unique(np.concatenate([floor, ceiling, low, [enough]]))
        values = values[(values >= certain) & (values <= enough)]
        ranked = [np.sort(ends) for ends in (floor, ceiling, floor[at], ceiling[at], low)]
        for first in range(0, len(values), TOGETHER):
            some = values[first : first + TOGETHER]
            possible, sure, drawn, sure_drawn, marked = (np.searchsorted(ends, some, "right") for ends in ranked)
            # those with a ceiling up to v are surely at most v; those with a floor up to v and a ceiling above may be
            counts = rank - sure, marked - sure_drawn, drawn - sure_drawn, possible - sure
            not_refuted = ~self.evidence.refutes(*counts, self.level)
            if not_refuted.any():
                return float(some[not_refuted][0])
        return float(enough)

    @np.errstate(over="ignore")
    def mean(self) -> Between:
        """The mean of the quantity over the population, which must not be negative.

        The ceilings of the points not yet drawn bound what a draw can bring; floors, where there are some, are taken off
        first, so that the draw estimates only the mean of what lies above them.

        Raises:
            InvalidInput: a quantity that may be negative.
        """
        (floor, ceiling), (low, high) = self.prior_ends, self.ends
        check_sign(low, "mean")
        if np.isposinf(self.everywhere[0]).any():
            return Between(LARGEST, math.inf, self.confidence)
        below = np.maximum(floor, 0.0)
        at = np.asarray(self.drawn, dtype=np.int64)
        widths = np.append((ceiling - below)[at], 0.0)
        rest = np.ones(self.size, dtype=bool)
        rest[at] = False
        outside = (ceiling - below)[rest].max(initial=0.0)
        ranges = np.maximum.accumulate(np.append(widths[:-1], outside)[::-1])[::-1]
        base, level = float(below.mean()), self.level / 2
        least = base + mean_at_least(np.maximum(low - below[at], 0.0), self.size, level)
        greatest = math.inf
        if np.isfinite(ranges).all() and np.isfinite(high).all():
            greatest = base + mean_at_most(high - below[at], ranges, self.size, level)
        sure_low, sure_high = (float(np.mean(np.maximum(ends, 0.0))) for ends in self.everywhere)
        low_end, high_end = max(least, sure_low), min(greatest, sure_high)
        if low_end > high_end:  # a bet that was lost early: one of the draws that the confidence leaves out
            low_end, high_end = sure_low, sure_high
        low_end = min(low_end * (1 - SUMMED), LARGEST) if low_end < math.inf else LARGEST
        return Between(low_end, high_end * (1 + SUMMED), self.confidence)

    def _first(self, count: int) -> Sample:
        return replace(self, drawn=self.drawn[:count], low=self.ends[0][:count], high=self.ends[1][:count])

    def band(self) -> Band:
        """How many points have at most a value, at all values at once: for values that are chosen after looking.

        Planned samples: between the ranks that the drawn values can have in the population (``population.ranks``), which is
        exact for a finite population. Those that may be looked at at any time: between the intervals of a few quantiles,
        each with its part of the level.
        """
        sure = tuple(np.sort(ends) for ends in self.everywhere)
        if isinstance(self.evidence, Planned):
            least, greatest = ranks(len(self.drawn), self.size, self.level)
            low, high = (np.sort(ends) for ends in self.ends)
            return Band(self.size, high, least, low, greatest - 1, sure, self.confidence)  # type: ignore[arg-type]
        at = sorted({rank_of((step + 1) / STEPS, self.size) for step in range(STEPS)})
        shared = self.together(len(at))
        quantiles = [shared.quantile(rank / self.size) for rank in at]
        ends = (
            np.maximum.accumulate([q.low for q in quantiles]),
            np.minimum.accumulate([q.high for q in quantiles[::-1]])[::-1],
        )
        of = np.asarray(at)
        return Band(self.size, ends[1], of, ends[0], of - 1, sure, self.confidence)  # type: ignore[arg-type]

    def together(self, count: int) -> Sample:
        """For ``count`` statements that are to hold together with the confidence: each takes an equal part of the level.

        Raises:
            InvalidInput: none.
        """
        if not whole_number(count, 1):
            raise InvalidInput(f"count={count!r}", where="together", accepted="a whole number of at least 1")
        return self if count == 1 else replace(self, confidence=1 - self.level / count)

    def over(self, other: Sample) -> Sample:
        """The quotient of this quantity by another at the same points; both must not be negative.

        Raises:
            IncomparableResults: another draw or population, or another confidence.
            InvalidInput: a quantity that may be negative at a drawn point.
        """
        for sample in (self, other):
            check_sign(sample.ends[0], "over")
        return self._with(other, "over", quotient)

    def minus(self, other: Sample) -> Sample:
        """The difference of this quantity and another at the same points: it rose where that is above 0.

        Raises:
            IncomparableResults: another draw or population, or another confidence.
        """
        return self._with(other, "minus", difference)

    def _with(self, other: Sample, where: str, put: Callable[[Ends, Ends], Ends]) -> Sample:
        """Both quantities put together at the points that both have drawn."""
        if self.size != other.size or (self.of and other.of and self.of != other.of):
            got = "samples of two data sets, or under two questions"
            raise IncomparableResults(got, where=where, accepted="the same question about the same data set")
        if self.evidence.name != other.evidence.name:
            got = f"a sample that was {self.evidence.name}, and one that was {other.evidence.name}"
            raise IncomparableResults(got, where=where, accepted="two numbers of points, or two rules")
        first, second = list(self.drawn), list(other.drawn)
        shared = min(len(first), len(second))
        if isinstance(self.evidence, AnyTime) and len(first) != len(second) and first[:shared] == second[:shared]:
            # further points of one draw are not used
            return self._first(shared)._with(other._first(shared), where, put)
        if first != second:
            got = f"{len(first)} points and {len(second)} others"
            raise IncomparableResults(got, where=where, accepted="the same points, drawn by the same seed")
        if self.confidence != other.confidence:
            raise IncomparableResults("two confidences", where=where, accepted="one")
        ends, prior = put(self.ends, other.ends), put(self.prior_ends, other.prior_ends)
        return replace(self, low=ends[0], high=ends[1], floor=prior[0], ceiling=prior[1])


def check_sign(low: np.ndarray, where: str) -> None:
    """Raises InvalidInput where lower ends are below 0; -inf, an end without a proof, counts as 0 there."""
    if (low[np.isfinite(low)] < 0).any():
        raise InvalidInput("values that may be negative", where=where, accepted="a quantity that is at least 0")
