"""Plain data of a file, of which nothing is trusted: each function returns what it names, or refuses."""

from __future__ import annotations

import base64
import binascii
import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from lipreg.checking.integers import Array
from lipreg.checking.refusal import Refused

LARGEST = 1 << 27
"""No size and no number of a thing is as large."""


def fields(plain: Any, names: str, where: str) -> list[Any]:
    """The values of exactly these fields of an object.

    Args:
        plain: the object.
        names: of the fields, with spaces between.
        where: its place in the file, for errors.

    Raises:
        Refused: it is no object, or has other fields.
    """
    if not isinstance(plain, dict) or plain.keys() != set(names.split()):
        got = ", ".join(map(str, plain)) if isinstance(plain, dict) else type(plain).__name__
        raise Refused(f"fields {got}, not {names.replace(' ', ', ')}", where)
    return [plain[name] for name in names.split()]


def items(plain: Any, where: str) -> list[Any]:
    """A list."""
    return plain if isinstance(plain, list) else refuse(f"{type(plain).__name__} in place of a list", where)


def pair(plain: Any, where: str) -> tuple[Any, Any]:
    """A list of two."""
    listed = items(plain, where)
    return (listed[0], listed[1]) if len(listed) == 2 else refuse(f"{len(listed)} in place of a pair", where)


def is_whole(plain: Any) -> bool:
    """Whether it is a whole number."""
    return isinstance(plain, int) and not isinstance(plain, bool)


def count(plain: Any, where: str, least: int = 1, end: int = LARGEST) -> int:
    """A whole number in a range.

    Args:
        plain: the number.
        where: its place in the file, for errors.
        least, end: the least number that is accepted, and the first that is too large.

    Raises:
        Refused: it is none.
    """
    if not is_whole(plain) or not least <= plain < end:
        raise Refused(f"{plain!r} in place of a whole number from {least} to {end - 1}", where)
    return plain


def fraction(plain: Any, where: str) -> Fraction:
    """Two whole numbers with / between."""
    if not isinstance(plain, str) or not re.fullmatch(r"-?[0-9]+/[1-9][0-9]*", plain, re.ASCII):
        raise Refused(f"{str(plain)[:60]!r} in place of two whole numbers with / between, the second above 0", where)
    above, below = plain.split("/")
    return Fraction(int(above), int(below))


def digits(end: Fraction, rounding: str, count: int = 9) -> str:
    """A number in few digits.

    Args:
        end: the number.
        rounding: as ``decimal`` calls it.
        count: of significant digits.
    """
    context = Context(prec=count, rounding=rounding, Emax=MAX_EMAX, Emin=MIN_EMIN)
    return f"{context.normalize(context.divide(Decimal(end.numerator), Decimal(end.denominator))):g}"


def array(plain: Any, where: str, shape: tuple[int | None, ...]) -> Array:
    """Finite float64 numbers of a shape.

    Args:
        plain: an object of shape and float64, the bytes in base64.
        where: its place in the file, for errors.
        shape: None where any length will do.

    Raises:
        Refused: it is none, or has another shape.
    """
    listed, text = fields(plain, "shape float64", where)
    sizes = [count(n, where, 0) for n in items(listed, where)]
    if len(sizes) != len(shape) or any(want not in (None, got) for want, got in zip(shape, sizes, strict=True)):
        raise Refused(f"numbers of shape {sizes}, not {list(shape)}", where)
    try:
        floats = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8").reshape(sizes)
    except (TypeError, ValueError, binascii.Error) as error:
        raise Refused(f"numbers that cannot be read: {error}", where) from None
    return floats if np.isfinite(floats).all() else refuse("numbers that are not finite", where)


def exactly(floats: Array) -> tuple[Fraction, ...]:
    """The same numbers as fractions."""
    return tuple(Fraction(float(x)) for x in floats)


def refuse(got: str, where: str) -> Any:
    """Raises ``Refused``, where a value is wanted."""
    raise Refused(got, where)
