"""The networks that penalties are priced on, with data like what they are made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from experiments.image_models import lenet, resnet18, vgg11
from lipreg.data import DigitsDataModule


@dataclass(frozen=True)
class Case:
    """A network with data like what it is made for.

    Attributes:
        network: makes it.
        shape: of one input.
        radius: of the l_inf ball.
        repeats: how many steps of each kind are timed.
        epochs: of training, before tightness is measured; 0 for none, where bounds are astronomic.
    """

    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    radius: float
    repeats: int
    epochs: int = 10


def mlp(*widths: int) -> nn.Module:
    """Linear layers with ReLUs between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


CASES = {
    "digits MLP 64-32-32-10": Case(lambda: mlp(64, 32, 32, 10), (1, 8, 8), 0.05, 500),
    "MNIST MLP 784-256-256-10": Case(lambda: mlp(784, 256, 256, 10), (1, 28, 28), 0.02, 100),
    "LeNet 8-16-84-10": Case(lenet, (1, 28, 28), 0.02, 60),
    "VGG-11 at a quarter of its width": Case(lambda: vgg11(16), (3, 32, 32), 2 / 255, 3, epochs=0),
    "ResNet-18 at a quarter of its width": Case(lambda: resnet18(16), (3, 32, 32), 2 / 255, 3, epochs=0),
}


def data(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Digits, enlarged to the shape where it is larger."""
    module = DigitsDataModule(seed=0)
    module.prepare_data()
    module.setup("fit")
    batches = [(batch[0], batch[1]) for batch in module.train_dataloader()]
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    images = nn.functional.interpolate(x.reshape(-1, 1, 8, 8), size=shape[1:], mode="bilinear")
    return images.repeat(1, shape[0], 1, 1), y
