"""Warnings on the twin of a training: what its records lack, and how it differs."""

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


def warn_of_missing_bound(twin: RecordedRun | None, record: RunRecord) -> None:
    """Warns if a twin was not audited with the penalised bound of a run's record, and says what adds that."""
    if twin is None or not twin.audits or record.bound is None:
        return
    wanted = certified_description(record.recipe)
    has = [r for r in twin.audits if (r.recipe and same_recipe(r.recipe, wanted)) or r.estimator == record.bound]
    if not any(same_recipe(r.recipe, wanted) for r in has):
        warnings.warn(
            f"the twin {twin.summary()} was not audited with the penalised bound, so bound movement and transfer are "
            f"unknown. Train it with {how_to_audit(wanted)}, or pass its checkpoint as twin",
            stacklevel=3,
        )


def warn_of_another_start(twin: RecordedRun | None, record: RunRecord, untrained: Sequence[AuditRecord]) -> None:
    """Warns if the two did not begin from the same weights; called when the untrained network has been audited.

    Args:
        twin: the twin; None where it has no records.
        record: of the run.
        untrained: its audit before the first step.
    """
    if twin is not None and likeness(RecordedRun(record, tuple(untrained)), twin).same_start is False:
        warnings.warn(
            f"the twin {twin.summary()} began from other initial weights than {record.run!r}: it is another training, and "
            "the movement against it is not the penalty's alone. Call seed_everything(n), with one n, in both "
            "trainings before the module is built",
            stacklevel=3,
        )


def warn_of_changed_penalty(files: Iterable[Path], record: RunRecord) -> None:
    """Warns at the start of a resume if the penalty is another than before.

    Args:
        files: where earlier parts of the run may be recorded.
        record: of the part that begins.
    """
    earlier: list[Record] = []
    for file in files if record.start_epoch else ():
        with contextlib.suppress(LipregError, OSError, UnicodeDecodeError):  # a file of other runs is their trouble
            earlier += read_records(file)
    run = recorded_runs([*(r for r in earlier if r.run_id == record.id), record])[0]
    if len(run.parts) > 1 and not same_penalty(run.parts[-2], record):
        warnings.warn(
            f"run {record.run!r} goes on from epoch {record.start_epoch} with another penalty than before: {run.course}. It "
            "stays one run, and pages say so; for a run of its own, load the weights alone and fit without ckpt_path",
            stacklevel=3,
        )


def warn_of_uncompared_end(twin: RecordedRun | None, trained: RecordedRun | None) -> None:
    """Warns at the end of a training if there is no audit of the twin to compare its last one with."""
    if twin is None or trained is None or not trained.audits:
        return
    mine, theirs = ({r.epoch for r in run.audits} for run in (trained, twin))
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
        f"{what}. {trained.label!r} was audited after {listed_epochs(mine)}; its twin {twin.summary()} after "
        f"{listed_epochs(theirs)}. Train both for as long, with the same every_n_epochs, at_start and at_end",
        stacklevel=3,
    )
