"""SIGTERM where jobs have processes of their own: what was proved stays, and the same command goes on where it was."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import checkpoints
from benchmarks.environment import read_result
from experiments import survival
from experiments.attempts import REGULARISED, TWIN
from experiments.mistakes import mistake
from experiments.survival import end_spawned, last_checkpoint
from experiments.sweeps import read_job
from lipreg.records import AuditRecord, read_records
from tests.conformance.questions import EVERYTHING
from tests.experiments.deaf import deaf
from tests.experiments.programs import Done, command, environment, run_there
from tests.forks import ForkServer

EPOCHS = 20
TINY = ["experiment=smoke", "logger=none", "audit=bounds", "audit.points=1", "model.widths=[64,6,10]"]
TINY += ["audit.estimators=[affine_relu,random_points]"]
TINY += [f"trainer.max_epochs={EPOCHS}", "audit.every_n_epochs=5", "checkpoint.every_n_epochs=1"]
whole_matrix = pytest.mark.skipif(not EVERYTHING, reason="launchers with processes take minutes: make test-all")


def checkpoints_of(folder: Path) -> list[Path]:
    return list(folder.rglob("*.last.ckpt"))


def cut_short(programs: ForkServer, folder: Path, given: list[str], ends: Callable[[int], list[int]], jobs: int) -> int:
    """Starts a program, ends processes when each job has a checkpoint, and gives the exit code."""
    process = programs.start(command("experiments.train", *given), folder, environment())
    deadline = time.monotonic() + 300
    while process.poll() is None and len(checkpoints_of(folder)) < jobs and time.monotonic() < deadline:
        time.sleep(0.02)
    for number in ends(process.pid):
        os.kill(number, signal.SIGTERM)
    return process.wait()


def audits(folder: Path) -> list[AuditRecord]:
    return [r for r in read_records(folder) if isinstance(r, AuditRecord)]


def went_on(programs: ForkServer, folder: Path, given: list[str], jobs: list[Path]) -> Done:
    """The same command again: both runs of each job come to their end, and what was recorded before is there."""
    before = {job: audits(job) for job in jobs}
    assert all(before.values())
    done = run_there(programs, folder, "experiments.train", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    for job, kept in before.items():
        after = audits(job)
        assert after[: len(kept)] == kept
        assert {(r.run, r.epoch) for r in after} == {(run, at) for run in (TWIN, REGULARISED) for at in range(0, 21, 5)}
        assert not checkpoints_of(job)
    return done


@pytest.mark.slow
@whole_matrix
def test_two_training_processes_that_are_spawned(tmp_path: Path, programs: ForkServer) -> None:
    given = [*TINY, "+trainer.strategy=ddp_spawn", "trainer.devices=2", "hydra.run.dir=out"]
    assert cut_short(programs, tmp_path, given, lambda own: [own], 1) == 143
    job = tmp_path / "out"
    assert read_job(job).state == "interrupted" and last_checkpoint(job, TWIN).exists()  # type: ignore[union-attr]
    went_on(programs, tmp_path, given, [job])


@pytest.mark.slow
@whole_matrix
@pytest.mark.parametrize(
    ("launcher", "whom", "code"),
    [("joblib", "program", 143), ("joblib", "jobs", 143), ("submitit_local", "jobs", 1)],
)
def test_jobs_of_a_launcher(launcher: str, whom: str, code: int, tmp_path: Path, programs: ForkServer) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="launchers need their extra")
    given = ["-m", "sweep=cut", "seed=0,1", f"launcher={launcher}", *TINY]

    def ends(own: int) -> list[int]:
        reports = [read_job(path.parent) for path in tmp_path.rglob("job.json")]
        return [own] if whom == "program" else [report.process for report in reports if report is not None]

    assert cut_short(programs, tmp_path, given, ends, 2) == code
    jobs = sorted(path.parent for path in tmp_path.rglob("job.json"))
    states = {read_job(job).state for job in jobs}  # type: ignore[union-attr]
    assert len(jobs) == 2 and states <= ({"running", "interrupted"} if whom == "program" else {"interrupted"})
    went_on(programs, tmp_path, given, jobs)


def test_a_launcher_s_word_on_a_job_that_was_ended_is_a_sentence() -> None:
    class UncompletedJobError(RuntimeError):
        """As submitit's."""

    said = mistake(UncompletedJobError("Job 7 (task: 0) with path x has not produced any output"))
    assert said is not None and "The same command goes on where its jobs were." in str(said)


def test_spawned_processes_end_with_their_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=time.sleep, args=(600,))
    process.start()
    end_spawned(SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=[process]))))  # type: ignore[arg-type]
    assert process.exitcode == -signal.SIGTERM
    ready = spawn.Event()
    stubborn = spawn.Process(target=deaf, args=(ready,))
    stubborn.start()
    assert ready.wait(120)
    monkeypatch.setattr(survival, "_GRACE", 0.1)
    end_spawned(SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=[stubborn]))))  # type: ignore[arg-type]
    assert stubborn.exitcode == -signal.SIGKILL
    end_spawned(SimpleNamespace(strategy=SimpleNamespace(launcher=None)))  # type: ignore[arg-type]


def test_the_cost_of_checkpoints_in_the_page_is_what_was_measured() -> None:
    assert checkpoints.table(read_result(checkpoints.NAME)) in checkpoints.PAGE.read_text(encoding="utf-8")
