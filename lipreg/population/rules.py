"""Rules: until when points are drawn. A rule looks at the sample after every few points, which its evidence allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from lipreg.errors import InvalidInput
from lipreg.population import wording
from lipreg.population.sample import Sample


class Rule(Protocol):
    """What decides until when points are drawn."""

    def figure(self, sample: Sample) -> str:
        """The figure that the rule is about, in words, as far as the sample determines it."""
        ...

    def met(self, sample: Sample) -> bool:
        """Whether the sample determines the figure closely enough, so that drawing may end."""
        ...

    def sentence(self) -> str:
        """The rule in words that follow "until"."""
        ...


def _check(where: str, **shares: float) -> None:
    for name, share in shares.items():
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
            raise InvalidInput(f"{name}={share!r}", where=where, accepted="a share above 0 and below 1")


@dataclass(frozen=True)
class QuantileWithin(Rule):
    """Until a quantile is known up to a share of itself.

    Args:
        share: of the points that do not exceed it; 0.9 for the 90 % quantile.
        within: 0.1 for within 10 %: some number is at most that far from every value that it may have.
    """

    share: float = 0.9
    within: float = 0.1

    def __post_init__(self) -> None:
        _check(type(self).__name__, share=self.share, within=self.within)

    def met(self, sample: Sample) -> bool:
        return sample.quantile(self.share).within(self.within)

    def figure(self, sample: Sample) -> str:
        return wording.quantile(sample, self.share)

    def sentence(self) -> str:
        return f"{wording.quantile_name(self.share)} is known within {wording.percent(self.within)}"


@dataclass(frozen=True)
class MeanWithin(Rule):
    """Until the mean is known up to a share of itself.

    Args:
        within: 0.1 for within 10 %: some number is at most that far from every value that the mean may have.
    """

    within: float = 0.1

    def __post_init__(self) -> None:
        _check(type(self).__name__, within=self.within)

    def met(self, sample: Sample) -> bool:
        return sample.mean().within(self.within)

    def figure(self, sample: Sample) -> str:
        return wording.mean(sample)

    def sentence(self) -> str:
        return f"the mean is known within {wording.percent(self.within)}"


@dataclass(frozen=True)
class ShareWithin(Rule):
    """Until the share of points above a value is known up to so many points of per cent, given as a share.

    Args:
        value: above which points are counted.
        within: 0.05: the share is known as a number +- 5 points of per cent.
    """

    value: float
    within: float = 0.05

    def __post_init__(self) -> None:
        _check(type(self).__name__, within=self.within)
        if not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise InvalidInput(f"value={self.value!r}", where="ShareWithin", accepted="a finite number")

    def met(self, sample: Sample) -> bool:
        share = sample.share_above(self.value)
        return share.high - share.low <= 2 * self.within

    def figure(self, sample: Sample) -> str:
        return wording.share_above(sample, self.value)

    def sentence(self) -> str:
        return f"the share above {self.value!r} is known within {wording.percent(self.within)} of the points"
