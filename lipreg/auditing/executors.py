"""Where tasks are done: what an executor is, the registry of all, and the one that does them in this process."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import torch

from lipreg.auditing.tasks import Assignment, Event, Task, perform
from lipreg.errors import InvalidInput
from lipreg.options import Named, Registry


class Executor(Named):
    """Does the tasks of one audit at a time; what it needs for that is started by the first one and kept until ``close``.

    Subclasses are dataclasses (``eq=False``): their fields are the options. All calls come from one thread, but for
    ``kill``. A copy, in this process or another, has the same options and nothing that runs.

    Attributes:
        slots: how many tasks it does at the same time.
        sends: whether it sends them to other processes; what cannot be sent is then refused before a training begins.
    """

    slots: int
    sends: ClassVar[bool] = False

    @staticmethod
    def registry() -> Registry[Any]:
        return EXECUTORS

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self) if field.init)  # type: ignore[arg-type]

    @abstractmethod
    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        """Prepares for an audit; returns when a task can be taken, or when ``stop`` is set.

        Raises:
            CannotStart: no task can be taken here.
            InvalidInput: the assignment cannot be handed over.
        """
        ...

    @abstractmethod
    def free(self) -> int:
        """The number of tasks that can be submitted now."""

    @abstractmethod
    def running(self) -> int:
        """The number of tasks that have been submitted and are not over."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Takes a task; its events come with ``collect``, ``TaskDone``, ``TaskLost`` or ``Contradiction`` last."""

    @abstractmethod
    def collect(self, timeout: float) -> list[Event]:
        """The events since the last call; waits for one for about ``timeout`` seconds at most, if it can be helped.

        Raises:
            CannotStart: no task can be taken here any more, and none is running.
        """

    @abstractmethod
    def stop(self) -> None:
        """Asks running tasks to end with what they have."""

    @abstractmethod
    def end(self) -> None:
        """Ends the audit; tasks that still run are given up."""

    @abstractmethod
    def kill(self) -> bool:
        """Ends running tasks at once, in the middle of an audit that runs in another thread; returns whether it could."""

    @abstractmethod
    def close(self) -> None:
        """Ends whatever was started. The next audit starts anew."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


EXECUTORS: Registry[type[Executor]] = Registry("executor", base=Executor, written="@dataclass(eq=False)")
"""The executors by name."""
register_executor = EXECUTORS.register
Executing = str | Executor | Mapping[str, Any]
"""What users pass for an executor: a name, an executor with its options, or these as plain data."""


def get_executor(executor: Executing | None, where: str = "executor") -> Executor:
    """The executor for an argument of that name.

    Args:
        executor: an executor, its name, or a mapping ``{"kind": name, **options}``; None is "inline".
        where: what took the argument, for errors.

    Raises:
        InvalidInput: something else, no such executor, or an option that cannot be.
        MissingExtra: what it runs on is not installed.
    """
    if isinstance(executor, Executor):
        return executor
    options = dict(executor) if isinstance(executor, Mapping) else {"kind": "inline" if executor is None else executor}
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        accepted = ", ".join(map(repr, EXECUTORS)) + ", or an executor such as Processes(4)"
        raise InvalidInput(f"executor={executor!r}", where=where, accepted=accepted)
    return EXECUTORS.build(kind, options)


class CannotStart(Exception):
    """The error of an executor that can start no worker process; the text says why."""


@register_executor("inline")
@dataclass(eq=False)
class Inline(Executor):
    """Does one task at a time, in the thread that collects it; a crash or a hang of a solver is one of this process."""

    slots = 1

    def __post_init__(self) -> None:
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

    def kill(self) -> bool:
        return False  # it may be in compiled code for long

    def close(self) -> None:
        pass


@contextmanager
def one_thread() -> Iterator[None]:
    """Gives torch one thread inside the block, as in a worker process, so that the last digits are the same in both."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)
