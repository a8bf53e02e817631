"""A Ray actor's part in an audit: the tasks that a worker process would do, in the same way. This module knows no Ray."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator

import torch

from lipreg.auditing.tasks import Assignment, Task, TaskLost, perform
from lipreg.auditing.worker import read_assignment
from lipreg.results import Status


class Searcher:
    """Does one task after another; ``stop`` is called from a second thread.

    Contents travel as bytes pickled by lipreg, as they do to worker processes: Ray's own pickling would take a user's class
    along by value, and what is refused would depend on the executor.
    """

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._assignment: Assignment | None = None
        self._stops: dict[int, threading.Event] = {}

    def ready(self) -> int:
        """The number of the process that this runs in."""
        return os.getpid()

    def assign(self, content: bytes) -> str:
        """Takes the assignment that the tasks belong to; returns why it cannot be read, or an empty text."""
        try:
            self._assignment = read_assignment(content)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def forget(self) -> None:
        """Drops the assignment and the stops of an audit that is over."""
        self._assignment = None
        self._stops.clear()

    def do(self, number: int, content: bytes) -> Iterator[bytes]:
        """Does a task: yields its events, pickled, as they come, after an empty text that says that it has begun."""
        yield b""
        task: Task = pickle.loads(content)
        stop = self._stops.setdefault(number, threading.Event())
        if task.stopped:
            stop.set()
        assert self._assignment is not None  # tasks come after it, and one call runs after another
        try:
            for event in perform(self._assignment, task, stop):
                yield pickle.dumps(event)
        except GeneratorExit:
            raise
        except BaseException as error:  # an answer that cannot be pickled, sys.exit in an estimator
            yield pickle.dumps(TaskLost(task, Status.FAILED, f"no answer: {type(error).__name__}: {error}"))

    def stop(self, number: int) -> None:
        """Stops a task, even one that has not begun."""
        self._stops.setdefault(number, threading.Event()).set()
