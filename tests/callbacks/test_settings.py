"""The regularizer under the Trainer's settings: precision, compiled modules, optimizers, short and resumed runs."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor

from lipreg import LipschitzPenalty
from lipreg.callbacks import LipschitzRegularizer, measures
from lipreg.errors import UnsupportedRequest
from lipreg.points import Points
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.schedules import Cosine, Target
from tests.callbacks.cases import (
    PROBLEM,
    RADIUS,
    WEIGHT,
    Classifier,
    DictClassifier,
    Gradients,
    Stochastic,
    WatchedBall,
    assert_gradients,
    batches,
    bounds_by_hand,
    clipped,
    fit,
    gradients_by_hand,
    regularizer,
)

# ---------------------------------------------------------------- precision


def half_precision_gradients(model: Classifier, batch: tuple[Tensor, Tensor], dtype: torch.dtype, scale: float) -> Any:
    """Gradients of the sum by hand, the loss under autocast and the penalty outside of it, both through a scaler's scale."""
    with torch.autocast("cpu", dtype=dtype):
        loss = F.cross_entropy(model.net(batch[0]), batch[1])
    total = loss + WEIGHT * bounds_by_hand(model.net, *batch).mean()
    return [g / scale for g in torch.autograd.grad(scale * total, list(model.net.parameters()))]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision(precision: Any) -> None:
    """The whole step is the sum by hand: the penalty saw no autocast, and went through the scaler with the loss."""
    (batch,), model, notes = batches(1), Classifier(rate=0.0), Gradients()
    if precision == "bf16-mixed":
        expected = half_precision_gradients(model, batch, torch.bfloat16, 1.0)
        settings: dict[str, Any] = {"precision": precision}
    else:  # on the CPU the Trainer takes bf16 for the name "16-mixed"; the plugin itself, with its scaler, works there
        plugin = MixedPrecision("16-mixed", "cpu")
        assert plugin.scaler is not None
        expected = half_precision_gradients(model, batch, torch.float16, plugin.scaler.get_scale())
        settings = {"plugins": plugin}
    run = fit(model, [batch], regularizer(), notes, **settings)
    assert_gradients(notes.seen, [expected])
    exact = bounds_by_hand(model.net, *batch).mean().item()
    assert run.callback_metrics["lipreg/bound_mean"].item() == pytest.approx(exact, rel=1e-6)


def test_mixed_precision_with_accumulation_and_clipping() -> None:
    data, model, notes = batches(2), Classifier(rate=0.0), Gradients()
    each = [half_precision_gradients(model, batch, torch.bfloat16, 1.0) for batch in data]
    mean = [torch.stack(parts).mean(0) for parts in zip(*each, strict=True)]
    settings = {"precision": "bf16-mixed", "accumulate_grad_batches": 2, "gradient_clip_val": 0.05}
    fit(model, data, regularizer(), notes, **settings)
    assert_gradients(notes.seen, [clipped(mean, 0.05)])


# ---------------------------------------------------------------- compiled modules


@pytest.mark.parametrize("module", [None, "net"])
@pytest.mark.parametrize("compiled", ["attribute", "in place"])
def test_a_compiled_network(compiled: str, module: str | None) -> None:
    torch._dynamo.reset()
    model, data, notes = Classifier(), batches(2), Gradients()
    expected = gradients_by_hand(model.net, [[batch] for batch in data])
    if compiled == "in place":
        model.net.compile(backend="aot_eager")
    else:
        model.net = torch.compile(model.net, backend="aot_eager")  # type: ignore[assignment]
    fit(model, data, regularizer(module=module), notes)
    assert_gradients(notes.seen, expected)


# ---------------------------------------------------------------- optimizers


class TwoOptimizers(Classifier):
    """One optimizer a layer, stepped by hand or, wrongly, automatically."""

    def __init__(self, manual: bool) -> None:
        super().__init__()
        self.automatic_optimization = not manual
        self.penalty = LipschitzPenalty(self.net, PROBLEM, weight=WEIGHT)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        if self.automatic_optimization:
            return loss
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
        self.manual_backward(loss + self.penalty(*batch))
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()
        return None

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[i].parameters(), lr=0.1) for i in (0, 2)]


def test_several_optimizers_by_hand() -> None:
    model, data = TwoOptimizers(manual=True), batches(3)
    expected = gradients_by_hand(model.net, [[batch] for batch in data])
    seen: list[list[Tensor]] = []

    class Notes(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            seen.append([p.grad.clone() for p in pl_module.net.parameters()])

    fit(model, data, Notes())
    assert_gradients(seen, expected)


def test_manual_optimization_is_told_what_to_call() -> None:
    with pytest.raises(UnsupportedRequest, match=r"LipschitzPenalty\(network.*manual_backward"):
        fit(TwoOptimizers(manual=True), batches(1), regularizer())
    model = TwoOptimizers(manual=False)
    with pytest.raises(RuntimeError, match=r"manual optimization"):  # Lightning's own refusal
        fit(model, batches(1), regularizer())
    assert "training_step" not in vars(model)


@pytest.mark.parametrize("closure", ["LBFGS", "Adam"])
def test_optimizers_with_closures(closure: str) -> None:
    """LBFGS evaluates the sum several times a batch: its path is that of the same sum, minimised by hand."""

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return (
            torch.optim.LBFGS(parameters, max_iter=4) if closure == "LBFGS" else torch.optim.Adam(parameters, lr=0.01)
        )

    class Chosen(Classifier):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer(self.parameters())

    model, data = Chosen(), batches(2)
    net = copy.deepcopy(model.net)
    by_hand = optimizer(net.parameters())
    for x, y in data:

        def sum_by_hand(x: Tensor = x, y: Tensor = y) -> float:
            by_hand.zero_grad()
            loss = F.cross_entropy(net(x), y) + WEIGHT * bounds_by_hand(net, x, y).mean()
            loss.backward()
            return loss.item()

        by_hand.step(sum_by_hand)
    fit(model, data, regularizer())
    for ours, theirs in zip(model.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- batches


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


class Sample:
    """A batch of a kind that nobody else knows."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.pixels, self.digit = x, y


def forms(x: Tensor, y: Tensor) -> dict[str, Any]:
    return {"tuple": (x, y), "list": [x, y], "named": Pair(x, y), "dict": {"image": x, "label": y}, "own": Sample(x, y)}


def pixels_and_digit(batch: Any) -> tuple[Tensor, Tensor]:
    return batch.pixels, batch.digit


@pytest.mark.parametrize("form", ["tuple", "list", "named", "dict", "own"])
def test_batches_of_every_form(form: str) -> None:
    class Own(DictClassifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:  # type: ignore[override]
            if isinstance(batch, dict):
                return super().training_step(batch)
            return Classifier.training_step(self, pixels_and_digit(batch) if form == "own" else batch, batch_idx)

    model, data, notes = Own(), batches(2), Gradients()
    expected = gradients_by_hand(model.net, [[batch] for batch in data])
    ours = regularizer(points=Points(batch_to_inputs=pixels_and_digit if form == "own" else None))
    fit(model, [forms(*batch)[form] for batch in data], ours, notes)
    assert_gradients(notes.seen, expected)


# ---------------------------------------------------------------- short runs


def test_fast_dev_run() -> None:
    model, data, notes = Classifier(), batches(3), Gradients()
    expected = gradients_by_hand(model.net, [[data[0]]])
    run = fit(model, data, regularizer(points=100), notes, fast_dev_run=True)
    assert_gradients(notes.seen, expected)
    assert run.callback_metrics["lipreg/bound_mean"] > 0
    assert "training_step" not in vars(model)


def test_sanity_checking_leaves_no_trace() -> None:
    """A validation that calls the training step, before training, neither bounds anything nor draws points."""

    class Sharing(Stochastic):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            Classifier.training_step(self, batch, batch_idx)
            self.training_step(batch, batch_idx)

    states = []
    for checks in (0, 2):
        torch.manual_seed(5)
        model, data = Sharing(), batches(3, size=8)
        WatchedBall.placed.clear()
        ours = regularizer(problem=LocalLipschitz(region=WatchedBall(RADIUS)), points=3)
        fit(model, data, ours, validation=data[:1], num_sanity_val_steps=checks)
        assert len(WatchedBall.placed) == len(data)
        states.append(torch.cat(WatchedBall.placed))
    assert torch.equal(*states)


def test_an_epoch_that_is_cut_short_is_logged() -> None:
    model = Classifier(rate=0.0)
    data = batches(4)
    run = fit(model, data, regularizer(), max_steps=2, max_epochs=-1)
    expected = torch.cat([bounds_by_hand(model.net, *batch) for batch in data[:2]]).mean().item()
    assert run.callback_metrics["lipreg/bound_mean"].item() == pytest.approx(expected, rel=1e-6)


def test_values_are_there_for_callbacks_that_monitor_them(tmp_path: Path) -> None:
    """Early stopping reads them at its own epoch end, wherever it stands among the callbacks."""
    stop = pl.callbacks.EarlyStopping("lipreg/bound_mean", patience=1, check_on_train_epoch_end=True)
    best = pl.callbacks.ModelCheckpoint(tmp_path, monitor="lipreg/bound_max")
    run = fit(Classifier(rate=0.0), batches(2), stop, regularizer(), best, max_epochs=9, enable_checkpointing=True)
    assert run.current_epoch == 2
    assert best.best_model_score == run.callback_metrics["lipreg/bound_max"]


# ---------------------------------------------------------------- resuming

RESUMED: list[dict[str, Any]] = [
    {"points": 2},
    {"points": Points(3, fixed=True)},
    {"schedule": "linear"},
    {"schedule": Cosine(batches=7)},
    {"schedule": Target(0.3, rate=0.5)},
    {"problem": LocalLipschitz(LinfBall(RADIUS), p=2.0)},
    {"problem": LocalLipschitz(LinfBall(RADIUS), p=2.0), "points": Points(3, fixed=True)},
]


@pytest.mark.parametrize("settings", RESUMED, ids=str)
def test_a_resumed_run_is_the_uninterrupted_one(settings: dict[str, Any], tmp_path: Path) -> None:
    """The same weights to the last bit after two epochs, with a new callback and trainer for the second."""

    class Examples(Classifier):
        def train_dataloader(self) -> Any:
            x, y = (torch.cat(parts) for parts in zip(*batches(3, size=8), strict=True))
            return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8)

    def run(model: pl.LightningModule, ours: LipschitzRegularizer, limit: int, start: Path | None = None) -> pl.Trainer:
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        stop = pl.callbacks.LambdaCallback(
            on_train_epoch_end=lambda trainer, _: setattr(trainer, "should_stop", trainer.current_epoch + 1 >= limit)
        )
        trainer = pl.Trainer(max_epochs=2, accelerator="cpu", devices=1, callbacks=[ours, stop], **quiet)  # type: ignore[arg-type]
        trainer.fit(model, ckpt_path=start)
        return trainer

    start = Examples()
    whole, half, rest = (copy.deepcopy(start) for _ in range(3))
    uninterrupted, resumed = regularizer(**settings), regularizer(**settings)
    run(whole, uninterrupted, 2)
    run(half, regularizer(**settings), 1).save_checkpoint(tmp_path / "half.ckpt")
    run(rest, resumed, 2, tmp_path / "half.ckpt")
    assert not torch.equal(half.net[0].weight, rest.net[0].weight)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))
    assert_same(uninterrupted.state_dict(), resumed.state_dict())


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


# ---------------------------------------------------------------- time


def test_the_share_of_time_is_what_clocks_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A penalty that takes time in its forward and backward passes, beside a step that does too; the clock is the test's."""
    spent = {"step": 0.0, "penalty": 0.0}
    monkeypatch.setattr(measures, "time", SimpleNamespace(perf_counter=lambda: sum(spent.values())))

    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor, who: str) -> Tensor:
            spent[who] += 1.0
            ctx.who = who
            return value.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Any:
            spent[ctx.who] += 2.0
            return gradients[0], None

    class SlowStep(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return Slow.apply(super().training_step(batch, batch_idx), "step")

    ours = regularizer()
    plain = ours.term._evaluate
    ours.term._evaluate = lambda x, y: (lambda found: (found[0], Slow.apply(found[1], "penalty")))(plain(x, y))
    logger = pl.loggers.CSVLogger(tmp_path)
    run = fit(SlowStep(), batches(3), ours, logger=logger)
    assert spent["step"] == 9.0 and spent["penalty"] >= 9.0
    assert ours.time_share == pytest.approx(spent["penalty"] / sum(spent.values()))
    assert "lipreg/time_share" not in run.callback_metrics, "the clock's readings would tell equal runs apart"
    logger.save()
    assert "lipreg/time_share" in (Path(logger.log_dir) / "metrics.csv").read_text(encoding="utf-8")
