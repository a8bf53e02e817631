"""What was compared, and what was found."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lipreg import Certificate, CertifiedInterval
from lipreg.results import Status
from tests.attacks.truths import Constant

ROUNDING = 1e-12
"""An end on the wrong side by no more than this, relative to it, is counted as a matter of rounding alone."""
TINY = 1e-300
"""What bounds behind may miss where numbers are about to underflow; ends may not."""
FAULTS = ("unsound", "rounded", "inner unsound", "crossing", "crashed")
"""What must not happen; bounds inside may be off by rounding, because what is made of them is widened."""
MOST = 20
"""Faults that are kept in full; the others are counted."""


@dataclass
class Tally:
    """Counts, and the first faults in full.

    Attributes:
        counts: "upper" and "lower" (ends compared), "exact" (intervals that say EXACT), "unsound" (ends on the wrong side by
            more than rounding), "rounded" (by less), "inner", "inner unsound" and "inner rounded" (the same of the bounds
            behind), "crossing", "crashed", "refused", and what else a kind counts.
        faults: what was said, of what, and the truth.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)

    @property
    def comparisons(self) -> int:
        """Ends of certified intervals that were compared."""
        return self.counts["upper"] + self.counts["lower"]

    @property
    def faulty(self) -> int:
        """What must be 0."""
        return sum(self.counts[name] for name in FAULTS)

    def fault(self, name: str, **what: Any) -> None:
        """Counts a fault and keeps it if it is among the first of its name."""
        self.counts[name] += 1
        if sum(f["fault"] == name for f in self.faults) < MOST:
            self.faults.append({"fault": name, **what})

    def add(self, other: Tally) -> None:
        """Takes in what another one has."""
        self.counts.update(other.counts)
        for fault in other.faults:
            if sum(f["fault"] == fault["fault"] for f in self.faults) < MOST:
                self.faults.append(fault)

    def compare(self, interval: CertifiedInterval, truth: Constant, **what: Any) -> None:
        """One interval against the truth: each end that says something is a comparison."""
        exact = interval.certificate is Certificate.EXACT
        self.counts["exact"] += exact
        self.counts["failed"] += interval.status is Status.FAILED
        said = {"said": [interval.lower, interval.upper], "certificate": str(interval.certificate), **what}
        if interval.upper < math.inf:
            self.counts["upper"] += 1
            if truth.above(Fraction(interval.upper)):
                self.fault(
                    self._name(truth.above(Fraction(interval.upper) * (1 + Fraction(ROUNDING)))),
                    truth=float(truth),
                    **said,
                )
        if interval.lower > 0 or exact:
            self.counts["lower"] += 1
            if truth.below(Fraction(interval.lower)):
                self.fault(
                    self._name(truth.below(Fraction(interval.lower) * (1 - Fraction(ROUNDING)))),
                    truth=float(truth),
                    **said,
                )

    def compare_inner(self, said: tuple[float, float], truth: tuple[Fraction, Fraction], **what: Any) -> None:
        """Two ends that must hold a range between them."""
        self.counts["inner"] += 2
        over = max(
            Fraction(said[0]) - truth[0] if said[0] > -math.inf else 0,
            truth[1] - Fraction(said[1]) if said[1] < math.inf else 0,
        )
        if over > 0:
            beyond = over > Fraction(ROUNDING) * max(abs(truth[0]), abs(truth[1])) + Fraction(TINY)
            self.fault(
                "inner unsound" if beyond else "inner rounded", said=said, truth=tuple(map(float, truth)), **what
            )

    @staticmethod
    def _name(beyond: bool) -> str:
        return "unsound" if beyond else "rounded"
