"""The record of audits at points that were drawn at random from a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lipreg.auditing.points import PointAudit, versions
from lipreg.population import Sample
from lipreg.records import COMBINED, PopulationRecord
from lipreg.transfer import margin_factor


@dataclass(frozen=True)
class SampleDesign:
    """How points were drawn, and what is to be said of the data set.

    Attributes:
        seed, until, met, figure, data, above, together: as in ``PopulationRecord``.
    """

    seed: int
    until: str
    met: bool = True
    figure: str = ""
    data: str = ""
    above: tuple[float, ...] = ()
    together: bool = False


def population_record(
    sample: Sample,
    points: Sequence[PointAudit],
    run: tuple[str, str, int],
    drawing: SampleDesign,
    every_margin: Sequence[float] | None = None,
) -> PopulationRecord:
    """The record of a draw.

    Args:
        sample: the constant at the drawn points.
        points: what was proved there.
        run: its name and id, and the epoch.
        drawing: how they were drawn.
        every_margin: the margin at every point of the data set; None where they were not evaluated.
    """
    name, run_id, epoch = run
    floor, ceiling = ([] if ends is None else list(map(float, ends)) for ends in (sample.floor, sample.ceiling))
    low, high = (ends.tolist() for ends in sample.ends)
    margins, factor = margins_of(points)
    return PopulationRecord(
        name,
        epoch,
        size=sample.size,
        seed=drawing.seed,
        confidence=sample.confidence,
        evidence=sample.evidence.name,
        until=drawing.until,
        met=drawing.met,
        drawn=list(sample.drawn),
        low=low,
        high=_plain(high),
        floor=floor,
        ceiling=_plain(ceiling),
        figure=drawing.figure,
        question=points[0].combined.problem.describe(),
        fingerprint=points[0].fingerprint,
        run_id=run_id,
        versions=versions(),
        data=drawing.data,
        margins=margins,
        every_margin=[] if every_margin is None or not margins else list(map(float, every_margin)),
        factor=factor,
        above=list(drawing.above),
        together=drawing.together,
    )


def margins_of(points: Sequence[PointAudit]) -> tuple[list[float], float]:
    """The smallest logit margin at each point, and the factor k of ``margin_factor``.

    Returns:
        No margins, and 1, unless every point has a class and the constant bounds the margins of whatever class over all
        rivals.
    """
    first = replace(points[0], intervals={COMBINED: points[0].combined}).records("", 0)[0]
    factor = margin_factor(first)
    margins = [point.margin for point in points if point.margin is not None and math.isfinite(point.margin)]
    fixed = first.question.get("output", {}).get("target") is not None  # then it depends on the label
    if factor is None or fixed or len(margins) < len(points):
        return [], 1.0
    return margins, factor


def _plain(ends: list[float]) -> list[float | None]:
    """Upper ends as records have them: none where nothing was proved."""
    return [end if end < math.inf else None for end in ends]
