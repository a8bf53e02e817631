"""How distances between inputs are measured: between which of them, and in which units.

With units s, |(x - x') / s|_p; the dual norm of a gradient g is then |s g|_{p*}. With measured inputs M, pairs of points
differ in M alone, so that the constant is the largest norm of the gradient's entries in M, over all of the region.
"""

from __future__ import annotations

import hashlib
import math
import reprlib
from collections.abc import Sequence
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.regions import PlacedRegion
from lipreg.regions.balls import plain
from lipreg.words import written

SCALE, MEASURED = "LocalLipschitz.scale", "LocalLipschitz.measured"
WRITTEN_OUT = 32
"""Up to so many numbers they are written into descriptions; beyond, their number and a hash."""
NAMED = 6
"""So many measured inputs are named in a sentence; more are counted."""


class NumbersByValue(tuple[Any, ...]):
    """Numbers that compare by value; in messages, many of them are their shape and ends."""

    @cached_property
    def array(self) -> np.ndarray:
        """The numbers in their shape."""
        return np.asarray(self, dtype=np.float64)

    def __reduce__(self) -> tuple[Any, ...]:
        return NumbersByValue, (tuple(self),)

    def __repr__(self) -> str:
        numbers = self.array
        if numbers.size <= WRITTEN_OUT:
            return repr(tuple(self))
        return f"<{' x '.join(map(str, numbers.shape))} numbers from {numbers.min():g} to {numbers.max():g}>"


def units_of(scale: Any) -> float | NumbersByValue | None:
    """A scale as a number, or nested ones; None for the number 1.

    Raises:
        InvalidInput: it holds what is not a finite number above 0.
    """
    if scale is None or isinstance(scale, NumbersByValue):
        return scale
    accepted = "a finite number above 0, or nested ones of the input's shape"
    try:
        units = torch.as_tensor(scale, dtype=torch.float64)
        number = units.numel() > 0 and torch.as_tensor(scale).dtype != torch.bool
    except (TypeError, ValueError, RuntimeError, OverflowError):
        units, number = torch.empty(0), False
    if not number:
        raise InvalidInput(f"scale={reprlib.repr(scale)}", where=SCALE, accepted=accepted)
    wrong = ~(torch.isfinite(units) & (units > 0)).flatten()
    if wrong.any():
        at = int(wrong.int().argmax())
        which = f" at input {at}" if units.dim() else ""
        todo = "Leave inputs out of the distance by measured=[...], not by their scale"
        raise InvalidInput(f"a scale of {units.flatten()[at]:g}{which}", where=SCALE, accepted=accepted, todo=todo)
    if units.dim():
        return NumbersByValue(plain(units.tolist()))
    return None if units == 1.0 else float(units)


def positions_of(measured: Any, scope: str) -> NumbersByValue | None:
    """Flat positions of the measured inputs in order; None for all.

    Raises:
        InvalidInput: they are no positions, or the scope is pointed.
    """
    if measured is None:
        return None
    accepted, todo = "flat positions of inputs, a list of whole numbers from 0 on", ""
    entries = measured.tolist() if isinstance(measured, Tensor | np.ndarray) else measured
    listed = (
        list(entries) if isinstance(entries, Sequence | set | range) and not isinstance(entries, str | bytes) else None
    )
    if listed is None or not all(isinstance(i, Integral) and not isinstance(i, bool) and i >= 0 for i in listed):
        if isinstance(entries, int) and not isinstance(entries, bool) and entries >= 0:
            todo = f"Write [{entries}]"
        elif "bool" in str(getattr(measured, "dtype", "")) or any(isinstance(i, bool) for i in listed or ()):
            todo = "A mask of the input's shape gives them by mask.flatten().nonzero().flatten()"
        raise InvalidInput(f"measured={reprlib.repr(measured)}", where=MEASURED, accepted=accepted, todo=todo)
    positions = [int(i) for i in listed]
    if not positions:
        raise InvalidInput("no measured input", where=MEASURED, accepted=accepted, todo="Leave it out to measure all")
    if len(set(positions)) < len(positions):
        twice = next(i for i in positions if positions.count(i) > 1)
        raise InvalidInput(f"measured input {twice} twice", where=MEASURED, accepted="each once")
    if scope == "pointed":
        raise InvalidInput(
            "measured inputs in pointed scope",
            where=MEASURED,
            accepted="regional scope: pairs of points anywhere in the region that differ in the measured inputs alone",
            todo="Ask in a Box that holds the other inputs fixed",
        )
    return NumbersByValue(sorted(positions))


def described(scale: Any, measured: Sequence[int] | None) -> dict[str, Any]:
    """Both as plain data, for records and comparisons: as they are up to ``WRITTEN_OUT`` numbers, else their hash.

    Of a scale that is not written out, its least and its largest unit too, which say how long a distance can be.
    """
    data: dict[str, Any] = {}
    if scale is not None:
        units = scale.array if isinstance(scale, NumbersByValue) else np.asarray(scale)
        data["scale"] = scale
        if units.size > WRITTEN_OUT:
            ends = {"least": float(units.min()), "most": float(units.max())}
            data["scale"] = {"shape": list(units.shape), **ends, "sha256": _hash(units)}
    if measured is not None:
        data["measured"] = measured
        if len(measured) > WRITTEN_OUT:
            data["measured"] = {"count": len(measured), "sha256": _hash(np.asarray(measured, dtype=np.int64))}
    return data


def phrase(scale: Any, measured: Sequence[int] | None) -> str:
    """Both in words, to be appended to those for the norm of input distances."""
    words = ""
    if isinstance(scale, NumbersByValue):
        units = scale.array
        least, most = (written(float(end)) for end in (units.min(), units.max()))
        words = f" in units of {least}" if least == most else f" in units from {least} to {most}"
    elif scale is not None:
        words = f" in units of {written(scale)}"
    if measured is None:
        return words
    names = ", ".join(map(str, measured))
    which = f"{len(measured)} of the inputs" if len(measured) > NAMED else f"input{'s' * (len(measured) > 1)} {names}"
    return f"{words}, of points that differ in {which} alone"


def check_measured(region: PlacedRegion, scale: Any, measured: Sequence[int] | None) -> None:
    """Refuses units and positions that do not fit the input, and measured inputs of which none can move.

    Args:
        region: around each reference point.
        scale: as ``units_of`` gives it.
        measured: as ``positions_of`` gives it.

    Raises:
        InvalidInput: another shape, a position outside of the input, or a point around which no measured input can move.
    """
    units_shape, count = scale.array.shape if isinstance(scale, NumbersByValue) else (), math.prod(region.shape)
    if units_shape and units_shape != tuple(region.shape):
        raise InvalidInput(
            f"scale of shape {units_shape} for inputs of shape {tuple(region.shape)}",
            where=SCALE,
            accepted="one number, or one for each input in the input's shape",
        )
    if measured is None:
        return
    if measured[-1] >= count:
        raise InvalidInput(
            f"measured input {measured[-1]} of {count}",
            where=MEASURED,
            accepted=f"flat positions from 0 to {count - 1}",
        )
    stuck = ~region.movable.flatten(1)[:, list(measured)].any(-1)
    if stuck.any():
        raise InvalidInput(
            f"measured={reprlib.repr(list(measured))}, none of which can move around reference point "
            f"{int(stuck.nonzero()[0])}",
            where=MEASURED,
            accepted="at least one measured input that can move in the region",
        )


def counts_of(shape: Sequence[int], scale: Any, measured: Sequence[int] | None, like: Tensor) -> Tensor:
    """What each entry of a gradient counts if it can move, ``(*shape)``: its unit, 0 where it is not measured.

    Args:
        shape: of one input.
        scale: as ``units_of`` gives it.
        measured: as ``positions_of`` gives it.
        like: a tensor of the dtype and on the device of the counts.
    """
    counts = torch.ones(*shape, dtype=like.dtype, device=like.device)
    if scale is not None:
        units = scale.array if isinstance(scale, NumbersByValue) else scale
        counts = counts * torch.as_tensor(units, dtype=torch.float64).to(counts)
    if measured is not None:
        is_measured = torch.zeros(math.prod(shape), dtype=counts.dtype, device=counts.device)
        is_measured[list(measured)] = 1.0
        counts = counts * is_measured.reshape(counts.shape)
    return counts


def _hash(numbers: np.ndarray) -> str:
    return hashlib.sha256(numbers.tobytes()).hexdigest()
