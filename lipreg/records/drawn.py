"""PopulationRecord: points that were drawn at random from a data set, and what was proved there, as it is saved."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lipreg.errors import InvalidInput
from lipreg.population import Sample, of_margins, over_constants
from lipreg.population.evidence import EVIDENCE


@dataclass(frozen=True)
class PopulationRecord:
    """Points that were drawn at random from a data set, and what was proved there: see ``lipreg.population``.

    Attributes:
        run, run_id, epoch, question, fingerprint, versions: as in ``AuditRecord``.
        size: how many points the data set has.
        seed: of the draw.
        confidence: with which each statement by itself holds; all of them, if ``together``.
        evidence: "planned", the number of points was fixed beforehand; "at any time", a rule ended the draw.
        until: in words, when it was to end: "60 points are drawn".
        met: whether that happened.
        figure: what the rule that ended it was about, in words; empty where the number of points was fixed.
        drawn: indices in the data set, in the order of the draw.
        low, high: ends of the constant at these points; None for one from above that is not proved.
        floor, ceiling: ends that were proved at every point of the data set before the draw; empty where none were.
        data: a digest of all points and labels of the data set or, from a training, of those that were drawn. Records with
            two digests are not compared; empty where there is none.
        margins: the smallest logit margin at each drawn point, rounded down; empty without classes, or where the constant
            bounds no margins.
        every_margin: the same of every point of the data set; empty where they were not evaluated.
        factor: k: margins change by at most k times the constant times the distance.
        above: values, named before the draw, above which points are counted.
        together: whether all statements hold together with that confidence.
        kind: the kind of the record, in files.
    """

    kind: ClassVar[str] = "population"
    run: str
    epoch: int
    size: int
    seed: int
    confidence: float
    evidence: str
    until: str
    met: bool
    drawn: list[int]
    low: list[float]
    high: list[float | None]
    floor: list[float]
    ceiling: list[float | None]
    figure: str = ""
    question: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    run_id: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    data: str = ""
    margins: list[float] = field(default_factory=list)
    every_margin: list[float] = field(default_factory=list)
    factor: float = 1.0
    above: list[float] = field(default_factory=list)
    together: bool = False

    @property
    def sample(self) -> Sample:
        """The constant at the drawn points, as a sample of the data set.

        Raises:
            InvalidInput: nothing can have written it: ends that cross, a point drawn twice.
        """
        high, ceiling = ([math.inf if end is None else end for end in ends] for ends in (self.high, self.ceiling))
        if self.evidence not in EVIDENCE:
            accepted = ", ".join(EVIDENCE)
            raise InvalidInput(f"evidence={self.evidence[:40]!r}", where="population record", accepted=accepted)
        evidence = EVIDENCE[self.evidence]()
        proved_ends = self.floor or None, ceiling or None
        of = self.data and mark_of(self.data, self.question)
        return Sample(self.size, self.drawn, self.low, high, *proved_ends, self.confidence, evidence, of)

    @property
    def over_constant(self) -> Sample | None:
        """The margin over the constant, as a sample; None without margins.

        Raises:
            InvalidInput: as ``sample``.
        """
        if not self.margins:
            return None
        return over_constants(self.sample, self.margins, self.every_margin or None, self.factor)

    @property
    def classified(self) -> Sample | None:
        """The margin, as a sample: where it is not above 0 the class is wrong. None without margins.

        Raises:
            InvalidInput: as ``sample``.
        """
        return of_margins(self.sample, self.margins, self.every_margin or None) if self.margins else None

    def check(self) -> None:
        """Refuses a record that nothing can have written.

        Raises:
            InvalidInput: what is no sample, or margins of other points.
        """
        for _ in (self.sample, self.over_constant, self.classified):
            pass
        if not self.factor > 0:
            raise InvalidInput(f"factor={self.factor!r}", where="population record", accepted="a number above 0")


def mark_of(data: str, question: Mapping[str, Any]) -> str:
    """The mark of what a sample is of, a data set and a question; samples are compared only where it is the same."""
    return f"{data} {json.dumps(question, sort_keys=True)}"
