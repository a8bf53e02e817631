"""The comparison of estimators as a program: its settings, a small run with all its files, a kill, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.estimators import __main__ as program
from experiments.estimators import views
from experiments.estimators.networks import bundled, reference_points, sizes
from experiments.estimators.tightness import rows_of
from experiments.models import Classifier
from lipreg.auditing import Processes
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import ESTIMATORS
from lipreg.outputs import AllMargins
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from tests.conftest import ROOT
from tests.experiments.programs import command, environment
from tests.forks import ForkServer

SETTINGS = sorted(file.stem for file in (ROOT / "conf" / "setting").glob("*.yaml"))
SMALL = (
    *("setting=clusters", "data.dimension=3", "data.classes=3", "data.leaders=3", "nets=[{widths:[3,5,3],epochs:1}]"),
    *("points=1", "radii=[0.05,0.2]", "norms=[inf,2]", "workers=1"),
)


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("estimators", overrides=list(overrides))


def compared(folder: Path, *overrides: str) -> tuple[list[dict[str, Any]], str]:
    """The rows of the summary, and what was said."""
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    summary = program.compare(composed(*SMALL, f"folder={folder}", *overrides), console)
    return rows_of(summary), console.export_text()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], str]:
    """All estimators on a small question, with every kind of output."""
    folder = tmp_path_factory.mktemp("estimators")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        return folder, *compared(folder, "logger=wandb_offline", "tables=[csv,parquet]")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn, which takes as long as the rest of a run this small."""
    monkeypatch.setattr(views, "save", lambda figure, path: path)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_composes_and_its_networks_fit_its_data(setting: str) -> None:
    cfg = composed(f"setting={setting}")
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert cfg.folder == f"runs/estimators/{setting}"
    data = instantiate(cfg.data)
    inputs = torch.Size(data.input_shape).numel()
    for net in cfg.nets:
        assert (net.widths[0], net.widths[-1]) == (inputs, data.classes) and net.epochs >= 1
    if cfg.axis is not None:
        found = [sizes(Classifier(net.widths))[cfg.axis] for net in cfg.nets]
        assert found == sorted(set(found)) and len(found) >= 4


def test_the_networks_of_the_first_paper_are_there() -> None:
    for setting, reference in (("mnist", "data"), ("mnist_cube", "cube")):
        cfg = composed(f"setting={setting}")
        assert [list(net.widths) for net in cfg.nets] == [[784, 20, 20, 2], [784, 8, 8, 8, 8, 2]]
        assert (list(cfg.data.classes), cfg.reference) == ([1, 7], reference)


def test_a_network_is_trained_once_and_points_are_the_seeds(tmp_path: Path) -> None:
    cfg = composed(*SMALL, f"folder={tmp_path}")
    data = instantiate(cfg.data)
    data.setup("fit")
    console = Console(file=open(os.devnull, "w"))  # noqa: SIM115
    (name, first), (_, again) = (bundled(cfg.nets[0], cfg, data, console) for _ in range(2))
    assert name == "3-5-3" and len(list((tmp_path / "networks").iterdir())) == 1
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    untrained = bundled(OmegaConf.create({"widths": [3, 5, 3], "epochs": 0}), cfg, data, console)[1]
    assert not torch.equal(untrained.net[0].weight, first.net[0].weight)  # type: ignore[arg-type, union-attr]
    assert sizes(first) == {"inputs": 3, "hidden layers": 1, "units a layer": 5}
    assert sizes(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 2), torch.nn.Flatten(), torch.nn.Linear(4, 2))) == {}
    x, y = reference_points(first, data, "data", 4, 0)
    held = {tuple(point.tolist()): int(label) for point, label in data.validation_set}
    assert [held[tuple(point.tolist())] for point in x] == y.tolist()
    x, y = reference_points(first, data, "cube", 50, 0)
    assert x.shape == (50, 3) and 0 <= x.min() < 0.1 and 0.9 < x.max() <= 1
    assert torch.equal(y, first(x).argmax(1))


# ---------------------------------------------------------------- a run


def test_every_estimator_has_a_row_in_every_question(small: tuple[Path, list[dict[str, Any]], str]) -> None:
    _, rows, said = small
    questions = {(row["scope"], row["p"], row["radius"]) for row in rows}
    assert len(questions) == 8
    for scope, p, radius in questions:
        mine = [row for row in rows if (row["scope"], row["p"], row["radius"]) == (scope, p, radius)]
        assert {row["estimator"] for row in mine} == set(ESTIMATORS)
        problem = LocalLipschitz(LinfBall(radius, low=0.0, high=1.0), AllMargins(), scope, p=float(p))
        for row in mine:
            covers = ESTIMATORS[row["estimator"]].uncovered(problem) is None
            assert (row["certificate"] != "refused") == covers, row["estimator"]
    assert 0 < said.index("Refused by mip") < said.index("1 of 8: "), "before any work"
    assert "Refused by mip_pointed: scope 'regional' is not covered; it covers 'pointed'" in said


def test_lower_ends_exact_values_and_upper_ends_are_in_order(small: tuple[Path, list[dict[str, Any]], str]) -> None:
    cells = rows_of(pd.read_csv(small[0] / "cells.csv", dtype={"p": str}))
    assert len(cells) == sum(row["points"] for row in small[1]) > 50
    for cell in cells:
        assert cell["lower"] <= cell["truth_lower"] <= cell["truth_upper"] <= cell["upper"], cell["estimator"]
        assert cell["status"] != "failed" or cell["certificate"] == "estimate", cell["detail"]
        if cell["scope"] == "regional":
            assert cell["exact"], "an engine finishes so small a network"
    pointed = {(c["p"], c["radius"], c["point"]): c["truth_lower"] for c in cells if c["scope"] == "pointed"}
    for cell in cells:
        if cell["scope"] == "regional":
            assert pointed[cell["p"], cell["radius"], cell["point"]] <= cell["truth_upper"] * (1 + 1e-9)


def test_files_figures_and_dashboard(small: tuple[Path, list[dict[str, Any]], str]) -> None:
    folder, rows, said = small
    for name in ("tables.md", "cells.csv", "summary.parquet", "radius_3-5-3.png", "seconds_3-5-3.png"):
        assert (folder / name).stat().st_size > 0 and name in said
    assert len(pd.read_parquet(folder / "summary.parquet")) == len(rows)
    assert "| constant |" in (folder / "tables.md").read_text(encoding="utf-8")
    assert len(list((folder / "wandb").rglob("*.table.json"))) == 2
    (table,) = (folder / "wandb").rglob("cells_*.table.json")
    assert len(json.loads(table.read_text())["data"]) == sum(row["points"] for row in rows)


@pytest.mark.usefixtures("undrawn")
def test_a_second_run_measures_nothing(
    small: tuple[Path, list[dict[str, Any]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows, _ = small
    monkeypatch.setattr(Processes, "begin", lambda *_: pytest.fail("nothing is left to do"))
    assert str(compared(folder)[0]) == str(rows), "as text, where NaN equals NaN"
    fewer, said = compared(folder, "estimators=[fastlip,branch_and_bound]", "scopes=[regional]", "radii=[0.05]")
    assert {row["estimator"] for row in fewer} == {"fastlip", "branch_and_bound"} and len(fewer) == 4
    assert "radius_" not in said, "one radius is no line"


@pytest.mark.usefixtures("undrawn")
def test_a_killed_run_goes_on(tmp_path: Path, programs: ForkServer) -> None:
    overrides = ("radii=[0.3]", "norms=[inf]", "scopes=[regional]", "estimators=[spectral,sampling,mip]")
    overrides += ("nets=[{widths:[3,8,3],epochs:0}]", "points=6", f"folder={tmp_path}")
    path, end = tmp_path / "cells.jsonl", time.monotonic() + 600
    process = programs.start(command("experiments.estimators", *SMALL, *overrides), tmp_path, environment())
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.read_text().count('"kind": "audit"') >= 3:
            break
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "in the middle of its work"
    before = path.read_text().splitlines()
    rows, _ = compared(tmp_path, *overrides)
    assert [(row["points"], row["known"]) for row in rows] == [(6, 6)] * 3
    kept, after = (
        [(r["estimator"], r["point"]) for r in map(json.loads, lines) if r["kind"] == "audit"]
        for lines in (before[:-1], path.read_text().splitlines())
    )
    assert 2 <= len(kept) < 18 and len(after) == len(set(after)) == 18, "each cell was measured once"


def test_an_interrupted_run_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "measure", interrupt)
    with pytest.raises(SystemExit) as ended:
        program.main.__wrapped__(composed(*SMALL, f"folder={tmp_path}"))  # type: ignore[attr-defined]
    assert ended.value.code == 130 and "the same command goes on from there" in capsys.readouterr().out


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "overrides, kind, says",
    [
        (("estimators=[mip_pointed]", "scopes=[regional]"), UnsupportedRequest, "scope 'regional' is not covered"),
        (("estimators=[magic]",), InvalidInput, "magic"),
        (("estimators=fastlip",), InvalidInput, "a list of names"),
        (("reference=moon",), InvalidInput, "random points of the unit cube"),
        (("nets=[]",), InvalidInput, "no networks"),
        (("radii=[]",), InvalidInput, "no questions"),
        (("nets=[{widths:[4,5,3],epochs:1}]",), InvalidInput, "from the data's inputs to its classes"),
        (("norms=[3]",), InvalidInput, "3"),
        (("nets=[{widths:[3,5,3]}]",), InvalidInput, "epochs: n"),
        (("nets=[{width:[3,5,3],epochs:1}]",), InvalidInput, "epochs: n"),
        (("nets=[{widths:[3,5,3],epochs:-1}]",), InvalidInput, "at least 0"),
        (("points=0",), InvalidInput, "points=0"),
        (("points=few",), InvalidInput, "points='few'"),
        (("radii=0.1",), InvalidInput, r"a list: radii=\[0.1\]"),
        (("budget=-1",), InvalidInput, "seconds=-1.0"),
        (("workers=0",), InvalidInput, "count=0"),
        (("solver=nope",), InvalidInput, "nope"),
        (("sdp_solver=nope",), InvalidInput, "nope"),
        (("tables=[xls]",), InvalidInput, "csv, parquet"),
        (("logger=csv",), InvalidInput, "wandb_offline"),
        (("again=[magic]",), InvalidInput, "magic"),
        (
            ("network=checkpoint", "network.weights=/nowhere/net.ckpt"),
            InstantiationException,
            "cannot read /nowhere/net.ckpt",
        ),
    ],
)
def test_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], kind: type[Exception], says: str
) -> None:
    monkeypatch.setattr(Processes, "begin", lambda *_: pytest.fail("work was started"))
    overrides = ("nets=[{widths:[3,5,3],epochs:0}]", *overrides)
    with pytest.raises(kind, match=says):
        compared(tmp_path, *overrides)


@pytest.mark.usefixtures("undrawn")
def test_a_checkpoint_takes_the_place_of_the_networks(tmp_path: Path) -> None:
    cfg = composed(*SMALL, f"folder={tmp_path}", "nets=[{widths:[3,5,3],epochs:0}]")
    data = instantiate(cfg.data)
    data.setup("fit")
    bundled(cfg.nets[0], cfg, data, Console(file=open(os.devnull, "w")))  # noqa: SIM115
    (written,) = (tmp_path / "networks").iterdir()
    path = written.rename(tmp_path / "mine.ckpt")
    network = "network=checkpoint", f"network.weights={path}"
    rows, _ = compared(tmp_path / "out", *network, "estimators=[fastlip]", "norms=[inf]", "radii=[0.1]")
    assert {row["network"] for row in rows} == {"mine"} and not (tmp_path / "out" / "networks").exists()
