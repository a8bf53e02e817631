"""Which points of a batch are bounded: all, some that are drawn anew for every batch, or a fixed set."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.outputs import Output

Points = tuple[Tensor, Tensor | None]
"""Inputs ``(batch, *shape)`` and labels ``(batch,)``, where there are any."""
Choice = Literal["all"] | int | Tensor | tuple[Tensor, Tensor | None]
"""The whole batch, so many of it, or a fixed set x or (x, y)."""


class ChosenPoints:
    """The choice, with the generator that it draws from.

    Args:
        points: the choice.
        seed: of the draws.
        where: what error messages call it.

    Attributes:
        fixed: the fixed set; None where there is none.
        generator: gives every batch a seed, so that all evaluations of a batch, on every device, bound the same points.

    Raises:
        InvalidInput: no choice of these kinds.
    """

    def __init__(self, points: Any, seed: int, where: str) -> None:
        self._count, self.fixed = _read(points, where)
        self.generator = torch.Generator().manual_seed(seed)
        self._draw, self._seed = torch.Generator(), 0

    def next(self, rank: int) -> None:
        """Another batch: other points, in each process its own."""
        if isinstance(self._count, int):
            # one draw, whatever the batch's size: the generators of all processes stay alike
            self._seed = int(torch.randint(2**62, (), generator=self.generator)) + rank

    def of(self, x: Tensor, y: Tensor | None, output: Output) -> Points:
        """The points of this batch, for that functional.

        Raises:
            InvalidInput: inputs of integers, or labels missing.
        """
        if self.fixed is not None:
            own_x, own_y = self.fixed
            x, y = own_x.to(x.device), None if own_y is None else own_y.to(x.device)
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = f"inputs of dtype {x.dtype}" if isinstance(x, Tensor) else f"inputs of type {type(x).__name__}"
            raise InvalidInput(got, where="batch", accepted="what the network is given: floating point")
        if output.needs_labels and y is None:
            raise InvalidInput(
                f"no labels, which {type(output).__name__} starts from",
                where="batch",
                todo="Pass them (callbacks: batch_to_inputs=, a function batch -> (x, y)), or name the output index "
                "in the functional",
            )
        if self.fixed is None and isinstance(self._count, int) and self._count < len(x):
            chosen = torch.randperm(len(x), generator=self._draw.manual_seed(self._seed))[: self._count].to(x.device)
            x, y = x.index_select(0, chosen), None if y is None else y[chosen]
        return x, y


def _read(points: Any, where: str) -> tuple[Literal["all"] | int, Points | None]:
    x, y = points if isinstance(points, tuple | list) and len(points) == 2 else (points, None)
    if (
        isinstance(x, Tensor)
        and x.dim() >= 2
        and len(x)
        and (y is None or (isinstance(y, Tensor) and len(y) == len(x)))
    ):
        return "all", (x.detach().clone(), None if y is None else y.detach().clone())
    if isinstance(points, int) and not isinstance(points, bool) and points >= 1:
        return points, None
    if isinstance(points, str) and points == "all":
        return "all", None
    got = f"points={points!r}" if isinstance(points, str | int | float) else f"points of type {type(points).__name__}"
    raise InvalidInput(got, where=where, accepted='"all", a number of at least 1, or a fixed set: x or (x, y), tensors')
