"""Ctrl-C during an audit: the first one stops the searches, and is delivered when all that was proved is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def first_interrupt_stops(stop: threading.Event) -> Iterator[None]:
    """Inside the block a first Ctrl-C only sets ``stop``; it reaches the program's own handler at the end of the block.

    So no callback is torn in the middle by it. A second one is handled by the program's own handler at once. Signals come
    to the main thread alone; in others, and where the program ignores them, this does nothing.
    """
    own = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(own):
        yield
        return
    handler: Callable[[int, FrameType | None], object] = own
    came = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        stop.set()
        if came > 1:
            handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, own)
    if came:
        handler(signal.SIGINT, None)
