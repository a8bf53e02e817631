"""Ctrl-C during an audit: the first one stops the searches, and is delivered when all that was proved is kept; or a program
that says itself what it keeps then, whatever asked it to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stopping:
    """A program that ends with what it has: a first Ctrl-C or SIGTERM sets ``event`` inside the block, and a second one ends
    it at once, as ``KeyboardInterrupt``.

        with Stopping() as stopping:
            found = lipreg.audit(net, problem, x, y, budget=Budget(60, stop=stopping.event))

    Signals come to the main thread alone; in others, and of signals that the program ignores, this does nothing.

    Attributes:
        event: what a ``Budget`` takes for its ``stop``.
        signal: the number of what came; 0 for nothing.
    """

    CAUGHT = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, say: Callable[[], object] = lambda: None) -> None:
        self.event, self.signal, self._say = threading.Event(), 0, say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in self.CAUGHT}
            self._before = {number: own for number, own in before.items() if own not in (signal.SIG_IGN, None)}
            for number in self._before:
                signal.signal(number, self)
        return self

    def __exit__(self, *_: object) -> None:
        for number, own in self._before.items():
            signal.signal(number, own)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        self.event.set()
        self._say()


@contextmanager
def first_interrupt_stops(stop: threading.Event) -> Iterator[None]:
    """Inside the block a first Ctrl-C only sets ``stop``; it reaches the program's own handler at the end of the block.

    So no callback is torn in the middle by it. A second one is handled by the program's own handler at once. Signals come
    to the main thread alone; in others, where the program ignores them or is ``Stopping`` itself, this does nothing.
    """
    own = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(own) or isinstance(own, Stopping):
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
