"""In a training: the calibration is recorded, logged and compared, of points that nobody audits, and changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lipreg import AllMargins, LinfBall, LocalLipschitz, Vector
from lipreg.auditing import Attack
from lipreg.callbacks import AuditLog, Beside, Epochs, LipschitzAudit, LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, CalibrationRecord, read_records
from lipreg.transfer import compare
from tests.callbacks.cases import Validating

PROBLEM = LocalLipschitz(LinfBall(0.1), AllMargins())
QUIET: dict[str, Any] = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
    "accelerator": "cpu",
}


def data(points: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two classes around two centres, which overlap: no net tells all of them rightly."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (points,), generator=generator)
    return y.unsqueeze(1) + 0.6 * torch.randn(points, 3, generator=generator), y


TRAIN, VALIDATION = data(160, 0), data(120, 1)


class Module(Validating):
    def __init__(self, validates: bool = True) -> None:
        super().__init__(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)), rate=0.02)
        if not validates:
            self.val_dataloader = pl.LightningModule.val_dataloader.__get__(self)

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*TRAIN), batch_size=40)

    def val_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*VALIDATION), batch_size=30)


def audit(**more: Any) -> LipschitzAudit:
    return LipschitzAudit(PROBLEM, 6, ["branch_and_bound"], 30.0, more.pop("epochs", Epochs(2)), **more)


def train(folder: Path, *callbacks: pl.Callback, module: Module | None = None, **more: Any) -> pl.Trainer:
    pl.seed_everything(0, verbose=False)
    module = Module() if module is None else module
    trainer = pl.Trainer(max_epochs=4, callbacks=list(callbacks), default_root_dir=str(folder), **{**QUIET, **more})
    trainer.fit(module)
    return trainer


def calibrations(folder: Path) -> list[CalibrationRecord]:
    return [r for r in read_records(folder) if isinstance(r, CalibrationRecord)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.Trainer, LipschitzAudit]:
    folder = tmp_path_factory.mktemp("pair")
    train(folder, LipschitzRegularizer(PROBLEM, weight=0.0), audit(run="twin")).save_checkpoint(folder / "twin.ckpt")
    mine = audit(run="mine", twin="twin")
    return folder, train(folder, LipschitzRegularizer(PROBLEM, weight=0.02), mine), mine


def test_every_audit_says_what_the_outputs_mean(pair: tuple[Path, pl.Trainer, LipschitzAudit]) -> None:
    folder, trainer, mine = pair
    found = calibrations(folder)
    assert [(r.run, r.epoch) for r in found] == [(run, epoch) for run in ("twin", "mine") for epoch in (0, 2, 4)]
    audits = [r for r in read_records(folder) if isinstance(r, AuditRecord)]
    assert {(r.run, r.epoch, r.fingerprint) for r in audits} == {(r.run, r.epoch, r.fingerprint) for r in found}
    assert {r.points for r in found} == {114} and len({r.reference for r in found}) == 1  # 120, less the 6 audited
    assert all(r.attacked is not None for r in audits)
    last, logged = found[-1], trainer.callback_metrics
    outputs = trainer.lightning_module.eval()(VALIDATION[0]).detach().double()
    audited = {tuple(x.tolist()) for x in mine._reference()[0]}
    kept = torch.tensor([tuple(x.tolist()) not in audited for x in VALIDATION[0]])
    z, y = outputs[kept], VALIDATION[1][kept]
    assert last.factor is not None and last.raw_loss == pytest.approx(float(nn.functional.cross_entropy(z, y)))
    slope = 1e-4
    nll = [float(nn.functional.cross_entropy(last.factor * (1 + step) * z, y)) for step in (-slope, 0.0, slope)]
    assert nll[1] == min(nll) and nll[1] == pytest.approx(last.loss)
    comparison = compare(read_records(folder), "mine")
    moved, figures = comparison.calibrated.movement, comparison.regularised
    assert moved.combined is not None and figures.margin_over_constant is not None and figures.calibrated is not None
    for name, value in {
        "margin_over_constant": figures.margin_over_constant.lower,
        "calibration": last.factor,
        "calibrated_upper": figures.calibrated.upper,
        "calibrated_bound": figures.calibrated_bound,
        "attacked": figures.attacked,
        "certified_closed": figures.certified_closed,
        "calibrated_movement_lower": moved.combined.lower,
        "calibrated_bound_movement": moved.bound,
    }.items():
        assert float(logged[f"audit/{name}"]) == pytest.approx(value), name


def test_a_twin_that_is_a_checkpoint_is_calibrated_too(
    pair: tuple[Path, pl.Trainer, LipschitzAudit], tmp_path: Path
) -> None:
    folder, trainer, _ = pair
    for run in ("mine", "again"):
        mine = audit(run=run, twin=str(folder / "twin.ckpt"))
        logged = train(tmp_path, LipschitzRegularizer(PROBLEM, weight=0.02), mine).callback_metrics
        name = "audit/calibrated_movement_lower"
        assert float(logged[name]) == pytest.approx(float(trainer.callback_metrics[name]), rel=1e-6)
    assert len([r for r in calibrations(tmp_path) if r.run == "twin"]) == 1


def test_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    plain, audited = Module(), Module()
    pl.seed_everything(3)
    plain.load_state_dict(audited.state_dict())
    train(tmp_path, module=plain)
    train(tmp_path, audit(), module=audited)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), audited.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("executor", [None, Beside()])
def test_points_of_ones_own_and_nothing_at_all(tmp_path: Path, executor: Any) -> None:
    train(tmp_path, audit(log=AuditLog(calibration=VALIDATION), executor=executor))
    assert {r.points for r in calibrations(tmp_path)} == {114}
    train(tmp_path / "none", audit(log=AuditLog(calibration=None, attack=None), executor=executor))
    assert not calibrations(tmp_path / "none")
    assert all(r.attacked is None for r in read_records(tmp_path / "none") if isinstance(r, AuditRecord))


def test_without_validation_data_there_is_no_calibration(tmp_path: Path) -> None:
    given = LipschitzAudit(PROBLEM, (TRAIN[0][:3], TRAIN[1][:3]), ["fastlip"], 5.0, 4)
    train(tmp_path, given, module=Module(validates=False))
    assert {r.why for r in calibrations(tmp_path)} == {"there is no point that is not audited"} and given.last


def test_where_all_points_are_audited_none_is_left(tmp_path: Path) -> None:
    train(tmp_path, LipschitzAudit(PROBLEM, VALIDATION, ["fastlip"], 5.0, 4))
    assert {r.why for r in calibrations(tmp_path)} == {"there is no point that is not audited"}


def test_regression_has_a_scale_of_its_own(tmp_path: Path) -> None:
    class Regression(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.mse_loss(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

        def train_dataloader(self) -> Any:
            return DataLoader(TensorDataset(TRAIN[0], TRAIN[0][:, :2] * 3), batch_size=40)

        def val_dataloader(self) -> Any:
            return DataLoader(TensorDataset(VALIDATION[0], VALIDATION[0][:, :2] * 3), batch_size=30)

    asked = LipschitzAudit(LocalLipschitz(LinfBall(0.1), Vector()), 6, ["branch_and_bound"], 30.0, 4)
    trainer = train(tmp_path, asked, module=Regression())
    found = calibrations(tmp_path)[-1]
    spread = VALIDATION[0].std(0)
    assert found.task == "values" and found.input_scale == pytest.approx(float(spread.max()), rel=0.1)
    assert found.target_scale == pytest.approx(3 * float(spread[:2].max()), rel=0.1)
    assert "audit/calibrated_upper" in trainer.callback_metrics and "audit/attacked" not in trainer.callback_metrics


def test_what_calibrates_or_attacks_nothing_is_refused() -> None:
    for wrong in (0, "most", True, 1.5):
        with pytest.raises(InvalidInput, match="calibration"):
            AuditLog(calibration=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="an Attack, or None"):
        AuditLog(attack="pgd")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"certificates='yes'.*True or False"):
        AuditLog(certificates="yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="a name that is not empty, or an AuditLog"):
        LipschitzAudit(PROBLEM, log=Attack())  # type: ignore[arg-type]


def test_who_imports_the_object_of_earlier_versions_is_shown_what_to_write() -> None:
    with pytest.raises(ImportError, match=r"write log=AuditLog\(calibration=..., attack=...\)"):
        from lipreg.callbacks import ScaleFree  # type: ignore[attr-defined]  # noqa: F401
    with pytest.raises(InvalidInput, match=r"part of log=.*Write log=AuditLog\(calibration=..., attack=...\)"):
        LipschitzAudit(PROBLEM, scale_free=Attack())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        ((TRAIN[0].long(), TRAIN[1]), "cannot be read: inputs of shape .* and dtype int64"),
        ((torch.rand(160, 7), TRAIN[1]), r"cannot be read: inputs of shape \(1, 7\)"),
        ((TRAIN[0], torch.rand(160, 5)), r"targets of shape \(160, 5\) for outputs of shape \(160, 2\)"),
    ],
)
def test_validation_data_that_calibrates_nothing_ends_no_training_on_given_points(
    tmp_path: Path, batch: tuple[Tensor, Tensor], why: str
) -> None:
    class Odd(Module):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

        def val_dataloader(self) -> Any:
            return DataLoader(TensorDataset(*batch), batch_size=30)

    given = LipschitzAudit(PROBLEM, (TRAIN[0][:3] + 0.5, TRAIN[1][:3]), ["fastlip"], 5.0, 4)
    train(tmp_path, given, module=Odd())
    assert given.last and all(re.search(why, r.why) for r in calibrations(tmp_path))


def test_batches_of_another_form_end_no_training_on_given_points(tmp_path: Path) -> None:
    class Odd(Module):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

        def val_dataloader(self) -> Any:
            return DataLoader([{"pixels": x, "length": 3} for x in VALIDATION[0]], batch_size=30)

    given = LipschitzAudit(PROBLEM, (TRAIN[0][:3], TRAIN[1][:3]), ["fastlip"], 5.0, 4)
    train(tmp_path, given, module=Odd())
    assert given.last and {r.why[:36] for r in calibrations(tmp_path)} == {"the validation data cannot be read: "}
