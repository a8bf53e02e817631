"""Weights as they were at a moment of training, kept for an audit in the background that has to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput


@dataclass(frozen=True)
class Snapshot:
    """The weights of a module at a moment of training.

    Attributes:
        epoch, step: completed epochs and steps by then.
        weights: parameters and buffers by name, on the CPU.
    """

    epoch: int
    step: int
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module, epoch: int, step: int) -> Snapshot:
        """The snapshot of a module as it is now.

        Args:
            module: the module; its tensors are copied.
            epoch, step: completed epochs and steps.
        """
        return cls(epoch, step, {name: tensor.cpu().clone() for name, tensor in _tensors(module).items()})

    @contextmanager
    def put_into(self, module: nn.Module) -> Iterator[None]:
        """Gives a module these weights inside the block, and its own after it, to the last bit.

        Raises:
            InvalidInput: it is another network.
        """
        current = _tensors(module)
        if {n: t.shape for n, t in current.items()} != {n: t.shape for n, t in self.weights.items()}:
            raise InvalidInput("the saved weights are those of another network", where=f"epoch {self.epoch}")
        before = {name: tensor.clone() for name, tensor in current.items()}
        try:
            _copy(self.weights, current)
            yield
        finally:
            _copy(before, current)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, not copied; without what else modules may save."""
    return {name: value.detach() for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in source.items():
            target[name].copy_(tensor)
