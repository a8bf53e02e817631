"""One node of an ONNX graph as its operator's reader sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_WITHOUT_IS_TEST = 7
"""The first opset whose operators have no ``is_test``."""


class NotRead(Exception):
    """A node, or a form of it, that has no reading; says why, in few words."""


@dataclass(frozen=True)
class Constant:
    """A value that does not depend on the network's input."""

    value: Tensor


@dataclass(frozen=True)
class OnnxNode:
    """A node that reads at least one activation.

    Attributes:
        kind: its operator.
        attributes: by name, as the file has them; of those that are left out, the operator's default counts.
        operands: constants, examples of activations with their batch axis, None for an optional one that is not there.
        opset: of the file, which says what is meant by attributes and by their absence.
    """

    kind: str
    attributes: dict[str, Any]
    operands: Sequence[Tensor | Constant | None]
    opset: int

    def activation(self, place: int = 0) -> Tensor:
        """The example of an operand that is an activation.

        Raises:
            NotRead: it is a constant, or not there.
        """
        found = self.operands[place] if place < len(self.operands) else None
        if not isinstance(found, Tensor):
            raise NotRead(f"operand {place} is no activation")
        return found

    def constant(self, place: int) -> Tensor | None:
        """The value of an operand that is a constant; None where it is not there.

        Raises:
            NotRead: it is an activation.
        """
        found = self.operands[place] if place < len(self.operands) else None
        if isinstance(found, Tensor):
            raise NotRead(f"operand {place} is computed from the input")
        return None if found is None else found.value

    def weight(self, place: int) -> Tensor:
        """A constant that has to be there.

        Raises:
            NotRead: it is not, or is an activation.
        """
        found = self.constant(place)
        if found is None:
            raise NotRead(f"operand {place} is missing")
        return found

    def numbers(self, name: str, place: int | None = None) -> list[int] | None:
        """Whole numbers that older opsets have as an attribute and newer ones as an operand; None where there are none."""
        if name in self.attributes:
            return [int(number) for number in self.attributes[name]]
        found = None if place is None else self.constant(place)
        return None if found is None else [int(number) for number in found.flatten()]

    def flag(self, name: str, default: int = 0) -> int:
        """A whole number of an attribute."""
        return int(self.attributes.get(name, default))

    def refuse(self, **plain: Any) -> None:
        """Refuses other values of attributes than those that are plain.

        Raises:
            NotRead: one has another value.
        """
        for name, value in plain.items():
            given = self.attributes.get(name, value)
            if given != value:
                raise NotRead(f"{name}={given!r}")

    def refuse_training(self) -> None:
        """Refuses the training mode that operators before opset 7 are in unless ``is_test`` is set.

        Raises:
            NotRead: it is not.
        """
        if self.opset < _WITHOUT_IS_TEST and not self.flag("is_test"):
            raise NotRead("is_test=0: in training mode")
