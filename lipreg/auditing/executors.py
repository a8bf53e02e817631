"""Where tasks are done: the interface of executors, and the one that does them in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from lipreg.auditing.tasks import Assignment, Event, Task, perform


class Executor(Protocol):
    """Does the tasks of one audit at a time. All calls come from one thread."""

    slots: int

    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        """Prepares for an audit; returns when a task can be taken, or when ``stop`` is set.

        Raises:
            CannotStart: no task can be taken here.
            InvalidInput: the assignment cannot be handed over.
        """
        ...

    def free(self) -> int:
        """How many tasks can be submitted now."""
        ...

    def running(self) -> int:
        """How many tasks have been submitted and are not over."""
        ...

    def submit(self, task: Task) -> None:
        """Takes a task; its events come with ``collect``, ``Ended``, ``Lost`` or ``Contradicted`` last."""
        ...

    def collect(self, timeout: float) -> list[Event]:
        """What has happened; waits for something to happen, not much longer than ``timeout`` if it can be helped.

        Raises:
            CannotStart: no task can be taken here any more, and none is running.
        """
        ...

    def stop(self) -> None:
        """Asks running tasks to end with what they have."""
        ...

    def end(self) -> None:
        """Ends the audit; tasks that still run are given up."""
        ...


class CannotStart(Exception):
    """No worker process can be started; the text says why."""


class Inline:
    """One task at a time, in the thread that collects it."""

    slots = 1

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        self._assignment, self._stop = assignment, stop

    def free(self) -> int:
        return 1 - len(self._tasks)

    def running(self) -> int:
        return len(self._tasks)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def collect(self, timeout: float) -> list[Event]:
        done, self._tasks = self._tasks, []
        with one_thread():
            return [event for task in done for event in perform(self._assignment, task, self._stop)]

    def stop(self) -> None:
        self._stop.set()

    def end(self) -> None:
        self._tasks = []


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block, as in a worker process, so that the last digits are the same in both."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)
