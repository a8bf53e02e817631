"""The W&B workspace: built and written without a network, with the panels and the order that a sweep is read by."""

from __future__ import annotations

import io
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from experiments.workspace import COLUMNS, SORTED_BY, specification, workspace, write
from lipreg.errors import InvalidInput, MissingExtra
from tests.conftest import ROOT
from tests.experiments.programs import run_there
from tests.forks import ForkServer


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def config(**changes: Any) -> Any:
    return OmegaConf.merge(OmegaConf.load(ROOT / "conf" / "workspace.yaml"), changes)


@pytest.mark.usefixtures("_offline")
def test_the_specification_has_the_panels_and_the_sweep_views(tmp_path: Path, programs: ForkServer) -> None:
    pytest.importorskip("wandb_workspaces")
    done = run_there(programs, tmp_path, "experiments.workspace", "spec=workspace.json", "entity=team")
    assert done.returncode == 0, done.stdout + done.stderr
    spec = json.loads((tmp_path / "workspace.json").read_text(encoding="utf-8"))
    assert (spec["entity"], spec["project"]) == ("team", "lipreg")
    section = spec["spec"]["section"]
    training, sweep, points = section["panelBankConfig"]["sections"]
    lines = [panel["config"] for panel in training["panels"]]
    assert {panel["viewType"] for panel in training["panels"]} == {"Run History Line Plot"}
    drawn = {metric for line in lines for metric in line["metrics"]}
    assert {"audit/bound", "audit/lp", "audit/combined_lower", "audit/combined_upper", "audit/tightness"} <= drawn
    assert {"audit/transfer", "val_accuracy", "lipreg/weight"} <= drawn
    first = [metric for line in lines[:5] for metric in line["metrics"]]
    assert {"audit/margin_over_constant", "audit/calibrated_upper", "audit/calibrated_transfer"} <= set(first)
    assert {"audit/certified_lower", "audit/certified_closed", "audit/attacked"} <= set(first)
    for line in lines:
        own = all(metric.startswith("audit/") for metric in line["metrics"])
        assert line["xAxis"] == ("audit/epoch" if own else "epoch")
        assert (line["groupAgg"], line["groupArea"]) == ("mean", "minmax")
    kinds = {panel["viewType"] for panel in sweep["panels"]}
    assert {"Scatter Plot", "Parallel Coordinates Plot", "Parameter Importance", "Bar Chart"} <= kinds
    (runs,) = section["runSets"]
    assert runs["sort"]["keys"] == [{"key": {"section": "summary", "name": SORTED_BY}, "ascending": False}]
    assert all(runs["runFeed"]["columnPinned"][f"summary:{name}"] for name in COLUMNS)
    assert [group["name"] for group in runs["grouping"]] == ["lipreg_role.value", "lipreg_weight.value"]
    assert "audit/points" in json.dumps(points) and "audit/records" in json.dumps(points)


@pytest.mark.usefixtures("_offline")
def test_the_same_panels_each_time() -> None:
    pytest.importorskip("wandb_workspaces")

    def panels() -> list[Any]:
        sections = json.loads(specification(workspace("a", "b", "c")))["spec"]["section"]["panelBankConfig"]["sections"]
        return [(panel["viewType"], panel["config"]) for section in sections for panel in section["panels"]]

    assert panels() == panels()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="entity="):
        write(config(), Console(file=io.StringIO()))
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(MissingExtra, match=r"lipreg\[workspace\]"):
        workspace("a", "b", "c")
