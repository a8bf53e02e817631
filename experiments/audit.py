"""Audits a saved network at many points, in several processes; cut short, it goes on where it was.

python -m experiments.audit network.weights=runs/2026-01-31/12-00-00/regularised.ckpt
python -m experiments.audit network.weights=... audit=parallel audit.executor.count=4 audit.points=200 audit.budget=600
python -m experiments.audit network.model=nets:Net network.weights=w.pt data=file data.path=d.npz audit.points=200
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.choices import check_like
from experiments.programs import made, progress_bar, said, start
from experiments.saved import called, epoch_of
from lipreg.auditing import COMBINED, AuditPlan, AuditProgress, PointAudit, audit
from lipreg.auditing.lock import RecordLock
from lipreg.auditing.points import certificate_sentences, save_certificates
from lipreg.auditing.reference_points import PointRecords
from lipreg.calibration import CalibrationPoints
from lipreg.callbacks.audit_log import AuditLog
from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.calibrating import calibration_of, calibration_points
from lipreg.callbacks.whole_data import WholeData, whole_data
from lipreg.command.points import reference_points, validation_loader
from lipreg.errors import InvalidInput
from lipreg.estimators import usual_estimators
from lipreg.graph import capture
from lipreg.points import Inputs, Points
from lipreg.population.wording import population_sentences
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, RecordFile, RunRecord, read_records
from lipreg.results import Certificate
from lipreg.words import capitalised


def audit_checkpoint(cfg: DictConfig, console: Console) -> list[PointAudit]:
    """Audits the network of ``cfg`` and writes the records; shows the points done and the seconds left.

    While an audit runs, everything proved is also in ``<name>.partial``, in the order in which it came: the record file has
    the points in their own order, and one of the first may be the last to be done.
    """
    problem: LocalLipschitz = instantiate(cfg.problem)
    asked = cfg.audit
    log = AuditLog.of(made(asked.log), "audit")
    names = tuple(asked.estimators or usual_estimators(problem))
    beside: dict[str, Any] = {"attack": log.attack, "certificates": log.certificates}
    plan = AuditPlan(problem, names, made(asked.budget), made(asked.settings), **beside)
    executor = made(asked.executor)
    network, trained = instantiate(cfg.network), epoch_of(cfg.network)
    (x, y), calibrating, whole = _points(cfg, problem, log)
    (name, parent), epoch = called(cfg.network), trained or 0
    folder = Path(cfg.folder or parent / "audits")
    with RecordLock(folder / f"{name}.jsonl"):
        records, partial = RecordFile(folder / f"{name}.jsonl"), RecordFile(folder / f"{name}.partial")
        known = read_records([records.path, partial.path])
        earlier = [r for r in known if isinstance(r, AuditRecord)]
        run = f"audit of {name}"
        inputs = PointRecords(x, run, "") if Points.of(made(cfg.audit.points), "audit").keep else {}
        console.print(f"[bold]Question:[/] {problem.sentence()}", highlight=False)
        with progress_bar(console, "points") as bar:
            shown = bar.add_task("", total=len(x), state="")

            def advance(progress: AuditProgress) -> None:
                partial.append(*progress.point.records(run, epoch))
                bar.update(shown, completed=progress.done, state=f"at most {progress.seconds_left:.0f} s")

            def keep(point: PointAudit) -> None:
                save_certificates([point], folder)
                own = [inputs[point.point]] if inputs else []
                records.append(*(each for each in own if each not in known), *point.records(run, epoch))

            own = RunRecord(run, question=problem.describe(), sentence=problem.sentence(), of_training=False)
            if trained is None and own not in known:
                records.append(own)
            calibration = calibration_of(calibrating, capture(network, x), run, epoch)
            if calibration is not None and calibration not in known:
                records.append(calibration)
            points = audit(network, plan, x, y, keep, executor=executor, earlier=earlier, on_progress=advance)
        partial.path.unlink()
        drawn = None if whole is None else whole.record(points, run, "", epoch)
        if drawn is not None and drawn not in known:
            records.append(drawn)
    console.print(summary(points), Text(f"records: {records.path}"), soft_wrap=True)
    for sentence in certificate_sentences(points):
        console.print(capitalised(sentence), highlight=False)
    for sentence in [] if drawn is None else population_sentences(drawn):
        console.print(f"{capitalised(sentence)}.", highlight=False)
    return points


def summary(points: Sequence[PointAudit]) -> Table:
    """Means over the points for each estimator, and how many points are exact."""
    exact = sum(p.combined.certificate is Certificate.EXACT for p in points)
    resumed = sum(bool(p.resumed) for p in points)
    title = f"{exact} of {len(points)} point{'s' * (len(points) != 1)} exact" + (
        f", {resumed} resumed" if resumed else ""
    )
    table = Table(title=title, title_justify="left")
    for heading in ("", "mean lower end", "mean upper end", "mean gap", "unfinished", "seconds"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in sorted(points[0].intervals, key=lambda n: n != COMBINED):
        found = [p.intervals[name] for p in points]
        ends = [sum(getattr(i, end) for i in found) / len(found) for end in ("lower", "upper", "gap")]
        unfinished = sum(i.status.value in ("time limit", "interrupted", "failed") for i in found)
        seconds = sum(p.seconds[name] for p in points)
        table.add_row(name, *(f"{value:.5g}" for value in ends), str(unfinished), f"{seconds:.1f}")
    return table


def _points(
    cfg: DictConfig, problem: LocalLipschitz, log: AuditLog
) -> tuple[Inputs, CalibrationPoints | None, WholeData | None]:
    """The reference points, those that the outputs are calibrated with, and the data of which something is to be said."""
    data, asked = instantiate(cfg.data), cfg.audit
    points = Points.of(made(asked.points), "audit")
    if points.count is None:
        raise InvalidInput(f"points={points.which!r}", where="audit", accepted="a number of points")
    seed = asked.settings.seed if points.seed is None else points.seed
    if points.confidence is not None and isinstance(data, tuple):
        todo = "Write lipreg audit ... --until 60 --confidence 0.95, which draws points of a file"
        got = f"confidence={points.confidence} and a file, whose first points are taken"
        raise InvalidInput(got, where="audit", accepted="points that are drawn", todo=todo)
    drawn = reference_points(data, points.count, seed, problem.output, whole=points.confidence is not None)
    if isinstance(data, tuple):
        return drawn, None, None
    loader = validation_loader(data)
    whole = whole_data(loader, replace(points, seed=seed), drawn[0], where="audit")
    if log.calibration is None:
        return drawn, None, whole
    held_out = replace(Points.of(log.calibration, "audit"), seed=seed)
    return drawn, calibration_points(loader, held_out, batch_to_inputs, drawn, problem), whole


@hydra.main(config_path="../conf", config_name="audit_checkpoint", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Exit code 1 for what cannot be audited, 130 after a Ctrl-C."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    console = Console()
    with said(console, "Interrupted. What was proved so far is kept; the same command goes on from there."):
        check_like(cfg, "audit_checkpoint")
        audit_checkpoint(cfg, console)


if __name__ == "__main__":
    start(main, "audit_checkpoint")
