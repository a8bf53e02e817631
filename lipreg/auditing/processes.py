"""Worker processes that do the tasks of audits: a crash costs the point it was at, a hang is ended, the pool is refilled."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait

from lipreg.auditing.executors import CannotStart, Executor, register_executor
from lipreg.auditing.process import Process, cannot_be_sent, packed
from lipreg.auditing.tasks import Assignment, Event, Task, TaskAnswer, TaskLost
from lipreg.errors import InvalidInput
from lipreg.results import Status

GRACE = 10.0
"""Seconds after its limit in which a task may still answer; then its process is ended."""
STOP_GRACE = 3.0
"""The same after a stop."""
START_SECONDS = 120.0
"""Seconds that a process may take to start."""
FAILED_STARTS = 3
"""After so many processes in a row that end before they can take a task no more are started."""


@register_executor("processes")
@dataclass(eq=False)
class Processes(Executor):
    """Processes that search, each with one thread; a crash or a hang of a solver costs one point.

    They are programs of their own (``python -m lipreg.auditing.worker``): nothing of the script, notebook or training
    that runs the audit is run again or inherited by them, and they end when it ends, however it ends.

    Args:
        count: how many, or "auto": one for each core that this process may use.

    Raises:
        InvalidInput: a number that cannot be.

    Example:
        >>> with Processes(2) as executor:  # doctest: +SKIP
        ...     audits = [audit(network, plan, x, y, executor=executor) for network in networks]
    """

    sends = True
    count: int | str = "auto"

    def __post_init__(self) -> None:
        self.slots = self._counted()
        self._processes: list[Process] = []
        self._unsent: list[Task] = []
        self._assignment, self._wanted = b"", self.slots
        self._failed_starts, self._idle_deaths, self._why = 0, 0, "the audit was stopped"
        self._stopped: threading.Event | None = None

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        self._processes = []

    def kill(self) -> bool:
        for process in list(self._processes):  # the audit's thread then finds them dead
            process.end_now()
        return True

    def _counted(self) -> int:
        if self.count == "auto":
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not isinstance(self.count, int) or isinstance(self.count, bool) or self.count < 1:
            accepted = 'a whole number of at least 1, or "auto": one for each core'
            raise InvalidInput(f"count={self.count!r}", where=type(self).__name__, accepted=accepted)
        return self.count

    # ---------------------------------------------------------------- the interface of executors

    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        self._assignment, self._stopped, self._failed_starts = packed(assignment), stop, 0
        self._idle_deaths = 0
        self._wanted = min(self.slots, assignment.analysis.placed.batch)
        self.collect(0.0)  # buries what died since the last audit
        while not self.free() and not stop.is_set():
            self.collect(0.2)

    def free(self) -> int:
        return max(0, len(self._idle()) - len(self._unsent))

    def running(self) -> int:
        return len(self._unsent) + sum(p.task is not None for p in self._processes)

    def submit(self, task: Task) -> None:
        self._unsent.append(task)
        self._send_tasks()

    def collect(self, timeout: float) -> list[Event]:
        self._fill()
        self._send_tasks()
        events: list[Event] = []
        nearest = min((p.deadline for p in self._processes), default=0.0) - time.monotonic()
        self._wait(self._processes, max(0.0, min(timeout, nearest)))
        for process in list(self._processes):
            for kind, content in process.received():
                if kind == "ready":
                    process.ready, process.deadline, self._failed_starts = True, math.inf, 0
                elif kind == "refused":
                    raise cannot_be_sent(content)
                else:
                    events.append(content)
                    if not isinstance(content, TaskAnswer):
                        process.task, process.deadline = None, math.inf
            if process.is_closed or time.monotonic() > process.deadline:
                events += self._bury(process)
        return events

    def stop(self) -> None:
        for process in self._processes:
            if process.task is not None:
                process.deadline = min(process.deadline, time.monotonic() + STOP_GRACE)
                process.send("stop")

    def end(self) -> None:
        self._unsent.clear()
        self._assignment = b""
        for process in [p for p in self._processes if p.task is not None or not p.ready]:
            process.kill()
            self._processes.remove(process)
        for process in self._processes:
            process.send("forget")
            process.has_assignment = False

    def _idle(self) -> list[Process]:
        return [p for p in self._processes if p.ready and p.task is None and not p.is_closed]

    def _send_tasks(self) -> None:
        for process in self._idle():
            if not self._unsent:
                return
            # a process that has died meanwhile takes nothing; the task stays for the next one
            if process.has_assignment or process.send("assignment", self._assignment):
                process.has_assignment = True
                if process.send("task", packed(self._unsent[0])):
                    process.task = self._unsent.pop(0)
                    process.deadline = time.monotonic() + process.task.seconds + process.task.patience + GRACE

    # ---------------------------------------------------------------- births and deaths

    def _start(self) -> Process:
        return Process(START_SECONDS)

    def _wait(self, processes: Sequence[Process], seconds: float) -> None:
        """Waits until one of them has sent something, for ``seconds`` at most."""
        wait([p.channel for p in processes], seconds)

    def _fill(self) -> None:
        """Starts the processes that are missing.

        Raises:
            CannotStart: none runs, and none can be started.
        """
        may_start = self._failed_starts < FAILED_STARTS and not (self._stopped is not None and self._stopped.is_set())
        try:
            while may_start and len(self._processes) < self._wanted:
                self._processes.append(self._start())
        except OSError as error:
            self._failed_starts, self._why = FAILED_STARTS, str(error)
        if not self._processes and not may_start:
            self._unsent.clear()
            raise CannotStart(self._why)

    def _bury(self, process: Process) -> list[Event]:
        """Ends a process that is dead or late; its task is lost, or put back if it may not have begun."""
        late, task = not process.is_closed, process.task
        process.kill()
        self._processes.remove(process)
        if not process.ready:
            self._failed_starts += 1
            self._why = f"it did not start in {START_SECONDS:.0f} s" if late else process.cause()
        if task is None:
            return []
        if not process.began and self._idle_deaths < self.slots:  # it may have died before the task came
            self._idle_deaths += 1
            self._unsent.insert(0, task)
            return []
        if late and self._stopped is not None and self._stopped.is_set():
            return [TaskLost(task, Status.INTERRUPTED, f"stopped; no answer in {STOP_GRACE:.0f} s")]
        if late:
            limit = task.seconds + task.patience
            reason = f"no answer {GRACE:.0f} s after its limit of {limit:.3g} s; its process was ended"
            return [TaskLost(task, Status.TIME_LIMIT, reason)]
        return [TaskLost(task, Status.FAILED, f"its process died: {process.cause()}", died=True)]
