"""LipschitzAudit in ordinary training: it sees everything and changes nothing."""

from __future__ import annotations

import copy
import csv
import json
import math
import pickle
import random
import warnings
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lipreg.auditing import Processes
from lipreg.callbacks import Beside, Epochs, LipschitzAudit, LipschitzRegularizer
from lipreg.errors import InvalidInput, LipregError, UnsupportedModel, UnsupportedRequest
from lipreg.estimators import estimate
from lipreg.outputs import AllLogits, Logit
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, EpochRecord, read_records
from lipreg.regions import L2Ball, LinfBall
from tests.callbacks.cases import Probe, Validating, batches, fit
from tests.conftest import ROOT
from tests.given import composed

PROBLEM = LocalLipschitz(LinfBall(0.2, low=0.0, high=1.0))
CHEAP = ("fastlip", "random_points")
QUIET: dict[str, Any] = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False)


class Model(Validating):
    """A classifier with batch norm and dropout that validates."""

    def __init__(self) -> None:
        layers = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3)
        super().__init__(nn.Sequential(*layers), rate=0.01)


class Notes(pl.Callback):
    """Notes random states and modes at every training batch."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        modes = [m.training for m in pl_module.modules()]
        legacy = np.random.get_state()
        self.seen.append((torch.get_rng_state(), random.getstate(), legacy[1].tolist(), legacy[2], modes, batch[0]))


def dataset() -> TensorDataset:
    draw = torch.Generator().manual_seed(2)
    return TensorDataset(torch.rand(30, 4, generator=draw), torch.randint(3, (30,), generator=draw))


def train(model: pl.LightningModule, *callbacks: pl.Callback, folder: Path, **settings: Any) -> pl.Trainer:
    """Trains with batches shuffled from the global generator."""
    data, ckpt_path = settings.pop("data", dataset()), settings.pop("ckpt_path", None)
    defaults = {"max_epochs": 4, "logger": False, "enable_checkpointing": False, "accelerator": "cpu", **QUIET}
    trainer = pl.Trainer(callbacks=list(callbacks), default_root_dir=folder, **{**defaults, **settings})
    loader = DataLoader(data, batch_size=10, shuffle=True)
    trainer.fit(model, loader, DataLoader(data, batch_size=15), ckpt_path=ckpt_path)
    return trainer


def audit(**settings: Any) -> LipschitzAudit:
    own = {"problem": PROBLEM, "points": 3, "estimators": CHEAP, "progress": False, **settings}
    return LipschitzAudit(**composed(**own))


def records(folder: Path, kind: type = AuditRecord) -> list[Any]:
    return [r for r in read_records(folder / "records.jsonl") if isinstance(r, kind)]


def epochs(folder: Path) -> list[int]:
    """Epochs of the audits, in the order in which they were written, one for each record of point 0 of "combined"."""
    return [r.epoch for r in records(folder) if r.estimator == "combined" and r.point == 0]


def assert_equal(one: Any, two: Any) -> None:
    """Nested containers, tensors bit for bit."""
    if isinstance(one, Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_equal(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_equal(a, b)
    else:
        assert one == two


# ---------------------------------------------------------------- training is left alone


@pytest.mark.parametrize(
    "estimators, executor",
    [
        (("fastlip", "sampling", "affine_relu"), "inline"),
        (("mip", "lp"), "inline"),
        (("mip", "sampling"), Processes(2)),
    ],
)
def test_training_is_bit_for_bit_the_same(
    tmp_path: Path, estimators: tuple[str, ...], executor: str | Processes
) -> None:
    results = []
    for with_audit in (False, True):
        pl.seed_everything(7, verbose=False)
        model, notes = Model(), Notes()
        model.net[1].eval()  # train() of the loop sets modes anew; a frozen layer comes with the callback below
        extra = [audit(estimators=estimators, budget=600.0, executor=executor)] if with_audit else []
        trainer = train(model, *extra, notes, folder=tmp_path / str(with_audit), max_epochs=3)
        end = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
        results.append(
            (
                model.state_dict(),
                trainer.optimizers[0].state_dict(),
                notes.seen,
                end,
                [m.training for m in model.modules()],
            )
        )
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert len(results[0][2]) == 9
    assert_equal(*results)


def test_frozen_modes_survive_an_audit(tmp_path: Path) -> None:
    class Frozen(Model):
        def on_train_epoch_start(self) -> None:
            self.net[1].eval()

    model, modes = Frozen(), []
    probe = Probe(lambda module: modes.append((module.net.training, module.net[1].training)))
    train(model, audit(), probe, folder=tmp_path, max_epochs=2)
    assert set(modes) == {(True, False)}


def test_the_audited_network_is_the_one_in_training(tmp_path: Path) -> None:
    """Fingerprints change with the weights, and the recorded bound is that of the weights at that moment."""
    bounds: list[list[float]] = []
    x, y = dataset()[:3]

    class Own(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            network = copy.deepcopy(pl_module.net).double().eval()
            bounds.append(estimate(network, PROBLEM, x.double(), y, bound="fastlip").tolist())

    train(Model(), audit(reference_points=(x, y)), Own(), folder=tmp_path)
    got = [r for r in records(tmp_path) if r.estimator == "fastlip" and r.epoch > 0]
    assert [r.upper for r in got] == pytest.approx([b for row in bounds for b in row], rel=1e-8)
    assert len({r.fingerprint for r in records(tmp_path)}) == 5


# ---------------------------------------------------------------- when and where


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"every_n_epochs": 2}, [0, 2, 4]),
        ({"every_n_epochs": 3}, [0, 3, 4]),
        ({"every_n_epochs": 3, "at_end": False}, [0, 3]),
        ({"every_n_epochs": 9, "at_start": False}, [4]),
        ({"every_n_epochs": 9, "at_start": False, "at_end": False}, []),
    ],
)
def test_audits_at_start_every_n_epochs_and_end(tmp_path: Path, settings: dict[str, Any], expected: list[int]) -> None:
    train(Model(), audit(**settings), folder=tmp_path)
    assert [e.epoch for e in records(tmp_path, EpochRecord)] == [1, 2, 3, 4]
    assert epochs(tmp_path) == expected
    keys = [(r.epoch, r.point, r.estimator) for r in records(tmp_path)]
    assert len(set(keys)) == len(keys) == len(expected) * 3 * (len(CHEAP) + 1)


def test_points_are_the_same_each_time_and_for_each_run_of_a_seed(tmp_path: Path) -> None:
    seen = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(ord(name))  # whatever the weights
        ours = audit(seed=seed)
        train(Model(), ours, folder=tmp_path / name, max_epochs=2)
        x, y = ours.state_dict()["points"]
        seen.append(x)
        pairs = {(tuple(a.tolist()), int(b)) for a, b in zip(*dataset()[:], strict=True)}
        assert all((tuple(a.tolist()), int(b)) in pairs for a, b in zip(x, y, strict=True))
        labels = [
            [r.label for r in records(tmp_path / name) if r.estimator == "combined" and r.epoch == e] for e in (0, 1, 2)
        ]
        assert labels == [y.tolist()] * 3
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_fewer_examples_than_points(tmp_path: Path) -> None:
    ours = audit(points=50)
    train(Model(), ours, folder=tmp_path, max_epochs=1)
    assert len(ours.last) == 30


def test_given_points_and_no_labels(tmp_path: Path) -> None:
    problem = LocalLipschitz(LinfBall(0.1), AllLogits())
    ours = audit(problem=problem, reference_points=torch.rand(2, 4))
    fit(Model(), batches(2), ours, default_root_dir=tmp_path)  # no validation data at all
    assert {(r.label, r.correct) for r in records(tmp_path)} == {(-1, None)}
    assert epochs(tmp_path) == [0, 1]


# ---------------------------------------------------------------- records and logs


def test_the_record_file(tmp_path: Path) -> None:
    ours = audit(run="mine", folder=str(tmp_path / "deep" / "er"))
    regularizer = LipschitzRegularizer(PROBLEM, bound="abs_chain", weight=1e-3)
    trainer = train(Model(), regularizer, ours, folder=tmp_path, max_epochs=2)
    path = tmp_path / "deep" / "er" / "records.jsonl"
    assert ours.record_file == path
    read = read_records(path)
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == [r.kind for r in read]
    assert {r.run for r in read} == {"mine"}
    accuracies = [r.metrics["val_accuracy"] for r in read if isinstance(r, EpochRecord)]
    assert len(accuracies) == 2
    assert accuracies[-1] == pytest.approx(float(trainer.callback_metrics["val_accuracy"]))
    for r in read:
        if isinstance(r, AuditRecord):
            assert r.penalised == (r.estimator == "abs_chain")
            assert r.lower <= r.upper
            assert r.question == PROBLEM.describe()
    # the penalised bound is computed as the penalty computes it
    x, y = ours.state_dict()["points"]
    network = copy.deepcopy(trainer.model.net).double().eval()  # type: ignore[union-attr]
    own = estimate(network, PROBLEM, x.double(), y, bound="abs_chain")
    last = [r.upper for r in read if isinstance(r, AuditRecord) and r.estimator == "abs_chain" and r.epoch == 2]
    assert last == pytest.approx(own.tolist(), rel=1e-8)


def test_a_regularizer_of_another_question_is_not_marked(tmp_path: Path) -> None:
    other = LipschitzRegularizer(LocalLipschitz(LinfBall(0.3, low=0.0, high=1.0)), bound="abs_chain")
    with pytest.warns(UserWarning, match="Give both the same problem"):
        train(Model(), other, audit(), folder=tmp_path, max_epochs=1)
    assert not any(r.penalised for r in records(tmp_path))
    assert "abs_chain" not in {r.estimator for r in records(tmp_path)}


def test_logged_means(tmp_path: Path) -> None:
    ours = audit(estimators=("mip", "fastlip", "random_points"), budget=600.0)
    regularizer = LipschitzRegularizer(PROBLEM, bound="fastlip", weight=0.0)
    trainer = train(Model(), regularizer, ours, folder=tmp_path, logger=CSVLogger(tmp_path), max_epochs=2)
    (table,) = (tmp_path / "lightning_logs").rglob("metrics.csv")
    rows = [row for row in csv.DictReader(table.open()) if row.get("audit/epoch")]
    assert [float(row["audit/epoch"]) for row in rows] == [0, 1, 2]
    for epoch, row in enumerate(rows):
        at = [r for r in records(tmp_path) if r.epoch == epoch]
        ends = {
            e: [(r.lower, r.upper) for r in at if r.estimator == e] for e in ("combined", "fastlip", "random_points")
        }
        mean = {e: np.array(v).mean(0) for e, v in ends.items()}
        tight = geometric_mean(
            [bound / exact for (_, bound), (_, exact) in zip(ends["fastlip"], ends["combined"], strict=True)]
        )
        assert float(row["audit/combined_lower"]) == pytest.approx(mean["combined"][0])
        assert float(row["audit/combined_upper"]) == pytest.approx(mean["combined"][1])
        assert float(row["audit/fastlip"]) == pytest.approx(mean["fastlip"][1])
        assert float(row["audit/random_points"]) == pytest.approx(mean["random_points"][0])
        assert float(row["audit/tightness"]) == pytest.approx(tight)
        assert float(row["audit/share_exact"]) == 1.0
        assert float(row["audit/seconds"]) > 0
    assert float(trainer.callback_metrics["audit/combined_upper"]) == pytest.approx(
        float(rows[-1]["audit/combined_upper"])
    )


def test_early_stopping_stops(tmp_path: Path) -> None:
    stopper = EarlyStopping(monitor="audit/fastlip", patience=0, mode="min", min_delta=1e9, strict=False)
    trainer = train(Model(), audit(every_n_epochs=2), stopper, folder=tmp_path, max_epochs=6)
    assert trainer.current_epoch < 6
    assert epochs(tmp_path)[-1] == trainer.current_epoch  # the end is audited wherever it comes


def test_the_value_after_fit_is_that_of_the_final_audit(tmp_path: Path) -> None:
    trainer = train(Model(), audit(every_n_epochs=3), folder=tmp_path)
    final = np.mean([r.upper for r in records(tmp_path) if r.estimator == "combined" and r.epoch == 4])
    assert float(trainer.callback_metrics["audit/combined_upper"]) == pytest.approx(float(final))


def test_wandb_receives_scalars_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    logged: list[dict[str, Any]] = []
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    try:
        own = logger.experiment.log
        monkeypatch.setattr(
            logger.experiment, "log", lambda data, *a, **k: (logged.append(dict(data)), own(data, *a, **k))
        )
        train(Model(), audit(), folder=tmp_path, logger=logger, max_epochs=2)
    finally:
        logger.experiment.finish()
    tables = [entry for entry in logged if "audit/records" in entry]
    assert [entry["audit/epoch"] for entry in tables] == [0, 1, 2]
    for entry in tables:
        table = entry["audit/records"]
        assert isinstance(table, wandb.Table)
        assert len(table.data) == 3 * 3
    scalars = [entry for entry in logged if "audit/combined_upper" in entry]
    assert [entry["audit/epoch"] for entry in scalars] == [0, 1, 2]
    saved = list(tmp_path.rglob("*.table.json"))
    assert len(saved) == 2 * 3, "of records, and of points"
    assert list(tmp_path.rglob("*.wandb"))


# ---------------------------------------------------------------- resuming


@pytest.mark.parametrize("every", [1, 2])
def test_resuming_keeps_points_and_repeats_no_audit(tmp_path: Path, every: int) -> None:
    keep = ModelCheckpoint(dirpath=tmp_path / "ckpt", filename="last", save_on_train_epoch_end=True)
    first = audit(every_n_epochs=every, at_end=False, folder=str(tmp_path))
    train(Model(), first, keep, folder=tmp_path, enable_checkpointing=True, max_epochs=2)
    (checkpoint,) = (tmp_path / "ckpt").glob("*.ckpt")
    torch.load(checkpoint, weights_only=True)
    assert epochs(tmp_path) == list(range(0, 3, every))
    second = audit(every_n_epochs=every, folder=str(tmp_path))
    shifted = TensorDataset(1 - dataset().tensors[0], dataset().tensors[1])  # other data would give other points
    train(Model(), second, folder=tmp_path, max_epochs=4, ckpt_path=checkpoint, data=shifted)
    for one, two in zip(first.state_dict()["points"], second.state_dict()["points"], strict=True):
        assert torch.equal(one, two)
    assert epochs(tmp_path) == list(range(0, 5, every))
    assert [r.epoch for r in records(tmp_path, EpochRecord)] == [1, 2, 3, 4]


def test_a_checkpoint_saved_after_fit_resumes_too(tmp_path: Path) -> None:
    trainer = train(Model(), audit(), folder=tmp_path, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    train(Model(), audit(), folder=tmp_path, max_epochs=3, ckpt_path=tmp_path / "end.ckpt")
    assert epochs(tmp_path) == [0, 1, 2, 3]


def test_metrics_of_an_earlier_version_s_checkpoint_have_their_names_of_now(tmp_path: Path) -> None:
    trainer = train(Model(), ours := audit(), folder=tmp_path, max_epochs=2)
    now = ours.state_dict()["metrics"]
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    saved = torch.load(tmp_path / "end.ckpt", weights_only=False)
    state = saved["callbacks"][ours.state_key]
    state["metrics"] = {name.replace("combined", "exact"): value for name, value in now.items()}
    assert "audit/exact_upper" in state["metrics"]
    torch.save(saved, tmp_path / "earlier.ckpt")
    train(Model(), again := audit(), folder=tmp_path, max_epochs=2, ckpt_path=tmp_path / "earlier.ckpt")
    assert again.state_dict()["metrics"] == now and "audit/combined_upper" in now


def test_a_second_fit_goes_on(tmp_path: Path) -> None:
    """The same callback and model in a new trainer: a new run, whose start is audited again."""
    model, ours = Model(), audit()
    train(model, ours, folder=tmp_path / "a", max_epochs=1)
    train(model, ours, folder=tmp_path / "b", max_epochs=1)
    assert epochs(tmp_path / "a") == epochs(tmp_path / "b") == [0, 1]
    before, after = ({r.fingerprint for r in records(tmp_path / f) if r.epoch == e} for f, e in (("a", 1), ("b", 0)))
    assert before == after


# ---------------------------------------------------------------- worker processes


def running(ours: LipschitzAudit) -> list[int]:
    return [process.pid for process in ours.place.executor._processes]  # type: ignore[union-attr]


def test_workers_start_with_the_first_audit_stay_for_the_next_and_end_with_fit(tmp_path: Path) -> None:
    ours, seen = audit(estimators=("lp",), executor=Processes(2)), []
    assert running(ours) == []
    probe = Probe(lambda module: seen.append(running(ours)))
    train(Model(), ours, probe, folder=tmp_path, max_epochs=2)
    assert seen[0] and len(seen) == 6
    assert set.intersection(*map(set, seen)), (
        "kept all the time"
    )  # the second may start later than the first audit ends
    assert running(ours) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen[0] + seen[-1])
    assert [(r.epoch, r.point) for r in records(tmp_path) if r.estimator == "lp"] == [
        (epoch, point) for epoch in range(3) for point in range(3)
    ]
    assert len(pickle.dumps(ours)) > 0


def test_workers_end_with_an_error_in_training(tmp_path: Path) -> None:
    ours, seen = audit(estimators=("lp",), executor=Processes(2)), []

    def fail(module: pl.LightningModule) -> None:
        seen.extend(running(ours))
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        train(Model(), ours, Probe(fail), folder=tmp_path)
    assert seen  # one of the two, where the first had done everything before the second was ready
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen)


# ---------------------------------------------------------------- refusals, before the first step


class Steps(pl.Callback):
    def __init__(self) -> None:
        self.count = 0

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        self.count += 1


def refused(kind: type[LipregError], says: str, root: Path, model: Model | None = None, **settings: Any) -> None:
    steps = Steps()
    with pytest.raises(kind, match=says):
        train(model or Model(), audit(**settings), steps, folder=root)
    assert steps.count == 0


def test_no_validation_data(tmp_path: Path) -> None:
    steps = Steps()
    with pytest.raises(InvalidInput, match="no validation data"):
        fit(Model(), batches(2), audit(), steps, default_root_dir=tmp_path)
    with pytest.raises(InvalidInput, match="no validation data"):
        train(Model(), audit(), steps, folder=tmp_path, limit_val_batches=0)
    assert steps.count == 0


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(InvalidInput, "cannot write", tmp_path, folder=str(tmp_path / "file" / "below"))


def test_an_unsupported_layer(tmp_path: Path) -> None:
    model = Model()
    model.net.insert(3, nn.Softmax(1))
    refused(UnsupportedModel, r"net\.3: Softmax", tmp_path, model)


@pytest.mark.parametrize("background", [False, True])
def test_an_estimator_that_does_not_cover_the_network(tmp_path: Path, background: bool) -> None:
    model = Model()
    model.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.MaxPool1d(2), nn.Linear(4, 3))
    problem, estimators = LocalLipschitz(LinfBall(0.1), Logit(0), p=2.0), ("affine_relu", "seqlip")
    asked = {"problem": problem, "estimators": estimators, "executor": Beside() if background else None}
    refused(UnsupportedRequest, "'seqlip': a network of Affine, Relu and MaxPool nodes", tmp_path, model, **asked)


def test_points_outside_the_data_range(tmp_path: Path) -> None:
    refused(
        InvalidInput, "outside the data range", tmp_path, reference_points=(torch.full((1, 4), 2.0), torch.tensor([0]))
    )


def test_a_wrong_module_name(tmp_path: Path) -> None:
    refused(InvalidInput, "nett.*Accepted: net", tmp_path, module="nett")


def test_labels_that_are_missing(tmp_path: Path) -> None:
    refused(InvalidInput, "label", tmp_path, reference_points=torch.rand(2, 4))


def test_weights_that_are_not_numbers_from_the_start(tmp_path: Path) -> None:
    model = Model()
    with torch.no_grad():
        model.net[0].weight[0, 0] = math.nan
    refused(InvalidInput, "NaN", tmp_path, model)


@pytest.mark.parametrize(
    "settings, kind, says",
    [
        ({"problem": "linf"}, InvalidInput, "LocalLipschitz"),
        ({"points": 0}, InvalidInput, "points=0"),
        ({"points": True}, InvalidInput, "points=True"),
        ({"every_n_epochs": 0}, InvalidInput, "every_n_epochs=0"),
        ({"every_n_epochs": 1.5}, InvalidInput, "every_n_epochs=1.5"),
        ({"name": ""}, InvalidInput, "name=''"),
        ({"executor": {"kind": "processes", "count": 0}}, InvalidInput, "count=0"),
        ({"executor": "slurm"}, InvalidInput, "slurm.*inline, processes, ray"),
        ({"executor": 2}, InvalidInput, "executor=2"),
        ({"budget": math.inf}, InvalidInput, "budget=inf.*a finite number"),
        ({"budget": -1}, InvalidInput, "budget=-1"),
        ({"estimators": ()}, InvalidInput, "list of estimator names"),
        ({"estimators": "mip"}, InvalidInput, "list of estimator names"),
        ({"estimators": ("magic",)}, InvalidInput, "magic"),
        ({"problem": LocalLipschitz(L2Ball(0.1)), "estimators": ("mip",)}, UnsupportedRequest, "mip"),
        ({"points": torch.rand(4)}, InvalidInput, "points of type Tensor"),
        ({"points": (torch.rand(3, 4), torch.tensor([1]))}, InvalidInput, "points of type tuple"),
        ({"points": "all"}, InvalidInput, "points='all'.*a number of points"),
    ],
)
def test_arguments_that_cannot_be_right(settings: dict[str, Any], kind: type[LipregError], says: str) -> None:
    with pytest.raises(kind, match=says):
        audit(**settings)


# ---------------------------------------------------------------- the rest


@pytest.mark.parametrize("labels", [True, False])
def test_weights_that_become_nan_do_not_end_training(tmp_path: Path, labels: bool) -> None:
    class Diverging(Model):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 2:
                with torch.no_grad():
                    self.net[4].bias.fill_(math.nan)

    ours = audit() if labels else audit(problem=LocalLipschitz(LinfBall(0.2), AllLogits()))
    stopper = EarlyStopping(monitor="audit/combined_upper", patience=100, strict=False)
    with pytest.warns(UserWarning, match="no audit after epoch 3"):
        trainer = train(Diverging(), ours, stopper, folder=tmp_path)
    assert trainer.current_epoch == 4
    assert epochs(tmp_path) == [0, 1, 2]
    assert [r.epoch for r in records(tmp_path, EpochRecord)] == [1, 2, 3, 4]


def test_two_audits_of_two_questions(tmp_path: Path) -> None:
    other = LocalLipschitz(LinfBall(0.01, low=0.0, high=1.0), Logit(0))
    small = audit(problem=other, run="small", folder=str(tmp_path / "small"), name="small")
    large = audit(folder=str(tmp_path / "large"))
    trainer = train(Model(), large, small, folder=tmp_path, logger=CSVLogger(tmp_path), max_epochs=2)
    assert large.state_key != small.state_key
    means = []
    for ours, folder, name in ((large, "large", "audit"), (small, "small", "small")):
        assert epochs(tmp_path / folder) == [0, 1, 2]
        last = [r for r in records(tmp_path / folder) if r.epoch == 2 and r.estimator == "combined"]
        assert {json.dumps(r.question) for r in last} == {json.dumps(ours.problem.describe())}
        means.append(np.mean([r.upper for r in last]))
        assert float(trainer.callback_metrics[f"{name}/combined_upper"]) == pytest.approx(float(means[-1]))
        for r in records(tmp_path / folder, EpochRecord):
            assert not any(key.startswith(("audit/", "small/")) for key in r.metrics)
    assert means[1] < means[0]
    (table,) = (tmp_path / "lightning_logs").rglob("metrics.csv")
    rows = list(csv.DictReader(table.open()))
    assert sum(bool(row["small/combined_upper"]) for row in rows) == 3
    assert sum(bool(row["audit/combined_upper"]) for row in rows) == 3


def test_two_audits_under_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match='log="'):
        train(Model(), audit(), audit(problem=LocalLipschitz(LinfBall(0.3))), folder=tmp_path)
    with pytest.raises(InvalidInput, match='run="'):
        train(Model(), audit(), audit(name="other", problem=LocalLipschitz(LinfBall(0.3))), folder=tmp_path)


def test_it_can_be_pickled_and_copied(tmp_path: Path) -> None:
    ours = audit(reference_points=dataset()[:3])
    for other in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        train(Model(), other, folder=tmp_path / str(id(other)), max_epochs=1)
        assert epochs(tmp_path / str(id(other))) == [0, 1]
        again = pickle.loads(pickle.dumps(other))  # after a fit as well
        assert again.state_key == ours.state_key
        assert torch.equal(again.state_dict()["points"][0], dataset()[:3][0])


def test_it_can_be_pickled_during_fit(tmp_path: Path) -> None:
    ours, sizes = audit(), []
    train(Model(), ours, Probe(lambda module: sizes.append(len(pickle.dumps(ours)))), folder=tmp_path, max_epochs=1)
    assert len(sizes) == 3


def test_listeners_and_an_unlogged_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ours, heard = audit(progress=True), []
    ours.listeners.append(lambda point, points: heard.append((point.point, points)))
    train(Model(), ours, folder=tmp_path, max_epochs=1)
    assert heard == [(0, 3), (1, 3), (2, 3)] * 2
    assert "audit, epoch" not in capfd.readouterr().err  # no terminal, no bar


def test_nothing_warns(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(Model(), audit(), folder=tmp_path, max_epochs=2)
    assert not [str(w.message) for w in caught if "audit" in str(w.message) or str(ROOT / "lipreg") in str(w.filename)]


def test_sanity_checking_and_validation_alone_audit_nothing(tmp_path: Path) -> None:
    ours = audit()
    trainer = pl.Trainer(callbacks=[ours], default_root_dir=tmp_path, logger=False, accelerator="cpu", **QUIET)
    trainer.validate(Model(), DataLoader(dataset(), batch_size=15), verbose=False)
    assert not (tmp_path / "records.jsonl").exists()
    assert ours.last == []


def test_a_resumed_fit_begins_with_an_audit_only_where_the_whole_one_would_have_had_it() -> None:
    epochs = Epochs(every=4, at_start=True)
    assert [epochs.due_at_start(done, resumed=True) for done in (0, 3, 4, 5, 8)] == [True, False, True, False, True]
    assert epochs.due_at_start(3, resumed=False), "of a checkpoint without audits nothing is known"
    assert not any(Epochs(every=1, at_start=False).due_at_start(0, resumed) for resumed in (True, False))
