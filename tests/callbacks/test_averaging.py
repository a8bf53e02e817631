"""Averaged weights: the last audit is of the model that the training leaves, and the records say which weights are meant."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, StochasticWeightAveraging
from pytorch_lightning.loggers import CSVLogger

from lipreg.callbacks import Beside
from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, read_records
from tests.callbacks.cases import Classifier, batches, fit
from tests.callbacks.test_monitors import METRIC, audit, bound_of
from tests.sampling import one_in


class Restoring(pl.Callback):
    """Puts other weights in at the end."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.net[0].weight.data.mul_(2.0)


AVERAGING = {
    "ema": lambda: EMAWeightAveraging(decay=0.5),
    "swa": lambda: StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1),
    "other": Restoring,
}


@pytest.mark.parametrize("audit_first", [True, False])
@pytest.mark.parametrize(
    "name, every, background, expected",
    [
        ("ema", 1, False, [(0, "training"), (1, "training"), (2, "training"), (3, "training"), (3, "averaged")]),
        ("ema", 9, False, [(0, "training"), (3, "averaged")]),
        ("swa", 9, False, [(0, "training"), (3, "averaged")]),
        ("swa", 3, True, [(0, "training"), (3, "training"), (3, "averaged")]),
        ("other", 3, False, [(0, "training"), (3, "training"), (3, "replaced")]),
    ],
)
@one_in(2)
def test_the_last_audit_is_of_the_model_that_is_left(
    tmp_path: Path, name: str, every: int, background: bool, expected: list[tuple[int, str]], audit_first: bool
) -> None:
    ours = audit(every_n_epochs=every, executor=Beside() if background else None)
    other, module = AVERAGING[name](), Classifier(rate=1.0)
    callbacks = [ours, other] if audit_first else [other, ours]
    logger = CSVLogger(tmp_path)
    trainer = fit(module, batches(3), *callbacks, default_root_dir=tmp_path, max_epochs=3, logger=logger)
    found = [r for r in read_records(tmp_path / "records.jsonl") if isinstance(r, AuditRecord)]
    assert [(r.epoch, r.weights) for r in found if r.estimator == "combined" and r.point == 0] == expected
    truth = bound_of(module)
    assert float(trainer.callback_metrics[METRIC]) == pytest.approx(truth, rel=1e-5)
    assert sum(p.intervals["fastlip"].upper for p in ours.last) / 2 == pytest.approx(truth, rel=1e-5)
    (table,) = tmp_path.rglob("metrics.csv")
    logged = [float(row[METRIC]) for row in csv.DictReader(table.open()) if row.get(METRIC)]
    assert logged[-1] == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("name", ["ema", "other"])
def test_without_an_audit_at_the_end_no_number_of_other_weights_is_left(tmp_path: Path, name: str) -> None:
    ours, module = audit(every_n_epochs=1, at_end=False), Classifier(rate=1.0)
    trainer = fit(module, batches(3), ours, AVERAGING[name](), default_root_dir=tmp_path, max_epochs=2)
    assert ours.last[0].fingerprint
    assert not [key for key in trainer.callback_metrics if key.startswith("audit/")]


class Late(pl.Callback):
    """Puts other weights in when the fit has ended."""

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.net[0].weight.data.mul_(2.0)


@pytest.mark.parametrize("audit_first", [True, False])
def test_weights_that_are_replaced_after_the_last_audit_are_warned_of(tmp_path: Path, audit_first: bool) -> None:
    ours, module = audit(every_n_epochs=1), Classifier(rate=1.0)
    callbacks = [ours, Late()] if audit_first else [Late(), ours]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(module, batches(3), *callbacks, default_root_dir=tmp_path, max_epochs=1)
    told = [w for w in caught if "replaced in on_fit_end" in str(w.message)]
    upper = sum(p.intervals["fastlip"].upper for p in ours.last) / 2
    assert (len(told) == 1) == audit_first
    assert (upper == pytest.approx(bound_of(module), rel=1e-5)) == (not audit_first)


def test_a_checkpoint_of_averaged_weights_is_not_scored_by_others(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, monitor=METRIC, save_on_train_epoch_end=True)
    ours = audit(every_n_epochs=1)
    with pytest.raises(InvalidInput, match="checkpoints hold averaged ones"):
        fit(
            Classifier(),
            batches(1),
            EMAWeightAveraging(),
            ours,
            keep,
            enable_checkpointing=True,
            default_root_dir=tmp_path,
        )
