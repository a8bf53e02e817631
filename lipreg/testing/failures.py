"""What a check raises: a failure that names the thing, the network, the question and the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lipreg.options import unknown


class CheckFailed(AssertionError):
    """Something does not keep what its kind promises; the text has the thing, the question and the numbers."""


def expect(condition: object, message: str) -> None:
    """Raises CheckFailed with the message unless the condition holds."""
    if not condition:
        raise CheckFailed(message)


def expect_near(got: Any, wanted: Any, description: str, rel: float = 1e-9, absolute: float = 1e-12) -> None:
    """Raises CheckFailed unless numbers, or lists of as many, are equal up to a relative or an absolute difference.

    Args:
        got, wanted: a number, or several.
        description: what the numbers are, as the message begins.
        rel, absolute: the differences that are allowed; either suffices.
    """
    ours, theirs = ([float(v) for v in (n if hasattr(n, "__len__") else [n])] for n in (got, wanted))
    close = len(ours) == len(theirs) and all(
        math.isclose(a, b, rel_tol=rel, abs_tol=absolute) for a, b in zip(ours, theirs, strict=True)
    )
    expect(close, f"{description}: {got} where {wanted} is right, to {rel:g}")


@contextmanager
def attempt(description: str) -> Iterator[None]:
    """What is done inside fails as CheckFailed alone: any other error becomes one, with the description before it."""
    try:
        yield
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(f"{description}: {type(error).__name__}: {error}") from error


@contextmanager
def refused(kind: type[Exception], description: str, word: str = "") -> Iterator[None]:
    """What is done inside must raise an error of one kind.

    Args:
        kind: of the error.
        description: what is done, as the message begins.
        word: what the error's text has to contain.

    Raises:
        CheckFailed: nothing is raised, another error, or one without the word.
    """
    try:
        yield
    except kind as error:
        expect(word in str(error), f"{description}: the refusal does not name {word!r}: {error}")
        return
    except Exception as error:
        raise CheckFailed(f"{description}: {type(error).__name__} in place of {kind.__name__}: {error}") from error
    raise CheckFailed(f"{description}: not refused; {kind.__name__} is expected")


def aspects_of(aspects: Iterable[str] | None, checks: dict[str, Any], where: str) -> list[str]:
    """The names of the checks that are meant.

    Args:
        aspects: what the user passed; None means all.
        checks: all checks by name.
        where: the function that was called, in errors.

    Raises:
        InvalidInput: there is no such check; the message lists all.
    """
    wanted = list(checks) if aspects is None else list(aspects)
    for aspect in wanted:
        if aspect not in checks:
            raise unknown(aspect, f"{where}, aspects", checks)
    return wanted
