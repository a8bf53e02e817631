"""Ctrl-C during an audit: the first one stops the searches, and is delivered when all that was proved is kept; a program
that wants to decide itself what it does then catches the signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopOnSignal:
    """Lets a program end with what it has: a first Ctrl-C or SIGTERM inside the block sets ``event``, and a second one
    raises ``KeyboardInterrupt`` at once.

        with StopOnSignal() as interrupt:
            points = lipreg.audit(net, problem, x, y, budget=Budget(60, stop=interrupt.event))

    Signals come to the main thread alone; in others, and of signals that the program ignores, this does nothing.

    Args:
        on_signal: called without arguments at the first signal.

    Attributes:
        event: what a ``Budget`` takes for its ``stop``.
        signal: the number of the signal that came; 0 before.
    """

    CAUGHT = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, on_signal: Callable[[], object] = lambda: None) -> None:
        self.event, self.signal, self._on_signal = threading.Event(), 0, on_signal
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in self.CAUGHT}
            self._before = {
                number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)
            }
            for number in self._before:
                signal.signal(number, self)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        self.event.set()
        self._on_signal()


@contextmanager
def first_interrupt_stops(stop: threading.Event) -> Iterator[None]:
    """Delays Ctrl-C: a first one inside the block only sets ``stop``, and reaches the program's handler when it ends.

    So none interrupts a callback in the middle. A second one is handled by the program's own handler at once. Signals come
    to the main thread alone; in others, where the program ignores them or uses ``StopOnSignal``, this does nothing.
    """
    current = signal.getsignal(signal.SIGINT)
    if (
        threading.current_thread() is not threading.main_thread()
        or not callable(current)
        or isinstance(current, StopOnSignal)
    ):
        yield
        return
    handler: Callable[[int, FrameType | None], object] = current
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
        signal.signal(signal.SIGINT, current)
    if came:
        handler(signal.SIGINT, None)
