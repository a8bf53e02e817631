"""What audits at points that were drawn at random from a data set found, as it is saved."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lipreg.auditing.points import PointAudit, versions
from lipreg.population import Sample
from lipreg.records import PopulationRecord


def population_record(
    sample: Sample,
    points: Sequence[PointAudit],
    run: tuple[str, str, int],
    seed: int,
    until: str,
    met: bool = True,
    figure: str = "",
) -> PopulationRecord:
    """The record of a draw.

    Args:
        sample: the constant at the drawn points.
        points: what was proved there.
        run: its name and id, and the epoch.
        seed, until, met, figure: as in ``PopulationRecord``.
    """
    name, run_id, epoch = run
    floor, ceiling = ([] if ends is None else list(map(float, ends)) for ends in (sample.floor, sample.ceiling))
    low, high = (ends.tolist() for ends in sample.ends)
    return PopulationRecord(
        name,
        epoch,
        size=sample.size,
        seed=seed,
        confidence=sample.confidence,
        evidence=sample.evidence.name,
        until=until,
        met=met,
        drawn=list(sample.drawn),
        low=low,
        high=_plain(high),
        floor=floor,
        ceiling=_plain(ceiling),
        figure=figure,
        question=points[0].exact.problem.describe(),
        fingerprint=points[0].fingerprint,
        run_id=run_id,
        versions=versions(),
    )


def _plain(ends: list[float]) -> list[float | None]:
    """Upper ends as records have them: none where nothing was proved."""
    return [end if end < math.inf else None for end in ends]
