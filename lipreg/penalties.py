"""Penalties: the bounds of a batch, ``(batch,)``, become one number that is added to the loss.

A penalty is a small frozen class with its options as fields. Adding one takes a decorator:

    @register("square")
    @dataclass(frozen=True)
    class Square(Penalty):
        def reduce(self, bounds):
            return bounds.square().mean()

``penalty=Square()`` and ``penalty="square"`` are then the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.options import Optioned, Registry, check_count, check_number


class Penalty(Optioned, ABC):
    """A way to turn the upper bounds B_i of a batch of reference points into a scalar loss.

    Subclasses are frozen dataclasses: their fields are the options, plain numbers that fit into a config file.

    Attributes:
        layered: whether ``reduce`` takes the layers' factors of a product bound, ``(batch, layers)``, in place of the
            bounds; for estimators that have such ``factors``.
    """

    layered: ClassVar[bool] = False

    def __call__(self, bounds: Tensor) -> Tensor:
        """The penalty of a batch.

        Args:
            bounds: ``(batch,)``, at least one, floating point, in the units of the constant: output per input. For a
                layered penalty the factors, ``(batch, layers)``.

        Returns:
            A scalar in the dtype and on the device of ``bounds``, differentiable in them.

        Raises:
            InvalidInput: another shape, no bounds at all, or an integer dtype.
        """
        depth = 2 if self.layered else 1
        if bounds.dim() != depth or bounds.numel() == 0 or not bounds.is_floating_point():
            raise InvalidInput(
                f"bounds of shape {tuple(bounds.shape)} and dtype {bounds.dtype}",
                where=f"penalty {self.name!r}",
                accepted=f"floating point {'(batch, layers)' if self.layered else '(batch,)'} with at least one bound",
            )
        return self.reduce(bounds)

    @abstractmethod
    def reduce(self, bounds: Tensor) -> Tensor:
        """The formula, for valid bounds ``(batch,)`` or factors ``(batch, layers)``."""


PENALTIES: Registry[Penalty] = Registry("penalty")
register = PENALTIES.register


def get_penalty(penalty: str | Penalty | Mapping[str, Any]) -> Penalty:
    """The penalty that a user means by any of its three forms, which are equal.

    Args:
        penalty: an object, such as ``Hinge(target=5.0)``; plain data, ``{"kind": "hinge", "target": 5.0}``; or the name of
            one that needs no options: "mean", "log", "layer_sum", or one of your own.

    Raises:
        InvalidInput: no such penalty, an unknown or missing option, or a value out of range.
    """
    return PENALTIES.of(penalty, Penalty)


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
        check_count(self.k, "k", "penalty 'worst_k'")

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
        check_number(self.target, "target", "penalty 'hinge'", low=0.0)

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
        check_number(self.floor, "floor", "penalty 'log'", above=0.0)

    def reduce(self, bounds: Tensor) -> Tensor:
        return bounds.clamp(min=self.floor).log().mean()


@register("layer_sum")
@dataclass(frozen=True)
class LayerSum(Penalty):
    """(1 / batch) sum_i sum_k F_ik, F_ik the factors whose product over the layers k is the bound B_i.

    The product pulls on a layer in proportion to all others, the sum on each alike, so its gradient cannot explode with
    depth; by the inequality of means (layers) B^(1 / layers) <= sum_k F_k. In a network with branches each linear map
    of a sum has a factor of its own.
    """

    layered: ClassVar[bool] = True

    def reduce(self, bounds: Tensor) -> Tensor:
        return bounds.sum(1).mean()
