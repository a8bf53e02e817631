"""The regularisers without a bound: each against its formula written by hand, and bit for bit nothing at weight 0."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from experiments.models import Classifier
from experiments.regularizers import (
    Baseline,
    Dropout,
    FastGradientSign,
    GradientPenalty,
    JacobianFrobenius,
    ProjectedGradient,
    Unregularised,
    WeightDecay,
    WeightL1,
)
from lipreg import LinfBall, LocalLipschitz
from lipreg.errors import InvalidInput, LipregError

PROBLEM = LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0))
KINDS = [
    Unregularised, WeightDecay, WeightL1, Dropout, FastGradientSign, ProjectedGradient, GradientPenalty, JacobianFrobenius,
]  # fmt: skip


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


def trained(kind: type[Baseline], weight: float, epochs: int = 1) -> tuple[Classifier, Recorder]:
    """A small classifier after so many epochs of one batch."""
    torch.manual_seed(0)
    model, recorder = Classifier([4, 6, 5, 3], 0.05), Recorder()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, barebones=True, callbacks=[kind(PROBLEM, weight), recorder]
    )
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
def test_weight_0_is_training_as_it_is(kind: type[Baseline]) -> None:
    plain, other = trained(Unregularised, 0.0, 3)[0], trained(kind, 0.0, 3)[0]
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Unregularised])
def test_a_weight_changes_training_and_leaves_no_trace_in_the_module(kind: type[Baseline]) -> None:
    plain, (other, recorder) = trained(Unregularised, 0.0, 2)[0], trained(kind, 0.1, 2)
    assert not all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))
    assert all(torch.isfinite(p).all() for p in other.parameters())
    assert recorder.hooks == (2 if kind is Dropout else 0)
    assert "training_step" not in vars(other)
    assert not any(module._forward_hooks for module in other.modules())


@pytest.mark.parametrize("kind, power", [(WeightDecay, 2), (WeightL1, 1)])
def test_weights_are_penalised_and_biases_are_not(kind: type[Baseline], power: int) -> None:
    found, plain = trained(kind, 0.1)[1].gradients, trained(Unregularised, 0.0)[1].gradients
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
    found = trained(GradientPenalty, 0.3)[1].gradients
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_projections_have_the_frobenius_norm_for_their_mean() -> None:
    model, (x, y) = fresh(), batch()
    term = JacobianFrobenius(PROBLEM, 0.5, seed=1)
    drawn = torch.stack([term.term(model, x, y, torch.zeros(())).detach() for _ in range(1500)])
    expected = 0.5 * jacobians(model, x).square().sum((1, 2)).mean()
    error = drawn.std() / len(drawn) ** 0.5
    assert abs(drawn.mean() - expected) < 4 * error
    assert error < 0.02 * expected


def test_fgsm_trains_at_the_moved_points_alone() -> None:
    model, (x, y) = fresh(), batch()
    slopes = model(x).softmax(1) - nn.functional.one_hot(y, 3)
    moved = (x + 0.1 * torch.einsum("bo,boi->bi", slopes, jacobians(model, x)).sign()).clamp(0, 1).detach()
    expected = gradients_of(model, nn.functional.cross_entropy(model(moved), y))
    found = trained(FastGradientSign, 0.1)[1].gradients
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_pgd_stays_in_ball_and_range_and_finds_more_loss() -> None:
    model, (x, y) = fresh(), batch()
    seen: list[Tensor] = []
    model.net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    loss = nn.functional.cross_entropy(model(x), y)
    added = ProjectedGradient(PROBLEM, 0.2).term(model, x, y, loss)
    assert len(seen) == 2 + ProjectedGradient.STEPS
    for points in seen[1:]:
        assert (points - x).abs().max() <= 0.2 + 1e-6
        assert points.min() >= 0 and points.max() <= 1
    assert not torch.equal(seen[1], x), "a random start"
    assert float(added.detach()) > 0


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


def test_an_error_takes_the_term_off() -> None:
    class Failing(Recorder):
        def on_before_optimizer_step(self, trainer: Any, pl_module: pl.LightningModule, optimizer: Any) -> None:
            raise RuntimeError("stop")

    model = fresh()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", barebones=True, callbacks=[WeightDecay(PROBLEM, 0.1), Failing()]
    )
    with pytest.raises(RuntimeError, match="stop"):
        trainer.fit(model, DataLoader(TensorDataset(*batch()), batch_size=12))
    assert "training_step" not in vars(model)


def test_a_resumed_baseline_draws_on() -> None:
    one, two, x = ProjectedGradient(PROBLEM, 0.1), ProjectedGradient(PROBLEM, 0.1), torch.zeros(3)
    one.drawn(torch.rand, x)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.drawn(torch.rand, x), two.drawn(torch.rand, x))


@pytest.mark.parametrize(
    "kind, weight", [(WeightDecay, -1.0), (WeightL1, float("nan")), (Dropout, 1.0), (Unregularised, 0.1)]
)
def test_weights_are_checked(kind: type[Baseline], weight: float) -> None:
    with pytest.raises(InvalidInput, match="weight="):
        kind(PROBLEM, weight)


def test_penalties_of_bounds_are_refused() -> None:
    with pytest.raises(LipregError, match=r"penalty=log.*penalty=mean"):
        WeightDecay(PROBLEM, 0.1, penalty="log")
