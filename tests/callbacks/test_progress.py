"""The bar of an audit: in Lightning's bar and in Rich's, with the time left; one quiet line where there is no terminal."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import rich
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar

from lipreg.callbacks import LipschitzAudit
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, read_records
from lipreg.regions import LinfBall
from tests.callbacks.cases import Classifier, batches, feed

POINTS = 3


class Terminal(io.StringIO):
    """What a terminal would be told."""

    def isatty(self) -> bool:
        return True


class Validated(Classifier):
    """With validation, which has a bar of its own."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))


def train(folder: Path, *bars: pl.Callback, first: bool = True, **settings: Any) -> pl.Trainer:
    x, y = batches(1)[0]
    audit = LipschitzAudit(
        LocalLipschitz(LinfBall(0.1)),
        points=(x[:POINTS], y[:POINTS]),
        estimators=("fastlip", "random_points"),
        folder=str(folder),
    )
    callbacks = [audit, *bars] if first else [*bars, audit]
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary"), False)
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **quiet, **settings)
    trainer.fit(Validated(), feed(batches()), feed(batches(1)))
    audited = [r for r in read_records(folder / "records.jsonl") if isinstance(r, AuditRecord)]
    assert len(audited) == 3 * POINTS * 3
    return trainer


@pytest.fixture
def _own_console() -> Iterator[None]:
    """Lightning's Rich bar configures the console that all of Rich shares; this puts it back."""
    before = dict(vars(rich.get_console()))
    yield
    vars(rich.get_console()).update(before)


@pytest.mark.usefixtures("_own_console")
@pytest.mark.parametrize("first", [True, False])
def test_rich_s_bar_has_a_line_for_the_audit(tmp_path: Path, first: bool, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Terminal()
    bar = RichProgressBar(console_kwargs={"file": screen, "force_terminal": True, "width": 120})
    train(tmp_path, bar, first=first)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    for epoch in (1, 2) if first else (0, 1):  # the first and the last may come while Lightning's bar is not on screen
        (line, *_) = [text for text in said.splitlines() if f"audit, epoch {epoch}, at most" in text]
        assert re.search(r"at most \d+ s left", line) and f"/{POINTS}" in line
        assert re.search(r"\d:\d\d:\d\d • (\d:\d\d:\d\d|-:--:--)", line), "time taken and time left"
    assert "Epoch 1/1" in said


def test_lightning_s_bar_has_a_line_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    train(tmp_path, TQDMProgressBar())
    said = screen.getvalue()
    for epoch in (0, 1, 2):
        lines = [text for text in re.split(r"[\r\n]", said) if f"audit, epoch {epoch}" in text]
        assert any(re.search(r"\d/3 \[\d\d:\d\d<", text) for text in lines), "time taken and time left"
    assert "s left" in said and "Epoch 1" in said


def test_no_terminal_no_bar_but_a_line_for_who_listens(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lipreg"):
        train(tmp_path, enable_progress_bar=False)
    said = capfd.readouterr()
    assert "audit" not in said.out + said.err
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("lipreg")]
    assert [line.split(":")[1] for line in lines] == [f" audit after epoch {epoch}" for epoch in (0, 1, 2)]
    assert re.fullmatch(r"run: audit after epoch 2: \d of 3 points exact, \d+\.\d s", lines[-1])


@pytest.mark.usefixtures("_own_console")
def test_rich_without_a_terminal_shows_nothing_of_the_audit(tmp_path: Path) -> None:
    file = io.StringIO()
    train(tmp_path, RichProgressBar(console_kwargs={"file": file, "force_terminal": False}))
    assert "at most" not in file.getvalue()
