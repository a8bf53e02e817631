"""What the dashboards get: the same scalars for W&B, TensorBoard and CSV, read back from what each has written."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from experiments.workspace import COLUMNS, SETTINGS, specification, workspace
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, RunRecord, read_records
from lipreg.regions import LinfBall
from lipreg.reporting.panels import picture
from lipreg.transfer import compare
from tests.callbacks.cases import Validating

PROBLEM = LocalLipschitz(LinfBall(0.2, low=0.0, high=1.0))


class Model(Validating):
    """A small network on 4 x 4 images, flattened."""

    def __init__(self) -> None:
        net = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        super().__init__(net, rate=0.05)


@dataclass(frozen=True)
class Logged:
    """The folder of a run that was logged three ways, its W&B log as ``wandb leet`` prints it, and that of its twin."""

    folder: Path
    wandb: list[dict[str, Any]]
    twin: list[dict[str, Any]]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Rows of the W&B history that have the metric."""
        return [e["history"]["item"] for e in self.wandb if e["type"] == "history" and name in e["history"]["item"]]


WEIGHT = 0.003


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder, patch = tmp_path_factory.mktemp("logged"), pytest.MonkeyPatch()
    patch.setenv("WANDB_SILENT", "true")
    patch.delenv("WANDB_DATA_DIR", raising=False)
    patch.setenv("XDG_DATA_HOME", str(folder / "home"))  # where W&B would let tables and their images wait
    of_twin = folder / "of_twin"
    of_twin.mkdir()
    for name, weight in (("twin", 0.0), ("run", WEIGHT)):
        pl.seed_everything(3, verbose=False)
        draw = torch.Generator().manual_seed(2)
        x = torch.rand(600, 16, generator=draw)  # of classes that can be told, but not always, so that T is defined
        data = TensorDataset(x, (x[:, :3] + 0.2 * torch.randn(600, 3, generator=draw)).argmax(1))
        regularizer = LipschitzRegularizer(PROBLEM, weight=weight)
        audit = LipschitzAudit(
            PROBLEM,
            points=3,
            estimators=("branch_and_bound", "lp", "random_points"),
            every_n_epochs=2,
            run=name,
            twin="twin" if name == "run" else None,
            folder=str(folder),
        )
        loggers: list[Any] = [WandbLogger(save_dir=of_twin, offline=True, project="lipreg")] if name == "twin" else [
            WandbLogger(save_dir=folder, offline=True, project="lipreg"),
            TensorBoardLogger(folder, name="board", default_hp_metric=False),
            CSVLogger(folder, name="csv"),
        ]  # fmt: skip
        quiet: dict[str, Any] = dict.fromkeys(
            ("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
        )
        trainer = pl.Trainer(
            max_epochs=4,
            accelerator="cpu",
            logger=loggers,
            callbacks=[regularizer, audit],
            default_root_dir=folder,
            log_every_n_steps=1,
            **quiet,
        )
        trainer.fit(Model(), DataLoader(data, batch_size=300), DataLoader(data, batch_size=600))
        for logger in loggers:
            logger.experiment.finish() if isinstance(logger, WandbLogger) else logger.finalize("success")
    patch.undo()
    yield Logged(folder, read_back(folder), read_back(folder / "of_twin"))


def read_back(folder: Path) -> list[dict[str, Any]]:
    """What the offline run below a folder has logged."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    leet = Path(sys.executable).parent / "wandb"
    done = subprocess.run([leet, "leet", "inspect", "--json", run], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def csv_rows(folder: Path) -> list[dict[str, str]]:
    (path,) = (folder / "csv").rglob("metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


AUDITED = (
    *("combined_lower", "combined_upper", "branch_and_bound_lower", "branch_and_bound_upper", "lp", "affine_relu"),
    *("random_points", "bound", "tightness", "share_exact", "seconds", "epoch"),
)


def test_w_and_b_keeps_what_the_records_say(logged: Logged) -> None:
    audits = [r for r in read_records(logged.folder / "records.jsonl") if isinstance(r, AuditRecord) and r.run == "run"]
    rows = logged.rows("audit/combined_upper")
    assert [row["audit/epoch"] for row in rows] == [0, 2, 4]
    for row in rows:
        assert {f"audit/{name}" for name in AUDITED} <= row.keys()
        told = [r for r in audits if r.epoch == row["audit/epoch"]]
        at = {e: np.array([r.upper for r in told if r.estimator == e]) for e in ("combined", "lp", "affine_relu")}
        mean = {e: np.mean(uppers) for e, uppers in at.items()}
        assert row["audit/combined_upper"] == pytest.approx(mean["combined"])
        assert row["audit/lp"] == pytest.approx(mean["lp"])
        assert row["audit/bound"] == row["audit/affine_relu"] == pytest.approx(mean["affine_relu"])
        assert row["audit/tightness"] == pytest.approx(geometric_mean(at["affine_relu"] / at["combined"]))


def test_audits_have_their_own_axis(logged: Logged) -> None:
    axes = {e["metric"]["name"]: e["metric"].get("step_metric") for e in logged.wandb if "name" in e.get("metric", {})}
    assert "audit/epoch" in axes
    for name in (*AUDITED[:-1], "transfer", "transfer_lower", "movement_upper", "bound_movement"):
        assert axes[f"audit/{name}"] == "audit/epoch", name


def test_tables_stand_at_the_epoch_and_the_step_of_their_audit_and_in_the_run_s_folder(logged: Logged) -> None:
    scalars = {row["audit/epoch"]: row for row in logged.rows("audit/combined_upper")}
    for table in ("audit/points", "audit/records"):
        rows = [
            row for row in (e["history"]["item"] for e in logged.wandb if e["type"] == "history") if _has(row, table)
        ]
        assert [row["audit/epoch"] for row in rows] == [0, 2, 4]
        for row in rows:
            beside = scalars[row["audit/epoch"]]
            for name in ("trainer/global_step", "epoch"):
                assert row.get(name) == beside.get(name), (table, name)
    (run,) = (logged.folder / "wandb").glob("offline-run-*")
    artifacts = [e["artifact"] for e in logged.wandb if e["type"] == "artifact"]
    staged = [Path(c["local_path"]) for a in artifacts for c in a["manifest"]["contents"]]
    assert len(staged) > 6 and all(path.is_relative_to(run) and path.is_file() for path in staged)
    assert "WANDB_DATA_DIR" not in os.environ


def _has(row: dict[str, Any], table: str) -> bool:
    return any(name.partition(".")[0] == table for name in row)


def test_transfer_is_that_of_the_comparison(logged: Logged) -> None:
    both = read_records(logged.folder / "records.jsonl")
    told = {r.run: (r.twin, r.bound, r.weight) for r in both if isinstance(r, RunRecord)}
    assert told == {"run": ("twin", "affine_relu", WEIGHT), "twin": (None, "affine_relu", 0.0)}
    rows = logged.rows("audit/bound_movement")
    assert [row["audit/epoch"] for row in rows] == [0, 2, 4]
    assert "audit/transfer" not in rows[0]  # the same weights: nothing has moved
    for row in rows[1:]:
        comparison = compare(both, "run", int(row["audit/epoch"]))
        moved, free, mine = comparison.movement, comparison.calibrated.movement, comparison.regularised
        assert free.combined is not None and mine.calibrated is not None and mine.margin_over_constant is not None
        assert row["audit/calibrated_movement_upper"] == pytest.approx(free.combined.upper)
        assert row["audit/calibrated_bound_movement"] == pytest.approx(free.bound)
        assert row["audit/calibrated_upper"] == pytest.approx(mine.calibrated.upper)
        assert row["audit/margin_over_constant"] == pytest.approx(mine.margin_over_constant.lower)
        assert moved.combined is not None and moved.transfer is not None
        assert row["audit/bound_movement"] == pytest.approx(moved.bound)
        assert row["audit/movement_lower"] == pytest.approx(moved.combined.lower)
        assert row["audit/transfer_upper"] == pytest.approx(moved.transfer.upper)
        assert row["audit/transfer"] == pytest.approx(moved.transfer.midpoint)


def test_the_summary_has_what_sweeps_sort_by(logged: Logged) -> None:
    summary: dict[str, Any] = {}
    for entry in logged.wandb:
        summary |= entry.get("summary", {}).get("update", {})
    last = logged.rows("audit/combined_upper")[-1]
    for name in (c for c in COLUMNS if c.startswith("audit/")):
        assert summary[name] == last[name]
    assert summary["val_accuracy"] == logged.rows("val_accuracy")[-1]["val_accuracy"]
    assert summary["lipreg/weight"] == pytest.approx(WEIGHT)


def settings(events: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in events:
        found |= entry.get("config", {}).get("update", {})
    return found


def test_filters_tell_a_run_from_its_twin_and_pairs_them(logged: Logged) -> None:
    own, twin = settings(logged.wandb), settings(logged.twin)
    assert (own["lipreg_role"], twin["lipreg_role"]) == ("with penalty", "without penalty")
    assert own["lipreg_pair"] == twin["lipreg_pair"] == twin["lipreg_run_id"] != own["lipreg_run_id"]
    assert (own["lipreg_weight"], twin["lipreg_weight"]) == (WEIGHT, 0.0)
    assert own["lipreg_quantity"] == own["lipreg_bound"] == "affine_relu" and own["lipreg_seed"] == 3
    runs = [r for r in read_records(logged.folder / "records.jsonl") if isinstance(r, RunRecord)]
    assert {r.id for r in runs} == {own["lipreg_run_id"], twin["lipreg_run_id"]}
    assert set(SETTINGS) <= own.keys(), "what the workspace shows"


def test_tensorboard_has_settings_beside_the_metrics(logged: Logged) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import plugin_data_pb2

    (events,) = (logged.folder / "board").rglob("events.out*")
    board = accumulator.EventAccumulator(str(events))
    board.Reload()
    read = plugin_data_pb2.HParamsPluginData.FromString
    told = {
        tag.rpartition("/")[2]: read(board.SummaryMetadata(tag).plugin_data.content)
        for tag in ("_hparams_/session_start_info", "_hparams_/experiment")
    }
    values = told["session_start_info"].session_start_info.hparams
    assert values["lipreg_role"].string_value == "with penalty" and values["lipreg_seed"].number_value == 3
    assert values["lipreg_weight"].number_value == WEIGHT
    metrics = {info.name.tag for info in told["experiment"].experiment.metric_infos}
    assert {"audit/combined_upper", "audit/margin_over_constant"} <= metrics <= set(board.Tags()["scalars"])


def test_each_point_has_a_row_with_its_image_and_its_witness(logged: Logged) -> None:
    artifacts = [e["artifact"] for e in logged.wandb if e["type"] == "artifact"]
    last = [a for a in artifacts if "auditpoints" in a["name"]][-1]
    files = {c["path"]: Path(c["local_path"]) for c in last["manifest"]["contents"]}
    table = json.loads(files["audit/points.table.json"].read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    audits = read_records(logged.folder / "records.jsonl")
    saved = [
        r for r in audits if isinstance(r, AuditRecord) and (r.run, r.epoch, r.estimator) == ("run", 4, "combined")
    ]
    assert [(r["point"], r["class"], r["lower"], r["upper"], r["certificate"]) for r in rows] == [
        (r.point, r.label, r.lower, r.upper, r.certificate) for r in saved
    ]
    for row, record in zip(rows, saved, strict=True):
        assert row["tightness"] == pytest.approx(row["bound"] / record.upper, rel=1e-12) and row["tightness"] > 1.01
        image, witness = (np.asarray(Image.open(files[row[kind]["path"]])) for kind in ("image", "witness"))
        assert image.shape == witness.shape == (96, 96)
        seen = witness[::24, ::24].reshape(-1) / 255
        assert seen == pytest.approx(np.asarray(record.witness), abs=0.5 / 255 + 1e-9)
        assert np.abs(image[::24, ::24].reshape(-1) / 255 - seen).max() <= 0.2 + 1 / 255  # within the region


def test_all_loggers_get_the_same_scalars(logged: Logged) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (events,) = (logged.folder / "board").rglob("events.out*")
    board = accumulator.EventAccumulator(str(events))
    board.Reload()
    tags = set(board.Tags()["scalars"])
    rows = csv_rows(logged.folder)
    names = {name for row in rows for name in row} - {"step"}
    assert {f"audit/{name}" for name in AUDITED} | {"val_accuracy", "lipreg/weight", "audit/transfer"} <= names
    assert names <= tags
    for name in sorted(names):
        column = [float(row[name]) for row in rows if row[name]]
        assert [event.value for event in board.Scalars(name)] == pytest.approx(column, rel=1e-6), name
        if not name.endswith("epoch"):  # W&B has these beside its tables, too
            assert [row[name] for row in logged.rows(name)] == pytest.approx(column, rel=1e-6), name


def test_pictures() -> None:
    grey = picture(np.arange(16) / 15, (16,), 0.0, 1.0)
    assert grey is not None and grey.shape == (96, 96) and grey.dtype == np.uint8
    assert (grey[0, 0], grey[-1, -1], grey[0, -1]) == (0, 255, round(255 * 3 / 15))
    colour = picture(np.stack([np.zeros((32, 32)), np.ones((32, 32)), np.full((32, 32), 0.5)]), (3, 32, 32), 0.0, 1.0)
    assert colour is not None and colour.shape == (96, 96, 3) and colour[5, 7].tolist() == [0, 255, 128]
    own_range = picture([[-2.0, 2.0], [0.0, math.pi / 2]], (2, 2))
    assert own_range is not None and (own_range.min(), own_range.max()) == (0, 255)
    constant = picture(np.ones(16), (16,))
    assert constant is not None and not constant.any()
    assert picture(np.ones(12), (12,)) is None and picture(np.ones(24), (2, 3, 4)) is None


def test_the_workspace_shows_nothing_that_is_not_logged(logged: Logged) -> None:
    pytest.importorskip("wandb_workspaces")
    spec = specification(workspace("team", "lipreg", "a name"))
    shown = set(re.findall(r"\b(?:audit|lipreg)/[a-z_]+|val_accuracy", spec))
    assert len(shown) >= 17
    history = {name for e in logged.wandb if e["type"] == "history" for name in e["history"]["item"]}
    tables = {name.partition(".")[0] for name in history}
    assert shown - {"audit/report"} <= history | tables, "the report is logged by experiments.train"
