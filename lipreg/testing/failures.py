"""What a check raises: a failure that names the thing, the network, the question and the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lipreg.options import unknown


class CheckFailed(AssertionError):
    """Something does not keep what its kind promises; the text says what was asked, of whom, and the numbers."""


def expect(held: object, said: str) -> None:
    """Raises CheckFailed with what is said unless it held."""
    if not held:
        raise CheckFailed(said)


def expect_near(got: Any, wanted: Any, said: str, rel: float = 1e-9, absolute: float = 1e-12) -> None:
    """Raises CheckFailed unless numbers, or lists of as many, are equal up to a relative or an absolute difference."""
    ours, theirs = ([float(v) for v in (n if hasattr(n, "__len__") else [n])] for n in (got, wanted))
    close = len(ours) == len(theirs) and all(
        math.isclose(a, b, rel_tol=rel, abs_tol=absolute) for a, b in zip(ours, theirs, strict=True)
    )
    expect(close, f"{said}: {got} where {wanted} is right, to {rel:g}")


@contextmanager
def attempt(said: str) -> Iterator[None]:
    """What is done inside fails as CheckFailed alone: any other error becomes one, with what is said before it."""
    try:
        yield
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(f"{said}: {type(error).__name__}: {error}") from error


@contextmanager
def refused(kind: type[Exception], said: str, word: str = "") -> Iterator[None]:
    """What is done inside must raise an error of this kind, with the word in its text."""
    try:
        yield
    except kind as error:
        expect(word in str(error), f"{said}: the refusal does not name {word!r}: {error}")
        return
    except Exception as error:
        raise CheckFailed(f"{said}: {type(error).__name__} in place of {kind.__name__}: {error}") from error
    raise CheckFailed(f"{said}: not refused; {kind.__name__} is expected")


def aspects_of(aspects: Iterable[str] | None, known: dict[str, Any], where: str) -> list[str]:
    """The names of the checks that are meant; None means all.

    Raises:
        InvalidInput: there is no such check; the message lists all.
    """
    wanted = list(known) if aspects is None else list(aspects)
    for aspect in wanted:
        if aspect not in known:
            raise unknown(aspect, f"{where}, aspects", known)
    return wanted
