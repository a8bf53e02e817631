"""The wrapped step: gone after a fit or an error, out of the way of copies, pickles and other wrappers."""

from __future__ import annotations

import copy
import io
import pickle
from functools import wraps
from types import MethodType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from lipreg.callbacks.training_step import add_to_loss
from tests.callbacks.cases import (
    WEIGHT,
    Classifier,
    Gradients,
    Probe,
    assert_gradients,
    batches,
    bounds_by_hand,
    fit,
    gradients_by_hand,
    regularizer,
)


def test_the_step_is_the_class_own_after_fit() -> None:
    model = Classifier()
    fit(model, batches(1), regularizer())
    assert "training_step" not in vars(model)


def test_the_step_is_the_class_own_after_an_error() -> None:
    class Failing(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 1:
                raise ZeroDivisionError("on purpose")
            return super().training_step(batch, batch_idx)

    model = Failing()
    with pytest.raises(ZeroDivisionError, match=r"on purpose"):
        fit(model, batches(), regularizer(), regularizer(name="second"))
    assert "training_step" not in vars(model)
    fit(model, batches(1), regularizer())  # and it can be trained again


def test_an_instance_attribute_is_restored() -> None:
    model, (batch,), notes = Classifier(), batches(1), Gradients()

    def doubled(self: Classifier, batch: Any, batch_idx: int) -> Tensor:
        return 2 * F.cross_entropy(self.net(batch[0]), batch[1])

    own = MethodType(doubled, model)
    model.training_step = own  # type: ignore[method-assign]
    loss = 2 * F.cross_entropy(model.net(batch[0]), batch[1]) + WEIGHT * bounds_by_hand(model.net, *batch).mean()
    expected = torch.autograd.grad(loss, list(model.net.parameters()))
    fit(model, [batch], regularizer(), notes)
    assert_gradients(notes.seen, [list(expected)])
    assert vars(model)["training_step"] is own


def test_a_step_wrapped_on_top_is_left_but_adds_nothing() -> None:
    on_top: list[Any] = []

    class Wraps(pl.Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            inner = pl_module.training_step
            pl_module.training_step = MethodType(wraps(inner)(lambda this, *a, **k: inner(*a, **k)), pl_module)
            on_top.append(pl_module.training_step)

    model, (batch,), notes = Classifier(), batches(1), Gradients()
    expected = gradients_by_hand(model.net, [[batch]])
    fit(model, [batch], regularizer(), Wraps(), notes)
    assert_gradients(notes.seen, expected)
    plain = F.cross_entropy(model.net(batch[0]), batch[1])
    assert vars(model)["training_step"] is on_top[0]
    assert torch.equal(model.training_step(batch, 0), plain)

    again, expected = Gradients(), gradients_by_hand(model.net, [[batch]])
    fit(model, [batch], regularizer(), again)
    assert_gradients(again.seen, expected)  # once, not twice


def test_decorated_steps_keep_their_parameters() -> None:
    def decorated(step: Any) -> Any:
        @wraps(step)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return step(*args, **kwargs)

        return wrapper

    class Decorated(Classifier):
        @decorated
        def training_step(self, batch: Any) -> Any:  # type: ignore[override]
            return F.cross_entropy(self.net(batch[0]), batch[1])

    model, data, notes = Decorated(), batches(1), Gradients()
    expected = gradients_by_hand(model.net, [data])
    fit(model, data, regularizer(weight=WEIGHT / 2), regularizer(weight=WEIGHT / 2, name="second"), notes)
    assert_gradients(notes.seen, expected)


def test_terms_come_off_in_any_order() -> None:
    model, (batch,) = Classifier(), batches(1)
    plain = model.training_step(batch, 0).item()
    one, two = (
        add_to_loss(model, lambda batch, loss: torch.tensor(1.0)),
        add_to_loss(model, lambda batch, loss: batch[0].sum()),
    )
    total = batch[0].sum().item()
    assert model.training_step(batch, 0).item() == pytest.approx(plain + 1.0 + total, rel=1e-6)
    assert model.training_step(batch=batch, batch_idx=0).item() == pytest.approx(plain + 1.0 + total, rel=1e-6)
    one()
    assert model.training_step(batch, 0).item() == pytest.approx(plain + total, rel=1e-6)
    one()
    two()
    assert "training_step" not in vars(model)
    two()
    assert model.training_step(batch, 0).item() == plain


def unnamed(step: Any) -> Any:
    def wrapper(self: Any, batch: Any, batch_idx: int) -> Any:
        return step(self, batch, batch_idx)

    return wrapper


class Unnamed(Classifier):
    """Its step goes by another name than the attribute that holds it."""

    training_step = unnamed(Classifier.training_step)


def test_a_step_of_another_name_can_be_pickled_during_fit() -> None:
    model, data, loaded = Unnamed(), batches(1), []
    fit(model, data, regularizer(), Probe(lambda module: loaded.append(pickle.loads(pickle.dumps(module)))))
    plain = F.cross_entropy(loaded[0].net(data[0][0]), data[0][1])
    assert torch.equal(loaded[0].training_step(data[0], 0), plain)


def test_module_and_callback_can_be_pickled_and_copied_during_fit() -> None:
    model, (batch, _), ours = Classifier(), batches(2), regularizer(points=3)
    checked = []

    def travel(module: pl.LightningModule) -> None:
        buffer = io.BytesIO()
        torch.save(module, buffer)
        buffer.seek(0)
        for other in (
            torch.load(buffer, weights_only=False),
            pickle.loads(pickle.dumps(module)),
            copy.deepcopy(module),
        ):
            assert isinstance(other, Classifier)
            assert other is not module
            with torch.no_grad():
                next(other.parameters()).zero_()  # so that a step which ran on the module itself would be seen
            plain = F.cross_entropy(other.net(batch[0]), batch[1])
            assert torch.equal(other.training_step(batch, 0), plain)
        for callback in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
            assert callback.state_key == ours.state_key
            assert torch.equal(callback.state_dict()["generator"], ours.state_dict()["generator"])
            assert ours.term.network is module
            assert callback.term.network is None, "a copy does not carry the network"
            callback.teardown(module.trainer, module, "fit")
        assert "training_step" in vars(module), "a copy of the callback must not take the penalty off"
        checked.append(module)

    fit(model, batches(2), ours, Probe(travel))
    assert len(checked) == 2


def test_a_copy_made_during_fit_can_be_regularized_itself() -> None:
    model, data, copies = Classifier(), batches(2), []
    fit(model, data, regularizer(), Probe(lambda module: copies.append(copy.deepcopy(module))))
    other, notes = copies[0], Gradients()
    expected = gradients_by_hand(other.net, [[data[0]]])
    fit(other, data[:1], regularizer(), notes)
    assert_gradients(notes.seen, expected)
