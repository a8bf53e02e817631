"""What is logged of a proof is proved: no logger and no monitor has an upper end below it, or a lower end above it."""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from lipreg.callbacks import LipschitzAudit
from lipreg.callbacks.outward import outward
from lipreg.records import AuditRecord, read_records
from tests.callbacks.cases import PROBLEM, Classifier, batches, fit, regularizer


@given(st.floats(allow_nan=False))
def test_ends_are_rounded_outwards_to_the_nearest_float32(value: float) -> None:
    named = {"a_upper": value, "a_lower": value, "b": value, "c": value, "d": value}
    found = outward(named, ["b"], ["c"])
    with np.errstate(over="ignore", under="ignore"):
        kept = {name: float(np.float32(each)) for name, each in found.items()}  # as TensorBoard keeps it
    assert kept["a_upper"] == kept["b"] >= value >= kept["c"] == kept["a_lower"]
    assert kept["d"] == float(np.float32(value)) in (kept["b"], kept["c"]) or math.isinf(kept["d"])
    if abs(value) < 3e38:
        assert kept["a_upper"] in (kept["a_lower"], np.nextafter(np.float32(kept["a_lower"]), np.float32(np.inf)))


def test_every_logger_has_ends_that_hold(tmp_path: Path) -> None:
    """Against the mean of the recorded ends in exact arithmetic; sizes like these round down in half of all cases."""
    board = TensorBoardLogger(tmp_path, name="board", default_hp_metric=False)
    table = CSVLogger(tmp_path, name="csv")
    audit = LipschitzAudit(
        PROBLEM, points=3, estimators=["affine_relu", "fastlip", "lp", "random_points"], folder=tmp_path
    )
    data = batches(4, 8)
    trainer = fit(Classifier(), data, regularizer(), audit, validation=data, max_epochs=8, logger=[board, table])
    board.finalize("success")
    records = [r for r in read_records(tmp_path / "records.jsonl") if isinstance(r, AuditRecord)]
    uppers = {
        (epoch, name): sum(Fraction(r.upper) for r in records if (r.epoch, r.estimator) == (epoch, name)) / 3
        for epoch in range(9)
        for name in ("affine_relu", "fastlip", "lp", "combined")
    }
    (path,) = tmp_path.rglob("metrics.csv")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["audit/epoch"]]
    assert len(rows) == 9
    told: list[tuple[Fraction, float]] = []
    for row in rows:
        for (epoch, name), proved in uppers.items():
            if epoch == int(float(row["audit/epoch"])):
                told.append((proved, float(row[f"audit/{name}" + "_upper" * (name == "combined")])))
        told.append((told[-4][0], float(row["audit/bound"])))
    told += [(uppers[8, name], trainer.callback_metrics[f"audit/{name}"].item()) for name in ("affine_relu", "lp")]
    told += [(uppers[epoch, "lp"], value) for epoch, value in scalars(board, "audit/lp")]
    assert len(told) == 9 * 5 + 2 + 9
    assert all(proved <= logged <= proved * (1 + Fraction(1, 2**22)) for proved, logged in told)
    nearest = [float(np.float32(float(proved))) < proved for proved, _ in told]
    assert any(nearest), "as they come, some would be rounded down"
    lower = sum(Fraction(r.lower) for r in records if r.estimator == "combined" and r.epoch == 8) / 3
    logged = trainer.callback_metrics["audit/combined_lower"].item()
    assert 0 < lower * (1 - Fraction(1, 2**22)) <= logged <= lower


def scalars(board: Any, name: str) -> list[tuple[int, float]]:
    """Epoch and value of each that the event file has."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(board.log_dir, size_guidance={"scalars": 0})
    found.Reload()
    epochs = [int(event.value) for event in found.Scalars("audit/epoch")]
    return [(epoch, float(event.value)) for epoch, event in zip(epochs, found.Scalars(name), strict=True)]


def test_a_metric_of_a_monitor_is_exactly_what_is_logged() -> None:
    value = outward({"x_upper": 0.1}, (), ())["x_upper"]
    assert torch.tensor(value).item() == value >= 0.1
