"""Which points of a batch are bounded: all, some that are drawn anew for every batch, or a fixed set."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.labels import IGNORE_INDEX, check_ignore_index, labelled, targets
from lipreg.outputs import Output

Points = tuple[Tensor, Tensor | None]
"""Inputs ``(batch, *shape)`` and labels ``(batch,)``, where there are any."""
READ_BATCH = "Callbacks: batch_to_inputs=, a function batch -> (x, y or None), reads other batches"
"""What to do about a batch whose inputs are elsewhere."""
Choice = Literal["all"] | int | Tensor | tuple[Tensor, Tensor | None]
"""The whole batch, so many of it, or a fixed set x or (x, y)."""


class ChosenPoints:
    """The choice, with the generator that it draws from.

    Args:
        points: the choice.
        seed: of the draws.
        where: what error messages call it.
        ignore_index: a label that, like -1, leaves a point out where the functional starts from labels.

    Attributes:
        fixed: the fixed set; None where there is none.
        generator: gives every batch a seed, so that all evaluations of a batch, on every device, bound the same points.

    Raises:
        InvalidInput: no choice of these kinds.
    """

    def __init__(self, points: Any, seed: int, where: str, ignore_index: int = IGNORE_INDEX) -> None:
        check_ignore_index(ignore_index, where)
        self.ignore_index = ignore_index
        self._count, self.fixed = _read(points, where)
        self.generator = torch.Generator().manual_seed(seed)
        self._draw, self._seed = torch.Generator(), 0

    def __getstate__(self) -> dict[str, Any]:
        """With the generator's state as bytes: as a tensor that is gone again, it confuses torch's spawned processes."""
        return {**self.__dict__, "generator": self.generator.get_state().numpy().tobytes(), "_draw": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        drawn = torch.frombuffer(bytearray(state.pop("generator")), dtype=torch.uint8)
        self.__dict__.update(state)
        self.generator, self._draw = torch.Generator().set_state(drawn), torch.Generator()

    def next(self, rank: int) -> None:
        """Another batch: other points, in each process its own."""
        if isinstance(self._count, int):
            # one draw, whatever the batch's size: the generators of all processes stay alike
            self._seed = int(torch.randint(2**62, (), generator=self.generator)) + rank

    def of(self, x: Tensor, y: Tensor | None, output: Output) -> Points | None:
        """The points of this batch, for that functional; None where none of them has a label that it needs.

        Raises:
            InvalidInput: inputs of integers, or labels missing or no classes.
        """
        if self.fixed is not None:
            own_x, own_y = self.fixed
            x, y = own_x.to(x.device), None if own_y is None else own_y.to(x.device)
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = f"inputs of dtype {x.dtype}" if isinstance(x, Tensor) else f"inputs of type {type(x).__name__}"
            raise InvalidInput(
                got, where="batch", accepted="what the network is given: floating point", todo=READ_BATCH
            )
        y = targets(y, len(x), type(output).__name__) if output.needs_labels else None
        if y is not None and not (kept := labelled(y, self.ignore_index)).all():
            x, y = x[kept], y[kept]
            if not len(x):
                return None
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
