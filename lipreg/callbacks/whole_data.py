"""Statements on all the validation data of a training, from audited points that were drawn from it at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lipreg.auditing import PointAudit
from lipreg.auditing.drawn import SampleDesign, population_record
from lipreg.callbacks.reference_points import drawn_indices, first_loader
from lipreg.errors import InvalidInput
from lipreg.points import Inputs, Points
from lipreg.population import Sample
from lipreg.population.draws import digest
from lipreg.records import PopulationRecord

QUANTILES = {"median": 0.5, "quantile90": 0.9}
"""The quantiles that are logged, by their logged names."""
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
        """The record of the draw, and of what was proved of the weights after so many epochs.

        Args:
            points: what was proved at the drawn points, in the order of the draw.
            run, run_id: label and id of the run.
            epoch: completed epochs.
        """
        low, high = [point.combined.lower for point in points], [point.combined.upper for point in points]
        sample = Sample(self.size, list(self.indices), low, high, confidence=self.confidence)
        labelled = (f"{point.reference} {point.label}" for point in points)
        data = digest(text.encode() for text in (str(self.size), *labelled))  # of those that were read
        drawing = SampleDesign(self.seed, f"{len(points)} points are drawn", data=data)
        return population_record(sample, points, (run, run_id, epoch), drawing)


def whole_data(
    loaders: Any,
    points: Points,
    x: Tensor,
    again: Callable[[], Inputs] | None = None,
    where: str = "LipschitzAudit",
) -> WholeData | None:
    """The data that reference points were drawn from, where statements on it are wanted (``confidence``); else None.

    Args:
        loaders: of the validation data, as for ``draw_reference_points``.
        points: how they were drawn.
        x: the reference points.
        again: draws them anew, where they were not drawn just now but come from a checkpoint or an earlier training.
        where: what error messages call the place.

    Raises:
        InvalidInput: data without a length, whose first examples were taken; points of which some were left out; points
            from before that this draw from this data would not give.
    """
    if points.confidence is None:
        return None
    drawn = drawn_indices(first_loader(loaders), points.seed or 0)
    count = len(x)
    if drawn is None or count != min(len(drawn), points.count or 0):
        got = "validation data without a length" if drawn is None else "examples without a class, which are left out"
        accepted = "a dataset with a length, all of whose examples may be audited"
        raise InvalidInput(f"confidence={points.confidence} and {got}", where=where, accepted=accepted)
    if again is not None and not same_points(again()[0], x):
        raise InvalidInput(
            f"confidence={points.confidence}, and points that were drawn before, from other data or by another seed",
            where=where,
            accepted=f"the data and the seed ({points.seed or 0}) by which they were drawn",
            todo="Give these, or begin a new training, or ask without confidence",
        )
    return WholeData(len(drawn), drawn[:count], points.seed or 0, points.confidence)


def same_points(one: Tensor, other: Tensor) -> bool:
    """Whether two sets of points are the same, one by one, whatever device they are on."""
    return one.shape == other.shape and torch.equal(one.cpu(), other.cpu().to(one.dtype))


def quantiles(sample: Sample, prefix: str) -> dict[str, float]:
    """Quantiles over the whole data under the names that are logged; ends that are not proved are left out."""
    values = {name: sample.quantile(share) for name, share in QUANTILES.items()}
    ends = {
        f"{prefix}/{name}_{end}": v for name, of in values.items() for end, v in (("lower", of.low), ("upper", of.high))
    }
    return {name: value for name, value in ends.items() if abs(value) != float("inf")}
