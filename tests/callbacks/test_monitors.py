"""Checkpoints, early stopping and schedulers that follow an audit act on audited epochs alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from lipreg import AllLogits, LinfBall, LocalLipschitz, Logit
from lipreg.callbacks import AuditLog, Beside, LipschitzAudit, LipschitzRegularizer
from lipreg.callbacks.metrics import CALIBRATED, SCALE_FREE
from lipreg.errors import InvalidInput
from lipreg.estimators import estimate
from tests.callbacks.cases import PROBLEM, Classifier, batches, fit
from tests.given import composed
from tests.test_docs import blocks
from tests.test_docs import run as run_block

METRIC = "audit/fastlip"
POINTS = batches(1, 2)[0]


class Scheduled(Classifier):
    """With a scheduler that follows the audit."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, self.stepped = config, []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.rate)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=99)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": METRIC, **self.config}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        self.stepped.append((self.current_epoch + 1, float(metric)))


class Seen(pl.Callback):
    """Notes the bound of the weights, by hand, and where the audit's number stands."""

    def __init__(self) -> None:
        self.bounds: dict[int, float] = {}
        self.at_validation: list[bool] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.at_validation.append(METRIC in trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.bounds[trainer.current_epoch + 1] = bound_of(pl_module)


def bound_of(module: Any) -> float:
    x, y = POINTS
    net = Classifier().net
    net.load_state_dict(module.net.state_dict())
    return float(estimate(net.double().eval(), PROBLEM, x.double(), y, bound="fastlip").mean().detach())


def audit(**settings: Any) -> LipschitzAudit:
    given = {
        "estimators": ("fastlip", "random_points"),
        "reference_points": POINTS,
        "every_n_epochs": 3,
        "progress": False,
    }
    return LipschitzAudit(PROBLEM, **composed(**{**given, **settings}))


def run(folder: Path, module: pl.LightningModule, *callbacks: pl.Callback, **settings: Any) -> pl.Trainer:
    given = {"max_epochs": 7, "num_sanity_val_steps": 0, "enable_checkpointing": True, "default_root_dir": folder}
    return fit(module, batches(1), *callbacks, validation=batches(1), **{**given, **settings})


@pytest.mark.parametrize("audit_first", [True, False])
def test_each_audit_counts_once_and_scores_its_own_weights(tmp_path: Path, audit_first: bool) -> None:
    keep = ModelCheckpoint(
        tmp_path,
        "{epoch}",
        monitor=METRIC,
        save_top_k=-1,
        every_n_epochs=3,
        save_on_train_epoch_end=True,
        save_last=True,
    )
    stopper = EarlyStopping(METRIC, strict=False, check_on_train_epoch_end=True, patience=99, min_delta=1e9)
    module, seen, ours = Scheduled(strict=False), Seen(), audit()
    callbacks = [ours, keep, stopper] if audit_first else [stopper, keep, ours]
    trainer = run(tmp_path, module, *callbacks, seen)
    assert seen.at_validation == [False] * 7, "the weights of the epoch are not audited yet"
    assert stopper.wait_count == 1, "two audits while training: the best, and one that is no better"
    assert [epoch for epoch, _ in module.stepped] == [3, 6]
    assert [value for _, value in module.stepped] == pytest.approx([seen.bounds[3], seen.bounds[6]], rel=1e-5)
    assert len(keep.best_k_models) == 2
    for path, score in keep.best_k_models.items():
        saved = Classifier()
        saved.load_state_dict(torch.load(path, weights_only=False)["state_dict"])
        assert float(score) == pytest.approx(bound_of(saved), rel=1e-5)
    assert len(set(map(float, keep.best_k_models.values()))) == 2
    assert float(trainer.callback_metrics[METRIC]) == pytest.approx(seen.bounds[7], rel=1e-5), "of the end"


def test_without_an_audit_at_the_end_there_is_no_number(tmp_path: Path) -> None:
    trainer = run(tmp_path, Classifier(), audit(at_end=False), max_epochs=4)
    assert METRIC not in trainer.callback_metrics


def test_the_settings_of_the_page(tmp_path: Path) -> None:
    (source,) = [block for block in blocks("docs/auditing.md") if "EarlyStopping" in block]
    space = run_block(source, "page")
    ours, keep, stopper = space["callbacks"]
    ours._points = POINTS
    run(tmp_path, Scheduled(monitor="audit/combined_upper", strict=False), ours, keep, stopper, max_epochs=4)
    (score,) = keep.best_k_models.values()
    assert Path(keep.best_model_path).name.startswith("epoch=2")
    assert float(score) == float(stopper.best_score)


def test_training_stops_by_audits(tmp_path: Path) -> None:
    stopper = EarlyStopping(METRIC, strict=False, patience=1, min_delta=1e9)
    trainer = run(tmp_path, Classifier(), audit(every_n_epochs=2), stopper, max_epochs=9)
    assert trainer.current_epoch == 4, "the second audit of trained weights is no better than the first"


REFUSED: list[tuple[Any, dict[str, Any], dict[str, Any], str]] = [
    (lambda: EarlyStopping(METRIC), {}, {}, r"Pass EarlyStopping\(..., strict=False\)"),
    (lambda: EarlyStopping(METRIC), {"executor": Beside()}, {}, "another executor than Beside"),
    (lambda: EarlyStopping("audit/combined_uper", strict=False), {}, {}, "Did you mean 'audit/combined_upper'"),
    (lambda: EarlyStopping("audit/exact_upper"), {}, {}, "It is 'audit/combined_upper' now: write that"),
    (lambda: ModelCheckpoint(monitor="audit/exact_lower"), {}, {}, "It is 'audit/combined_lower' now: write that"),
    (lambda: ModelCheckpoint(monitor="audit/lp", every_n_epochs=3), {}, {}, "this audit has no such number"),
    (
        lambda: ModelCheckpoint(filename="{epoch}-{audit/exact_upper:.2f}"),
        {},
        {},
        r"has \{audit/exact_upper\} in its filename.* It is 'audit/combined_upper' now: write that\. Accepted: ",
    ),
    (lambda: EarlyStopping("audit/share_exakt"), {}, {}, r"Did you mean 'audit/share_exact'\? Accepted: "),
    (lambda: EarlyStopping("audit/tightness"), {}, {}, "add a LipschitzRegularizer"),
    (lambda: EarlyStopping("audit/calibrated_bound"), {}, {}, "add a LipschitzRegularizer"),
    (lambda: EarlyStopping("audit/calibrated_movement_upper"), {}, {}, "give twin="),
    (lambda: EarlyStopping("audit/transfer"), {}, {}, "give twin="),
    (
        lambda: EarlyStopping(METRIC, check_on_train_epoch_end=False),
        {"every_n_epochs": 1},
        {},
        r"Pass EarlyStopping\(..., check_on_train_epoch_end=True\)",
    ),
    (lambda: ModelCheckpoint(monitor=METRIC), {}, {}, r"Pass ModelCheckpoint\(..., every_n_epochs=3\)"),
    (
        lambda: ModelCheckpoint(monitor=METRIC, every_n_epochs=3),
        {},
        {"check_val_every_n_epoch": 3},
        r"Pass ModelCheckpoint\(..., save_on_train_epoch_end=True\)",
    ),
    (
        lambda: ModelCheckpoint(monitor=METRIC, train_time_interval=timedelta(0), save_on_train_epoch_end=True),
        {},
        {},
        r"every_n_epochs=3\) in place of every_n_train_steps",
    ),
    (None, {}, {}, r'Pass the scheduler with "strict": False, or with "frequency": 3'),
    (None, {"every_n_epochs": 1}, {"interval": "step"}, 'Pass the scheduler with "interval": "epoch"'),
]


@pytest.mark.parametrize("follower, ours, theirs, words", REFUSED)
def test_what_cannot_follow_is_told_what_to_set(
    tmp_path: Path, follower: Any, ours: dict[str, Any], theirs: dict[str, Any], words: str
) -> None:
    if follower is None:
        module, callbacks, theirs = Scheduled(**theirs), [], {}
    else:
        module, callbacks = Classifier(), [follower()]
    with pytest.raises(InvalidInput, match=words):
        run(tmp_path, module, audit(**ours), *callbacks, **theirs)


def test_all_names_that_may_be_monitored_are_those_that_are_logged(tmp_path: Path) -> None:
    ours = audit(every_n_epochs=1, estimators=("fastlip", "random_points", "branch_and_bound"))
    trainer = run(tmp_path, Classifier(), ours, LipschitzRegularizer(PROBLEM, weight=1e-3), max_epochs=1)
    logged = {name for name in trainer.callback_metrics if name.startswith("audit/")}
    undefined = {f"audit/{name}" for name in (*CALIBRATED, "calibrated_bound")} - logged  # T, after one epoch
    assert logged | undefined == set(ours._runs.metric_names("audit", twin=False))


@pytest.mark.parametrize(
    ("ours", "lacking", "words"),
    [
        ({"log": AuditLog(calibration=None)}, [*CALIBRATED], r"AuditLog\(calibration=1000\)"),
        ({"log": AuditLog(attack=None)}, ["attacked"], r"AuditLog\(attack=Attack\(\)\)"),
        (
            {"problem": LocalLipschitz(LinfBall(0.1), Logit(0))},
            SCALE_FREE[:4],
            "points with classes, and a question that",
        ),
        ({"points": (POINTS[0], torch.rand(len(POINTS[0])))}, SCALE_FREE, "points with classes"),
        ({"points": (POINTS[0], 40 + torch.arange(len(POINTS[0])))}, SCALE_FREE, "points with classes"),  # counts
    ],
)
def test_what_settings_and_question_rule_out_is_not_to_be_monitored(
    tmp_path: Path, ours: dict[str, Any], lacking: list[str], words: str
) -> None:
    given: dict[str, Any] = {"problem": LocalLipschitz(LinfBall(0.1), AllLogits()), "points": POINTS, **ours}
    for name in lacking:
        watched = LipschitzAudit(**given, estimators=["fastlip"])
        with pytest.raises(InvalidInput, match=words) as told:
            run(tmp_path, Classifier(), watched, EarlyStopping(f"audit/{name}"))
        assert not {f"audit/{each}" for each in lacking} & set(told.value.accepted.split(", "))


def test_counts_of_points_may_stand_in_the_names_of_files(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "{epoch}-{audit/fastlip_points:.0f}-{val_loss}", save_last=True)
    run(tmp_path, Classifier(), audit(), keep, max_epochs=1)
    assert Path(keep.last_model_path).exists()


def test_lightning_does_what_the_checks_take_for_granted(tmp_path: Path) -> None:
    """Without them: a checkpoint ends the training once it has validated, early stopping and the scheduler at once."""

    for follower, error in (
        (ModelCheckpoint(tmp_path, monitor=METRIC), "could not find the monitored key"),
        (EarlyStopping(METRIC), "which is not available"),
    ):
        with pytest.raises(Exception, match=error):
            run(tmp_path, Scheduled(strict=False), follower, max_epochs=1)
    with pytest.raises(Exception, match="ReduceLROnPlateau conditioned on metric"):
        run(tmp_path, Scheduled(), max_epochs=1)
