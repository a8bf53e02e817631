"""Penalties: the bounds of a batch, ``(batch,)``, become one number that is added to the loss.

A penalty is a small frozen class with its options as fields. Adding one takes a decorator:

    @register("square")
    @dataclass(frozen=True)
    class Square(Penalty):
        def reduce(self, bounds):
            return bounds.square().mean()
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from lipreg.errors import InvalidInput


class Penalty(ABC):
    """A way to turn the upper bounds B_i of a batch of reference points into a scalar loss.

    Subclasses are frozen dataclasses: their fields are the options, plain numbers that fit into a config file.

    Attributes:
        name: what users and records call it; set by ``register``.
    """

    name: ClassVar[str]

    def __call__(self, bounds: Tensor) -> Tensor:
        """The penalty of a batch.

        Args:
            bounds: ``(batch,)``, at least one, floating point, in the units of the constant: output per input.

        Returns:
            A scalar in the dtype and on the device of ``bounds``, differentiable in them.

        Raises:
            InvalidInput: another shape, no bounds at all, or an integer dtype.
        """
        if bounds.dim() != 1 or bounds.numel() == 0 or not bounds.is_floating_point():
            raise InvalidInput(
                f"bounds of shape {tuple(bounds.shape)} and dtype {bounds.dtype}",
                where=f"penalty {self.name!r}",
                accepted="floating point (batch,) with at least one bound",
            )
        return self.reduce(bounds)

    @abstractmethod
    def reduce(self, bounds: Tensor) -> Tensor:
        """The formula, for valid bounds ``(batch,)``."""

    def describe(self) -> dict[str, Any]:
        """The penalty as plain data, for records."""
        return {"kind": self.name, **asdict(self)}  # type: ignore[call-overload]


PENALTIES: dict[str, type[Penalty]] = {}

_Kind = TypeVar("_Kind", bound=type[Penalty])


def register(name: str) -> Callable[[_Kind], _Kind]:
    """Class decorator: makes a penalty known under ``name``.

    Raises:
        InvalidInput: the class is no dataclass, or another class has the name already.
    """

    def add(kind: _Kind) -> _Kind:
        where = f"penalty {name!r}"
        if not is_dataclass(kind):
            raise InvalidInput(f"{kind.__name__} is no dataclass", where=where, todo="Add @dataclass(frozen=True)")
        taken = PENALTIES.get(name)
        if taken is not None and taken.__qualname__ != kind.__qualname__:
            raise InvalidInput(f"the name belongs to {taken.__qualname__}", where=where, todo="Choose another name")
        kind.name = name
        PENALTIES[name] = kind
        return kind

    return add


def get_penalty(name: str, options: Mapping[str, Any] | None = None) -> Penalty:
    """The penalty of that name, with its options.

    Args:
        name: a registered name: "mean", "worst_k", "hinge", "log", or one of your own.
        options: its options by name, plain data; None for none.

    Raises:
        InvalidInput: no such penalty, an unknown or missing option, or a value out of range.
    """
    if name not in PENALTIES:
        raise InvalidInput(f"got {name!r}", where="penalty", accepted=", ".join(sorted(PENALTIES)))
    kind = PENALTIES[name]
    given = dict(options or {})
    known = {f.name: f.default is MISSING for f in fields(kind)}  # type: ignore[arg-type]
    unknown, missing = sorted(set(given) - set(known)), [n for n, needed in known.items() if needed and n not in given]
    if unknown or missing:
        wrong = [f"unknown option {n!r}" for n in unknown] + [f"option {n!r} is missing" for n in missing]
        listed = [f"{n} (required)" if needed else n for n, needed in known.items()]
        raise InvalidInput(
            ", ".join(wrong), where=f"penalty {name!r}", accepted=", ".join(listed) or "no options: leave them out"
        )
    return kind(**given)


@register("mean")
@dataclass(frozen=True)
class Mean(Penalty):
    """(1 / batch) sum_i B_i: every reference point pulls alike."""

    def reduce(self, bounds: Tensor) -> Tensor:
        return bounds.mean()


@register("worst_k")
@dataclass(frozen=True)
class WorstK(Penalty):
    """The mean of the k largest bounds; all gradient goes to the steepest points.

    Args:
        k: how many. A batch with fewer bounds, such as the last one of an epoch, is averaged whole.
    """

    k: int

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise InvalidInput(f"k={self.k!r}", where="penalty 'worst_k'", accepted="an integer of at least 1")

    def reduce(self, bounds: Tensor) -> Tensor:
        return bounds.topk(min(self.k, len(bounds))).values.mean()


@register("hinge")
@dataclass(frozen=True)
class Hinge(Penalty):
    """(1 / batch) sum_i max(B_i - target, 0): points below the target are left alone.

    Args:
        target: the constant that is good enough, in the units of the bound.
    """

    target: float

    def __post_init__(self) -> None:
        if not _is_number(self.target) or self.target < 0:
            raise InvalidInput(
                f"target={self.target!r}", where="penalty 'hinge'", accepted="a finite number of at least 0"
            )

    def reduce(self, bounds: Tensor) -> Tensor:
        return torch.relu(bounds - self.target).mean()


@register("log")
@dataclass(frozen=True)
class Log(Penalty):
    """(1 / batch) sum_i log(max(B_i, floor)): relative changes count, so no layer's scale decides the pull.

    A network whose units are all off at a point has the bound 0 there; the floor keeps value and gradient finite.

    Args:
        floor: bounds below it count as the floor, and have gradient 0.
    """

    floor: float = 1e-6

    def __post_init__(self) -> None:
        if not _is_number(self.floor) or self.floor <= 0:
            raise InvalidInput(f"floor={self.floor!r}", where="penalty 'log'", accepted="a finite number above 0")

    def reduce(self, bounds: Tensor) -> Tensor:
        return bounds.clamp(min=self.floor).log().mean()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
