"""The regularizer against loss and penalty written out by hand: gradients and logs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from lipreg.penalties import Hinge, WorstK
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.schedules import Cosine
from tests.callbacks.cases import (
    RADIUS,
    WEIGHT,
    Classifier,
    DictClassifier,
    Forwardless,
    Gradients,
    Probe,
    Stochastic,
    assert_gradients,
    batches,
    bounds_by_hand,
    fit,
    gradients_by_hand,
    loss_by_hand,
    regularizer,
)

# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    ("arguments", "group", "clip"),
    [
        ({}, 1, None),
        ({"accumulate_grad_batches": 2}, 2, None),
        ({"gradient_clip_val": 0.05}, 1, 0.05),
        ({"accumulate_grad_batches": 2, "gradient_clip_val": 0.05}, 2, 0.05),
    ],
    ids=["plain", "accumulated", "clipped", "both"],
)
@pytest.mark.parametrize("module", [None, "net"])
def test_gradients_are_those_of_loss_plus_penalty(
    arguments: dict[str, Any], group: int, clip: float | None, module: str | None
) -> None:
    model, data, notes = Classifier(), batches(4), Gradients()
    expected = gradients_by_hand(model.net, [data[i : i + group] for i in range(0, 4, group)], clip)
    fit(model, data, regularizer(module=module), notes, **arguments)
    assert_gradients(notes.seen, expected)


def test_gradients_are_cut_entry_by_entry() -> None:
    model, data, notes = Classifier(), batches(3), Gradients()
    expected = gradients_by_hand(model.net, [[batch] for batch in data], cut=0.02)
    fit(model, data, regularizer(), notes, gradient_clip_val=0.02, gradient_clip_algorithm="value")
    assert_gradients(notes.seen, expected)


def test_a_last_window_of_fewer_batches() -> None:
    """Lightning divides every loss by the whole window's number of batches, and so the penalty."""
    model, notes = Classifier(), Gradients()
    data = [*batches(4), batches(1, size=3)[0]]
    expected = gradients_by_hand(model.net, [data[:3], data[3:]], window=3)
    fit(model, data, regularizer(), notes, accumulate_grad_batches=3)
    assert_gradients(notes.seen, expected)


def test_dict_batch_and_dict_loss() -> None:
    model, data, notes = DictClassifier(), batches(2), Gradients()
    start = copy.deepcopy(model.net)
    expected = gradients_by_hand(model.net, [[batch] for batch in data])
    fit(model, [{"image": x, "label": y} for x, y in data], regularizer(), notes)
    assert_gradients(notes.seen, expected)
    assert notes.outputs[0]["loss"].item() == pytest.approx(loss_by_hand(start, *data[0]).item(), rel=1e-6)
    assert torch.equal(notes.outputs[0]["logits"], start(data[0][0])), "other entries of the output stay"


def test_network_below_a_submodule() -> None:
    model, data, notes = Forwardless(), batches(2), Gradients()
    expected = gradients_by_hand(model.model["net"], [[batch] for batch in data])  # type: ignore[arg-type]
    fit(model, data, regularizer(module="model.net"), notes)
    assert_gradients(notes.seen, expected)


def test_the_penalty_sends_no_gradient_into_the_inputs() -> None:
    class Attacked(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            batch[0].requires_grad_()
            return super().training_step(batch, batch_idx)

    model, (batch,) = Attacked(rate=0.0), batches(1)
    x = batch[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(model.net(x), batch[1]), x)
    pointed = LocalLipschitz(region=LinfBall(RADIUS), scope="pointed")  # its slopes move with the reference point
    fit(model, [batch], regularizer(problem=pointed, bound="abs_chain"))
    assert batch[0].grad is not None
    assert torch.allclose(batch[0].grad, expected, rtol=1e-6, atol=0.0)


def test_bounds_are_those_of_evaluation_mode() -> None:
    class Augmenting(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            return self.net(2 * x if self.training else x)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self(batch[0]), batch[1])

    model, (batch,), notes = Augmenting(rate=0.0), batches(1), Gradients()
    bounds = bounds_by_hand(model.net, *batch)
    loss = F.cross_entropy(model.net(2 * batch[0]), batch[1]) + WEIGHT * bounds.mean()
    expected = torch.autograd.grad(loss, list(model.net.parameters()))
    fit(model, [batch, batch], regularizer(), notes)
    assert_gradients(notes.seen, [list(expected)] * 2)
    assert model.net.training, "the mode of the module is its own"


def test_a_network_that_takes_the_place_of_another_is_read() -> None:
    model, (batch,) = Classifier(rate=0.0), batches(1)
    first, second = model.net, copy.deepcopy(model.net)
    with torch.no_grad():
        next(second.parameters()).mul_(3.0)

    def swap(module: pl.LightningModule) -> None:
        model.net = second

    run = fit(model, [batch, batch], regularizer(module="net"), Probe(swap))
    expected = (bounds_by_hand(first, *batch).mean() + bounds_by_hand(second, *batch).mean()) / 2
    assert run.callback_metrics["lipreg/bound_mean"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_options_of_a_penalty_reach_the_loss() -> None:
    model, (batch,), notes = Classifier(), batches(1), Gradients()
    bounds = bounds_by_hand(model.net, *batch)
    target = bounds.median().item()
    loss = F.cross_entropy(model.net(batch[0]), batch[1]) + WEIGHT * torch.relu(bounds - target).sum() / len(bounds)
    expected = torch.autograd.grad(loss, list(model.net.parameters()))
    fit(model, [batch], regularizer(penalty=Hinge(target)), notes)
    assert_gradients(notes.seen, [list(expected)])


def test_the_forms_of_a_penalty_and_a_schedule_train_alike() -> None:
    """To the last bit, and a checkpoint of one is one of the others."""
    trained, keys = [], set()
    for penalty, schedule in (
        (Hinge(0.2), Cosine(batches=5)),
        ({"kind": "hinge", "target": 0.2}, {"kind": "cosine", "batches": 5}),
        (Hinge(0.2).describe(), Cosine(batches=5).describe()),
    ):
        torch.manual_seed(0)
        model, ours = Classifier(), regularizer(penalty=penalty, schedule=schedule)
        fit(model, batches(4), ours)
        trained.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        keys.add(ours.state_key)
    assert torch.equal(trained[0], trained[1]) and torch.equal(trained[0], trained[2])
    assert len(keys) == 1


def test_two_regularizers_add_up() -> None:
    model, (batch,), notes = DictClassifier(), batches(1), Gradients()
    bounds = bounds_by_hand(model.net, *batch)
    loss = F.cross_entropy(model.net(batch[0]), batch[1]) + WEIGHT * bounds.mean() + 0.7 * bounds.max()
    expected = torch.autograd.grad(loss, list(model.net.parameters()))
    second = regularizer(weight=0.7, penalty=WorstK(k=1), name="second")
    run = fit(model, [{"image": batch[0], "label": batch[1]}], regularizer(), second, notes)
    assert_gradients(notes.seen, [list(expected)])
    assert "training_step" not in vars(model)
    assert run.callback_metrics["lipreg/penalty"].item() == pytest.approx(bounds.mean().item(), rel=1e-6)
    assert run.callback_metrics["second/penalty"].item() == pytest.approx(bounds.max().item(), rel=1e-6)


def test_mixed_precision_bounds_in_float32() -> None:
    """bfloat16 keeps 8 bits: a bound that saw autocast would be off by about 1e-2."""
    (batch,) = batches(1)
    model = Classifier(rate=0.0)
    plain, notes = Gradients(), Gradients()
    fit(model, [batch], plain, precision="bf16-mixed")
    run = fit(model, [batch], regularizer(), notes, precision="bf16-mixed")
    bounds = bounds_by_hand(model.net, *batch)
    assert run.callback_metrics["lipreg/bound_mean"].item() == pytest.approx(bounds.mean().item(), rel=1e-6)
    added = [a - b for a, b in zip(notes.seen[0], plain.seen[0], strict=True)]
    expected = torch.autograd.grad(WEIGHT * bounds.mean(), list(model.net.parameters()), allow_unused=True)
    assert_gradients([added], [[torch.zeros(7) if g is None else g for g in expected[:3]] + [torch.zeros(3)]], 1e-5)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_parameters_of_another_precision(precision: Any) -> None:
    (batch,) = batches(1)
    model, notes = Classifier(rate=0.0), Gradients()
    run = fit(model, [batch], regularizer(), notes, precision=precision)
    dtype = torch.float64 if precision == "64-true" else torch.float32
    x = batch[0].to(next(model.parameters()).dtype).to(dtype)
    expected = bounds_by_hand(copy.deepcopy(model.net).to(dtype), x, batch[1]).mean().item()
    assert run.callback_metrics["lipreg/bound_mean"].item() == pytest.approx(expected, rel=1e-6)
    assert notes.seen[0][0].dtype == next(model.parameters()).dtype


# ---------------------------------------------------------------- weight 0 and logs


@pytest.mark.parametrize("log_bound", [False, True])
def test_weight_zero_is_training_without_the_callback(log_bound: bool) -> None:
    runs = []
    for callbacks in ([], [regularizer(weight=0.0, points=2, log_bound=log_bound)]):
        torch.manual_seed(5)
        model = Stochastic()
        run = fit(model, batches(), *callbacks, max_epochs=2)
        runs.append((model.state_dict(), torch.get_rng_state()))
    (plain, plain_state), (ours, our_state) = runs
    assert all(torch.equal(plain[key], ours[key]) for key in plain)
    assert torch.equal(plain_state, our_state)
    assert ("lipreg/bound_mean" in run.callback_metrics) == log_bound
    assert run.callback_metrics["lipreg/weight"] == 0.0


def test_logs_are_epoch_values() -> None:
    data = batches(2)
    data[1] = (data[1][0][:3], data[1][1][:3])
    model, ours = Classifier(rate=0.0), regularizer(penalty="log")
    run = fit(model, data, ours)
    bounds = torch.cat([bounds_by_hand(model.net, *batch) for batch in data]).detach()
    logged = {key: value.item() for key, value in run.callback_metrics.items()}
    assert ours.time_share is not None
    assert 0 < ours.time_share < 1
    assert logged == pytest.approx(
        {
            "lipreg/penalty": bounds.log().mean().item(),
            "lipreg/bound_mean": bounds.mean().item(),
            "lipreg/bound_max": bounds.max().item(),
            "lipreg/weight": WEIGHT,
        },
        rel=1e-6,
    )


def test_weight_may_change_during_training() -> None:
    model, data, notes, ours = Classifier(), batches(2), Gradients(), regularizer(weight=0.0)

    def raise_weight(module: pl.LightningModule) -> None:
        ours.weight = WEIGHT

    first = torch.autograd.grad(F.cross_entropy(model.net(data[0][0]), data[0][1]), list(model.net.parameters()))
    moved = copy.deepcopy(model.net)
    with torch.no_grad():
        for parameter, gradient in zip(moved.parameters(), first, strict=True):
            parameter -= 0.1 * gradient
    second = torch.autograd.grad(loss_by_hand(moved, *data[1]), list(moved.parameters()))
    fit(model, data, ours, notes, Probe(raise_weight))
    assert_gradients(notes.seen, [list(first), list(second)])


def test_validation_that_calls_the_training_step_sees_the_plain_loss() -> None:
    class Sharing(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.training_step(batch, batch_idx))

    model, (batch,) = Sharing(rate=0.0), batches(1)
    run = fit(model, [batch], regularizer(), validation=[batch])
    plain = F.cross_entropy(model.net(batch[0]), batch[1]).item()
    assert run.callback_metrics["val_loss"].item() == pytest.approx(plain, rel=1e-6)


def test_steps_without_a_loss_pass() -> None:
    class Skipping(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx == 0 else super().training_step(batch, batch_idx)

    model, data, notes = Skipping(), batches(2), Gradients()
    expected = gradients_by_hand(model.net, [[data[1]]])
    fit(model, data, regularizer(), notes)
    assert_gradients(notes.seen[-1:], expected)
    assert notes.outputs[0] == {}
