"""The models that the experiments train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from experiments.image_models import cnn, lenet, resnet18, vgg11
from lipreg.errors import InvalidInput

SMALL, COLOUR = {"lenet": lenet, "cnn": cnn}, {"vgg11": vgg11, "resnet18": resnet18}
"""Networks of images by name: of any channels and size, and of colour images of 32 x 32."""


class Trained(pl.LightningModule):
    """A network trained with Adam; knows nothing of Lipschitz constants. Subclasses say by which loss.

    Attributes:
        net: the network.
        loss: of outputs and targets.
        takes: the shape of its inputs.
        hidden: widths of its hidden layers, of a network of vectors.
        outputs: how many it has.
    """

    net: nn.Module
    learning_rate: float
    loss: Callable[[Tensor, Tensor], Tensor]
    takes: tuple[int, ...]
    hidden: tuple[int, ...] = ()
    outputs: int

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        outputs = self(x)
        self.log("val_loss", self.loss(outputs, y))
        self.log_more(outputs, y)

    def log_more(self, outputs: Tensor, y: Tensor) -> None:
        """What else validation tells."""


class OfClasses(Trained):
    """A classifier, trained by cross entropy."""

    loss = staticmethod(nn.functional.cross_entropy)

    def log_more(self, outputs: Tensor, y: Tensor) -> None:
        self.log("val_accuracy", (outputs.argmax(1) == y).float().mean())


class Classifier(OfClasses):
    """A ReLU classifier of vectors.

    Args:
        widths: of the input, the hidden layers and the output.
        learning_rate: of Adam.
    """

    def __init__(self, widths: Sequence[int] = (64, 32, 32, 10), learning_rate: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters({"widths": list(widths), "learning_rate": learning_rate})
        self.net, self.learning_rate = layers(widths), learning_rate
        self.takes, self.hidden, self.outputs = (widths[0],), tuple(widths[1:-1]), widths[-1]


class ImageClassifier(OfClasses):
    """A classifier of images, by one of the networks of ``experiments.image_models``.

    Args:
        network: "lenet", "cnn", "vgg11" or "resnet18"; the last two are for colour images of 32 x 32.
        width: channels of its first convolution, which the others are multiples of.
        classes: outputs.
        channels, size: of the images.
        learning_rate: of Adam.

    Raises:
        InvalidInput: another network, or images that it is not for.
    """

    def __init__(
        self,
        network: str = "lenet",
        width: int = 8,
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
        learning_rate: float = 2e-3,
    ) -> None:
        super().__init__()
        told = {"network": network, "width": width, "classes": classes, "channels": channels, "size": size}
        self.save_hyperparameters({**told, "learning_rate": learning_rate})
        for name, number in (("width", width), ("classes", classes), ("channels", channels), ("size", size)):
            _check_positive(name, number, "ImageClassifier")
        self.network, self.takes, self.outputs = network, (channels, size, size), classes
        if network in SMALL:
            accepted = {"lenet": "at least 13", "cnn": "a multiple of 4"}[network]
            if size < 13 if network == "lenet" else size % 4:
                got = f"size={size} with network={network!r}"
                raise InvalidInput(got, where="ImageClassifier", accepted=accepted)
            self.net = SMALL[network](width, classes, channels, size)
        elif network in COLOUR:
            if (channels, size) != (3, 32):
                got = f"channels={channels}, size={size} with network={network!r}"
                raise InvalidInput(got, where="ImageClassifier", accepted="channels=3, size=32")
            self.net = COLOUR[network](width, classes)
        else:
            accepted = ", ".join([*SMALL, *COLOUR])
            raise InvalidInput(f"network={network!r}", where="ImageClassifier", accepted=accepted)
        self.learning_rate = learning_rate


class Regressor(Trained):
    """A ReLU network of vectors, trained by the squared error.

    Args:
        widths: of the input, the hidden layers and the output.
        learning_rate: of Adam.
    """

    loss = staticmethod(nn.functional.mse_loss)

    def __init__(self, widths: Sequence[int] = (10, 32, 32, 1), learning_rate: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters({"widths": list(widths), "learning_rate": learning_rate})
        self.net, self.learning_rate = layers(widths), learning_rate
        self.takes, self.hidden, self.outputs = (widths[0],), tuple(widths[1:-1]), widths[-1]


def layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLUs between them.

    Raises:
        InvalidInput: fewer than two widths, or one that is none.
    """
    if len(widths) < 2:
        accepted = "those of the input, of any hidden layers, and of the output, such as [64,32,32,10]"
        raise InvalidInput(f"widths={list(widths)}", where="model", accepted=accepted)
    for width in widths:
        _check_positive("widths", width, "model")
    found: list[nn.Module] = []
    for before, after in pairwise(widths):
        found += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*found[:-1])


def _check_positive(name: str, number: int, where: str) -> None:
    if number < 1:
        raise InvalidInput(f"{name} of {number}", where=where, accepted="whole numbers of at least 1")
