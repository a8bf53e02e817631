"""The digits: the bundled data itself, a stratified split, and an order that nothing but the seed decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import SequentialSampler

from lipreg.data import DigitsDataModule
from lipreg.errors import InvalidInput


def prepared(**arguments: Any) -> DigitsDataModule:
    data = DigitsDataModule(**arguments)
    data.setup("fit")
    return data


def order(data: DigitsDataModule, epochs: int = 1) -> list[Tensor]:
    """The inputs of each epoch, in the order in which they are seen."""
    loader = data.train_dataloader()
    return [torch.cat([x for x, _ in loader]) for _ in range(epochs)]


def as_rows(x: Tensor, y: Tensor) -> list[tuple[float, ...]]:
    return sorted((*row, label) for row, label in zip((x * 16).tolist(), y.tolist(), strict=True))


def test_the_two_parts_are_the_bundled_digits() -> None:
    data = prepared()
    (x_train, y_train), (x_val, y_val) = data.train_set.tensors, data.validation_set.tensors
    assert (x_train.dtype, y_train.dtype) == (torch.float32, torch.int64)
    assert x_train.shape[1:] == data.input_shape == (64,)
    assert x_train.min() == 0.0
    assert x_train.max() == 1.0
    pixels, labels = load_digits(return_X_y=True)
    expected = sorted((*row, label) for row, label in zip(pixels.tolist(), labels.tolist(), strict=True))
    assert as_rows(torch.cat([x_train, x_val]), torch.cat([y_train, y_val])) == expected
    assert data.classes == len(set(labels.tolist()))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.1])
def test_split_is_stratified(share: float) -> None:
    data = prepared(validation_share=share)
    of_class = torch.as_tensor(load_digits(return_X_y=True)[1]).bincount()
    held_out = data.validation_set.tensors[1].bincount(minlength=10)
    assert (held_out - share * of_class).abs().max() <= 1.0


def test_split_and_order_follow_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = order(prepared(seed=3), epochs=2)
    torch.manual_seed(2)
    torch.rand(17)
    second = order(prepared(seed=3), epochs=2)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1]), "each epoch has an order of its own"
    assert torch.equal(first[0].sort(0).values, first[1].sort(0).values)
    assert not torch.equal(order(prepared(seed=4))[0], first[0])


def test_a_second_fit_of_one_data_module_sees_the_same_batches() -> None:
    data = prepared(seed=3)
    assert torch.equal(order(data)[0], order(data)[0])


def test_loaders_leave_the_global_generator_alone() -> None:
    data = prepared()
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert sum(len(y) for _, y in loader) == len(loader.dataset)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_is_in_order() -> None:
    data = prepared(batch_size=50)
    loader = data.val_dataloader()
    assert isinstance(loader.sampler, SequentialSampler)
    assert torch.equal(torch.cat([x for x, _ in loader]), data.validation_set.tensors[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 0},
        {"batch_size": 2.0},
        {"seed": -1},
        {"num_workers": -1},
        {"validation_share": 0.0},
        {"validation_share": 1.0},
        {"validation_share": 0.001},
        {"validation_share": float("nan")},
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        DigitsDataModule(**arguments)


class Watcher(pl.LightningModule):
    """Learns next to nothing and remembers the batches of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(64, 10)
        self.seen: dict[int, list[Tensor]] = {}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch[0].clone())
        return self.net(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def trainer(epochs: int) -> pl.Trainer:
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    return pl.Trainer(accelerator="cpu", devices=1, max_epochs=epochs, **quiet)


def test_a_resumed_run_goes_on_with_its_order(tmp_path: Path) -> None:
    whole, start, rest = Watcher(), Watcher(), Watcher()
    trainer(3).fit(whole, datamodule=DigitsDataModule(batch_size=300, seed=5))
    stopped = trainer(1)
    stopped.fit(start, datamodule=DigitsDataModule(batch_size=300, seed=5))
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    torch.manual_seed(99)
    trainer(3).fit(rest, datamodule=DigitsDataModule(batch_size=300, seed=5), ckpt_path=str(tmp_path / "stopped.ckpt"))
    assert sorted(rest.seen) == [1, 2]
    for epoch, batches in rest.seen.items():
        assert all(torch.equal(a, b) for a, b in zip(batches, whole.seen[epoch], strict=True))
    assert not torch.equal(whole.seen[0][0], whole.seen[1][0])
