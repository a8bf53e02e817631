"""Penalties: the values of a batch, ``(points,)``, become one number that is added to the loss.

The values are upper bounds, or another quantity that is penalised (``lipreg.quantities``). A penalty is a small frozen class
with its options as fields. Adding one takes a decorator:

    @register("square")
    @dataclass(frozen=True)
    class Square(Penalty):
        def reduce(self, values, seen):
            return values.square().mean()

``penalty=Square()`` and ``penalty="square"`` are then the same.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.options import Optioned, Registry, check_count, check_number
from lipreg.seen import Seen

__all__ = [
    "PENALTIES",
    "Hinge",
    "LayerSum",
    "Log",
    "Mean",
    "Penalty",
    "RadiusHinge",
    "Sum",
    "WorstK",
    "get_penalty",
    "register",
]


class Penalty(Optioned):
    """A way to turn the values B_i of a batch of reference points into a scalar loss.

    Subclasses are frozen dataclasses: their fields are the options, plain numbers that fit into a config file.

    Attributes:
        layered: whether ``reduce`` takes the layers' factors of a product bound, ``(points, layers)``, in place of the
            values; for estimators that have such ``factors``.
        reads_labels: whether it reads labels or margins; points without a label are then left out.
    """

    layered: ClassVar[bool] = False
    reads_labels: ClassVar[bool] = False

    @staticmethod
    def registry() -> Registry[Any]:
        return PENALTIES

    def __call__(self, values: Tensor, seen: Seen | None = None) -> Tensor:
        """The penalty of a batch.

        Args:
            values: ``(points,)``, at least one, floating point; bounds in the units of the constant: output per input. For
                a layered penalty the factors, ``(points, layers)``.
            seen: what else it may look at; None for penalties that look at the values alone.

        Returns:
            A scalar in the dtype and on the device of ``values``, differentiable in them.

        Raises:
            InvalidInput: another shape, no values at all, an integer dtype, or nothing seen of what it reads.
        """
        depth = 2 if self.layered else 1
        if values.dim() != depth or values.numel() == 0 or not values.is_floating_point():
            raise InvalidInput(
                f"values of shape {tuple(values.shape)} and dtype {values.dtype}",
                where=f"penalty {self.name!r}",
                accepted=f"floating point {'(points, layers)' if self.layered else '(points,)'} with at least one value",
            )
        return self.reduce(values, Seen() if seen is None else seen)

    @abstractmethod
    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        """The formula, for valid values ``(points,)`` or factors ``(points, layers)``.

        Args:
            values: what is penalised.
            seen: the network's outputs, margins and weights, and the labels, at the same points.
        """


class _Penalties(Registry[Penalty]):
    """Penalties by name; one whose ``reduce`` takes other arguments is refused."""

    def _kind(self, kind: Any, name: str) -> Any:
        taken = list(inspect.signature(kind.reduce).parameters)[1:]
        if len(taken) != 2:
            raise InvalidInput(
                f"{kind.__name__}.reduce takes ({', '.join(taken)})",
                where=f"penalty {name!r}",
                accepted="def reduce(self, values, seen)",
                todo="Write seen behind the values: what the penalty may look at beside them (lipreg.seen.Seen)",
            )
        return super()._kind(kind, name)


PENALTIES: Registry[Penalty] = _Penalties("penalty", base=Penalty)
"""The penalties by name."""
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

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.mean()


@register("worst_k")
@dataclass(frozen=True)
class WorstK(Penalty):
    """The mean of the k largest values; all gradient goes to the steepest points.

    Args:
        k: how many. A batch with fewer values, such as the last one of an epoch, is averaged whole.
    """

    k: int

    def __post_init__(self) -> None:
        check_count(self.k, "k", "penalty 'worst_k'")

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.topk(min(self.k, len(values))).values.mean()


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

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return torch.relu(values - self.target).mean()


@register("log")
@dataclass(frozen=True)
class Log(Penalty):
    """(1 / batch) sum_i log(max(B_i, floor)): relative changes count, so no layer's scale decides the pull.

    A network whose units are all off at a point has the bound 0 there; the floor keeps value and gradient finite. The pull
    on a bound grows as the bound falls, so strong weights collapse a training to one output for all inputs: on the digits
    0.3 of ``affine_relu`` and 0.1 of ``fastlip``, of which weaker ones hardly act.

    Args:
        floor: bounds below it count as the floor, and have gradient 0.
    """

    floor: float = 1e-6

    def __post_init__(self) -> None:
        check_number(self.floor, "floor", "penalty 'log'", above=0.0)

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.clamp(min=self.floor).log().mean()


@register("layer_sum")
@dataclass(frozen=True)
class LayerSum(Penalty):
    """(1 / batch) sum_i sum_k F_ik, F_ik the factors whose product over the layers k is the bound B_i.

    The product pulls on a layer in proportion to all others, the sum on each alike, so its gradient cannot explode with
    depth; by the inequality of means (layers) B^(1 / layers) <= sum_k F_k. In a network with branches each linear map
    of a sum has a factor of its own.

    Attributes:
        layered: True: it takes these factors.
    """

    layered: ClassVar[bool] = True

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.sum(1).mean()


@register("radius_hinge")
@dataclass(frozen=True)
class RadiusHinge(Penalty):
    """(1 / points) sum_i max(radius - r_i, 0), r_i = max(margin_i, 0) / B_i.

    Of bounds on ``AllMargins`` over regions that hold the ball of that radius, r_i is the radius within which they prove
    that the class stays, and the penalty is what is missing of the wanted one. It pulls on margin and bound at once, so that
    shrinking all outputs gains nothing; points that are certified, and those of the wrong class, are left to the loss.

    Args:
        radius: the certified radius that is wanted, in the units of the input.

    Attributes:
        reads_labels: True: margins start from the labels.
    """

    radius: float
    reads_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number(self.radius, "radius", "penalty 'radius_hinge'", above=0.0)

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        margins = seen.margins.to(values.dtype).clamp(min=0.0)
        short = margins <= self.radius * values
        # quotients that do not count are left out before they are taken: a bound of 0 must not divide
        size, margin = torch.where(short & (values > 0), values, 1.0), torch.where(short, margins, 0.0)
        return torch.where(short, self.radius - margin / size, 0.0).mean()


@register("sum")
@dataclass(frozen=True)
class Sum(Penalty):
    """sum_k factor_k penalty_k(B_1, ..., B_points): several penalties of the same values.

    Args:
        parts: penalties in any of their forms, or pairs of a factor >= 0 and a penalty: ``["mean", (0.1,
            Hinge(target=5.0))]``.

    Raises:
        InvalidInput: no parts, parts that are neither, or layered ones beside others: take two regularizers for these.
    """

    parts: Sequence[Any]

    def __post_init__(self) -> None:
        where = "penalty 'sum'"
        if isinstance(self.parts, str | Mapping) or not isinstance(self.parts, Sequence) or not self.parts:
            raise InvalidInput(f"parts={self.parts!r}", where=where, accepted='a list such as ["mean", (0.1, "log")]')
        parts: list[tuple[float, Penalty]] = []
        for factor, penalty in map(_with_factor, self.parts):
            check_number(factor, "factor", where, low=0.0)
            parts.append((float(factor), get_penalty(penalty)))
        if len({penalty.layered for _, penalty in parts}) > 1:
            todo = "Give them to two LipschitzRegularizers, or LipschitzPenalties, with name= of their own"
            raise InvalidInput("penalties of values beside penalties of layers' factors", where=where, todo=todo)
        object.__setattr__(self, "parts", tuple(parts))
        for trait in ("layered", "reads_labels"):
            object.__setattr__(self, trait, any(getattr(penalty, trait) for _, penalty in parts))

    def describe(self) -> dict[str, Any]:
        return {"kind": self.name, "parts": [[factor, penalty.describe()] for factor, penalty in self.parts]}

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return torch.stack([factor * penalty.reduce(values, seen) for factor, penalty in self.parts]).sum()


def _with_factor(part: Any) -> tuple[Any, Any]:
    return (part[0], part[1]) if isinstance(part, list | tuple) and len(part) == 2 else (1.0, part)
