"""What the audited points of a training, drawn at random, say of all its validation data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytorch_lightning as pl

from lipreg.auditing import PointAudit
from lipreg.auditing.points import versions
from lipreg.callbacks.reference_points import drawn_indices, first_loader, validation_loaders
from lipreg.errors import InvalidInput
from lipreg.points import Points
from lipreg.population import Sample
from lipreg.records import PopulationRecord

QUANTILES = {"median": 0.5, "quantile90": 0.9}
"""Those that are logged, by the names that they have there."""
NAMES = tuple(f"{name}_{end}" for name in QUANTILES for end in ("lower", "upper"))


@dataclass(frozen=True)
class WholeData:
    """The validation data of which the reference points were drawn.

    Attributes:
        size: how many examples it has.
        indices: of those that were drawn, in the order of the draw.
        seed: of the draw.
        confidence: with which each statement by itself holds over the draw.
    """

    size: int
    indices: Sequence[int]
    seed: int
    confidence: float

    def record(self, points: Sequence[PointAudit], run: str, run_id: str, epoch: int) -> PopulationRecord:
        """The draw, and what was proved of the weights after so many epochs."""
        uppers = [point.exact.upper for point in points]
        return PopulationRecord(
            run,
            epoch,
            size=self.size,
            seed=self.seed,
            confidence=self.confidence,
            evidence="planned",
            until=f"{len(points)} points are drawn",
            met=True,
            drawn=list(self.indices),
            low=[point.exact.lower for point in points],
            high=[upper if upper < float("inf") else None for upper in uppers],
            floor=[],
            ceiling=[],
            question=points[0].exact.problem.describe(),
            fingerprint=points[0].fingerprint,
            run_id=run_id,
            versions=versions(),
        )


def whole_data(trainer: pl.Trainer, points: Points, count: int) -> WholeData | None:
    """What the reference points of a training were drawn from, where statements about it are asked for; else None.

    Args:
        trainer: with the validation data.
        points: how they were drawn.
        count: how many there are.

    Raises:
        InvalidInput: data without a length, whose first examples were taken, or points of which some were left out.
    """
    if points.confidence is None:
        return None
    drawn = drawn_indices(first_loader(validation_loaders(trainer)), points.seed or 0)
    if drawn is None or count != min(len(drawn), points.count or 0):
        got = "validation data without a length" if drawn is None else "examples without a class, which are left out"
        accepted = "a dataset with a length, all of whose examples may be audited"
        raise InvalidInput(f"confidence={points.confidence} and {got}", where="LipschitzAudit", accepted=accepted)
    return WholeData(len(drawn), drawn[:count], points.seed or 0, points.confidence)


def means(sample: Sample, prefix: str) -> dict[str, float]:
    """Quantiles over the whole data under the names that are logged; ends that are not known are left out."""
    found = {name: sample.quantile(share) for name, share in QUANTILES.items()}
    ends = {
        f"{prefix}/{name}_{end}": v for name, of in found.items() for end, v in (("lower", of.low), ("upper", of.high))
    }
    return {name: value for name, value in ends.items() if abs(value) != float("inf")}
