"""Which numbers of marked points in a finite population a sample without replacement refutes.

A population of N points holds K marked ones, unknown. Of n points drawn without replacement, s are marked.

**Planned.** Where n was fixed before anything was looked at, s is hypergeometric, and "at least K" is refuted at level a
where P(s or fewer | K) <= a: the bounds of Clopper & Pearson 1934 for a finite population. The probability falls as K grows,
so that whatever refutes K refutes every larger number.

**At any time.** Where one may look after every point and stop when one likes, the ratio of prior to posterior of the true K
is a nonnegative martingale that starts at 1, whatever the prior (Waudby-Smith & Ramdas 2020, "Confidence sequences for
sampling without replacement"). By Ville's inequality it ever reaches 1/a with a probability of at most a, so that all K
whose posterior is at most a times their prior are refuted, at every look together. With a uniform prior on 0..N the
posterior of the marked points not drawn is beta-binomial: K - s of N - n, with parameters s + 1 and n - s + 1. It has one
peak, so that what is refuted lies below and above an interval, and both ends hold together at level a.

**Censoring.** Where a point's quantity is known between two ends only, s is known between two numbers; ends from above take
the larger, ends from below the smaller. This is sound since what the larger s refutes, a smaller one refutes too. For
hypergeometric probabilities that is plain. For the posterior p_s: p_(s-1)(K) / p_s(K) is proportional to
r(K) = (N - K - n + s) / (K - s + 1), convex and falling in K, hence r(K) <= E_s[r] wherever K is at least the mean of p_s
(Jensen), and p_(s-1)(K) <= p_s(K) there: which is why a K below the posterior's mean is not refuted from above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDING = 1e-9
"""By so much, relative, a probability has to be below its level: more than what its evaluation in float64 loses."""

TRIED = 32
"""Numbers that are tried at once where the largest is sought that is not refuted."""

Marked = NDArray[np.bool_]


class Evidence(Protocol):
    """How a sample was taken, which decides what it refutes."""

    def refutes(self, least: ArrayLike, marked: ArrayLike, drawn: ArrayLike, size: ArrayLike, level: float) -> Marked:
        """Whether ``marked`` of ``drawn`` points refute that at least ``least`` of ``size`` points are marked.

        Args:
            least, marked, drawn, size: whole numbers, or arrays of them that broadcast.
            level: the probability with which a truth may be refuted, both sides together.
        """
        ...

    @property
    def name(self) -> str:
        """How records and sentences call it."""
        ...


@dataclass(frozen=True)
class Planned:
    """A sample whose size was fixed beforehand; each side takes half of the level.

    Attributes:
        name: how records and sentences call it.
    """

    name: str = "planned"

    def refutes(self, least: ArrayLike, marked: ArrayLike, drawn: ArrayLike, size: ArrayLike, level: float) -> Marked:
        """Whether so few marked points refute it: where their hypergeometric probability is at most half of the level.

        Args:
            least, marked, drawn, size, level: K, s, n, N and the level, as for ``Evidence.refutes``.
        """
        from scipy.stats import hypergeom  # heavy, and of no use to those who draw nothing

        K, s, n, N = (np.asarray(v, dtype=np.int64) for v in (least, marked, drawn, size))
        so_few = hypergeom.cdf(s, N, np.clip(K, 0, N), n)
        return _settled(K, s, n, N) | (so_few <= level / 2 * (1 - ROUNDING)) & (K > 0)


@dataclass(frozen=True)
class AnyTime:
    """A sample that may be looked at after every point and ended when one likes; both sides share the level.

    Attributes:
        name: how records and sentences call it.
    """

    name: str = "at any time"

    def refutes(self, least: ArrayLike, marked: ArrayLike, drawn: ArrayLike, size: ArrayLike, level: float) -> Marked:
        """Whether so few marked points refute it: where the posterior is at most ``level`` times the prior.

        Args:
            least, marked, drawn, size, level: K, s, n, N and the level, as for ``Evidence.refutes``.
        """
        K, s, n, N = (np.asarray(v, dtype=np.float64) for v in (least, marked, drawn, size))
        rest, more = N - n, K - s
        mean = rest * (s + 1) / (n + 2)
        here, before = _posterior(more, rest, s, n), _posterior(more - 1, rest, s, n)
        unlikely = here <= np.log(level * (1 - ROUNDING)) - np.log1p(N)
        return _settled(K, s, n, N) | (more >= mean) & (here <= before) & unlikely & (K > 0)


EVIDENCE: dict[str, type[Planned] | type[AnyTime]] = {"planned": Planned, "at any time": AnyTime}
"""By the names that records have."""


def _settled(K: np.ndarray, s: np.ndarray, n: np.ndarray, N: np.ndarray) -> Marked:
    """Where it is no matter of chance: more than the marked points seen and all points not drawn."""
    return s + (N - n) < K


def _posterior(more: np.ndarray, rest: np.ndarray, s: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Logarithms of the beta-binomial probabilities of ``more`` marked points among those not drawn."""
    from scipy.special import betaln, gammaln

    inside = (more >= 0) & (more <= rest)
    k = np.clip(more, 0, rest)
    choose = gammaln(rest + 1) - gammaln(k + 1) - gammaln(rest - k + 1)
    logarithms = choose + betaln(k + s + 1, rest - k + n - s + 1) - betaln(s + 1, n - s + 1)
    return np.where(inside, logarithms, -np.inf)


def most(evidence: Evidence, marked: int, drawn: int, size: int, level: float) -> int:
    """The largest number of marked points of ``size`` that is not refuted, where ``marked`` of ``drawn`` are.

    Args:
        evidence: how the points were drawn.
        marked, drawn: s and n: how many of the drawn points are marked, and how many were drawn.
        size: N, how many points the population has.
        level: the probability with which the true number may be larger.
    """
    low, high = marked, marked + size - drawn  # ``low`` is never refuted: it has been seen
    while low < high:
        tried = np.unique(np.linspace(low + 1, high, min(high - low, TRIED)).astype(np.int64))
        refuted = evidence.refutes(tried, marked, drawn, size, level)
        first = int(refuted.argmax()) if refuted.any() else len(tried)
        low = int(tried[first - 1]) if first else low
        high = int(tried[first]) - 1 if first < len(tried) else low
    return low
