"""The regions a user names: l_inf, l2 and l1 balls around each reference point, a fixed box and the unit cube."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.linalg.floats import cast_above, cast_below
from lipreg.linalg.norms import norm_name
from lipreg.numbers import single
from lipreg.regions.placed import PlacedRegion
from lipreg.regions.reference import check_reference_points, check_resolved, rounding_slack
from lipreg.words import written


class Region(ABC):
    """The region of a question. ``place`` puts it around each reference point of a batch.

    Attributes:
        norm: the norm of the ball (inf for boxes); the input norm p of a problem defaults to it.
        bounded: whether it has ends; one without is for the estimators that declare it.
    """

    norm: ClassVar[float]
    bounded: ClassVar[bool] = True

    @abstractmethod
    def place(self, x0: Tensor) -> PlacedRegion:
        """The region around each row of x0 ``(batch, *shape)``, in x0's dtype and on its device.

        Raises:
            InvalidInput: x0 is not finite, has no batch axis, or lies outside the data range.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The region as plain data, for records and comparisons."""

    @abstractmethod
    def phrase(self) -> str:
        """The region in words, as part of a sentence."""


def as_float(value: Any) -> Any:
    """Real numbers of any kind as floats, infinity where no float holds them; anything else as it is."""
    one = single(value)
    if not isinstance(one, numbers.Real | Decimal) or isinstance(one, bool):
        return value
    if isinstance(one, Decimal) and one.is_nan():
        return math.nan
    try:
        return float(one)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class _Ball(Region):
    """What the three balls share: {x : |x - x0|_norm <= radius, low <= x <= high}."""

    radius: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field in ("radius", "low", "high"):
            object.__setattr__(self, field, as_float(getattr(self, field)))
        if not (isinstance(self.radius, float) and math.isfinite(self.radius) and self.radius > 0):
            number = isinstance(self.radius, float)
            got = f"radius {self.radius!r}" + " leaves a region without volume" * number
            raise InvalidInput(got, where=name, accepted="a finite number above 0")
        for side in ("low", "high"):
            limit = getattr(self, side)
            if limit is not None and not (isinstance(limit, float) and math.isfinite(limit)):
                raise InvalidInput(f"{side}={limit!r}", where=name, accepted="a finite number, or None for no limit")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InvalidInput(f"data range [{self.low}, {self.high}] is empty", where=name, accepted="low < high")

    def place(self, x0: Tensor) -> PlacedRegion:
        name = type(self).__name__
        check_reference_points(x0, name)
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        # float32 data may sit a rounding error outside a range that was written in decimals
        slack = rounding_slack(x0, abs(self.low or 0.0), abs(self.high or 0.0))
        outside = ((x0 < low - slack) | (x0 > high + slack)).flatten(1).any(-1)
        if outside.any():
            i = int(outside.nonzero()[0])
            raise InvalidInput(
                f"reference point {i} spans [{x0[i].min():.6g}, {x0[i].max():.6g}], outside the data range "
                f"[{low}, {high}]",
                where=name,
                todo="Set low and high in the units of the network's input, or leave them out",
            )
        x0 = x0.clamp(low, high)
        check_resolved(x0, self.radius, name)
        step, low, high = (torch.tensor(end, dtype=torch.float64) for end in (self.radius, low, high))
        step, (low, high) = cast_above(step, x0), cast_outwards(low, high, x0)
        radius = math.inf if self.norm == math.inf else float(self.radius)
        return PlacedRegion.around(x0, -step, step, low, high, norm=self.norm, radius=radius)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": type(self).__name__,
            "norm": norm_name(self.norm),
            "radius": float(self.radius),
            "low": None if self.low is None else float(self.low),
            "high": None if self.high is None else float(self.high),
        }

    def phrase(self) -> str:
        symbol = {1.0: "l1", 2.0: "l2", math.inf: "l\u221e"}[self.norm]
        if self.low is None and self.high is None:
            return f"the {symbol} ball of radius {written(self.radius)}"
        low = "-\u221e" if self.low is None else written(self.low)
        high = "\u221e" if self.high is None else written(self.high)
        return f"the {symbol} ball of radius {written(self.radius)} cut to [{low}, {high}]"


class LinfBall(_Ball):
    """The l_inf ball {x : |x - x0|_inf <= r, low <= x <= high}: no coordinate is further than r from that of x0.

    Args:
        radius: r, in the units of the network's input, before any normalisation layer inside the network.
        low, high: the data range that cuts the ball (0 and 1 for images); None leaves that side open.

    Raises:
        InvalidInput: the radius is not positive and finite, or low is not below high.
    """

    norm = math.inf


class L2Ball(_Ball):
    """The Euclidean ball {x : |x - x0|_2 <= r, low <= x <= high}.

    Args:
        radius: r, in the units of the network's input, before any normalisation layer inside the network.
        low, high: the data range that cuts the ball (0 and 1 for images); None leaves that side open.

    Raises:
        InvalidInput: the radius is not positive and finite, or low is not below high.
    """

    norm = 2.0


class L1Ball(_Ball):
    """The l1 ball {x : |x - x0|_1 <= r, low <= x <= high}: the distances of the coordinates add up to at most r.

    Args:
        radius: r, in the units of the network's input, before any normalisation layer inside the network.
        low, high: the data range that cuts the ball (0 and 1 for images); None leaves that side open.

    Raises:
        InvalidInput: the radius is not positive and finite, or low is not below high.
    """

    norm = 1.0


@dataclass(frozen=True)
class Box(Region):
    """One fixed box {x : lower <= x <= upper}, the same for every reference point in it.

    Args:
        lower, upper: a number for all coordinates, or nested sequences (or tensors) of the input's shape.

    Raises:
        InvalidInput: a bound is not finite, lower exceeds upper somewhere, or every coordinate is fixed.
    """

    lower: float | Sequence[Any] | Tensor
    upper: float | Sequence[Any] | Tensor
    norm = math.inf

    def __post_init__(self) -> None:
        lower, upper = self._ends()
        for name, end in (("lower", lower), ("upper", upper)):
            if not torch.isfinite(end).all():
                raise InvalidInput(f"{name} holds NaN or infinity", where="Box", accepted="finite bounds")
        try:
            lower, upper = torch.broadcast_tensors(lower, upper)
        except RuntimeError:
            raise InvalidInput(
                f"lower has shape {tuple(lower.shape)}, upper {tuple(upper.shape)}",
                where="Box",
                accepted="equal shapes",
            ) from None
        if (lower > upper).any():
            i = (lower > upper).flatten().nonzero()[0].item()
            raise InvalidInput(
                f"coordinate {i} has lower {lower.flatten()[i]:.6g} above upper {upper.flatten()[i]:.6g}",
                where="Box",
                accepted="lower <= upper everywhere",
            )
        if not (lower < upper).any():
            raise InvalidInput(
                "lower equals upper in every coordinate: a region without volume",
                where="Box",
                accepted="lower < upper in at least one coordinate",
            )
        # plain data, so that boxes compare by value and travel to other processes
        object.__setattr__(self, "lower", plain(lower.tolist()))
        object.__setattr__(self, "upper", plain(upper.tolist()))

    def _ends(self) -> tuple[Tensor, Tensor]:
        lower, upper = (read(name, getattr(self, name), "Box") for name in ("lower", "upper"))
        return lower, upper

    def place(self, x0: Tensor) -> PlacedRegion:
        check_reference_points(x0, "Box")
        lower, upper = self._ends()
        if lower.dim() and lower.shape != x0.shape[1:]:
            raise InvalidInput(
                f"the box has shape {tuple(lower.shape)}, the reference points {tuple(x0.shape[1:])}",
                where="Box",
                accepted="equal shapes",
            )
        lower, upper = torch.broadcast_tensors(lower, upper)
        lower, upper = cast_outwards(lower, upper, x0)
        slack = rounding_slack(x0, float(lower.abs().max()), float(upper.abs().max()))
        outside = ((x0 < lower - slack) | (x0 > upper + slack)).flatten(1).any(-1)
        if outside.any():
            i = int(outside.nonzero()[0])
            raise InvalidInput(
                f"reference point {i} lies outside the box", where="Box", accepted="reference points inside the box"
            )
        x0 = torch.minimum(torch.maximum(x0, lower), upper)
        return PlacedRegion.around(x0, -math.inf, math.inf, lower, upper)

    def describe(self) -> dict[str, Any]:
        return {"kind": "Box", "norm": "inf", "lower": self.lower, "upper": self.upper}

    def phrase(self) -> str:
        return "a fixed box"


class UnitCube(Box):
    """The box [0, 1]^n, for networks whose inputs are all of the unit cube; the same question as ``Box(0.0, 1.0)``."""

    def __init__(self) -> None:
        super().__init__(0.0, 1.0)

    def phrase(self) -> str:
        return "the unit cube"


def cast_outwards(lower: Tensor, upper: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Ends in the dtype and on the device of ``like``, rounded outwards; where they coincide they still do.

    Args:
        lower, upper: ends, of one shape.
        like: of the dtype and the device.
    """
    lower, upper = lower.to(like.device), upper.to(like.device)
    fixed = lower == upper
    lowest = torch.where(fixed, lower.to(like), cast_below(lower, like))
    return lowest, torch.where(fixed, upper.to(like), cast_above(upper, like))


def read(name: str, value: Any, where: str) -> Tensor:
    """A number or nested numbers as a float64 tensor.

    Args:
        name: of the argument, for the message.
        value: what a user passed.
        where: the region's name, for the message.

    Raises:
        InvalidInput: the value is neither.
    """
    try:
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"{name}={value!r}: {error}", where=where, accepted="a number, or nested numbers of the input's shape"
        ) from None


def plain(value: Any) -> Any:
    """Nested lists as nested tuples: data that hash and compare by value."""
    return tuple(map(plain, value)) if isinstance(value, list) else value
