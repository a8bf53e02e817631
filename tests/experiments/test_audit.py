"""The audit of a checkpoint: records beside it, going on after a kill, and errors in a paragraph."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import socket
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from rich.console import Console

from experiments.audit import audit_checkpoint
from experiments.models import Classifier
from lipreg import certify
from lipreg.auditing import COMBINED
from lipreg.data import DigitsDataModule
from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, PopulationRecord, RunRecord, read_records
from tests.auditing.processes import command_line, descendants, wait_until_dead
from tests.conformance.questions import of_test_all
from tests.conftest import ROOT
from tests.experiments.programs import command, environment, run_here
from tests.forks import ForkServer
from tests.loading.test_networks import Net

has_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: lipreg[ray]")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of a small network."""
    folder = tmp_path_factory.mktemp("trained")
    pl.seed_everything(0, verbose=False)
    quiet: dict[str, Any] = dict.fromkeys(
        ("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, default_root_dir=folder, **quiet)
    trainer.fit(Classifier([64, 12, 12, 10]), datamodule=DigitsDataModule())
    trainer.save_checkpoint(folder / "small.ckpt")
    return folder / "small.ckpt"


def composed(checkpoint: Path, folder: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("audit_checkpoint", overrides=[f"network.weights={checkpoint}", f"folder={folder}", *overrides])


def audited(checkpoint: Path, folder: Path, *overrides: str) -> tuple[list[Any], str]:
    cfg = composed(checkpoint, folder, "audit.points=2", *overrides)
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    return audit_checkpoint(cfg, console), console.export_text()


def records(folder: Path) -> list[AuditRecord]:
    return [r for r in read_records(folder / "small.jsonl") if isinstance(r, AuditRecord)]


def test_records_a_summary_and_the_points_of_training(checkpoint: Path, tmp_path: Path) -> None:
    points, said = audited(checkpoint, tmp_path)
    assert "2 of 2 points exact" in said
    written = records(tmp_path)
    assert {(r.run, r.epoch) for r in written} == {("audit of small", 2)}
    assert [r.point for r in written if r.estimator == COMBINED] == [0, 1]
    assert not (tmp_path / "small.partial").exists()
    assert all(r.engine.startswith("HiGHS") for r in written if r.estimator == "mip")
    more, said = audited(checkpoint, tmp_path, "audit.points=3")
    assert "3 of 3 points exact, 2 resumed" in said
    assert [p.combined.lower for p in more[:2]] == [p.combined.lower for p in points]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        other, said = audited(checkpoint, tmp_path, "problem.region.radius=0.02")
    assert "resumed" not in said
    assert any("the question is another one" in str(w.message) for w in caught)
    assert other[0].combined.upper < points[0].combined.upper


def test_what_holds_for_all_of_the_data(checkpoint: Path, tmp_path: Path) -> None:
    wanted = ["audit.points.which=30", "audit.points.confidence=0.9", "audit=bounds", "audit.estimators=[affine_relu]"]
    cfg = composed(checkpoint, tmp_path, *wanted)
    for _ in range(2):  # the second finds all of it in the records
        console = Console(record=True, width=400, file=open(os.devnull, "w"))  # noqa: SIM115
        points = audit_checkpoint(cfg, console)
        assert "30 of the 360 points of the data set were drawn at random (seed 0)" in console.export_text()
    (drawn,) = [r for r in read_records(tmp_path / "small.jsonl") if isinstance(r, PopulationRecord)]
    assert (drawn.size, drawn.confidence, len(drawn.drawn)) == (360, 0.9, 30)
    data = DigitsDataModule()
    data.setup("fit")
    dataset: Any = data.val_dataloader().dataset
    loaded = Classifier.load_from_checkpoint(checkpoint).eval()
    x, y = (torch.stack([torch.as_tensor(dataset[i][part]) for i in drawn.drawn]) for part in (0, 1))
    own = certify(loaded, points[0].combined.problem, x, y, estimator="affine_relu")
    assert drawn.high == pytest.approx([interval.upper for interval in own])
    torch.save({"x": torch.rand(3, 64), "y": torch.tensor([0, 1, 2])}, tmp_path / "d.pt")
    with pytest.raises(InvalidInput, match=r"a file, whose first points are taken.*--until 60"):
        audit_checkpoint(
            composed(checkpoint, tmp_path, "data=file", f"data.path={tmp_path / 'd.pt'}", *wanted), Console()
        )


def test_a_network_and_points_of_files_are_of_no_training(tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    torch.save({"x": torch.rand(3, 4), "y": torch.tensor([0, 1, 2])}, tmp_path / "d.pt")
    network = ["network.model=tests.loading.test_networks:Net", "network.module=body"]
    points = ["data=file", f"data.path={tmp_path / 'd.pt'}", "audit.points=2", "audit=bounds"]
    audited(tmp_path / "w.pt", tmp_path, *network, *points)
    kept = read_records(tmp_path / "w.jsonl")
    (run,) = [r for r in kept if isinstance(r, RunRecord)]
    assert not run.of_training and run.run == "audit of w"
    assert {r.point for r in kept if isinstance(r, AuditRecord)} == {0, 1}
    audited(tmp_path / "w.pt", tmp_path, *network, *points)
    assert [r for r in read_records(tmp_path / "w.jsonl") if isinstance(r, RunRecord)] == [run]
    with pytest.raises(InvalidInput, match="9 points asked for, and 3 there"):
        audited(tmp_path / "w.pt", tmp_path, *network, *points, "audit.points=9")


def test_a_network_that_has_its_weights_with_it(tmp_path: Path) -> None:
    torch.save({"x": torch.rand(1, 4), "y": torch.tensor([0])}, tmp_path / "d.pt")
    overrides = [
        "network=file",
        "network.model=tests.loading.test_networks:make",
        "network.arguments={hidden: 3}",
        "network.module=body",
    ]
    overrides += ["data=file", f"data.path={tmp_path / 'd.pt'}", "audit.points=1", "audit=bounds"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("audit_checkpoint", overrides=[*overrides, f"folder={tmp_path}"])
    audit_checkpoint(cfg, Console(file=io.StringIO()))
    assert read_records(tmp_path / "make.jsonl")


def test_two_processes_do_not_write_the_same_records(checkpoint: Path, tmp_path: Path) -> None:
    held = json.dumps({"pid": os.getppid(), "host": socket.gethostname()})
    (tmp_path / "small.jsonl.lock").write_text(held)
    with pytest.raises(InvalidInput, match=f"process {os.getppid()} on"):
        audited(checkpoint, tmp_path)
    assert not (tmp_path / "small.jsonl").exists()


def test_it_takes_the_solver_of_the_configuration(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InstantiationException, match="nope"):
        audited(checkpoint, tmp_path, "audit.settings.solver=nope")
    pytest.importorskip("gurobipy")
    audited(checkpoint, tmp_path, "audit.settings.solver=gurobi", "audit.points=1", "audit.estimators=[mip]")
    (written,) = [r for r in records(tmp_path) if r.estimator == "mip"]
    assert written.engine.startswith("Gurobi")
    assert written.asked["solver"] == "gurobi"


@pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=[has_ray, of_test_all])])
def test_after_a_kill_it_goes_on(checkpoint: Path, tmp_path: Path, executor: str, programs: ForkServer) -> None:
    given = [
        *(f"network.weights={checkpoint}", f"folder={tmp_path}", "audit.executor.count=2"),
        f"audit={'ray' if executor == 'ray' else 'parallel'}",
        *(
            "audit.points=6",
            "audit.budget=600",
            "problem.region.radius=0.06",
            "audit.estimators=[mip,lp,random_points]",
        ),
    ]
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    killed = programs.start(command("experiments.audit", *given), cwd, environment())
    partial, end = tmp_path / "small.partial", time.monotonic() + 600
    while killed.poll() is None and time.monotonic() < end:
        if partial.exists() and partial.read_text().count('"estimator": "mip"') > 2:
            break
        time.sleep(0.05)
    # Ray's own agents look for their parent now and then, and end within a minute
    below = {pid for pid in descendants(killed.pid) - {killed.pid} if "Agent" not in command_line(pid)}
    assert len(below) >= 2, "the workers"
    killed.kill()
    killed.wait()
    assert partial.exists(), "killed in the middle"
    # the records do not say who searches
    done = run_here(cwd, "experiments.audit", *(word.replace("audit=ray", "audit=parallel") for word in given))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed" in done.stdout
    assert list(cwd.iterdir()) == [], "nothing is left in the working directory"
    assert not partial.exists()
    last = {r.point: r for r in records(tmp_path) if r.estimator == "mip"}
    assert sorted(last) == list(range(6))
    assert any(r.resumed for r in last.values()) and not all(r.resumed for r in last.values())
    assert wait_until_dead(below)


@pytest.mark.parametrize(
    "overrides, says",
    [
        (("network.weights=/nowhere/net.ckpt",), "cannot read /nowhere/net.ckpt"),
        (("audit=parallel", "audit.executor.count=0"), "count=0"),
        (("audit.estimators=[magic]",), "magic"),
    ],
)
def test_what_cannot_be_audited(checkpoint: Path, tmp_path: Path, overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises((InvalidInput, InstantiationException), match=says):  # the program shows the first alone
        audited(checkpoint, tmp_path, *overrides)


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    for name, said in (
        ("other", "has no place for weights"),
        ("text", "a checkpoint that a Lightning trainer has saved"),
    ):
        with pytest.raises(InstantiationException, match=said):
            audited(tmp_path / f"{name}.ckpt", tmp_path)
