"""Modules, trainers and sums by hand that the tests of the regularizer share.

The bound by hand is the affine-ReLU bound in l_inf of a network with one hidden layer over an uncut ball: with
z = W1 x + b1, unit i can be active when z_i + radius |row_i(W1)|_1 > 0, and the bound is the largest |row_i(W1)|_1 of
those units times the largest |(e_y - e_j)^T W2|_1 over them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lipreg.callbacks import LipschitzRegularizer
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall

RADIUS, WEIGHT = 0.2, 0.3
PROBLEM = LocalLipschitz(region=LinfBall(RADIUS))


# ---------------------------------------------------------------- modules and trainers


class Classifier(pl.LightningModule):
    """An ordinary module: a network, cross entropy, plain gradient descent."""

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


class Validating(pl.LightningModule):
    """A classifier with a validation step that logs its accuracy, trained by Adam.

    Args:
        net: what it trains.
        rate: of its steps.
    """

    def __init__(self, net: nn.Module, rate: float) -> None:
        super().__init__()
        self.net, self.rate = net, rate

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


class DictClassifier(Classifier):
    """Batches and step outputs as dicts, the step without batch_idx."""

    def training_step(self, batch: Any) -> Any:  # type: ignore[override]
        logits = self.net(batch["image"])
        return {"loss": F.cross_entropy(logits, batch["label"]), "logits": logits.detach()}


class Forwardless(pl.LightningModule):
    """The network is a submodule of a submodule; forward is not defined."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"net": nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))})
        self.scale = 1.0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.model["net"](batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Stochastic(Classifier):
    """Draws from the global generator at every step, and notes its state before doing so."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3))
        self.states: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.states.append(torch.get_rng_state())
        return super().training_step(batch, batch_idx)


class Gradients(pl.Callback):
    """Notes the gradients that each optimizer step used, clipped if they were, and the outputs of every batch."""

    def __init__(self) -> None:
        self.seen: list[list[Tensor]] = []
        self.outputs: list[Any] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.outputs.append(outputs)
        if trainer.global_step > len(self.seen):
            parameters = list(pl_module.parameters())
            self.seen.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters])


class Probe(pl.Callback):
    """Runs a function after each training batch."""

    def __init__(self, function: Callable[[pl.LightningModule], None]) -> None:
        self.function = function

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        self.function(pl_module)


class WatchedBall(LinfBall):
    """Notes the reference points that it is placed around."""

    placed: ClassVar[list[Tensor]] = []

    def place(self, x0: Tensor) -> Any:
        self.placed.append(x0.clone())
        return super().place(x0)


def fit(
    model: pl.LightningModule,
    data: list[Any] | None,
    *callbacks: pl.Callback,
    validation: list[Any] | None = None,
    ckpt_path: str | None = None,
    **arguments: Any,
) -> pl.Trainer:
    """Trains on the batches in their order (None: the module's own loader); the trainer that did it."""
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    settings = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, **quiet, **arguments}
    trainer = pl.Trainer(callbacks=list(callbacks), **settings)
    trainer.fit(
        model,
        None if data is None else feed(data),
        None if validation is None else feed(validation),
        ckpt_path=ckpt_path,
    )
    return trainer


def feed(data: list[Any]) -> DataLoader:
    return DataLoader(data, batch_size=None)  # type: ignore[arg-type]


def batches(count: int = 3, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(11)
    return [(torch.rand(size, 4, generator=draw), torch.randint(3, (size,), generator=draw)) for _ in range(count)]


def regularizer(**arguments: Any) -> LipschitzRegularizer:
    settings: dict[str, Any] = {"problem": PROBLEM, "weight": WEIGHT}
    return LipschitzRegularizer(**{**settings, **arguments})


# ---------------------------------------------------------------- by hand


def bounds_by_hand(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    first, last = net[0], net[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    sizes = first.weight.abs().sum(1)
    active = (x @ first.weight.T + first.bias + RADIUS * sizes > 0).to(x.dtype)
    margins = last.weight[y].unsqueeze(1) - last.weight
    return (active * sizes).amax(1) * (margins.abs() * active.unsqueeze(1)).sum(2).amax(1)


def loss_by_hand(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(net(x), y) + WEIGHT * bounds_by_hand(net, x, y).mean()


def gradients_by_hand(
    net: nn.Sequential,
    groups: list[list[tuple[Tensor, Tensor]]],
    clip: float | None = None,
    cut: float | None = None,
    window: int | None = None,
) -> Any:
    """Gradient descent at rate 0.1 on the mean loss of each group of batches; the gradients of every step.

    Args:
        clip: the norm that gradients are clipped to.
        cut: the magnitude that their entries are cut to.
        window: divides the losses of a group in place of their number.
    """
    net, seen = copy.deepcopy(net), []
    for group in groups:
        loss = torch.stack([loss_by_hand(net, *batch) for batch in group]).sum() / (window or len(group))
        gradients = list(torch.autograd.grad(loss, list(net.parameters())))
        if clip is not None:
            gradients = clipped(gradients, clip)
        if cut is not None:
            assert max(g.abs().max() for g in gradients) > cut, "the case must cut"
            gradients = [g.clamp(-cut, cut) for g in gradients]
        seen.append(gradients)
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    return seen


def clipped(gradients: list[Tensor], clip: float) -> list[Tensor]:
    """To that norm, as torch does it."""
    size = torch.cat([g.flatten() for g in gradients]).norm()
    assert size > clip, "the case must clip"
    return [g * clip / (size + 1e-6) for g in gradients]


def assert_gradients(got: list[list[Tensor]], expected: list[list[Tensor]], relative: float = 1e-6) -> None:
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        ours, theirs = (torch.cat([g.flatten() for g in gradients]) for gradients in (ours, theirs))
        assert (ours - theirs).norm() <= relative * theirs.norm()
