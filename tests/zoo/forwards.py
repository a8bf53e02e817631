"""How the networks of this folder are written down: forwards as people write them, with the layers that they use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Written:
    """A network.

    Attributes:
        build: makes it.
        shape: of one input, without the batch axis.
        says: a text of the error that refuses it; empty where it is read.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    says: str = ""


class Zoo(dict[str, Written]):
    """Networks by name, each made of a function that is its forward."""

    def __call__(self, *shape: int, says: str = "", **layers: Callable[[], Any]) -> Callable[[Any], Any]:
        """Takes a function as a forward; ``layers`` make the module's attributes."""

        def taken(function: Any) -> Any:
            def init(module: nn.Module) -> None:
                nn.Module.__init__(module)
                for name, make in layers.items():
                    setattr(module, name, make())

            name = function.__name__
            kind = type(name, (nn.Module,), {"__init__": init, "forward": function, "__module__": function.__module__})
            self[name] = Written(kind, shape, says)
            return function

        return taken


def linear(inputs: int, outputs: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(inputs, outputs)


def conv(inputs: int, outputs: int, size: int = 3, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(inputs, outputs, size, **settings)


def numbers(*shape: int) -> Callable[[], Any]:
    return lambda: nn.Parameter(torch.randn(shape))
