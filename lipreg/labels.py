"""Which labels are classes: the one place that reads them, for functionals, audits and penalties.

Targets come in many forms: floats, vectors, maps, images, indices. They are read where a functional starts from the label,
and then they must be integer classes, one a point; everywhere else they are read only if they are that, and else there are
no labels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lipreg.errors import InvalidInput

UNLABELLED = -1
"""The label of a point without a class, beside a loss's own ``ignore_index``."""
IGNORE_INDEX = -100
"""What torch's losses ignore by default."""

BY_TASK = (
    "Classification: give classes as integers, of one-hot labels their argmax (callbacks: Points(batch_to_inputs=f), f "
    "a function batch -> (x, y)). Other tasks: ask for an output that needs no labels, Vector() for regression, "
    "autoencoders and maps, Logit(0) for one logit, AllLogits() for several labels a point"
)
"""What to do where labels are no classes."""


def are_classes(y: Any, batch: int) -> bool:
    """Whether these could be class labels: integers (or booleans), one for each of ``batch`` points."""
    return isinstance(y, Tensor) and y.shape == (batch,) and not (y.is_floating_point() or y.is_complex())


def has_classes(x: Tensor, y: Any, count: int) -> bool:
    """Whether targets are classes, of one of the points at least.

    Args:
        x: the points.
        y: their targets, of any form.
        count: how many outputs there are.
    """
    return any(label is not None for label in classes_if_any(y, len(x), count))


def targets(y: Any, batch: int, where: str) -> Tensor:
    """Labels where they are needed, in the form of classes, not yet compared with the number of outputs.

    Args:
        y: ``(batch,)``, integers.
        batch: how many points there are.
        where: who needs them.

    Raises:
        InvalidInput: there are none, or they are something else.
    """
    if y is None:
        got = f"no labels, which {where} starts from"
    elif not are_classes(y, batch):
        got = f"{_form(y)} for {batch} points, and {where} starts from classes"
    else:
        return y
    raise InvalidInput(got, where="labels", accepted=f"integer classes of shape ({batch},)", todo=BY_TASK)


def classes(y: Any, batch: int, count: int, where: str) -> Tensor:
    """Labels where they are needed, as int64.

    Args:
        y: ``(batch,)``, integers from 0 to ``count`` - 1.
        batch: how many points there are.
        count: how many classes.
        where: who needs them.

    Raises:
        InvalidInput: there are none, or they are something else.
    """
    y = targets(y, batch, where).long()  # in uint8 a count of 1000 is 232
    wrong = (y < 0) | (y >= count)
    if wrong.any():
        label = int(y[wrong][0])
        raise InvalidInput(
            f"label {label} for {count} output{'s' * (count > 1)}, and {where} starts from classes",
            where="labels",
            accepted=f"0 to {count - 1}; -1 or ignore_index= for points that penalties and callbacks leave out",
            todo=BY_TASK,
        )
    return y


def classes_if_any(y: Tensor | None, batch: int, count: int) -> list[int | None]:
    """The class of each point where nothing needs it; None for all of them where the labels are something else.

    Args:
        y: targets of any form.
        batch: how many points there are.
        count: how many outputs; with one there are no classes. A point labelled ``UNLABELLED`` or ``IGNORE_INDEX`` has none.
    """
    if y is None or count < 2 or not are_classes(y, batch):
        return [None] * batch
    numbers = [int(label) for label in y]
    if any(not 0 <= label < count for label in numbers if label not in (UNLABELLED, IGNORE_INDEX)):
        return [None] * batch
    return [label if label >= 0 else None for label in numbers]


def labelled(y: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Which points have a class, ``(batch,)``: not those labelled ``UNLABELLED`` or ``ignore_index``."""
    y = y.long()  # -1 and -100 are 255 and 156 in uint8
    return (y != UNLABELLED) & (y != ignore_index)


def _form(y: Any) -> str:
    """Labels in words."""
    if not isinstance(y, Tensor):
        return f"labels of type {type(y).__name__}"
    return f"labels of shape {tuple(y.shape)} and dtype {str(y.dtype).removeprefix('torch.')}"


def check_ignore_index(index: Any, where: str) -> None:
    """Raises InvalidInput unless it is a whole number."""
    if not isinstance(index, int) or isinstance(index, bool):
        raise InvalidInput(f"ignore_index={index!r}", where=where, accepted="a label, a whole number")
