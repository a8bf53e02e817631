"""What a budget left out of the methods at some points, in words: the lines below a table, of intervals or of records."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lipreg.records.former import COMBINED
from lipreg.records.kinds import AuditRecord
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.words import counted, listed

NO_TIME, NOT_REACHED = "not run: no time was left", "not reached before the budget was gone"
LEFT_OUT = NO_TIME, NOT_REACHED
"""The details of records of methods that the budget had no time for."""
EARLIER = "In an earlier run"
"""How the detail begins of what a run before this one left unfinished, and this one has not gone on with."""
NOT_BEGUN = "No search was begun"
"""With what the detail of an interval says so."""
CUT = ", cut"
"""Behind the name of a bound of which something was left out."""
LATE, UNBEGUN = "left out for want of time", "no search was begun, for which the time was too short"
SHORT, SMALLER = "cut short for want of time", "answered by another method's smaller bound"
"""The last is of methods that are the least of their own bound and of others."""
ENDED = {
    Status.TIME_LIMIT: SHORT,
    Status.MEMORY_LIMIT: "not begun for want of memory",
    Status.FAILED: "failed",
    Status.NODE_LIMIT: "ended at the limit on nodes",
    Status.GAP_LIMIT: "ended at the gap that was asked for",
    Status.INTERRUPTED: "interrupted",
}
"""What is said of the work that a status ended."""
BEGUN = tuple(ENDED[s] for s in (Status.TIME_LIMIT, Status.NODE_LIMIT, Status.GAP_LIMIT, Status.INTERRUPTED))
"""What is said of work that was begun."""
_RECIPE = re.compile(r"[a-z0-9_]+(-[a-z]+)*")
"""The proofs that are names of recipes."""


@dataclass(frozen=True)
class Ending:
    """How a method's work at a point ended.

    Attributes:
        method: the label of its recipe.
        status, detail, proof, certificate: of its interval.
        proves: whether that has a lower or an upper end.
    """

    method: str
    status: Status
    detail: str
    proof: str
    certificate: Certificate
    proves: bool

    @classmethod
    def of(cls, method: str, interval: CertifiedInterval) -> Ending:
        """How the work behind an interval ended."""
        proves = interval.lower > 0.0 or interval.upper < math.inf
        return cls(method, interval.status, interval.detail, interval.proof, interval.certificate, proves)

    @classmethod
    def of_records(cls, records: Iterable[AuditRecord]) -> list[Ending]:
        """How the methods of a point ended, from its records; without that of all together and those of unknown statuses."""
        known = {status.value for status in Status}
        return [
            cls(
                r.estimator,
                Status(r.status),
                r.detail,
                r.proof,
                Certificate(r.certificate),
                r.lower > 0.0 or r.upper < math.inf,
            )
            for r in records
            if r.estimator != COMBINED and r.status in known
        ]

    def words(self, beside: bool) -> str:
        """How it ended, where something was left out; empty where nothing was, or an earlier run did.

        Args:
            beside: whether its status stands beside these words: then it is not said what ended the work once it was begun.
        """
        if self.certificate is Certificate.EXACT or self.detail.startswith(EARLIER):
            return ""
        if self.detail in LEFT_OUT:
            return LATE
        if self.status is Status.TIME_LIMIT and (NOT_BEGUN in self.detail or (beside and not self.proves)):
            return UNBEGUN
        words = ENDED.get(self.status, "")
        return "" if beside and words in BEGUN else words

    @property
    def stands(self) -> str:
        """Another method, whose number stands in the place of this one's bound; empty where it is its own."""
        name, own = self.proof.removesuffix(CUT), self.method.partition("@")[0]
        if self.certificate is not Certificate.UPPER or name.startswith(own) or not _RECIPE.fullmatch(name):
            return ""
        return name


def ending_lines(
    points: Iterable[Iterable[Ending]], named: bool = False, beside: Collection[str] = (), smaller: bool = False
) -> list[str]:
    """What was left out of which methods, at how many points; a line for each way in which it was, none where it was not.

    Args:
        points: for each point, how its methods ended.
        named: whether it is said whose number stands in the place of a method's.
        beside: the methods whose statuses stand beside these lines.
        smaller: whether it is said too where another method's bound, which is smaller, is the answer of one that was done.
    """
    found: dict[str, dict[str, list[Ending]]] = {words: {} for words in (LATE, UNBEGUN, *ENDED.values(), SMALLER)}
    for ending in (ending for point in points for ending in point):
        words = ending.words(ending.method in beside) or (SMALLER if smaller and ending.stands else "")
        if words:
            found[words].setdefault(ending.method, []).append(ending)
    lines = []
    for words, by_method in found.items():
        where = [
            f"{name} at {counted(len(ends), 'point')}{_whose(ends) if named else ''}"
            for name, ends in by_method.items()
        ]
        lines += [f"{words}: {', '.join(where)}"] if where else []
    return lines


def _whose(endings: Sequence[Ending]) -> str:
    """Whose numbers stand in the place of a method's, in brackets; empty where nobody else's do."""
    counts = Counter(ending.stands for ending in endings if ending.stands)
    own = len(endings) - counts.total()
    if not counts:
        return ""
    if len(counts) == 1 and not own:
        return f" (the number of {next(iter(counts))})"
    each = [f"of {name} at {count}" for name, count in counts.most_common()] + ([f"its own at {own}"] if own else [])
    return f" (the number {listed(each)})"
