"""Which points of a batch are bounded: all, some that are drawn anew for every batch, or a fixed set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.labels import are_classes, labelled, targets
from lipreg.outputs import Output
from lipreg.points import Inputs, Points

READ_BATCH = "points=Points(..., batch_to_inputs=f), f a function batch -> (x, y or None), reads other batches"
"""Advice for batches whose inputs are elsewhere."""


class PointSelection:
    """The points of each batch that are bounded, with the generator that draws them.

    Args:
        points: which points; they are drawn from every batch, whatever its ``fixed`` says.

    Attributes:
        fixed: the fixed set; None where there is none.
        generator: gives every batch a seed, so that all evaluations of a batch, on every device, bound the same points.
    """

    def __init__(self, points: Points) -> None:
        self.ignore_index, self._count = points.ignore_index, points.count
        self.description = "given" if points.supplied_points is not None else points.which
        """What they are, for records: "all", a number, or "given"."""
        self.fixed: Inputs | None = None
        if points.supplied_points is not None:
            x, y = points.supplied_points
            self.fixed = x.detach().clone(), None if y is None else y.detach().clone()
        self.generator = torch.Generator().manual_seed(points.seed or 0)
        self._draw, self._seed = torch.Generator(), 0

    def __getstate__(self) -> dict[str, Any]:
        """With the generator's state as bytes: as a tensor that is gone again, it confuses torch's spawned processes."""
        return {**self.__dict__, "generator": self.generator.get_state().numpy().tobytes(), "_draw": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        drawn = torch.frombuffer(bytearray(state.pop("generator")), dtype=torch.uint8)
        self.__dict__.update(state)
        self.generator, self._draw = torch.Generator().set_state(drawn), torch.Generator()

    def next(self, rank: int) -> None:
        """Moves on to another batch: other points, in each process (of number ``rank``) its own."""
        if self._count is not None:
            # one draw, whatever the batch's size: the generators of all processes stay alike
            self._seed = int(torch.randint(2**62, (), generator=self.generator)) + rank

    def of(self, x: Tensor, y: Tensor | None, output: Output, reads_labels: bool = False) -> Inputs | None:
        """The points of this batch, with their labels; None where there are no points, or none with a label that is needed.

        Args:
            x, y: the batch: inputs ``(batch, *shape)``, and labels or targets ``(batch, ...)`` or None.
            output: the functional; one that starts from labels needs classes.
            reads_labels: whether labels or targets are read beside it, so that points without a class are left out, too.

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
        if output.needs_labels:
            y = targets(y, len(x), type(output).__name__)
        elif not isinstance(y, Tensor) or y.shape[:1] != x.shape[:1]:
            y = None
        read = output.needs_labels or (reads_labels and are_classes(y, len(x)))
        if y is not None and read and not (labelled_rows := labelled(y, self.ignore_index)).all():
            x, y = x[labelled_rows], y[labelled_rows]
        if not len(x):
            return None
        if self.fixed is None and self._count is not None and self._count < len(x):
            drawn = torch.randperm(len(x), generator=self._draw.manual_seed(self._seed))[: self._count].to(x.device)
            x, y = x.index_select(0, drawn), None if y is None else y[drawn]
        return x, y


def per_call_points(points: Points, where: str) -> Points:
    """The points, if they can be drawn where the inputs and labels of each call are all that there is.

    Raises:
        InvalidInput: they are drawn from a training's data, or read from its batches.
    """
    if points.confidence is not None:
        got = f"confidence={points.confidence!r} of a penalty's points"
        raise InvalidInput(got, where=where, accepted="it in the Points of a LipschitzAudit")
    if points.batch_to_inputs is None and not points.fixed:
        return points
    got = "Points(fixed=True)" if points.fixed else "Points(batch_to_inputs=...)"
    raise InvalidInput(
        f"{got}, and there is no data but x and y of each call",
        where=where,
        accepted='Points with "all", a number, x or (x, y), a seed and an ignore_index',
        todo="Give the fixed points themselves: points=(x, y)"
        if points.fixed
        else "Read x and y from the batch yourself",
    )
