"""The twin of a training, by its label, its id, or the path of its records or weights."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_info

from lipreg.auditing import COMBINED, AuditPlan, audit
from lipreg.auditing.points import save_certificates
from lipreg.calibration import CalibrationPoints
from lipreg.callbacks.calibrating import calibration_of
from lipreg.callbacks.checkpoints import completed_epochs, read_checkpoint, trained_with
from lipreg.callbacks.snapshots import Snapshot
from lipreg.callbacks.twin_files import FORMS, accepted_twins, candidates, other_versions, reading, runs_in
from lipreg.callbacks.twin_warnings import (
    warn_of_another_start,
    warn_of_changed_penalty,
    warn_of_missing_bound,
    warn_of_uncompared_end,
)
from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.estimators import frozen_analysis
from lipreg.graph import CapturedNetwork, untouched_random_state
from lipreg.plain import alike
from lipreg.points import Inputs
from lipreg.records import AuditRecord, CalibrationRecord, RecordFile, RunRecord, read_records
from lipreg.records.files import record_files
from lipreg.runs import RecordedRun, ambiguous, recorded_runs
from lipreg.transfer import Movement, Pair, compare_pair, truth_movement
from lipreg.transfer.pairs import check_twin

_CHECKPOINTS = (".ckpt", ".pt", ".pth")


Weights = tuple[pl.LightningModule, CapturedNetwork | None, Inputs, CalibrationPoints | None]
"""A module, its network, the reference points, and those that its outputs are calibrated with."""


@dataclass(frozen=True)
class Twin:
    """The run that a training is compared with.

    Attributes:
        label, id: those of its record; the id is empty in records of schema 1.
        file: that of its records.
    """

    label: str
    id: str
    file: Path
    _seen: dict[tuple[int, ...], RecordedRun | None] = field(default_factory=dict, compare=False, repr=False)

    def recorded(self) -> RecordedRun | None:
        """Its records by now, None without any; its file is read again only if it has changed."""
        if not self.file.exists():
            return None
        state = self.file.stat()
        version = (state.st_ino, state.st_size, state.st_mtime_ns)
        if version not in self._seen:
            runs = recorded_runs(read_records(self.file))
            self._seen.clear()
            self._seen[version] = next((r for r in runs if (r.record.id, r.label) == (self.id, self.label)), None)
        return self._seen[version]

    def warn_at_end(self, record: RunRecord, path: Path) -> None:
        """Warns at the end of a training, recorded in ``path``, if there is no audit of the twin beside its last one."""
        runs = recorded_runs(read_records(path)) if path.exists() else []
        mine = next((run for run in runs if run.record.id == record.id), None)
        warn_of_uncompared_end(self.recorded(), mine)

    def compared(
        self, record: RunRecord, audits: Sequence[AuditRecord], calibration: CalibrationRecord | None, prefix: str
    ) -> dict[str, float]:
        """Movement and transfer against the twin's audit at the same epoch, under the logged names.

        Those of the constants in the units in which both networks' outputs are calibrated come first:
        ``audit/calibrated_movement_lower`` and so on.

        ``audit/movement_lower`` and ``_upper`` bracket E_reg / E_twin, ``audit/transfer_lower`` and ``_upper`` the
        transfer; ``audit/transfer`` is the middle of these two, ``audit/bound_movement`` is B_reg / B_twin. What is
        undefined or without a finite end is left out; where the twin was not audited with the penalised bound, all but the
        movement of the truth; without a penalised bound, or an audit of the twin to compare with, all of it.

        Args:
            record: of the run.
            audits: the records of one of its audits, at least one.
            calibration: of the same weights; None without one.
            prefix: first part of the names.

        Raises:
            CrossingBounds: a bound lies below a witness.
        """
        recorded, epoch = self.recorded(), audits[0].epoch
        if epoch == 0:
            warn_of_another_start(recorded, record, audits)
        if record.bound is None or recorded is None:
            return {}
        mine = RecordedRun(record, tuple(audits), calibrations=() if calibration is None else (calibration,))
        theirs = replace(recorded, audits=tuple(r for r in recorded.audits if r.epoch == epoch))
        try:
            movements = _movements(Pair.of(mine, theirs), epoch)
        except IncomparableResults as error:
            warnings.warn(f"no movement or transfer against the twin {self.label!r}: {error}", stacklevel=3)
            return {}
        except InvalidInput:  # it was not audited after this epoch
            return {}
        figures: dict[str, float] = {}
        for of, movement in movements.items():
            figures |= {} if movement.bound is None else {f"{prefix}/{of}bound_movement": movement.bound}
            for name, interval in (("movement", movement.combined), ("transfer", movement.transfer)):
                if interval is not None:
                    ends = {f"{prefix}/{of}{name}_lower": interval.lower, f"{prefix}/{of}{name}_upper": interval.upper}
                    figures |= ends
            if movement.transfer is not None:
                figures[f"{prefix}/{of}transfer"] = movement.transfer.midpoint
        return {name: value for name, value in figures.items() if math.isfinite(value)}


def with_twin(
    record: RunRecord, name: str | None, network: Weights, plan: AuditPlan, path: Path
) -> tuple[RunRecord, Twin | None]:
    """A run's record with its twin in it, and the twin; a log line says where the records are.

    Args:
        record: of the training that begins.
        name: the argument ``twin``.
        network: what a twin's checkpoint can be put into.
        plan: of the training's audit.
        path: the record file.
    """
    rank_zero_info(f"{record.run}: the records of its audits are in {path}")
    warn_of_changed_penalty((path, *other_versions(path)), record)
    if name is None:
        return record, None
    captured = network[1]
    if Path(name).suffix in _CHECKPOINTS and captured is not None:
        twin = twin_of_checkpoint(name, record, network, captured, plan, path)
    else:
        twin = find_twin(name, record, path, "LipschitzAudit")
    if twin is None:
        return record, None
    warn_of_missing_bound(twin.recorded(), record)
    return replace(record, twin=twin.label, twin_id=twin.id), twin


def _movements(pair: Pair, epoch: int) -> dict[str, Movement]:
    """The movements at one epoch, by the prefixes of their names; that of the truth alone where a bound is missing."""
    try:
        comparison = compare_pair(pair, epoch)
    except (InvalidInput, IncomparableResults):
        return {"": truth_movement(pair, epoch)}
    return {"calibrated_": comparison.calibrated.movement, "": comparison.movement}


def find_twin(name: str, record: RunRecord, path: Path, where: str) -> Twin | None:
    """The run that a user's ``twin`` names; None, with a warning, if there is none of that name yet.

    Args:
        name: id or label of a run in the record file ``path`` (or in those of the other versions, where a logger makes a
            folder for each run), or a record file, or a folder of them.
        record: of the training itself.
        path: its record file.
        where: named in errors.

    Raises:
        InvalidInput: several runs could be meant, or no run lies at the path.
        IncomparableResults: what is there was trained from another seed, or with a penalty.
    """
    for file in (path, *other_versions(path)):
        named = [run for run in runs_in(file, record) if name in (run.label, run.record.id)]
        if named:
            return _select_twin(name, named, record, where)
    if not Path(name).exists():
        if os.sep in name or Path(name).suffix in (".jsonl", *_CHECKPOINTS):
            raise InvalidInput(f"twin={name!r}: nothing is there", where=where, accepted=accepted_twins(path, record))
        there = candidates(path, record)
        warnings.warn(
            f"no run {name!r} in {path}: movement and transfer against it are not logged. "
            + (f"The runs that are there: {there}" if there else "No other run is there")
            + f". twin= takes {FORMS} too",
            stacklevel=3,
        )
        return None
    with reading(name, where):
        runs = {run.key: run for file in record_files(Path(name)) for run in runs_in(file, record)}
    if not runs:
        raise InvalidInput(
            f"twin={name!r}: no records of a run are there", where=where, accepted=accepted_twins(path, record)
        )
    return _select_twin(name, list(runs.values()), record, where)


def twin_of_checkpoint(
    name: str,
    record: RunRecord,
    network: Weights,
    captured: CapturedNetwork,
    plan: AuditPlan,
    path: Path,
) -> Twin:
    """The run whose weights a checkpoint has: audited once, by the same plan at the same points, and kept.

    Args:
        name: the checkpoint's path.
        record: of the training that it is compared with.
        network: that of the training; its module has its own weights again afterwards.
        captured: its network.
        plan: of the training's audit.
        path: the record file that the audit goes to.

    Raises:
        InvalidInput: no such checkpoint, of another network, or saved in the middle of an epoch.
        IncomparableResults: it was trained with a penalty, or from another seed.
    """
    with reading(name, "LipschitzAudit"):
        checkpoint = read_checkpoint(name)
        module, _, (x, y), calibrating = network
        epoch = completed_epochs(checkpoint, name)
    seed, weight = trained_with(checkpoint)
    check_twin(record, RecordedRun(RunRecord(Path(name).stem, seed=seed, weight=weight)))
    weights = {key: value for key, value in checkpoint["state_dict"].items() if hasattr(value, "shape")}
    saved = Snapshot(epoch, checkpoint.get("global_step", 0), weights)
    with reading(name, "LipschitzAudit"), untouched_random_state(), saved.put_into(module):
        frozen = captured.frozen_at(x)
        analysis = frozen_analysis(frozen, plan.problem, x, y)
        calibration = calibration_of(calibrating, captured, Path(name).stem, epoch)
    subjects = [analysis.subject(point) for point in range(len(x))]
    about = json.dumps([frozen.fingerprint(), plan.problem.describe(), subjects])
    twin = Twin(Path(name).stem, hashlib.sha256(about.encode()).hexdigest()[:32], path)
    step, recorded = checkpoint.get("global_step"), read_records(path)
    if calibration is not None:
        calibration = replace(calibration, run_id=twin.id, step=step)
    new_calibrations = [] if calibration is None or calibration in recorded else [calibration]
    before = [r for r in recorded if isinstance(r, AuditRecord) and r.subject in subjects]
    needed = {(point, estimator) for point in range(len(x)) for estimator in (*plan.recipes, COMBINED)}
    if needed <= {(r.point, r.estimator) for r in before if r.run_id == twin.id}:
        RecordFile(path).append(*new_calibrations)
        return twin
    twin_record = RunRecord(
        twin.label,
        seed=seed,
        question=plan.problem.describe(),
        sentence=plan.problem.sentence(),
        settings={"checkpoint": str(Path(name).absolute())},
        id=twin.id,
        start_epoch=epoch,
    )
    audits = audit(frozen, plan, x, y, earlier=[r for r in before if r.question == twin_record.question])
    save_certificates(audits, path.parent)
    RecordFile(path).append(
        twin_record, *new_calibrations, *(r for p in audits for r in p.records(twin.label, epoch, None, twin.id, step))
    )
    return twin


def _select_twin(name: str, runs: Sequence[RecordedRun], record: RunRecord, where: str) -> Twin:
    """The one of several runs that can be the twin.

    Where several can, and their audits are of the same networks, as those of a script that ran twice with one seed, they
    are one twin; else the one that this process has trained is meant.
    """
    fitting = [run for run in runs if _refusal(record, run) is None]
    if not fitting:
        raise _refusal(record, runs[-1]) or ambiguous(name, runs, where)
    if len({_networks(run) for run in fitting}) > 1:
        here = [run for run in fitting if record.process and run.record.process == record.process]
        if len(here) != 1:
            raise ambiguous(name, fitting, where)
        fitting = here
    run = fitting[-1]
    return Twin(run.label, run.record.id, Path(run.source))


def _refusal(record: RunRecord, run: RecordedRun) -> IncomparableResults | None:
    """The error for a run that is no twin, as far as that shows when training begins; None for one that may be."""
    try:
        check_twin(record, run)
        if run.question and not alike(run.question, record.question):
            raise IncomparableResults(
                f"{run.label!r} was audited under another question",
                where="twin",
                accepted="audits of the same question",
                todo=f"It has: {run.record.sentence}" if run.record.sentence else "",
            )
    except IncomparableResults as error:
        return error
    return None


def _networks(run: RecordedRun) -> frozenset[tuple[int, int, str]]:
    return frozenset((r.epoch, r.point, r.subject or r.fingerprint) for r in run.audits)
