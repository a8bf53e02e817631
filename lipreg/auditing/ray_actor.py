"""What a Ray actor does for an audit: the tasks that a worker process would do, in the same way. Knows nothing of Ray."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator

import torch

from lipreg.auditing.tasks import Assignment, Lost, Task, perform
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
        """The process that this runs in."""
        return os.getpid()

    def assign(self, content: bytes) -> str:
        """Takes what the tasks are about; why it cannot, or nothing."""
        try:
            self._assignment = read_assignment(content)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def forget(self) -> None:
        """Ends an audit."""
        self._assignment = None
        self._stops.clear()

    def do(self, number: int, content: bytes) -> Iterator[bytes]:
        """A task's events, pickled, as they come; nothing first, to say that it has begun."""
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
            yield pickle.dumps(Lost(task, Status.FAILED, f"no answer: {type(error).__name__}: {error}"))

    def stop(self, number: int) -> None:
        """Stops a task, even one that has not begun."""
        self._stops.setdefault(number, threading.Event()).set()
