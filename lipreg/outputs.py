"""Output functionals: which numbers of the network's output the constant is about.

Each functional turns the outputs at the reference points into rows c, ``(batch, rows, outputs)``. For scalar kinds the
constant is that of c . f, the largest over the rows; for ``Vector`` the rows are the identity, taken together in a norm q.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.identity import Identity
from lipreg.labels import classes


class Output(ABC):
    """A choice of output functional.

    Attributes:
        joint: False when the constant is the largest over separate rows; True when all rows are one operator.
        needs_labels: whether it starts from labels of the reference points.
    """

    joint: ClassVar[bool] = False

    @property
    def needs_labels(self) -> bool:
        """Whether the functional starts from each point's label."""
        return False

    @abstractmethod
    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        """c for each reference point, ``(batch, rows, outputs)``; outputs ``(batch, outputs)``, labels ``(batch,)``."""

    @abstractmethod
    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        """What the rows are, in words, one text per reference point ("margin 3 - 5")."""

    @abstractmethod
    def phrase(self) -> str:
        """The functional in words, as part of a sentence."""

    def describe(self) -> dict[str, Any]:
        """The functional as plain data, for records and comparisons."""
        return {"kind": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]


def _whole(where: str, *indices: Any) -> None:
    for index in indices:
        if index is not None and (not isinstance(index, int) or isinstance(index, bool)):
            raise InvalidInput(f"output index {index!r}", where=where, accepted="a whole number, or None")


def _index(value: int, count: int, where: str) -> int:
    if not 0 <= value < count:
        raise InvalidInput(f"output index {value} of {count} outputs", where=where, accepted=f"0 to {count - 1}")
    return value


def _at_least_two(outputs: Tensor, where: str) -> int:
    if outputs.shape[1] < 2:
        raise InvalidInput(
            "a network with one output has no margins",
            where=where,
            accepted="at least two outputs, one for each class",
            todo="Ask for Logit(0), the one output (a logit under BCE, a value under regression), or Vector()",
        )
    return outputs.shape[1]


def _targets(fixed: int | None, outputs: Tensor, labels: Tensor | None, where: str) -> Tensor:
    """The index that each reference point starts from: a fixed one, or its label."""
    batch, count = outputs.shape
    if fixed is not None:
        return torch.full((batch,), _index(fixed, count, where), device=outputs.device)
    targets = labels if labels is None or isinstance(labels, Tensor) else torch.as_tensor(labels)
    return classes(targets, batch, count, where).to(outputs.device)


@dataclass(frozen=True)
class Logit(Output):
    """One output f_i: c = e_i.

    Args:
        index: i; None takes each reference point's label.
    """

    index: int | None = None

    def __post_init__(self) -> None:
        _whole("Logit", self.index)

    @property
    def needs_labels(self) -> bool:
        return self.index is None

    def phrase(self) -> str:
        return "the true class's logit" if self.index is None else f"logit {self.index}"

    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        i = _targets(self.index, outputs, labels, "Logit")
        return torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)[i].unsqueeze(1)

    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        return [f"logit {i}" for i in _targets(self.index, outputs, labels, "Logit").tolist()]


@dataclass(frozen=True)
class Margin(Output):
    """One margin f_i - f_j: c = e_i - e_j.

    Args:
        target: i; None takes the label.
        rival: j; None takes the runner-up, the largest other output at the reference point. The runner-up may change
            while a network trains; name the rival, or use ``AllMargins``, to follow one functional through training.
    """

    target: int | None = None
    rival: int | None = None

    def __post_init__(self) -> None:
        _whole("Margin", self.target, self.rival)
        if self.target is not None and self.target == self.rival:
            raise InvalidInput(f"target and rival are both {self.target}", where="Margin", accepted="two outputs")

    @property
    def needs_labels(self) -> bool:
        return self.target is None

    def _pairs(self, outputs: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        _at_least_two(outputs, "Margin")
        i = _targets(self.target, outputs, labels, "Margin")
        if self.rival is None:
            others = outputs.detach().clone().scatter_(1, i.unsqueeze(1), -torch.inf)
            return i, others.argmax(1)
        _index(self.rival, outputs.shape[1], "Margin")
        if (i == self.rival).any():
            raise InvalidInput(
                f"a reference point has the rival {self.rival} as its label",
                where="Margin",
                todo="Leave rival out (the runner-up), or use AllMargins()",
            )
        return i, torch.full_like(i, self.rival)

    def phrase(self) -> str:
        target = "the true class" if self.target is None else f"class {self.target}"
        return f"the margin of {target} over {'the runner-up' if self.rival is None else f'class {self.rival}'}"

    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        i, j = self._pairs(outputs, labels)
        eye = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        return (eye[i] - eye[j]).unsqueeze(1)

    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        return [f"margin {i} - {j}" for i, j in zip(*(t.tolist() for t in self._pairs(outputs, labels)), strict=True)]


@dataclass(frozen=True)
class AllLogits(Output):
    """The largest over all single outputs f_i."""

    def phrase(self) -> str:
        return "the largest of all logits"

    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        eye = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        return eye.expand(outputs.shape[0], -1, -1)

    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        return [f"largest of {outputs.shape[1]} logits"] * outputs.shape[0]


@dataclass(frozen=True)
class AllMargins(Output):
    """The largest over the margins f_i - f_j to every rival j.

    Args:
        target: i; None takes the label.
    """

    target: int | None = None

    def __post_init__(self) -> None:
        _whole("AllMargins", self.target)

    @property
    def needs_labels(self) -> bool:
        return self.target is None

    def phrase(self) -> str:
        target = "the true class" if self.target is None else f"class {self.target}"
        return f"the margins of {target} (the largest over all rivals)"

    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        count = _at_least_two(outputs, "AllMargins")
        i = _targets(self.target, outputs, labels, "AllMargins")
        eye = torch.eye(count, dtype=outputs.dtype, device=outputs.device)
        rivals = torch.arange(count, device=outputs.device).expand(len(i), -1)
        rivals = rivals[rivals != i.unsqueeze(1)].reshape(len(i), count - 1)
        return eye[i].unsqueeze(1) - eye[rivals]

    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        targets = _targets(self.target, outputs, labels, "AllMargins").tolist()
        return [f"largest of {outputs.shape[1] - 1} margins of class {i}" for i in targets]


@dataclass(frozen=True)
class AllPairs(Output):
    """The largest over the margins f_i - f_j of all pairs of outputs: the cross-Lipschitz constant."""

    def phrase(self) -> str:
        return "the margins of all pairs of classes (the largest of them)"

    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        count = _at_least_two(outputs, "AllPairs")
        # i < j: a pair and its reverse have the same norm
        i, j = torch.triu_indices(count, count, offset=1, device=outputs.device)
        eye = torch.eye(count, dtype=outputs.dtype, device=outputs.device)
        return (eye[i] - eye[j]).expand(outputs.shape[0], -1, -1)

    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        count = _at_least_two(outputs, "AllPairs")
        return [f"largest of {count * (count - 1) // 2} pairs"] * outputs.shape[0]


@dataclass(frozen=True)
class Combination(Output):
    """Any fixed functional c . f.

    Args:
        weights: c, one number an output, not all 0.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        try:
            weights = torch.as_tensor(self.weights, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):  # of other types, or of several lengths
            weights = torch.empty(0, 0)
        if weights.dim() != 1 or not torch.isfinite(weights).all() or not weights.any():
            accepted = "finite numbers, not all 0: (1.0, -1.0), say"
            raise InvalidInput(f"weights {self.weights}", where="Combination", accepted=accepted)
        object.__setattr__(self, "weights", tuple(weights.tolist()))

    def phrase(self) -> str:
        return "a fixed combination of the outputs"

    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        if len(self.weights) != outputs.shape[1]:
            got = f"{len(self.weights)} weights for {outputs.shape[1]} outputs"
            raise InvalidInput(got, where="Combination", accepted="one weight an output")
        weights = torch.tensor(self.weights, dtype=outputs.dtype, device=outputs.device)
        return weights.expand(outputs.shape[0], 1, -1)

    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        return ["combination"] * outputs.shape[0]


@dataclass(frozen=True)
class Vector(Output):
    """The whole output as one vector, ``joint``: the operator norm |J|_{p->q}, with the problem's q (default: p)."""

    joint = True

    def phrase(self) -> str:
        return "the whole output"

    def rows(self, outputs: Tensor, labels: Tensor | None) -> Tensor:
        return AllLogits().rows(outputs, labels)

    def names(self, outputs: Tensor, labels: Tensor | None) -> list[str]:
        return ["whole output"] * outputs.shape[0]


def functionals(output: Output, outputs: Tensor, labels: Tensor | None) -> Tensor | Identity:
    """The rows of a functional, or that they are an identity.

    Args:
        output: the functional.
        outputs: at the reference points, ``(batch, outputs)``.
        labels: ``(batch,)``, where it needs them.

    Returns:
        c for each reference point, ``(batch, rows, outputs)``; an ``Identity`` for ``AllLogits`` and ``Vector``.
    """
    if type(output) in (AllLogits, Vector):
        return Identity(len(outputs), outputs.shape[1], outputs.new_zeros(()))
    return output.rows(outputs, labels)


def reads_no_values(output: Output) -> bool:
    """Whether rows and names are those of labels and the number of outputs alone; of a user's own kind nobody knows."""
    return type(output) in (Logit, AllLogits, AllMargins, AllPairs, Combination, Vector)
