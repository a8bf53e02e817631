"""Ctrl-C where other people's code would take it for something else: it stays what it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def delayed_ctrl_c() -> Iterator[None]:
    """Keeps a Ctrl-C from code that would swallow it or raise another error in its place, as compiled packages do while
    they are imported: it reaches the program's handler at the end of the block, whatever that raised. A second one is
    handled at once.

    Signals come to the main thread alone; in others, and where the program ignores Ctrl-C, this does nothing. What the code
    inside puts in place of the handler is taken back.
    """
    current = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(current):
        yield
        return
    handler: Callable[[int, FrameType | None], object] = current
    came = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        if came > 1:
            handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, current)
        if came:
            handler(signal.SIGINT, None)


def is_ctrl_c(error: BaseException) -> bool:
    """Whether an error comes of a Ctrl-C: it is one, or was raised in the place of one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


def pass_on_ctrl_c(error: BaseException) -> None:
    """Raises KeyboardInterrupt if an error comes of one; stands first where any error of somebody's code is a result."""
    if is_ctrl_c(error):
        raise KeyboardInterrupt from error
