"""Sweeps: launchers, one manifest, failed and killed jobs, limits; and every experiment file as a quick run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend import fork_exec
from omegaconf import DictConfig
from rich.console import Console

from experiments.limits import LimitReached, limited
from experiments.sweeps import JobReport, job_folder, of_this_start, planned_jobs, progress, read_job, write_manifest
from experiments.train import REGULARISED, TWIN, train_pair
from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, EpochRecord, RunRecord, read_records
from lipreg.runs import recorded_runs
from tests.conformance.questions import EVERYTHING
from tests.conftest import ROOT
from tests.experiments.programs import Done, command, environment, run_here
from tests.experiments.test_experiments import EXPERIMENTS as FROM_START_TO_REPORT
from tests.experiments.test_mnist import REAL as MNIST
from tests.forks import ForkServer

pytestmark = pytest.mark.usefixtures("undrawn")
CONF = ROOT / "conf"
TINY = ["experiment=smoke", "logger=none", "audit=bounds", "audit.points=1", "model.widths=[64,8,10]"]
TINY += ["audit.estimators=[affine_relu,random_points]", "data.batch_size=400"]


def composed(*overrides: str, with_hydra: bool = True) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=with_hydra)


def given(*overrides: str) -> list[str]:
    return ["-m", *TINY, "trainer.max_epochs=1", *overrides]


def sweep(folder: Path, *overrides: str) -> Done:
    """A sweep, from an empty folder."""
    return run_here(folder, "experiments.train", *given(*overrides))


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- experiments, launchers


EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
LONGER = {*FROM_START_TO_REPORT, "smoke"}
"""Those that run in test_experiments.py and test_train.py too, from start to report."""


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if EVERYTHING or name not in LONGER])
def test_every_experiment_runs(name: str, tmp_path: Path) -> None:
    if name == "study_mnist" and not MNIST.is_dir():
        pytest.skip(f"no digits at {MNIST}; set LIPREG_DATA to the folder that holds mnist/")
    cfg = composed(f"experiment={name}", "debug=fdr", "audit.budget=0.5", with_hydra=False)
    comparison = train_pair(cfg, tmp_path, Console(quiet=True))
    assert comparison.regularised.combined.upper > 0
    records = read_records(tmp_path)
    assert {r.run for r in records if isinstance(r, RunRecord)} == {REGULARISED, TWIN}
    assert {r.point for r in records if isinstance(r, AuditRecord)} == {0}


@pytest.mark.parametrize(
    "launcher, target",
    [
        ("basic", "BasicLauncher"),
        ("joblib", "JoblibLauncher"),
        ("submitit_local", "LocalLauncher"),
        ("slurm", "SlurmLauncher"),
        ("ray", "RayLauncher"),
    ],
)
def test_every_launcher_composes(launcher: str, target: str) -> None:
    assert composed(f"launcher={launcher}").hydra.launcher._target_.endswith(target)


def test_the_number_of_jobs_is_known_beforehand() -> None:
    def planned(*overrides: str) -> int | None:
        cfg = composed(*(o for o in overrides if o.startswith("experiment=")))
        cfg.hydra.overrides.task = list(overrides)
        return planned_jobs(cfg)

    assert planned("seed=0,1,2", "regularizer.weight=0.1,0.2", "model.widths=[64,8,10]") == 6
    assert planned("seed=3") == 1
    assert planned("experiment=weights") == 12
    assert planned("experiment=weights", "seed=5,6") == 8, "the command line replaces the file's values"
    assert planned("experiment=weight_search") == 20
    assert planned("seed=range(4)") == 4


# ---------------------------------------------------------------- sweeps


@pytest.fixture
def forked_jobs(programs: ForkServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The processes of joblib's launcher are forks of one that has loaded torch, and end with the test."""

    def launch(arguments: list[str], descriptors: list[int], env: dict[str, str] | None = None) -> int:
        with open(1, "w", closefd=False) as out, open(2, "w", closefd=False) as err:
            own = {**os.environ, **(env or {})}
            return programs.start(arguments, os.getcwd(), own, (out, err), sorted(set(descriptors))).pid

    monkeypatch.setattr(fork_exec, "fork_exec", launch)
    yield
    get_reusable_executor().shutdown(wait=True)  # they would wait for more


@pytest.mark.usefixtures("forked_jobs")
def test_a_failed_job_is_reported_and_finished_jobs_are_not_done_again(tmp_path: Path) -> None:
    done = sweep(tmp_path, "sweep=two", "problem.region.radius=-1,0.05")
    folder = tmp_path / "runs" / "sweeps" / "two"
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "1 of 2 jobs failed" in said and "Sweep: 2 of 2 jobs done, 1 failed" in said
    listed = manifest(folder)
    assert listed["planned"] == 2 and listed["states"] == {"failed": 1, "finished": 1}
    bad, good = sorted(listed["jobs"], key=lambda job: job["state"])
    assert "problem.region.radius=-1" in bad["overrides"] and "radius -1" in bad["error"]
    assert "InvalidInput" in (folder / bad["folder"] / "error.txt").read_text()
    assert good["result"] > 0 and good["error"] == ""
    trained = [(folder / good["folder"] / f"{run}.ckpt").stat().st_mtime_ns for run in (REGULARISED, TWIN)]
    records = (folder / good["folder"] / "records.jsonl").read_text()

    again = sweep(tmp_path, "sweep=two", "problem.region.radius=0.05,0.1", "launcher=joblib", "hydra.launcher.n_jobs=2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("finished before") == 2
    assert trained == [(folder / good["folder"] / f"{run}.ckpt").stat().st_mtime_ns for run in (REGULARISED, TWIN)]
    assert (folder / good["folder"] / "records.jsonl").read_text() == records
    listed = manifest(folder)
    assert listed["states"] == {"failed": 1, "finished": 2}
    assert len(of_this_start(listed)) == 2
    same = next(job for job in listed["jobs"] if job["folder"] == good["folder"])
    assert (same["attempts"], same["result"]) == (2, good["result"])


def test_folders_of_jobs_have_names_that_file_systems_take_and_that_stay() -> None:
    assert job_folder("seed=0,model.widths=[64,8]") == "seed=0,model.widths=[64,8]"
    long = [",".join(f"a_group.with_a_key_{i}={v}" for i in range(30)) for v in (0, 1)]
    given = [*long, "data.path=/a/b", "data.path=_a_b", "é" * 150]
    names = [job_folder(name) for name in given]
    assert len(set(names)) == len(names) and names == [job_folder(name) for name in given]
    assert all(len(name.encode()) <= 200 and "/" not in name for name in names)
    assert names[0].startswith("a_group.with_a_key_0=0,")


def test_a_sweep_of_many_overrides_has_a_folder_for_each_job(tmp_path: Path) -> None:
    many = [f"++trainer.{key}=null" for key in ("max_time", "plugins", "profiler", "min_epochs")]
    many += [
        "audit.settings.seed=1",
        "data.batch_size=128",
        "problem.region.radius=0.0501",
        "trainer.log_every_n_steps=1",
    ]
    folder = tmp_path / "runs" / "sweeps" / "many"
    for attempt in (1, 2):
        done = sweep(tmp_path, "sweep=many", "seed=0,1", *many)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("finished before") == 4 * (attempt - 1)
    jobs = manifest(folder)["jobs"]
    assert len(jobs) == 2 and all(job["attempts"] == 2 and len(job["folder"]) == 200 for job in jobs)


def test_a_killed_sweep_goes_on(tmp_path: Path, programs: ForkServer) -> None:
    folder = tmp_path / "runs" / "sweeps" / "cut"
    cut = ["sweep=cut", "data.batch_size=64", "seed=0,1", "trainer.max_epochs=4", "audit.every_n_epochs=1"]
    process = programs.start(command("experiments.train", *given(*cut)), tmp_path, environment())
    deadline = time.monotonic() + 600
    while (
        process.poll() is None and time.monotonic() < deadline
    ):  # until the second job's first run has audited something
        second = [path for path in folder.rglob("records.jsonl") if "seed=1" in str(path)]
        if second and any(isinstance(r, EpochRecord) for r in read_records(second[0])):
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    jobs = {report.overrides[-3]: report for path in folder.rglob("job.json") if (report := read_job(path.parent))}
    (first,) = (path.parent for path in folder.rglob("job.json") if "seed=0" in str(path))
    (last,) = (path.parent for path in folder.rglob("job.json") if "seed=1" in str(path))
    assert {report.state for report in jobs.values()} <= {"finished", "running"}
    assert read_job(last).state == "running"  # type: ignore[union-attr]
    kept, written = (first / "records.jsonl").read_text(), (last / "records.jsonl").read_text()
    written = written[: written.rfind("\n") + 1]

    done = sweep(tmp_path, *cut)
    assert done.returncode == 0, done.stdout + done.stderr
    assert manifest(folder)["states"] == {"finished": 2}
    assert (first / "records.jsonl").read_text() == kept
    assert (last / "records.jsonl").read_text().startswith(written), "what was proved counts"
    twin = next(run for run in recorded_runs(read_records(last / "records.jsonl")) if run.label == TWIN)
    assert [r.epoch for r in twin.epochs] == list(range(1, 5))


def test_a_search_takes_failed_jobs_for_the_worst(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the sweeper's plugin is in the extra launchers")
    ranges = "regularizer.weight=choice(0.001,-1.0)"
    done = sweep(tmp_path, "sweeper=optuna", "sweep=search", "hydra.sweeper.n_trials=3", ranges)
    folder = tmp_path / "runs" / "sweeps" / "search"
    assert "Traceback" not in done.stdout + done.stderr
    states = manifest(folder)["states"]
    assert states["finished"] >= 1 and done.returncode == (1 if "failed" in states else 0)
    assert "best_value" in (folder / "optimization_results.yaml").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not EVERYTHING, reason="one launcher with processes is sampled, joblib: make test-all takes both")
def test_jobs_in_processes_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="launcher=submitit_local needs its extra")
    done = sweep(tmp_path, "sweep=other", "problem.region.radius=0.05", "launcher=submitit_local")
    assert done.returncode == 0, done.stdout + done.stderr
    listed = manifest(tmp_path / "runs" / "sweeps" / "other")
    assert listed["states"] == {"finished": 1}


# ---------------------------------------------------------------- account, limits


def test_the_manifest_and_its_words(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"planned": 4, "began": 100.0})
    for k, state in enumerate(("finished", "failed", "running")):
        JobReport([f"seed={k}"], state, 110.0, error="x" if state == "failed" else "").save(tmp_path / f"seed={k}")
    JobReport(["seed=9"], "failed", 50.0).save(tmp_path / "seed=9")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "job.json").write_text("{")
    content = write_manifest(tmp_path)
    assert content["states"] == {"failed": 2, "finished": 1, "running": 1}
    assert [job["folder"] for job in content["jobs"]] == ["seed=0", "seed=1", "seed=2", "seed=9"]
    assert progress(content, now=220.0) == "2 of 4 jobs done, 1 failed, about 2.0 min left"
    assert progress({"jobs": []}) == "0 jobs done"


def test_a_job_is_held_to_its_time() -> None:
    with pytest.raises(LimitReached, match=r"0\.005 minutes"), limited(minutes=0.005):
        while True:
            time.sleep(0.01)
    with limited(minutes=0.005):
        pass
    time.sleep(0.4)  # the alarm is off


def wraps(error: Exception) -> None:
    raise TypeError("unsupported callable") from error


def exits(error: Exception) -> None:
    sys.exit(3)


@pytest.mark.parametrize("made_of_it", [wraps, exits, repr])
def test_whatever_is_made_of_the_end_it_is_the_end(made_of_it: Callable[[Exception], object]) -> None:
    """``inspect.getfullargspec``, which Lightning calls at every step, makes a TypeError of any error inside it."""
    with pytest.raises(LimitReached, match=r"0\.005 minutes"), limited(minutes=0.005):
        try:
            while True:
                time.sleep(0.01)
        except LimitReached as error:
            made_of_it(error)
    with pytest.raises(TypeError, match="unsupported"), limited(minutes=1):
        wraps(ValueError())


def test_a_job_is_held_to_its_memory() -> None:
    with limited(memory_gib=8.0):
        np.ones(10)
        with pytest.raises(MemoryError):
            np.ones(2**31)
        with pytest.raises(RuntimeError, match="allocate"):
            torch.empty(2**34, dtype=torch.uint8)
    assert len(np.empty(2**31)) == 2**31


@pytest.mark.parametrize("wrong", [0, -1.0, True, "1", float("nan"), float("inf")])
def test_limits_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="above 0"), limited(minutes=wrong):
        pass
    with pytest.raises(InvalidInput, match="above 0"), limited(memory_gib=wrong):
        pass


def test_a_job_past_its_limit_is_a_failed_job(tmp_path: Path) -> None:
    done = sweep(tmp_path, "sweep=late", "limits.minutes=0.01", "trainer.max_epochs=2000")
    assert done.returncode == 1, done.stdout + done.stderr
    jobs = manifest(tmp_path / "runs" / "sweeps" / "late")["jobs"]
    assert [job["state"] for job in jobs] == ["failed"]
    assert "time limit of 0.01 minutes" in jobs[0]["error"]
