"""What a check raises: a failure that names the thing, the network, the question and the numbers."""

from __future__ import annotations

import concurrent.futures
import math
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import torch

from lipreg.spelling import unknown

T = TypeVar("T")


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
def attempt(description: str, passes: type[Exception] = CheckFailed) -> Iterator[None]:
    """What is done inside fails as CheckFailed alone: any other error becomes one, with the description before it.

    Args:
        description: what is done.
        passes: an error that is raised as it is.
    """
    try:
        yield
    except (CheckFailed, passes):
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


def within(seconds: float, call: Callable[[], T], description: str) -> T:
    """What a call returns or raises; it is made in a thread of its own, which is left behind where it takes longer.

    Args:
        seconds: for the call, many times what it takes.
        call: what is done.
        description: how long it has taken, as the message says where it is not over.

    Raises:
        CheckFailed: it is not over after these seconds.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    concurrent.futures.wait([future], timeout=seconds)
    expect(future.done(), description)
    return future.result()


@contextmanager
def random_numbers_unmoved(description: str, instead: str) -> Iterator[None]:
    """What is done inside must neither draw from the random numbers of the whole process nor seed them.

    Args:
        description: what is done, as the message begins.
        instead: where it may draw from.

    Raises:
        CheckFailed: it does.
    """

    own = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        for drawn in (torch.rand(1), np.random.rand(), random.random()):
            del drawn  # so that they stand where no seed puts them
        before = _random_states()
        yield
        moved = [name for name, state in _random_states().items() if state != before[name]]
    finally:
        torch.set_rng_state(own[0])
        np.random.set_state(own[1])
        random.setstate(own[2])
    words = f"draws from {' and '.join(moved)}'s random numbers of the whole process, or seeds them"
    expect(not moved, f"{description}: it {words}; {instead}")


def differences(one: Any, other: Any) -> str:
    """The fields in which two objects of a dataclass differ, with both values, shortened.

    Args:
        one: the one.
        other: the other one, of the same class.
    """
    parts = [(field.name, getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    return "; ".join(f"{name} {str(a)[:100]} and {str(b)[:100]}" for name, a, b in parts if a != b)


def _random_states() -> dict[str, str]:
    numbers = np.random.get_state()
    states = torch.get_rng_state().tolist(), [part if np.isscalar(part) else list(part) for part in numbers]
    return {"torch": repr(states[0]), "numpy": repr(states[1]), "random": repr(random.getstate())}


def aspects_of(aspects: Iterable[str] | None, checks: dict[str, Any], where: str) -> list[str]:
    """The names of the checks that are meant.

    Args:
        aspects: what the user passed; None means all.
        checks: all checks by name.
        where: the function that was called, in errors.

    Raises:
        InvalidInput: there is no such check; the message names those that are nearest.
    """
    wanted = list(checks) if aspects is None else list(aspects)
    for aspect in wanted:
        if aspect not in checks:
            raise unknown(aspect, f"{where}, aspects", checks)
    return wanted
