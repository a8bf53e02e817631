"""Limits of time and memory on a piece of work in this process."""

from __future__ import annotations

import contextlib
import math
import resource
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from lipreg.errors import InvalidInput

GIB = 2**30
AGAIN = 10.0
"""Seconds after which the end is raised again, should something in between have taken it for its own and gone on."""


class LimitReached(TimeoutError):
    """A job ran past its time limit. No LipregError: an audit that cannot be done must not end training, but this must."""


@contextlib.contextmanager
def limited(minutes: float | None = None, memory_gib: float | None = None) -> Iterator[None]:
    """Holds what is done inside to so many minutes, and this process and those that it starts to so much memory each.

    Past the time, LimitReached is raised wherever the main thread is. Memory is what the kernel counts as data
    (RLIMIT_DATA): past it an allocation fails, as a MemoryError or as torch's RuntimeError.

    Args:
        minutes: of wall-clock time; None for no limit.
        memory_gib: GiB for each process; None for no limit.

    Raises:
        InvalidInput: a limit that is not above 0, or a time limit in another thread than the main one.
        LimitReached: the time is over.
    """
    for name, value in (("minutes", minutes), ("memory_gib", memory_gib)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value < math.inf):
            raise InvalidInput(f"{name}={value!r}", where="limits", accepted="a number above 0, or null")
    with _memory(memory_gib), _time(minutes):
        yield


@contextlib.contextmanager
def _memory(gib: float | None) -> Iterator[None]:
    if gib is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = int(gib * GIB)
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@contextlib.contextmanager
def _time(minutes: float | None) -> Iterator[None]:
    if minutes is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise InvalidInput(
            f"minutes={minutes} outside of the main thread",
            where="limits",
            todo="Take the launcher's own time limit, or none",
        )

    past: list[LimitReached] = []

    def over(number: int, frame: FrameType | None) -> Any:
        past.append(
            LimitReached(f"the time limit of {minutes:g} minutes is over. Raise limits.minutes, and start it again.")
        )
        raise past[-1]

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 60.0 * minutes, AGAIN)
    try:
        yield
    except Exception as raised:
        if past and not isinstance(
            raised, LimitReached
        ):  # inspect.getfullargspec, for one, makes a TypeError of any error
            raise past[0] from raised
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
