"""Weights as they were at a moment of training: what an audit in the background is about, kept so that it can wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput


@dataclass(frozen=True)
class Snapshot:
    """The weights and buffers by name, and the completed epochs and the step of training they are from."""

    epoch: int
    step: int
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module, epoch: int, step: int) -> Snapshot:
        """Of a module as it is now; on the CPU."""
        return cls(epoch, step, {name: tensor.cpu().clone() for name, tensor in _tensors(module).items()})

    @contextmanager
    def put_into(self, module: nn.Module) -> Iterator[None]:
        """The module has these weights inside the block, and its own after it, to the last bit.

        Raises:
            InvalidInput: it is another network.
        """
        own = _tensors(module)
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in self.weights.items()}:
            raise InvalidInput("the saved weights are those of another network", where=f"epoch {self.epoch}")
        before = {name: tensor.clone() for name, tensor in own.items()}
        try:
            _copy(self.weights, own)
            yield
        finally:
            _copy(before, own)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, not copied; without what else modules may save."""
    return {name: value.detach() for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in source.items():
            target[name].copy_(tensor)
