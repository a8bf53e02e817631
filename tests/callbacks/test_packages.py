"""Lightning under each of its two names: callbacks and data modules are at home in both, loggers are known by ability."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.callbacks.progress import audit_bar
from lipreg.data import DigitsDataModule
from lipreg.errors import InvalidInput
from lipreg.lightning import _packages
from lipreg.records import AuditRecord, EpochRecord, read_records
from tests.callbacks.cases import PROBLEM, assert_gradients, batches, feed, gradients_by_hand, regularizer
from tests.given import composed

QUIET: dict[str, Any] = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)


@pytest.fixture(params=["pytorch_lightning", "lightning.pytorch"])
def package(request: pytest.FixtureRequest) -> Any:
    """Lightning, as a user's program imports it."""
    return import_module(request.param)


def classifier(package: Any) -> Any:
    """A LightningModule of that package; it notes the gradients that its steps used."""

    class Classifier(package.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))
            self.seen: list[list[Tensor]] = []

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return F.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.seen.append([p.grad.clone() for p in self.parameters() if p.grad is not None])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Classifier()


def audit(folder: Path, **settings: Any) -> LipschitzAudit:
    own = {"points": 2, "estimators": ("fastlip", "random_points"), "folder": str(folder)}
    return LipschitzAudit(PROBLEM, **composed(**{**own, **settings}))


def fit(package: Any, model: Any, *callbacks: Any, ckpt_path: Any = None, **settings: Any) -> Any:
    defaults = {"max_epochs": 1, "accelerator": "cpu", "logger": False, **QUIET, **settings}
    trainer = package.Trainer(callbacks=list(callbacks), **defaults)
    trainer.fit(model, feed(batches(3)), feed(batches(2)), ckpt_path=ckpt_path)
    return trainer


def test_our_classes_are_those_of_both(package: Any) -> None:
    assert issubclass(LipschitzAudit, package.Callback)
    assert issubclass(LipschitzRegularizer, package.Callback)
    assert issubclass(DigitsDataModule, package.LightningDataModule)


def test_one_package_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)  # as where it is not installed, or broken
    assert [found.__name__ for found in _packages()] == ["pytorch_lightning"]


def test_the_penalty_is_trained_on(package: Any) -> None:
    model = classifier(package)
    expected = gradients_by_hand(model.net, [[batch] for batch in batches(3)])
    trainer = fit(package, model, regularizer())
    assert_gradients(model.seen, expected)
    assert {"lipreg/penalty", "lipreg/bound_max", "val_loss"} <= trainer.callback_metrics.keys()


def test_a_module_without_a_forward_is_refused(package: Any) -> None:
    class Forwardless(package.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(4, 3)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with pytest.raises(InvalidInput, match=r'no forward of its own.*module="net"'):
        fit(package, Forwardless(), regularizer())


def test_an_audit_records_and_a_checkpoint_resumes_it(package: Any, tmp_path: Path) -> None:
    stopping = package.callbacks.EarlyStopping("audit/combined_upper", patience=9)
    first = audit(tmp_path)
    trainer = fit(package, classifier(package), regularizer(), first, stopping, default_root_dir=tmp_path)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    again = pickle.loads(pickle.dumps(audit(tmp_path)))
    settings = {"max_epochs": 2, "default_root_dir": tmp_path}
    resumed = fit(package, classifier(package), regularizer(), again, ckpt_path=tmp_path / "one.ckpt", **settings)
    records = read_records(tmp_path)
    assert {r.epoch for r in records if isinstance(r, AuditRecord) and r.penalised} == {0, 1, 2}
    assert ["val_loss" in r.metrics for r in records if isinstance(r, EpochRecord)] == [True, True]
    assert resumed.callback_metrics["audit/combined_upper"] > 0
    assert torch.equal(first.state_dict()["points"][0], again.state_dict()["points"][0])


def test_points_are_read_as_validation_steps_see_them(package: Any, tmp_path: Path) -> None:
    model = classifier(package)

    def on_before_batch_transfer(batch: Any, dataloader_idx: int) -> Any:
        return (batch[0] + (0.0 if model.trainer.validating else 9.0), batch[1])

    model.on_before_batch_transfer = on_before_batch_transfer
    ours = audit(tmp_path)
    fit(package, model, ours, default_root_dir=tmp_path)
    assert ours.state_dict()["points"][0].max() <= 1.0


def test_an_audit_finds_its_place_in_either_bar(package: Any) -> None:
    for kind, bar in (("RichProgressBar", "_RichBar"), ("TQDMProgressBar", "_TqdmBar")):
        own = getattr(package.callbacks, kind)()
        trainer = package.Trainer(callbacks=[own], logger=False, accelerator="cpu", enable_checkpointing=False)
        own.setup(trainer, classifier(package), "fit")
        made = audit_bar(trainer, 2, 0)
        made.close()
        assert type(made).__name__ == bar


# ---------------------------------------------------------------- loggers


class Run:
    """Can do what a W&B run can; keeps what it was told."""

    def __init__(self) -> None:
        self.axes: dict[str, Any] = {}
        self.logged: list[dict[str, Any]] = []

    def define_metric(self, name: str, step_metric: Any = None) -> None:
        self.axes[name] = step_metric

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def log_artifact(self, *args: Any) -> None: ...


def test_a_logger_is_known_by_what_it_can_do(package: Any, tmp_path: Path) -> None:
    """A logger around another one, of no class that lipreg could know."""

    class Around(package.loggers.Logger):
        name, version = "around", "0"

        def __init__(self) -> None:
            super().__init__()
            self.experiment, self.scalars = Run(), []

        def log_hyperparams(self, *args: Any) -> None: ...

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            self.scalars.append(metrics)

    logger, plain = Around(), package.loggers.CSVLogger(tmp_path)
    fit(package, classifier(package), regularizer(), audit(tmp_path), logger=[logger, plain], default_root_dir=tmp_path)
    assert logger.experiment.axes["audit/combined_upper"] == "audit/epoch"
    assert [values["audit/epoch"] for values in logger.experiment.logged] == [0, 1]
    for values in logger.experiment.logged:
        assert len(values["audit/points"].data) == 2
        assert len(values["audit/records"].data) == 2 * 4  # exact, fastlip, random_points and the penalised bound
    assert [values["audit/epoch"] for values in logger.scalars if "audit/epoch" in values] == [0, 1]


def test_fast_dev_runs_have_a_logger_that_answers_to_every_name(package: Any, tmp_path: Path) -> None:
    ours = audit(tmp_path)
    fit(package, classifier(package), ours, logger=True, fast_dev_run=True, default_root_dir=tmp_path)
    assert len(ours.last) == 2


def test_w_and_b_offline_in_the_newer_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and the axis of epochs; ``test_loggers.py`` has the same, and more, of the older one."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    package = import_module("lightning.pytorch")
    logger = package.loggers.WandbLogger(save_dir=tmp_path, offline=True, project="lipreg")
    fit(package, classifier(package), regularizer(), audit(tmp_path), logger=logger, default_root_dir=tmp_path)
    logger.experiment.finish()
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    leet = Path(sys.executable).parent / "wandb"
    done = subprocess.run([leet, "leet", "inspect", "--json", run], capture_output=True, text=True, timeout=600)
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    axes = {e["metric"]["name"]: e["metric"].get("step_metric") for e in entries if "name" in e.get("metric", {})}
    rows = [e["history"]["item"] for e in entries if e["type"] == "history"]
    assert axes["audit/combined_upper"] == "audit/epoch"
    assert sum(name.partition(".")[0] == "audit/points" for row in rows for name in row) >= 2, "a table for each audit"
    assert [row["audit/epoch"] for row in rows if "audit/combined_upper" in row] == [0, 1]
