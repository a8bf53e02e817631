"""The regularisers that are no bounds: each against its formula written by hand, and bit for bit nothing at weight 0."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from experiments.models import Classifier
from experiments.regularizers import Dropout, Unregularised
from lipreg import LinfBall, LocalLipschitz
from lipreg.callbacks import LipschitzRegularizer
from lipreg.errors import InvalidInput, LipregError

PROBLEM = LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0))
PENALISED: dict[str, Any] = {
    name: partial(LipschitzRegularizer, quantity=name)
    for name in ("jacobian", "weight_decay", "weight_l1", "fgsm", "pgd", "gradient", "jacobian_frobenius")
}
KINDS: dict[str, Any] = {"none": Unregularised, "dropout": Dropout, **PENALISED}


class Recorder(pl.Callback):
    """Keeps what training saw; placed after a baseline, it sees what that has done."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        self.hooks = 0

    def on_before_optimizer_step(self, trainer: Any, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.gradients = {n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None}
        self.hooks = sum(len(module._forward_hooks) for module in pl_module.modules())


def batch(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 4, generator=generator), torch.randint(3, (count,), generator=generator)


def trained(kind: str, weight: float, epochs: int = 1) -> tuple[Classifier, Recorder]:
    """A small classifier after so many epochs of one batch."""
    torch.manual_seed(0)
    model, recorder = Classifier([4, 6, 5, 3], 0.05), Recorder()
    callbacks = [KINDS[kind](PROBLEM, weight=weight), recorder]
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", devices=1, barebones=True, callbacks=callbacks)
    trainer.fit(model, DataLoader(TensorDataset(*batch()), batch_size=12))
    return model, recorder


def fresh() -> Classifier:
    torch.manual_seed(0)
    return Classifier([4, 6, 5, 3], 0.05)


def gradients_of(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def jacobians(model: nn.Module, x: Tensor) -> Tensor:
    """``(batch, outputs, inputs)``, from the weights and the pattern of signs: no autograd through the input."""
    (first, _, second, _, third) = model.net  # type: ignore[misc]
    one = (first(x) > 0).float()
    two = (second(torch.relu(first(x))) > 0).float()
    return torch.einsum("ok,bk,kj,bj,ji->boi", third.weight, two, second.weight, one, first.weight)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_0_is_training_as_it_is(kind: str) -> None:
    plain, other = trained("none", 0.0, 3)[0], trained(kind, 0.0, 3)[0]
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_a_weight_changes_training_and_leaves_no_trace_in_the_module(kind: str) -> None:
    plain, (other, recorder) = trained("none", 0.0, 2)[0], trained(kind, 0.1, 2)
    assert not all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))
    assert all(torch.isfinite(p).all() for p in other.parameters())
    assert recorder.hooks == (2 if kind == "dropout" else 0)
    assert "training_step" not in vars(other)
    assert not any(module._forward_hooks for module in other.modules())


@pytest.mark.parametrize("kind, power", [("weight_decay", 2), ("weight_l1", 1)])
def test_weights_are_penalised_and_biases_are_not(kind: str, power: int) -> None:
    found, plain = trained(kind, 0.1)[1].gradients, trained("none", 0.0)[1].gradients
    for name, parameter in fresh().named_parameters():
        extra = torch.zeros_like(parameter)
        if name.endswith("weight"):
            extra = 0.1 * (parameter.detach() if power == 2 else parameter.detach().sign())
        torch.testing.assert_close(found[name], plain[name] + extra)


def test_gradient_penalty_is_the_gradient_of_the_cross_entropy() -> None:
    model, (x, y) = fresh(), batch()
    outputs = model(x)
    slopes = outputs.softmax(1) - nn.functional.one_hot(y, 3)
    penalty = torch.einsum("bo,boi->bi", slopes, jacobians(model, x)).square().sum(1).mean()
    expected = gradients_of(model, nn.functional.cross_entropy(outputs, y) + 0.3 * penalty)
    found = trained("gradient", 0.3)[1].gradients
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_fgsm_trains_at_the_moved_points_alone() -> None:
    model, (x, y) = fresh(), batch()
    slopes = model(x).softmax(1) - nn.functional.one_hot(y, 3)
    moved = (x + 0.1 * torch.einsum("bo,boi->bi", slopes, jacobians(model, x)).sign()).clamp(0, 1).detach()
    expected = gradients_of(model, nn.functional.cross_entropy(model(moved), y))
    found = trained("fgsm", 1.0)[1].gradients
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_dropout_is_for_training_alone() -> None:
    dropout = Dropout(PROBLEM, 0.4)
    model, trainer = fresh(), pl.Trainer(barebones=True)
    dropout.setup(trainer, model, "fit")
    counts: list[float] = []
    model.net[2].register_forward_pre_hook(lambda m, inputs: counts.append(float((inputs[0] == 0).float().mean())))
    x = torch.rand(400, 4)
    model.eval()
    still, plain = model(x), fresh().eval()(x)
    assert torch.equal(still, plain)
    model.train()
    model(x)
    alive = 1 - counts[0]
    assert 1 - counts[1] == pytest.approx(0.6 * alive, abs=0.05)
    dropout.teardown(trainer, model, "fit")


def test_an_error_takes_the_hooks_off() -> None:
    class Failing(Recorder):
        def on_before_optimizer_step(self, trainer: Any, pl_module: pl.LightningModule, optimizer: Any) -> None:
            raise RuntimeError("stop")

    model = fresh()
    callbacks = [Dropout(PROBLEM, 0.1), Failing()]
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", barebones=True, callbacks=callbacks)
    with pytest.raises(RuntimeError, match="stop"):
        trainer.fit(model, DataLoader(TensorDataset(*batch()), batch_size=12))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    "kind, weight", [(Dropout, -1.0), (Dropout, float("nan")), (Dropout, 1.0), (Unregularised, 0.1)]
)
def test_weights_are_checked(kind: Any, weight: float) -> None:
    with pytest.raises(InvalidInput, match="weight="):
        kind(PROBLEM, weight)


def test_penalties_of_bounds_are_refused() -> None:
    with pytest.raises(LipregError, match=r"penalty=log.*penalty=mean"):
        Dropout(PROBLEM, 0.1, penalty="log")
