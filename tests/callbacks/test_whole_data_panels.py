"""The distribution over all of the validation data in W&B and TensorBoard: read back from what they have written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch.utils.data import DataLoader

from lipreg import LinfBall, LocalLipschitz, Points
from lipreg.callbacks import LipschitzAudit
from lipreg.callbacks.logs import _show_whole_data
from lipreg.records import PopulationRecord, read_records
from lipreg.reporting.population import band, population_page
from lipreg.reporting.population_figure import population_figure
from tests.callbacks.cases import Validating, batches
from tests.callbacks.test_whole_data import data


def record() -> PopulationRecord:
    """Four of five points drawn, one of them not proved; all five constants are known to be 1 to 9 at least and most."""
    low: list[float] = [2.0, 3.0, 4.0, 5.0]
    high: list[float | None] = [2.0, 3.5, None, 5.0]
    least, most = [1.0] * 5, list[float | None]([9.0] * 5)
    return PopulationRecord(
        "net", 3, 5, 0, 0.9, "planned", "4 points are drawn", True, [4, 2, 0, 1], low, high, least, most
    )


def test_the_band_holds_the_distribution_of_every_data_set_that_fits() -> None:
    told = record()
    found = band(told.sample)
    assert found is not None and (found.values[0], found.values[-1]) == (1.0, 9.0)
    assert (found.low <= found.high).all() and (np.diff(found.low) >= 0).all() and (np.diff(found.high) >= 0).all()
    for last in (1.0, 9.0):  # the point that was not drawn, wherever it lies
        for third in (4.0, 9.0):  # and the one that is not proved
            truth = np.array([2.0, 3.2, third, 5.0, last])
            share = (truth[None] <= found.values[:, None]).mean(1)
            assert ((found.low <= share + 1e-12) & (share <= found.high + 1e-12)).all()


def test_page_and_figure_show_the_band() -> None:
    told = record()
    found = band(told.sample)
    page = population_page(told)
    (corners,) = re.findall(r'<polygon points="([^"]+)"', page)
    assert found is not None and len(corners.split()) == 2 * len(found.values)
    assert "<script" not in page and "--run:#0072b2" in page and "4 of the 5 points" in page and "NaN" not in page
    figure = population_figure(told)
    lines = {line.get_gid(): line.get_ydata() for line in figure.axes[0].lines}
    assert lines["low"] == pytest.approx(found.low) and lines["high"] == pytest.approx(found.high)
    unknown = PopulationRecord("net", 0, 5, 0, 0.9, "planned", "", True, [1], [-np.inf], [None], [], [])
    assert "Nothing is known" in population_page(unknown) and not population_figure(unknown).axes[0].lines


def test_loggers_keep_statements_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    boards: list[Any] = [
        WandbLogger(save_dir=tmp_path, offline=True, project="lipreg"),
        TensorBoardLogger(tmp_path, name="board", default_hp_metric=False),
    ]
    audit = LipschitzAudit(
        LocalLipschitz(LinfBall(0.1)), Points(12, seed=3, confidence=0.9), ["affine_relu"], 30.0, folder=str(tmp_path)
    )
    quiet: Any = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=boards, callbacks=[audit], default_root_dir=str(tmp_path), **quiet
    )
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    trainer.fit(Validating(net, 0.01), DataLoader(batches(), batch_size=None), data())  # type: ignore[arg-type]
    boards[0].experiment.finish()
    boards[1].finalize("success")
    told = [r for r in read_records(tmp_path / "records.jsonl") if isinstance(r, PopulationRecord)]
    assert [r.epoch for r in told] == [0, 1]

    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    pages = sorted((run / "files" / "media" / "html" / "audit").glob("whole_data*.html"))
    assert sorted(page.read_text() for page in pages) == sorted(map(population_page, told))
    leet = Path(sys.executable).parent / "wandb"
    done = subprocess.run([leet, "leet", "inspect", "--json", run], capture_output=True, text=True, timeout=600)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [line["history"]["item"] for line in lines if line["type"] == "history"]
    shown = [row for row in rows if any(name.startswith("audit/whole_data") for name in row)]
    assert [row["audit/epoch"] for row in shown] == [0, 1]

    (events,) = (tmp_path / "board").rglob("events.out*")
    board = accumulator.EventAccumulator(str(events))
    board.Reload()
    images = board.Images("audit/whole_data")
    assert [image.step for image in images] == [0, 1] and all(image.width > 300 for image in images)
    (text,) = (tag for tag in board.Tags()["tensors"] if tag.startswith("audit/whole_data"))
    said = [event.tensor_proto.string_val[0].decode() for event in board.Tensors(text)]
    assert all("12 of the 30 points of the data set were drawn" in words for words in said) and len(said) == 2


def test_without_matplotlib_the_statements_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Board:
        def add_text(self, tag: str, text: str, step: int) -> None:
            shown.append(f"{tag} {step} {text}")

    for name in ("lipreg.reporting.population_figure", "lipreg.reporting.plotting"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _show_whole_data(Board(), "audit/whole_data", record())
    (said,) = shown
    assert said.startswith("audit/whole_data 3 4 of the 5 points") and "- The median" in said
