"""The loss of each point as quantities read it: by the targets, or as an option says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lipreg.errors import InvalidInput
from lipreg.labels import are_classes, classes
from lipreg.outputs import Output
from lipreg.quantities.base import Quantity
from lipreg.quantities.query import Query

Loss = Literal["cross_entropy", "binary", "squared"]
"""Which loss: of classes, of labels in {0, 1}, or of values."""
_WHERE = "a quantity made of the loss"


@dataclass(frozen=True)
class PointLoss:
    """A loss and its targets.

    Attributes:
        kind: which loss; the binary one and the squared error are means over a point's outputs, as torch's are of one point.
        target: ``(points, outputs)``, in the outputs' dtype; of classes one-hot.
    """

    kind: Loss
    target: Tensor

    def each(self, outputs: Tensor) -> Tensor:
        """The loss at each point, ``(points,)``, differentiable in the outputs ``(points, outputs)``."""
        if self.kind == "cross_entropy":
            return F.cross_entropy(outputs, self.target, reduction="none")
        if self.kind == "binary":
            return F.binary_cross_entropy_with_logits(outputs, self.target, reduction="none").mean(1)
        return (outputs - self.target).square().mean(1)

    def slopes(self, outputs: Tensor) -> Tensor:
        """The gradient of each point's loss in its own outputs, ``(points, outputs)``, differentiable in them."""
        if self.kind == "cross_entropy":
            return outputs.softmax(1) * self.target.sum(1, keepdim=True) - self.target
        if self.kind == "binary":
            return (outputs.sigmoid() - self.target) / outputs.shape[1]
        return (outputs - self.target) * (2.0 / outputs.shape[1])


class OfLoss(Quantity):
    """A quantity that is made of the loss.

    Attributes:
        loss: "cross_entropy", "binary" or "squared"; None goes by the targets of each batch.
    """

    reads_labels = True
    loss: str | None

    def __post_init__(self) -> None:
        if self.loss is not None and self.loss not in get_args(Loss):
            accepted = f"{', '.join(map(repr, get_args(Loss)))}, or None to go by the targets"
            raise InvalidInput(f"loss={self.loss!r}", where=f"quantity {self.name!r}", accepted=accepted)
        if self.loss == "squared":  # its targets are values: -1 is one of them
            object.__setattr__(self, "reads_labels", False)

    def at(self, query: Query) -> PointLoss:
        """The loss with the targets of the query's points."""
        return point_loss(query.outputs, query.labels, query.problem.output, self.loss)


def point_loss(outputs: Tensor, labels: Tensor | None, output: Output, loss: str | None = None) -> PointLoss:
    """The loss that some targets mean, read as ``lipreg.calibration`` reads them.

    Integer classes ``(points,)`` of several outputs: cross entropy. Targets that are all 0 or 1, one for each output, of any
    dtype: binary cross entropy of logits. Other floating point targets, one for each output: squared error.

    Args:
        outputs: ``(points, outputs)``.
        labels: the targets.
        output: the functional; beside one of single outputs, targets in [0, 1] may be soft labels or values: refused.
        loss: the loss itself; None goes by the targets. Cross entropy that is named takes shares of classes,
            ``(points, outputs)``, and the binary one soft labels, too.

    Raises:
        InvalidInput: there are no targets, they have another form, or they may mean two losses.
    """
    batch, count = outputs.shape
    if count > 1 and loss in (None, "cross_entropy") and are_classes(labels, batch):
        indices = classes(labels, batch, count, _WHERE).to(outputs.device)
        return PointLoss("cross_entropy", F.one_hot(indices, count).to(outputs))
    fits = isinstance(labels, Tensor) and labels.numel() == outputs.numel() and labels.shape[:1] == (batch,)
    if labels is None or not fits or labels.is_complex() or (loss == "cross_entropy" and count < 2):
        got = "no labels" if labels is None else f"labels of shape {tuple(labels.shape)} and dtype {labels.dtype}"
        accepted = f"targets of shape {tuple(outputs.shape)}"
        accepted += f", or integer classes of shape ({batch},)" if loss in (None, "cross_entropy") else ""
        named = "" if loss is None else f" with loss={loss!r}"
        got = f"{got} for {batch} points of {count} output{'s' * (count > 1)}, and {_WHERE}{named} reads them"
        raise InvalidInput(got, where="labels", accepted=accepted)
    target = labels.detach().reshape(outputs.shape).to(outputs.device, outputs.dtype)
    if loss == "squared":
        return PointLoss("squared", target)
    low, high = (float(end) for end in torch.aminmax(target))
    inside = low >= 0 and high <= 1
    if loss is None:
        if inside and bool(((target == 0) | (target == 1)).all()):
            return PointLoss("binary", target)
        if not labels.is_floating_point():
            got = f"integer labels from {low:g} to {high:g}, one for each of {count} output{'s' * (count > 1)}"
            todo = 'Say loss="squared" if they are values'
            raise InvalidInput(got, where="labels", accepted="0 and 1, classes, or floating point values", todo=todo)
        if inside and not output.joint:
            raise InvalidInput(
                f"targets from {low:g} to {high:g} beside {type(output).__name__}, which may be soft labels or values",
                where="labels",
                accepted="targets that are all 0 or 1, classes, or values",
                todo='Say which loss is meant, loss="binary", "cross_entropy" or "squared", as an option of the quantity: '
                'quantity={"kind": "pgd", "loss": "binary"}',
            )
        return PointLoss("squared", target)
    if not inside:
        got = f"targets from {low:g} to {high:g} with loss={loss!r}"
        raise InvalidInput(got, where="labels", accepted="0 to 1", todo='Values belong to loss="squared"')
    return PointLoss("binary" if loss == "binary" else "cross_entropy", target)
