"""Where tasks are done: what an executor is, the registry of all, and the one that does them in this process."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import torch

from lipreg.auditing.tasks import Assignment, Event, Task, perform
from lipreg.errors import InvalidInput
from lipreg.options import Registry


class Executor(ABC):
    """Does the tasks of one audit at a time; what it needs for that is started by the first one and kept until ``close``.

    Subclasses are dataclasses (``eq=False``): their fields are the options. All calls come from one thread, but for
    ``kill``. A copy, in this process or another, has the same options and nothing that runs.

    Attributes:
        name: what users call it; set by ``register_executor``.
        slots: how many tasks it does at the same time.
    """

    name: ClassVar[str]
    slots: int

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
        """How many tasks can be submitted now."""

    @abstractmethod
    def running(self) -> int:
        """How many tasks have been submitted and are not over."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Takes a task; its events come with ``collect``, ``Ended``, ``Lost`` or ``Contradicted`` last."""

    @abstractmethod
    def collect(self, timeout: float) -> list[Event]:
        """What has happened; waits for something to happen, not much longer than ``timeout`` if it can be helped.

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
        """Ends running tasks at once, in the middle of an audit that runs in another thread; whether it could."""

    @abstractmethod
    def close(self) -> None:
        """Ends whatever was started. The next audit starts anew."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


EXECUTORS: Registry[type[Executor]] = Registry("executor")
register_executor = EXECUTORS.register
Executing = str | Executor | Mapping[str, Any]
"""How users say where an audit's tasks are done: a name, an executor with its options, or these as plain data."""


def get_executor(given: Executing | None, where: str = "executor") -> Executor:
    """The executor that is meant by itself, by its name, or by a mapping ``{"kind": name, **options}``; None is "inline".

    Raises:
        InvalidInput: something else, no such executor, or an option that cannot be.
        MissingExtra: what it runs on is not installed.
    """
    if isinstance(given, Executor):
        return given
    options = dict(given) if isinstance(given, Mapping) else {"kind": "inline" if given is None else given}
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        accepted = ", ".join(map(repr, EXECUTORS)) + ", or an executor such as Processes(4)"
        raise InvalidInput(f"executor={given!r}", where=where, accepted=accepted)
    return EXECUTORS.build(kind, options)


class CannotStart(Exception):
    """No worker process can be started; the text says why."""


@register_executor("inline")
@dataclass(eq=False)
class Inline(Executor):
    """One task at a time, in the thread that collects it: in this process, whose crash or hang it would be."""

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
    """One torch thread inside the block, as in a worker process, so that the last digits are the same in both."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)
