"""Jobs that are cut short: started again by the same command, they end with the figures of one that was not."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from experiments.attempts import REGULARISED, TWIN
from experiments.progress import RunProgress
from experiments.survival import keep_whole, last_checkpoint
from experiments.sweeps import read_job
from lipreg.disks import FullDisk
from lipreg.records import AuditRecord, EpochRecord, RecordFile, read_records
from lipreg.runs import recorded_runs
from tests.callbacks.cases import Classifier
from tests.disks import no_larger_than
from tests.experiments.programs import Done, command, environment, run_here
from tests.forks import ForkServer

pytestmark = pytest.mark.usefixtures("undrawn")
EPOCHS = 6
TINY = ["experiment=smoke", "logger=none", "audit.points=1", "model.widths=[64,6,10]", f"trainer.max_epochs={EPOCHS}"]
CUT = [
    *TINY,
    "audit.estimators=[affine_relu,branch_and_bound]",
    "audit.every_n_epochs=2",
    "data.batch_size=400",
    "data.validation_share=0.05",
    "checkpoint.every_n_epochs=2",
]
PASSING = ("seconds", "resumed", "asked", "run_id", "step")


def run(folder: Path, *overrides: str) -> Done:
    return run_here(folder, "experiments.train", *CUT, "hydra.run.dir=out", *overrides)


@contextmanager
def cut_short(monkeypatch: pytest.MonkeyPatch, run: str, epoch: int, number: int = signal.SIGTERM) -> Iterator[None]:
    """A signal arrives at the end of an epoch of a run, before its audit and before its checkpoint."""
    usual = RunProgress.on_train_epoch_end

    def end(self: RunProgress, trainer: Any, pl_module: Any) -> None:
        usual(self, trainer, pl_module)
        if (self.run, trainer.current_epoch + 1) == (run, epoch):
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(RunProgress, "on_train_epoch_end", end)
        yield


def figures(folder: Path) -> dict[str, Any]:
    """Everything that a job has found, and its networks."""
    found: dict[str, Any] = {}
    for each in recorded_runs(read_records(folder / "records.jsonl")):
        audits = [{k: v for k, v in vars(r).items() if k not in PASSING} for r in each.audits]
        found[each.label] = audits, [(r.epoch, r.step, r.metrics) for r in each.epochs], len(each.calibrations)
        found[each.label + " weights"] = torch.load(folder / f"{each.label}.ckpt", weights_only=True)["state_dict"]
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other) == [TWIN, TWIN + " weights", REGULARISED, REGULARISED + " weights"]
    for name in (TWIN, REGULARISED):
        assert one[name] == other[name]
        mine, theirs = one[name + " weights"], other[name + " weights"]
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


VARIED = {"dropout": ["regularizer=dropout"], "sampled": ["regularizer.points=16", "schedule=linear"]}


@pytest.fixture(scope="module")
def whole(undrawn: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = {}
    for name, overrides in VARIED.items():
        folder = tmp_path_factory.mktemp(name)
        done = run(folder, *overrides)
        assert done.returncode == 0, done.stdout + done.stderr
        found[name] = figures(folder / "out")
    return found


@pytest.mark.parametrize(
    ("varied", "moments"),
    [
        ("dropout", [(REGULARISED, 4), (REGULARISED, EPOCHS)]),  # draws from torch's own random numbers
        ("sampled", [(TWIN, 1), (TWIN, 3), (REGULARISED, 5)]),  # before any checkpoint; from a generator of its own
    ],
)
def test_a_terminated_job_goes_on_and_ends_with_the_same_figures(
    varied: str,
    moments: list[tuple[str, int]],
    whole: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, before = tmp_path / "out", signal.getsignal(signal.SIGTERM)
    for name, epoch in moments:
        with cut_short(monkeypatch, name, epoch):
            done = run(tmp_path, *VARIED[varied])
        assert done.returncode == 143, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr and "the same command" in done.stdout
        assert signal.getsignal(signal.SIGTERM) == before
        report, last = read_job(folder), last_checkpoint(folder, name)
        assert report is not None and report.state == "interrupted"
        assert last.exists() is (epoch > 2), "as the audit of its epoch, it was not there yet"
        audits = [r for r in read_records(folder) if isinstance(r, AuditRecord) and r.run == name]
        assert {r.epoch for r in audits} == set(range(0, epoch, 2))
        if (name, epoch) == (TWIN, 3):  # as a full disk may leave it
            last.write_bytes(last.read_bytes()[:1000])
        elif name == REGULARISED and len(moments) == 3:
            assert "twin: begins anew, as its last checkpoint is of no use" in done.stdout
    done = run(tmp_path, *VARIED[varied])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{moments[-1][0]}: goes on from out/" in done.stdout
    assert_same(whole[varied], figures(folder))
    assert not list(folder.glob("*.last.ckpt"))
    ids = {(r.run, r.run_id) for r in read_records(folder) if isinstance(r, AuditRecord | EpochRecord)}
    assert len(ids) == 2, "a run is one, however often it is begun"
    attempts = [r for r in read_records(folder) if isinstance(r, AuditRecord) and r.epoch == 0]
    assert len(attempts) == len({(r.run, r.estimator) for r in attempts}), "what is proved is not proved again"


def test_a_process_that_is_terminated_in_the_middle_goes_on(tmp_path: Path, programs: ForkServer) -> None:
    asked = ["experiment=smoke", "logger=none", "audit=bounds", "audit.points=1", "model.widths=[64,6,10]"]
    asked += ["trainer.max_epochs=8", "audit.every_n_epochs=4", "checkpoint.every_n_epochs=2"]
    asked += ["audit.estimators=[affine_relu,random_points]"]
    cut, folder = ["hydra.run.dir=cut", *asked], tmp_path / "cut"
    process = programs.start(command("experiments.train", *cut), tmp_path, environment())
    while process.poll() is None and not last_checkpoint(folder, TWIN).exists():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 143
    for name, given in (("cut", cut), ("whole", ["hydra.run.dir=whole", *asked])):
        done = run_here(tmp_path, "experiments.train", *given)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("twin: goes on from cut/" in done.stdout) is (name == "cut")
    assert_same(figures(tmp_path / "whole"), figures(folder))


def test_a_full_disk_is_a_paragraph_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RecordFile, *records: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    monkeypatch.setattr(RecordFile, "append", full)
    done = run(tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "FullDisk: " in said and "records.jsonl: No space left on device (" in said
    assert " free). Make room there, and start the same again" in said


def full(self: CSVLogger) -> None:
    raise OSError(errno.ENOSPC, "File too large")


@pytest.mark.parametrize(("logger", "room", "named"), [("none", 12_000, ".partial: "), ("csv", -1, "out: ")])
def test_what_was_computed_before_a_disk_is_full_stays(
    logger: str, room: int, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["audit=bounds", "audit.points=1", f"logger={logger}"]
    with no_larger_than(room), monkeypatch.context() as patch:
        patch.setattr(CSVLogger, "save", full)  # whose errors name no file, and which ends with another one
        patch.setattr("lipreg.auditing.journal.EVERY", 0.0)  # points in work are written at once
        done = run(tmp_path, *asked)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert said.count("File too large (") == 1 and f"{named}" in said and "Make room there" in said
    done = run(tmp_path, *asked)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_checkpoint_for_which_there_is_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    keep_whole(trainer)
    trainer.strategy.connect(Classifier())
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path, weights_only=True)
    before = path.read_bytes()
    with no_larger_than(1000), pytest.raises(FullDisk, match=r"last\.ckpt: File too large"):
        trainer.save_checkpoint(path, weights_only=True)
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]
