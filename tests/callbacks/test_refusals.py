"""What the regularizer refuses, when, and what the message says."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy
from torch import nn
from torch.optim.swa_utils import AveragedModel

from lipreg.errors import InvalidInput, UnsupportedModel, UnsupportedRequest
from lipreg.outputs import Logit, Vector
from lipreg.points import Points
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from tests.callbacks.cases import (
    RADIUS,
    Classifier,
    Forwardless,
    Gradients,
    assert_gradients,
    batches,
    fit,
    gradients_by_hand,
    regularizer,
)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": "regional"}, InvalidInput, "LocalLipschitz"),
        ({"bound": "affine"}, InvalidInput, "affine_relu"),
        ({"bound": "sampling"}, UnsupportedRequest, "not differentiable"),
        ({"penalty": "max"}, InvalidInput, "worst_k"),
        ({"penalty": {"kind": "mean", "k": 1}}, InvalidInput, "unknown option 'k'"),
        ({"weight": -1.0}, InvalidInput, "weight=-1.0"),
        ({"weight": float("nan")}, InvalidInput, "weight=nan"),
        ({"weight": float("inf")}, InvalidInput, "weight=inf"),
        ({"weight": "1e-2"}, InvalidInput, "weight='1e-2'"),
        ({"points": 0}, InvalidInput, "points=0"),
        ({"points": "some"}, InvalidInput, "points='some'"),
        ({"points": 2.5}, InvalidInput, "points=2.5"),
        ({"bound": {"estimator": "affine_relu", "preactivations": ["box"]}}, InvalidInput, "ball, interval, crown"),
        ({"bound": {"estimator": "affine_relu", "preactivations": "ball"}}, InvalidInput, "list"),
        ({"bound": {"estimator": "affine_relu", "preactivations": []}}, InvalidInput, "ball, interval, crown"),
        ({"name": ""}, InvalidInput, "name=''"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(")):
        regularizer(**arguments)


def test_a_bound_must_cover_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    from lipreg.estimators import ESTIMATORS

    monkeypatch.setattr(type(ESTIMATORS["fastlip"]), "vector", False)
    with pytest.raises(UnsupportedRequest, match=r"Vector"):
        regularizer(problem=LocalLipschitz(region=LinfBall(RADIUS), output=Vector()), bound="fastlip")


def test_manual_optimization_is_refused() -> None:
    model = Classifier()
    model.automatic_optimization = False
    with pytest.raises(UnsupportedRequest, match=r"lipreg\.LipschitzPenalty"):
        fit(model, batches(1), regularizer())
    assert "training_step" not in vars(model)


def test_steps_without_batches_are_refused() -> None:
    class Iterating(Classifier):
        def training_step(self, dataloader_iter: Any) -> Any:  # type: ignore[override]
            return super().training_step(next(dataloader_iter)[0], 0)

    with pytest.raises(UnsupportedRequest, match=r"dataloader_iter"):
        fit(Iterating(), batches(1), regularizer())


def test_sharded_weights_are_refused() -> None:
    stage = {2: DeepSpeedStrategy.__new__(DeepSpeedStrategy), 3: DeepSpeedStrategy.__new__(DeepSpeedStrategy)}
    for number, strategy in stage.items():
        strategy.config = {"zero_optimization": {"stage": number}}
    model = Classifier()
    for strategy in (FSDPStrategy(), stage[3]):
        fake: Any = SimpleNamespace(strategy=strategy, callbacks=[])
        with pytest.raises(UnsupportedRequest, match=type(strategy).__name__):
            regularizer().setup(fake, model, "fit")
        assert "training_step" not in vars(model)
    fake = SimpleNamespace(strategy=stage[2], callbacks=[])
    regularizer().setup(fake, model, "fit")
    assert "training_step" in vars(model)


def test_unknown_submodules_are_refused_before_training() -> None:
    with pytest.raises(InvalidInput, match=r"'body'.*Accepted: net"):
        fit(Classifier(), batches(1), regularizer(module="body"))
    with pytest.raises(InvalidInput, match=r"a float, not a module.*Accepted: model"):
        fit(Forwardless(), batches(1), regularizer(module="scale"))
    with pytest.raises(InvalidInput, match=r'no forward of its own.*module="model"'):
        fit(Forwardless(), batches(1), regularizer())


def test_networks_may_be_built_in_configure_model() -> None:
    class Late(Forwardless):
        def __init__(self) -> None:
            pl.LightningModule.__init__(self)

        def configure_model(self) -> None:
            if not hasattr(self, "model"):
                self.model = nn.ModuleDict({"net": nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))})

    run = fit(Late(), batches(1), regularizer(module="model.net"))
    assert run.callback_metrics["lipreg/bound_mean"] > 0
    with pytest.raises(InvalidInput, match=r"'body'.*Accepted: model"):
        fit(Late(), batches(1), regularizer(module="body"))


def test_two_regularizers_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"name="):
        fit(Classifier(), batches(1), regularizer(), regularizer(penalty="log"))


def test_errors_at_a_batch_say_which() -> None:
    data = batches(2)
    cut = LocalLipschitz(region=LinfBall(RADIUS, low=0.0, high=1.0))
    model = Classifier()
    with pytest.raises(InvalidInput, match=r"epoch 0, batch 1.*outside the data range"):
        fit(model, [data[0], (data[1][0] + 2.0, data[1][1])], regularizer(problem=cut))
    assert "training_step" not in vars(model)

    class Unlabelled(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.net(batch["x"]).square().mean()

    bare = [{"x": data[0][0]}]
    with pytest.raises(InvalidInput, match=r"no labels, which AllMargins"):
        fit(Unlabelled(), bare, regularizer())
    run = fit(Unlabelled(), bare, regularizer(problem=LocalLipschitz(region=LinfBall(RADIUS), output=Logit(0))))
    assert run.callback_metrics["lipreg/bound_mean"] > 0

    model = Classifier()
    model.net[1] = nn.Softmax(1)
    with pytest.raises(UnsupportedModel, match=r"epoch 0, batch 0.*Classifier"):
        fit(model, data, regularizer())


def test_a_function_reads_other_batches() -> None:
    class Nested(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step((batch["pair"]["a"], batch["pair"]["b"]), batch_idx)

    model, (batch,), notes = Nested(), batches(1), Gradients()
    expected = gradients_by_hand(model.net, [[batch]])
    nested = [{"pair": {"a": batch[0], "b": batch[1]}}]
    with pytest.raises(InvalidInput, match=r"batch_to_inputs"):
        fit(model, nested, regularizer())
    reads = regularizer(points=Points(batch_to_inputs=lambda batch: (batch["pair"]["a"], batch["pair"]["b"])))
    fit(model, nested, reads, notes)
    assert_gradients(notes.seen, expected)


def test_a_penalty_on_weights_that_nobody_trains_warns() -> None:
    """Those of an average, whose copy has a gradient of its own and no optimizer."""
    model = Classifier()
    model.ema = AveragedModel(model.net)
    trained = list(model.net.parameters())
    model.configure_optimizers = lambda: torch.optim.SGD(trained, lr=0.1)  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="on AveragedModel, none of whose parameters any optimizer has"):
        fit(model, batches(1), regularizer(module="ema"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*none of whose parameters")
        fit(model, batches(1), regularizer(module="net"))
        fit(model, batches(1), regularizer(module="ema", weight=0.0, log_bound=True))
