"""Limits of time and memory on a piece of work in this process."""

from __future__ import annotations

import contextlib
import math
import re
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from lipreg.errors import InvalidInput

GIB = 2**30
AGAIN = 10.0
"""Seconds after which the end is raised again, should something in between have taken it for its own and gone on."""


class LimitReached(TimeoutError):
    """A job ran past its time limit. No LipregError: an audit that cannot be done must not end training, but this must."""


@contextlib.contextmanager
def limited(minutes: float | None = None, memory_gib: float | None = None) -> Iterator[None]:
    """Holds what is done inside to so many minutes, and this process and those that it starts to so much memory each.

    Past the time, LimitReached is raised wherever the main thread is, and again at the end of what is inside, whatever
    was made of it there. Memory is what the kernel counts as data (RLIMIT_DATA): past it an allocation fails, as a
    MemoryError or as torch's RuntimeError.

    Args:
        minutes: of wall-clock time; None for no limit.
        memory_gib: GiB for each process; None for no limit.

    Raises:
        InvalidInput: a limit that is not above 0, one of memory that is taken already, or a time limit in another thread
            than the main one.
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
    most, taken = int(gib * GIB), _taken()
    if taken >= most:
        raise InvalidInput(
            f"memory_gib={gib:g}, and {taken / GIB:.2f} GiB are taken before any work",
            where="limits",
            accepted="a limit above that",
        )
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _taken() -> int:
    """Bytes of this process that the limit counts; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^VmData:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


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

    past, said = False, f"the time limit of {minutes:g} minutes is over. Raise limits.minutes, and start it again."

    def over(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal past
        past = True
        raise LimitReached(said)

    before = signal.signal(signal.SIGALRM, over)
    try:
        signal.setitimer(signal.ITIMER_REAL, 60.0 * minutes, AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        if past:  # what was interrupted kept it to itself, and is not whole
            raise LimitReached(said)
    except LimitReached:
        raise
    except (Exception, SystemExit) as raised:
        if past:  # what was interrupted may have made another error of it, as inspect.getfullargspec does of any
            raise LimitReached(said) from raised
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)  # the end may have come before the first time
        signal.signal(signal.SIGALRM, before)
