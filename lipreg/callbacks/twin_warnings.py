"""What a training is told of its twin as soon as it is known: what it lacks, or that it is none."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from lipreg.errors import LipregError
from lipreg.records import AuditRecord, Record, RunRecord, read_records
from lipreg.runs import RecordedRun, certified_description, recorded_runs, same_penalty, same_recipe
from lipreg.transfer import likeness
from lipreg.transfer.incomplete import listed_epochs
from lipreg.transfer.points import how_to_audit


def warn_of_missing_bound(twin: RecordedRun | None, own: RunRecord) -> None:
    """Says what a twin's records lack for the comparison, and what adds it."""
    if twin is None or not twin.audits or own.bound is None:
        return
    wanted = certified_description(own.recipe)
    has = [r for r in twin.audits if (r.recipe and same_recipe(r.recipe, wanted)) or r.estimator == own.bound]
    if not any(same_recipe(r.recipe, wanted) for r in has):
        warnings.warn(
            f"the twin {twin.said()} was not audited with the penalised bound, so bound movement and transfer are "
            f"unknown. Train it with {how_to_audit(wanted)}, or pass its checkpoint as twin",
            stacklevel=3,
        )


def warn_of_another_start(twin: RecordedRun | None, own: RunRecord, untrained: Sequence[AuditRecord]) -> None:
    """Warns if the two did not begin from the same weights; asked when the untrained network has been audited."""
    if twin is not None and likeness(RecordedRun(own, tuple(untrained)), twin).same_start is False:
        warnings.warn(
            f"the twin {twin.said()} began from other initial weights than {own.run!r}: it is another training, and "
            "the movement against it is not the penalty's alone. Call seed_everything(n), with one n, in both "
            "trainings before the module is built",
            stacklevel=3,
        )


def warn_of_changed_penalty(files: Iterable[Path], own: RunRecord) -> None:
    """Says at the start of a resume that the penalty is another than before.

    Args:
        files: where earlier parts of the run may be recorded.
        own: the record of the part that begins.
    """
    earlier: list[Record] = []
    for file in files if own.start_epoch else ():
        with contextlib.suppress(LipregError, OSError, UnicodeDecodeError):  # a file of other runs is their trouble
            earlier += read_records(file)
    known = recorded_runs([*(r for r in earlier if r.run_id == own.id), own])[0]
    if len(known.parts) > 1 and not same_penalty(known.parts[-2], own):
        warnings.warn(
            f"run {own.run!r} goes on from epoch {own.start_epoch} with another penalty than before: {known.course}. It "
            "stays one run, and pages say so; for a run of its own, load the weights alone and fit without ckpt_path",
            stacklevel=3,
        )


def warn_of_uncompared_end(twin: RecordedRun | None, own: RecordedRun | None) -> None:
    """Says at the end of a training that its last audit has none of the twin to be compared with, where that is so."""
    if twin is None or own is None or not own.audits:
        return
    mine, theirs = ({r.epoch for r in run.audits} for run in (own, twin))
    last, both = max(mine), mine & theirs
    if last in theirs:
        return
    if not both:
        what = "no epoch was audited in both runs, so nothing is compared"
    elif max(both) == 0:
        what = "only the untrained networks were audited in both runs, so nothing that training did is compared"
    else:
        what = (
            f"the last audit, after epoch {last}, has none of the twin beside it: the last epoch of both is {max(both)}"
        )
    warnings.warn(
        f"{what}. {own.label!r} was audited after {listed_epochs(mine)}; its twin {twin.said()} after "
        f"{listed_epochs(theirs)}. Train both for as long, with the same every_n_epochs, at_start and at_end",
        stacklevel=3,
    )
