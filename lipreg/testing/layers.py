"""A layer whose lowering is being checked: the example that uses it, and what several checks need of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph import CapturedNetwork, Graph
from lipreg.graph.registry import Example
from lipreg.testing.failures import CheckFailed


@dataclass(frozen=True)
class LayerUnderTest:
    """An example that is being checked.

    Attributes:
        name: what messages begin with.
        example: how a module with the layer is built, and the shape of its input.
        seed: of weights and points.
    """

    name: str
    example: Example
    seed: int

    def built(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
        """The example's module, with weights of that seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + seed)
            return self.example.build().to(dtype)

    def inputs(self, count: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
        """Random inputs ``(count, *shape)``."""
        generator = torch.Generator().manual_seed(self.seed + 9)
        return torch.randn(count, *self.example.input_shape, generator=generator, dtype=dtype)

    def same(self, got: Tensor, wanted: Tensor, what: str, rel: float = 1e-12, absolute: float = 1e-12) -> None:
        """Raises CheckFailed unless two tensors are equal up to rounding.

        Args:
            got, wanted: the tensors.
            what: what they are, in the message.
            rel, absolute: the relative and the absolute difference that add up to what is allowed.
        """
        try:
            torch.testing.assert_close(got, wanted, rtol=rel, atol=absolute)
        except AssertionError as error:
            raise CheckFailed(f"{self.name}: {what}: {' '.join(str(error).split())}") from None


def live_graph(captured: CapturedNetwork) -> Graph:
    """The live graph of a float64 module; the dtype is passed where the module has no parameter to read it from."""
    return captured.live(None if any(True for _ in captured.module.parameters()) else torch.float64)


def autograd_jacobian(module: nn.Module, x: Tensor) -> Tensor:
    """The Jacobian at each point of a batch, ``(batch, *outputs, *inputs)``."""
    each: list[Any] = [torch.autograd.functional.jacobian(lambda z: module(z[None])[0], point) for point in x]
    return torch.stack(each)
