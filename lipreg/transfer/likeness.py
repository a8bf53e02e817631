"""What a run and its twin share as far as records tell; every difference and doubt is shown beside their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipreg.records import NewerRun
from lipreg.runs import RecordedRun
from lipreg.transfer.trained_alike import training_differences
from lipreg.words import listed

_NO_TRAINING = (
    "What the movement is due to is not known, because nothing is recorded of how the two networks came about"
)


@dataclass(frozen=True)
class Likeness:
    """What a twin is to its run, as far as records tell.

    Attributes:
        shared: what it is, in words that go before a full stop.
        doubts: what differs, or is not recorded; sentences without a full stop. There are none for a twin of the same
            seed and the same untrained network.
        same_start: whether both began from the same weights; None where one of them was not audited untrained.
        course: how a resume changed the penalty of the regularised run; empty if none did.
    """

    shared: str = "another training"
    doubts: tuple[str, ...] = ()
    same_start: bool | None = None
    course: str = ""


def likeness(mine: RecordedRun, twin: RecordedRun) -> Likeness:
    """The likeness of a run and its twin. Two recorded seeds that differ have been refused before (``check_twin``)."""
    if not (mine.record.of_training and twin.record.of_training):
        return Likeness("another network", (_NO_TRAINING,), course=mine.course)
    if from_checkpoint(twin):
        seeded = None not in (mine.record.seed, twin.record.seed)
        untold = "initial weights and batches" if seeded else "seed, initial weights, batches and penalty"
        doubt = f"No record tells with which {untold} the twin's checkpoint was trained"
        shared = f"the checkpoint {twin.label}{', of the same seed' if seeded else ''}"
        return Likeness(shared, (doubt,), course=mine.course)
    start = None if None in (mine.start, twin.start) else mine.start == twin.start
    newer = [run.label for run in (mine, twin) if isinstance(run.record, NewerRun)]
    unseeded = [run.label for run in (mine, twin) if run.record.seed is None]
    doubts = []
    if newer:
        doubts.append(f"What {_listed(newer)} was trained with is not known, because a newer lipreg has written it")
    if differences := training_differences(mine.record.settings, twin.record.settings, epochs=False):
        consequence = "The twin was trained otherwise, so the movement is not the penalty's alone"
        doubts.append(f"{consequence}: {listed(differences)}")
    if start is False:
        doubts.append(
            "The twin is another training: its initial weights differ, so the movement is not the penalty's alone"
        )
    if unseeded:
        batches = "" if start is False else ", so the batches of the two may differ"
        doubts.append(f"No seed is recorded of {_listed(unseeded)}{batches}")
    if start is None:
        untold = [run.label for run in (mine, twin) if run.start is None]
        doubts.append(
            "Whether both began from the same weights is not known, because there is no audit before the first step of "
            + _listed(untold)
        )
    same = [] if unseeded else ["seed"]
    same += ["initial weights"] if start else []
    shared = f"the same {' and '.join(same)}" if same and start is not False else "another training"
    return Likeness(f"{shared}, without the penalty", tuple(doubts), start, mine.course)


def from_checkpoint(run: RecordedRun) -> bool:
    """Whether a run is nothing but the weights of a checkpoint, audited: no training has recorded itself."""
    return "checkpoint" in run.record.settings and not run.record.started


def _listed(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in dict.fromkeys(names))
