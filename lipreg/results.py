"""Results: every number is one end of an interval with a certificate, a status and, for a lower end, a witness.

Certificates speak of the float64 copy of a network's weights, as a function in real arithmetic over the real points of the
region. A program that evaluates the network in float32 rounds, and is another function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.problem import LocalLipschitz


class Certificate(StrEnum):
    """What a result proves."""

    UPPER = "upper"  # the constant is at most ``upper``; backed by a proof
    LOWER = "lower"  # the constant is at least ``lower``; backed by a witness
    BRACKET = "bracket"  # both, with a gap between them
    EXACT = "exact"  # both, and they meet: to one part in 100,000, or within 1e-140 (``EXACT_ZERO``)
    ESTIMATE = "estimate"  # neither: a number near the constant, of unknown sign of error


class Status(StrEnum):
    """How the work behind a result ended. The text is advice."""

    PROVED = "proved"
    BOUNDED = "bounded"
    ESTIMATED = "estimated"
    TIME_LIMIT = "time limit"
    NODE_LIMIT = "node limit"
    MEMORY_LIMIT = "memory limit"
    GAP_LIMIT = "gap limit"
    INTERRUPTED = "interrupted"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"

    @property
    def cut(self) -> bool:
        """Whether the work was not done to its end: what a bound proves then may be far above what it proves otherwise."""
        return self in (
            Status.TIME_LIMIT,
            Status.NODE_LIMIT,
            Status.MEMORY_LIMIT,
            Status.INTERRUPTED,
            Status.FAILED,
        )

    @property
    def advice(self) -> str:
        """What it means and what to do about it."""
        return {
            Status.PROVED: "The two ends meet: this is the constant.",
            Status.BOUNDED: "The method gives one valid bound and has done its work.",
            Status.ESTIMATED: "A number near the constant, proved on neither side. Compare it with a certified interval.",
            Status.TIME_LIMIT: "The budget ended first; the interval is valid. Raise the budget or shrink the radius.",
            Status.NODE_LIMIT: "The node limit ended the search first; the interval is valid. Raise the limit.",
            Status.MEMORY_LIMIT: "The method needs more memory than the budget has, so it was not begun; the interval is "
            "valid, from methods that need less. Raise the budget's memory; the detail says what did not fit.",
            Status.GAP_LIMIT: "The interval is as narrow as was asked for. Ask for a smaller gap to narrow it further.",
            Status.INTERRUPTED: "Stopped from outside; the interval is valid as far as it had been proved.",
            Status.UNCONFIRMED: "The upper end is proved, but no point was found that attains it: rounding shows none, or "
            "the maximising activation pattern has no interior, or hardly any. The detail says what is known. The network "
            "may be degenerate (kinks not in general position); lipreg.general_position names the units.",
            Status.FAILED: "The solver gave no usable answer; the ends are the trivial ones. See the detail.",
        }[self]


EXACT_TOLERANCE = 1e-5
"""Relative gap up to which an interval counts as exact; above the tolerances of the solvers, below print precision."""

EXACT_ZERO = 1e-140
"""Width up to which an interval counts as exact whatever its place: products and sums of numbers near the smallest that
float64 has underflow, and what that leaves between the ends no search closes, beside a constant of 0 and of little more."""


def relative_gap(lower: float, upper: float) -> float:
    """(upper - lower) / upper, in [0, 1]; 0 for [0, 0]."""
    if upper == math.inf:
        return 1.0
    return 0.0 if upper == 0 else (upper - lower) / upper


def meet(lower: float, upper: float) -> bool:
    """Whether the ends of an interval count as one number."""
    return relative_gap(lower, upper) <= EXACT_TOLERANCE or upper - lower <= EXACT_ZERO


@dataclass(frozen=True)
class Witness:
    """A point that attains a lower end, proved for the network with its float64 weights, rounding included.

    Attributes:
        point: x, flattened. Regional: a differentiable point of X. Pointed: the point compared with x0.
        attained: the Jacobian norm at x (regional) or the quotient against x0 (pointed), rounded down.
    """

    point: tuple[float, ...]
    attained: float


@dataclass(frozen=True)
class CertifiedInterval:
    """The constant lies in [lower, upper], for one problem at one reference point.

    Args:
        problem: the question.
        functional: the functional at this point, in words.
        lower: the lower end, 0 without a witness.
        upper: the upper end, inf without a proof.
        status: how the work ended; PROVED wherever the ends meet.
        proof: what proves ``upper``, evaluated by lipreg: a theorem, a search, multipliers. A solver's word proves nothing.
            Required for a finite upper end.
        witness: what attains ``lower``. Required for a lower end above 0.
        estimate: a number for methods that prove neither end.
        detail: one line on how it came about: the engine, its limits, why it failed.
        subject: a hash of the network and the reference point; intervals of different subjects are not compared.
        families: proved upper bounds of the families of functionals one by one (``lipreg.milp.families``), where a search
            has them; a later one goes on from there.

    Raises:
        CrossingBounds: lower > upper.
        InvalidInput: an end without its backing, or not a number.
    """

    problem: LocalLipschitz
    functional: str
    lower: float = 0.0
    upper: float = math.inf
    status: Status = Status.BOUNDED
    proof: str = ""
    witness: Witness | None = None
    estimate: float | None = None
    detail: str = ""
    subject: str = ""
    families: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        where = f"CertifiedInterval of {self.functional}"
        if math.isnan(self.lower) or math.isnan(self.upper) or self.lower < 0 or self.lower == math.inf:
            raise InvalidInput(f"ends [{self.lower}, {self.upper}]", where=where, accepted="0 <= lower < inf, no NaN")
        if self.upper < math.inf and not self.proof:
            raise InvalidInput(f"upper {self.upper:.9g} without a proof", where=where, accepted="proof=...")
        if self.lower > 0 and (self.witness is None or self.witness.attained < self.lower):
            raise InvalidInput(f"lower {self.lower:.9g} without a witness that attains it", where=where)
        if self.lower > self.upper:
            raise CrossingBounds(
                f"lower {self.lower:.12g} exceeds upper {self.upper:.12g} ({self.detail or self.proof})",
                where=where,
            )
        if self.certificate is Certificate.EXACT:  # whatever limit or failure it ended with, nothing is left to prove
            object.__setattr__(self, "status", Status.PROVED)

    @property
    def gap(self) -> float:
        """(upper - lower) / upper, in [0, 1]; 0 for [0, 0]."""
        return relative_gap(self.lower, self.upper)

    @property
    def certificate(self) -> Certificate:
        """What the interval proves, by which of its ends have a proof or a witness, and whether they meet."""
        if self.upper == math.inf:
            no_witness = self.witness is None
            return Certificate.ESTIMATE if no_witness and self.estimate is not None else Certificate.LOWER
        if meet(self.lower, self.upper):
            return Certificate.EXACT
        return Certificate.BRACKET if self.lower > 0 else Certificate.UPPER

    def check_comparable(self, other: CertifiedInterval) -> None:
        """Raises IncomparableResults unless both answer the same question."""
        if self.problem.describe() != other.problem.describe():
            raise IncomparableResults(
                f"[{self.problem.sentence()}] against [{other.problem.sentence()}]",
                where="comparing results",
                accepted="equal scope, norms, region and functional",
            )
        if self.subject != other.subject and self.subject and other.subject:
            raise IncomparableResults(
                f"subject {self.subject} against {other.subject}",
                where="comparing results",
                accepted="the same network at the same reference point",
            )
        if self.functional != other.functional:
            raise IncomparableResults(f"{self.functional!r} against {other.functional!r}", where="comparing results")

    def intersect(self, other: CertifiedInterval) -> CertifiedInterval:
        """The interval that both prove, for the same question at the same point.

        Raises:
            IncomparableResults: the questions differ.
            CrossingBounds: the intervals do not meet, so one of them is wrong.
        """
        self.check_comparable(other)
        low = self if self.lower >= other.lower else other
        high = self if self.upper <= other.upper else other
        if low.lower > high.upper:
            raise CrossingBounds(
                f"lower {low.lower:.12g} exceeds upper {high.upper:.12g}: a witness attains the one, {high.proof} proves "
                "the other" + "".join(f" ({part.detail})" for part in dict.fromkeys((low, high)) if part.detail),
                where=f"intervals of {self.functional}",
                between=(low, high),
            )
        families = self.families or other.families
        if len(self.families) == len(other.families):
            families = tuple(map(min, self.families, other.families))
        return replace(
            self,
            lower=low.lower,
            witness=low.witness,
            upper=high.upper,
            proof=high.proof,
            status=high.status,
            detail=high.detail,
            estimate=None,
            families=families,
        )
