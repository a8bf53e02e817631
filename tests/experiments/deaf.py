"""A process that does not end at a SIGTERM, in a module of its own, as a process that is spawned imports it."""

from __future__ import annotations

import signal
import time
from multiprocessing.synchronize import Event


def deaf(ready: Event) -> None:
    """Waits for long, and says when it has begun."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(600)
