"""The radius command, from a checkpoint to its table and file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from experiments.models import Classifier
from experiments.radius import asked_for, found_radii
from lipreg.command.radii import radii_text
from tests.conftest import ROOT
from tests.experiments.programs import run_here, run_there
from tests.experiments.test_train import composed_as
from tests.forks import ForkServer


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "net.ckpt"
    torch.save({"state_dict": Classifier().state_dict()}, path)
    return path


def test_the_command_writes_a_radius_for_each_point(checkpoint: Path, tmp_path: Path, programs: ForkServer) -> None:
    done = run_there(
        programs, ROOT, "experiments.radius", f"network.weights={checkpoint}", "points=3", f"hydra.run.dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    assert "certified radius" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "radius.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and all(line["radius"] >= 0 for line in lines)


def test_points_and_norm_are_options(checkpoint: Path) -> None:
    cfg = composed_as("radius", f"network.weights={checkpoint}", "points=5", "p=inf", "bounds=[fastlip]")
    found = found_radii(cfg, Console(file=io.StringIO()))
    text = radii_text(found, asked_for(cfg))
    assert len(found) == 5 and text.startswith("certified radius in l∞") and text.count("\n") == 7


def test_a_missing_checkpoint_is_said() -> None:
    done = run_here(ROOT, "experiments.radius", "network.weights=nowhere.ckpt")
    assert done.returncode == 1 and "nowhere.ckpt" in done.stdout
