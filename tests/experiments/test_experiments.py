"""The experiments that people launch: each from start to report, at a size of seconds; and every model on its data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from sklearn.datasets import load_diabetes

from experiments.data import DiabetesDataModule
from experiments.models import ImageClassifier, Regressor
from experiments.parts import question
from experiments.rehearsal import rehearse
from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, CalibrationRecord, read_records
from tests.experiments import test_cifar, test_mnist
from tests.experiments.programs import run_here
from tests.experiments.test_train import composed

pytestmark = pytest.mark.usefixtures("undrawn")
EVERY = [
    "logger=none",
    "trainer.max_epochs=1",
    "audit.points=2",
    "audit.budget=2",
    "audit.every_n_epochs.at_start=false",
]
IMAGES = ["data.train_size=20", "data.validation_size=12", "model.width=1"]
EXPERIMENTS = {"mnist_lenet": IMAGES, "cifar_cnn": IMAGES, "regression": ["model.widths=[10,6,1]"]}
EXPERIMENTS |= {"l2_digits": ["model.widths=[64,6,10]"]}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images")
    return {"mnist": test_mnist.write(folder / "mnist"), "cifar10": test_cifar.write(folder / "cifar10")}


def of_images(name: str, images: dict[str, Path]) -> list[str]:
    folder = images["mnist"] if "mnist" in name else images["cifar10"]
    return [f"data.folder={folder}"] if name in ("mnist_lenet", "cifar_cnn") else []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_from_start_to_report(tmp_path: Path, name: str, images: dict[str, Path]) -> None:
    out = tmp_path / "out"
    given = [f"experiment={name}", *EVERY, *EXPERIMENTS[name], *of_images(name, images), f"hydra.run.dir={out}"]
    done = run_here(tmp_path, "experiments.train", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "transfer" in done.stdout
    assert (out / "report.html").stat().st_size > 1000
    records = read_records(out / "records.jsonl")
    audits = [r for r in records if isinstance(r, AuditRecord)]
    assert {(r.run, r.point) for r in audits} == {(run, point) for run in ("regularised", "twin") for point in (0, 1)}
    assert all(r.lower <= r.upper for r in audits)
    assert any(r.lower > 0 and r.upper < float("inf") for r in audits)
    assert len([r for r in records if isinstance(r, CalibrationRecord)]) >= 2


def test_the_experiments_are_those_that_are_tested() -> None:
    with pytest.raises(Exception, match="nope"):
        composed("experiment=nope")
    for name in EXPERIMENTS:
        cfg = composed(f"experiment={name}")
        assert cfg.trainer.max_epochs >= 8, "in earnest without further words"


ON = [(model, data) for model in ("lenet", "cnn") for data in ("mnist", "cifar10")]


@pytest.mark.parametrize(("model", "data"), [*ON, ("vgg11", "cifar10"), ("resnet18", "cifar10")])
def test_every_image_model_takes_a_step_with_the_penalty(
    tmp_path: Path, model: str, data: str, images: dict[str, Path]
) -> None:
    own = [f"model={model}", f"data={data}", f"data.folder={images[data]}", "model.width=2", "logger=none"]
    own += ["data.flat=false"] if data == "mnist" else ["model.channels=3", "model.size=32"]
    cfg = composed(
        *own,
        "audit=bounds",
        "audit.points=1",
        "data.train_size=12",
        "problem.region.radius=0.001",
        "audit.estimators=[affine_relu,random_points]",
    )
    rehearse(cfg, question(cfg), tmp_path)


@pytest.mark.parametrize("problem", ["l2_margins", "l2_margins_pointed", "whole_space"])
def test_every_problem_of_classes_is_asked_of_the_digits(tmp_path: Path, problem: str) -> None:
    audit = "audit=pointed" if problem.endswith("pointed") else "audit=bounds"
    cfg = composed(f"problem={problem}", audit, "audit.points=1", "model.widths=[64,4,10]", "logger=none")
    told = question(cfg)
    assert told.scope == ("pointed" if problem.endswith("pointed") else "regional")
    assert told.p == 2.0 or problem == "whole_space"
    rehearse(cfg, told, tmp_path)


def test_a_saved_network_is_made_again_from_what_it_says(tmp_path: Path) -> None:
    for model in (ImageClassifier("cnn", 2, channels=3, size=32), Regressor([10, 4, 1])):
        again = type(model)(**json.loads(json.dumps(dict(model.hparams))))
        assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]


REFUSED = {"alexnet": "network='alexnet'. Accepted: lenet, cnn, vgg11, resnet18", "vgg11": "channels=3, size=32"}


@pytest.mark.parametrize("network", REFUSED)
def test_models_that_there_are_not_are_refused(network: str) -> None:
    with pytest.raises(InvalidInput, match=REFUSED[network]):
        ImageClassifier(network)


# ---------------------------------------------------------------- the regression set


def test_measurements_and_targets_are_in_standard_deviations_of_the_training_points() -> None:
    data = instantiate(composed("data=diabetes", "seed=3").data)
    data.setup("fit")
    (x, y), (left, told) = data.train_set.tensors, data.validation_set.tensors
    assert (len(x), len(left)) == (442 - 133, 133)
    assert (x.dtype, y.dtype, x.shape[1:], y.shape[1:]) == (torch.float32, torch.float32, (10,), (1,))
    for part in (x, y):
        torch.testing.assert_close(part.mean(0), torch.zeros(part.shape[1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(part.std(0, correction=0), torch.ones(part.shape[1]), atol=1e-5, rtol=0)
    _, raw = load_diabetes(return_X_y=True, scaled=False)
    both = torch.cat([y, told]).flatten().double().numpy()
    assert np.corrcoef(np.sort(both), np.sort(raw))[0, 1] == pytest.approx(1.0)
    other = DiabetesDataModule(seed=4)
    other.setup("fit")
    assert not torch.equal(other.train_set.tensors[0], x)
    with pytest.raises(InvalidInput, match="validation_share=1"):
        DiabetesDataModule(validation_share=1.0)
