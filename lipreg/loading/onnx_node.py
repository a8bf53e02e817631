"""One node of an ONNX graph, as the reader of its operator takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_WITHOUT_IS_TEST = 7
"""The first opset whose operators have no ``is_test``."""


class NotRead(Exception):
    """An operator, or a form of it, is not read; the text gives the reason in a few words."""


@dataclass(frozen=True)
class OnnxConstant:
    """A value that does not depend on the network's input.

    Attributes:
        value: the numbers.
    """

    value: Tensor


@dataclass(frozen=True)
class OnnxNode:
    """A node that reads at least one activation.

    Attributes:
        kind: its operator.
        attributes: by name, as the file has them; one that is absent has the operator's default.
        operands: constants, examples of activations with their batch axis, None for an absent optional one.
        opset: the version of the file's operators, which decides the meaning of attributes and of their absence.
    """

    kind: str
    attributes: dict[str, Any]
    operands: Sequence[Tensor | OnnxConstant | None]
    opset: int

    def activation(self, place: int = 0) -> Tensor:
        """The example of an operand that is an activation.

        Raises:
            NotRead: it is a constant, or absent.
        """
        operand = self.operands[place] if place < len(self.operands) else None
        if not isinstance(operand, Tensor):
            raise NotRead(f"operand {place} is no activation")
        return operand

    def constant(self, place: int) -> Tensor | None:
        """The value of an operand that is a constant; None where it is absent.

        Raises:
            NotRead: it is an activation.
        """
        operand = self.operands[place] if place < len(self.operands) else None
        if isinstance(operand, Tensor):
            raise NotRead(f"operand {place} is computed from the input")
        return None if operand is None else operand.value

    def weight(self, place: int) -> Tensor:
        """The value of an operand that has to be a constant.

        Raises:
            NotRead: it is absent, or an activation.
        """
        value = self.constant(place)
        if value is None:
            raise NotRead(f"operand {place} is missing")
        return value

    def numbers(self, name: str, place: int | None = None) -> list[int] | None:
        """Whole numbers that older opsets have as an attribute and newer ones as an operand; None where both are absent.

        Raises:
            NotRead: the operand is an activation.
        """
        if name in self.attributes:
            return [int(number) for number in self.attributes[name]]
        value = None if place is None else self.constant(place)
        return None if value is None else [int(number) for number in value.flatten()]

    def flag(self, name: str, default: int = 0) -> int:
        """The whole number of an attribute."""
        return int(self.attributes.get(name, default))

    def refuse(self, **plain: Any) -> None:
        """Refuses other values of attributes than the given ones, which are also the defaults.

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
            NotRead: the node is in training mode.
        """
        if self.opset < _WITHOUT_IS_TEST and not self.flag("is_test"):
            raise NotRead("is_test=0: in training mode")
