"""Numbers as users write them, of whatever type, as those that Python computes with."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, cast

from lipreg.words import plain

LONGEST = 10**100
"""The whole number from which on another one limits nothing: of seconds, nodes or bytes."""
SHOWN = 200
"""Letters of a value that messages show."""


def single(value: Any) -> Any:
    """The number that an array or a tensor of one number holds, on whatever device; anything else as it is."""
    shape = getattr(value, "shape", None)
    alone = isinstance(shape, tuple) and math.prod(shape) == 1 and callable(getattr(value, "item", None))
    return value.item() if alone and not getattr(value, "is_meta", False) else value


def number(value: object) -> float | None:
    """A number as one of Python's, whole ones above ``LONGEST`` and whatever is beyond all floats as infinite; None for
    what is none."""
    value = single(value)
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return None
    if value.is_nan() if isinstance(value, Decimal) else value != value:
        return None
    try:
        if not isinstance(value, Integral):
            return float(value)
        whole = int(value)
        return whole if abs(whole) <= LONGEST else math.inf if whole > 0 else -math.inf
    except OverflowError:  # a fraction beyond all floats
        return math.inf if cast(float, value) > 0 else -math.inf


def whole_number(value: object) -> int | None:
    """A whole number, however it is written, at most ``LONGEST``; None for what is none."""
    read = number(value)
    if read is None:
        return None
    if math.isinf(read):
        return LONGEST if read > 0 and isinstance(single(value), Integral) else None
    return min(int(read), LONGEST) if read == int(read) else None


def shown(value: object) -> str:
    """A value as messages show it; the digits of a long number are not counted out."""
    if isinstance(value, Integral) and abs(int(value)) > LONGEST:
        return f"{'-' if int(value) < 0 else ''}2**{int(value).bit_length() - 1} or more"
    return plain(repr(value), SHOWN)
