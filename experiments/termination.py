"""SIGTERM as an end like Ctrl-C: whatever is under way is left so that it can go on."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

TERMINATED = 143
"""The exit code of a program that a SIGTERM ended: 128 and the signal's number, as shells have it."""


class Terminated(KeyboardInterrupt):
    """A SIGTERM, as schedulers send it before they take a machine away. Whatever ends well after a Ctrl-C does here, too."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """A SIGTERM raises Terminated in the main thread; in other threads nothing is changed.

    Raises:
        SystemExit: with code 143, where what is inside ended after one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def ended(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal received
        received = True
        raise Terminated

    before = signal.signal(signal.SIGTERM, ended)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        if received:
            raise SystemExit(TERMINATED) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
