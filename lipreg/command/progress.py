"""How far a command is, on standard error: one line that is rewritten, or without a terminal a line every half minute."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from lipreg.words import time_left

if TYPE_CHECKING:
    from lipreg.auditing import AuditProgress

EVERY = 30.0
"""Seconds between lines that stay."""
QUICK = 0.2
"""Seconds between lines that are rewritten."""


class ProgressLine:
    """A line with the points that are done, of how many, the time taken and the time left.

    Args:
        points: how many there are.
        stream: where it is printed; None for standard error.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, points: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._points, self._stream, self._clock = points, stream or sys.stderr, clock
        self._began = self._last = clock()
        self._rewritten = self._stream.isatty()

    def at(self, done: int, seconds_left: float | None = None) -> None:
        """Prints where the work stands, unless a line was printed just now.

        Args:
            done: points that are done.
            seconds_left: at most; None judges by the points so far.
        """
        now = self._clock()
        if now - self._last < (QUICK if self._rewritten else EVERY):
            return
        self._last, taken = now, now - self._began
        parts = [f"{done} of {self._points} points", f"{taken:.0f} s"]
        if done < self._points:
            if seconds_left is not None:
                parts.append(time_left(seconds_left))
            elif done:
                parts.append(f"about {math.ceil(taken / done * (self._points - done))} s left")
        line = ", ".join(parts)
        self._stream.write(f"\r\x1b[K{line}" if self._rewritten else f"{line}\n")
        self._stream.flush()

    def stopping(self) -> None:
        """Prints that a signal came, and what happens now; nothing where the signal came in the middle of a line."""
        with contextlib.suppress(RuntimeError):
            self.end()
            self._stream.write("Stopping with what is proved; once more ends it at once.\n")
            self._stream.flush()

    def end(self) -> None:
        """Clears a line that was rewritten."""
        if self._rewritten:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def both(line: ProgressLine, points: int) -> Callable[[AuditProgress], None]:
    """The listener that shows two audits, one after the other, of so many points each, on one line.

    The time that is left is judged by the points of both: the second has all its seconds before it while the first works.
    """
    begun = [0, 0]  # audits that are done, and points of this one

    def report(progress: AuditProgress) -> None:
        if progress.done < begun[1]:
            begun[0] = 1
        begun[1] = progress.done
        line.at(begun[0] * points + progress.done)

    return report


class StageLine:
    """How far a long piece of work is, stage by stage, as "comparing runs: 40 %"; nothing of one that takes a moment.

    Args:
        stream: where it is printed; None for standard error.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._last, self._rewritten = clock(), self._stream.isatty()

    def at(self, what: str, done: int, total: int) -> None:
        """Prints where the work stands, unless a line was printed just now.

        Args:
            what: the stage, such as "comparing runs".
            done, total: how much of it is done, and how much there is.
        """
        now = self._clock()
        if now - self._last < (QUICK if self._rewritten else EVERY):
            return
        self._last = now
        line = f"{what}: {100 * done // max(total, 1)} %"
        self._stream.write(f"\r\x1b[K{line}" if self._rewritten else f"{line}\n")
        self._stream.flush()

    def end(self) -> None:
        """Clears a line that was rewritten."""
        if self._rewritten:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
