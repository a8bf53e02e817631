"""What is installed: lipreg with its configuration groups, from which other people's programs take the callbacks."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from lipreg.records import AuditRecord, RunRecord, read_records, read_sources
from lipreg.reporting.runs import find_entries
from tests.conftest import ROOT
from tests.forks import ForkServer

HYDRA_PROGRAM = """
import hydra
import pytorch_lightning as pl
from hydra.utils import instantiate
from torch import nn, optim

from lipreg.data import DigitsDataModule


class Plain(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return optim.Adam(self.parameters())


@hydra.main(config_path=".", config_name="config", version_base="1.3")
def main(cfg):
    callbacks = [instantiate(entry) for entry in cfg.callbacks.values()]
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=False)
    trainer.fit(Plain(), DigitsDataModule())
    print("regularised with", callbacks[-2].bound, "over", callbacks[-1].problem.sentence())


main()
"""
HYDRA_CONFIG = """
defaults:
  - _self_
hydra:
  searchpath: [pkg://lipreg.conf]
  run: {dir: out}
trainer:
  _target_: pytorch_lightning.Trainer
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  enable_checkpointing: false
  default_root_dir: out
"""
EVERY_FILE = """
from importlib.resources import files
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

import lipreg.conf

SHARED = {"audit", "regularizer"}  # their objects ask for the question
NESTED = {"penalty", "schedule"}  # parts of the regularizer


def targets(node):
    if isinstance(node, dict):
        yield from ([node["_target_"]] if "_target_" in node else [])
        node = list(node.values())
    for entry in node if isinstance(node, list) else ():
        yield from targets(entry)


def made(group, option):
    if group == "callbacks":
        cfg = compose("config", [f"+callbacks={option}"])
        return cfg, [instantiate(entry) for entry in cfg.callbacks.values()]
    if group in NESTED:
        own = f"+{group}@callbacks.lipschitz_regularizer={option}"
        cfg = compose("config", ["+callbacks=lipreg", own])
        alone = compose("config", ["+problem=linf_margins", "+regularizer=affine_relu", f"+{group}={option}"])
        assert alone.regularizer[group] == cfg.callbacks.lipschitz_regularizer[group]
        return cfg, [instantiate(cfg.callbacks.lipschitz_regularizer)]
    if f"{group}/{option}" == "regularizer/affine_relu_pointed":  # which chooses question and audit, too
        cfg = compose("config", ["+problem=linf_margins", "+audit=exact", "+regularizer=affine_relu_pointed"])
        assert cfg.problem.scope == "pointed"
        return cfg, [instantiate(cfg.regularizer, _partial_=True)(problem=instantiate(cfg.problem))]
    scope = "linf_margins_pointed" if option.endswith("pointed") else "linf_margins"
    cfg = compose("config", [f"+{group}={option}", *([f"+problem={scope}"] if group in SHARED else [])])
    own = instantiate(cfg[group], _partial_=group in SHARED)
    return cfg, [own(problem=instantiate(cfg.problem)) if group in SHARED else own]


with initialize_config_dir(str(Path.cwd()), version_base="1.3"):
    for group in sorted(entry.name for entry in files(lipreg.conf).iterdir() if entry.is_dir()):
        for file in sorted(entry.name for entry in (files(lipreg.conf) / group).iterdir()):
            if file.endswith(".yaml"):
                cfg, objects = made(group, file.removesuffix(".yaml"))
                plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
                assert all(name.startswith("lipreg.") for name in targets(plain)), plain
                print(f"{group}/{file}", *(type(thing).__name__ for thing in objects))
"""
CLI_PROGRAM = """
from lipreg.data import DigitsDataModule  # before the package whose command line takes it
import torch
import PACKAGE as pl
from PACKAGE.cli import LightningCLI

class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

LightningCLI(Classifier, DigitsDataModule, save_config_callback=None)
"""
QUIET = ["logger=false", "enable_progress_bar=false", "enable_model_summary=false", "enable_checkpointing=false"]


class Run:
    """Runs a program of a folder, with the library at ``library``, and returns what it prints."""

    def __init__(self, programs: ForkServer) -> None:
        self._programs = programs

    def __call__(self, folder: Path, library: Path, *arguments: str, program: Sequence[str] = ("program.py",)) -> str:
        variables = {**os.environ, "PYTHONPATH": str(library), "OMP_NUM_THREADS": "1"}
        done = self._programs.run([sys.executable, *program, *arguments], folder, variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def run(programs: ForkServer) -> Run:
    return Run(programs)


def test_the_wheel_holds_every_configuration_file_once(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "lipreg" / "conf").rglob("*.yaml")}
    assert ours and {name for name in names if name.endswith(".yaml")} == ours
    assert len(names) == len(set(names))
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"lipreg"}


def test_every_configuration_file_is_good_for_a_program_of_ones_own(tmp_path: Path, unpacked: Path, run: Run) -> None:
    pytest.importorskip("ray", reason="audit=ray needs it: pip install lipreg[ray]")
    (tmp_path / "config.yaml").write_text("hydra: {searchpath: [pkg://lipreg.conf]}\n", encoding="utf-8")
    (tmp_path / "program.py").write_text(EVERY_FILE, encoding="utf-8")
    printed = run(tmp_path, unpacked)
    kinds = dict(line.split(" ", 1) for line in printed.splitlines())
    folder = unpacked / "lipreg" / "conf"
    assert set(kinds) == {str(path.relative_to(folder)) for path in folder.rglob("*.yaml")}
    of_group = {"audit": "LipschitzAudit", "data": "DigitsDataModule", "problem": "LocalLipschitz"}
    of_group["callbacks"] = "LipschitzRegularizer LipschitzAudit"
    for file, kind in kinds.items():
        assert kind == of_group.get(file.partition("/")[0], "LipschitzRegularizer"), file


@pytest.mark.parametrize("installed", ["beside callbacks of its own", "wheel"])
def test_a_hydra_program_of_ones_own_takes_the_callbacks_by_search_path(
    installed: str, tmp_path: Path, unpacked: Path, run: Run
) -> None:
    library = unpacked if installed == "wheel" else ROOT
    (tmp_path / "program.py").write_text(HYDRA_PROGRAM, encoding="utf-8")
    config, choice = HYDRA_CONFIG, "+callbacks=lipreg"
    if installed != "wheel":
        (tmp_path / "callbacks").mkdir()
        (tmp_path / "callbacks" / "timer.yaml").write_text("timer: {_target_: pytorch_lightning.callbacks.Timer}\n")
        config, choice = config.replace("  - _self_", "  - callbacks: timer\n  - _self_"), "callbacks=[timer,lipreg]"
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    changed = ["audit@callbacks.lipschitz_audit=bounds", "callbacks.lipschitz_audit.points=1"]
    other = ["regularizer@callbacks.lipschitz_regularizer=fastlip", "problem.region.radius=0.125"]
    printed = run(tmp_path, library, choice, *changed, *other)
    assert "regularised with fastlip over" in printed
    assert "0.125" in printed
    audits = [r for r in read_records(tmp_path / "out") if isinstance(r, AuditRecord)]
    assert {r.epoch for r in audits} == {0, 1}
    assert {r.estimator for r in audits if r.penalised} == {"fastlip"}


@pytest.mark.parametrize("package", ["pytorch_lightning", "lightning.pytorch"])
def test_lightning_cli_takes_the_callbacks_by_typed_arguments(tmp_path: Path, package: str, run: Run) -> None:
    pytest.importorskip(
        "jsonargparse", reason="LightningCLI needs jsonargparse: pip install 'jsonargparse[signatures]'"
    )
    (tmp_path / "program.py").write_text(CLI_PROGRAM.replace("PACKAGE", package), encoding="utf-8")
    (page,) = re.findall(r"```yaml\n(trainer:.*?)```", (ROOT / "docs" / "sweeps.md").read_text(), flags=re.DOTALL)
    (tmp_path / "config.yaml").write_text(page, encoding="utf-8")
    run(tmp_path, ROOT, "fit", "--config", "config.yaml", *(f"--trainer.{word}" for word in (*QUIET, "max_epochs=1")))
    records = read_records(tmp_path)
    (trained,) = [r for r in records if isinstance(r, RunRecord)]
    assert (trained.bound, trained.twin) == ("affine_relu", None)
    hinge, linear = trained.settings["lipreg"]
    assert (hinge, linear["kind"]) == ({"kind": "hinge", "target": 1.0}, "linear")
    audits = [r for r in records if isinstance(r, AuditRecord)]
    assert {(r.epoch, r.point) for r in audits} == {(e, p) for e in (0, 1) for p in range(2)}
    assert all(r.penalised for r in audits if r.estimator == "affine_relu")


def test_a_project_of_somebody_else_s_trains_with_it_and_reports(tmp_path: Path, unpacked: Path, run: Run) -> None:
    """tests/template knows of lipreg in its configuration alone: a twin and a penalised run of two seeds, with an average
    of the weights, a checkpoint and torchmetrics, by Hydra and in the ``lightning`` namespace."""
    library, project = unpacked, tmp_path / "project"
    shutil.copytree(ROOT / "tests" / "template", project, ignore=shutil.ignore_patterns("__pycache__"))
    run(project, library, "lipschitz=plain,penalised", "seed=0,1", "-m", program=("-m", "moons.train"))
    printed = run(project, library, "runs", program=("-m", "moons.report"))
    assert str(library) in printed  # the wheel's, not the checkout's

    entries, left_out = find_entries(read_sources(project / "runs").files)
    assert not left_out
    assert sorted(entry.regularised.run.label for entry in entries) == ["penalised, seed 0", "penalised, seed 1"]
    for entry in entries:
        seed = entry.regularised.run.record.seed
        assert entry.twin is not None and entry.last is not None
        assert (entry.twin.run.label, entry.twin.run.record.seed) == (f"plain, seed {seed}", seed)
        assert entry.regularised.bound == "affine_relu"
        assert entry.regularised.run.record.weight == 0.02
        start, last = entry.comparisons[0], entry.last
        assert start.movement.bound == pytest.approx(1.0)  # both begin as the same network
        assert last.epoch == 6
        moved = last.movement
        assert moved.combined is not None and moved.bound is not None and moved.transfer is not None
        assert moved.bound < 0.9 and moved.combined.upper < 1.0
        with (project / f"runs/penalised_{seed}/csv/version_0/metrics.csv").open() as file:
            logged = [row for row in csv.DictReader(file) if row["val/acc"]]
        assert last.regularised.metric == pytest.approx(float(logged[-1]["val/acc"]))
    page = (project / "report.html").read_text(encoding="utf-8")
    for text in ("plain, seed 0", "plain, seed 1", "alidation accuracy", "Transfer"):
        assert text in page
