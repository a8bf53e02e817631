"""The program of a worker process: ``python -m lipreg.auditing.worker FD``, FD being its end of a pair of sockets.

The main thread listens and a second one works, so that a stop is heard in the middle of a search, and so that the process
ends when its parent does: then the connection closes, or, should a copy of the parent's end be open elsewhere, the process
has another parent. If a solver keeps even the main thread from running, the system's alarm clock ends it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import NoReturn

import torch

from lipreg.auditing.tasks import Assignment, Task, TaskLost, perform
from lipreg.results import Status

ALARM = 60
"""Seconds after a task's limit at which the system ends a process that nobody has ended before."""
LONGEST = 1e9
"""The most seconds that are passed to the alarm clock, whose argument is a C integer."""
LISTEN = 2.0
"""Seconds between two looks at who the parent is."""


def serve(channel: Connection) -> None:
    """Takes assignments and tasks until the parent is gone."""
    parent, stop = os.getppid(), threading.Event()
    tasks: queue.SimpleQueue[tuple[Assignment, Task]] = queue.SimpleQueue()
    threading.Thread(target=_work, args=(channel, tasks, stop), daemon=True).start()
    channel.send(("ready", None))
    assignment: Assignment | None = None
    for kind, content in messages(channel, parent):
        match kind:
            case "assignment":
                assignment = _read(channel, content)
            case "forget":
                assignment = None
            case "stop":
                stop.set()
            case "task" if assignment is not None:
                task: Task = pickle.loads(content)
                stop.set() if task.stopped else stop.clear()
                tasks.put((assignment, task))


def messages(channel: Connection, parent: int) -> Iterator[tuple[str, bytes]]:
    """The messages of the parent, a process of that number: kind and content, until it is gone."""
    while True:
        while not channel.poll(LISTEN):
            if os.getppid() != parent:
                return
        yield channel.recv_bytes().decode(), channel.recv_bytes()


def read_assignment(content: bytes) -> Assignment:
    """The assignment that the parent has packed; raises an error of any kind if it refers to what is not here."""
    return pickle.loads(content)


def _read(channel: Connection, content: bytes) -> Assignment | None:
    try:
        return read_assignment(content)
    except Exception as error:
        channel.send(("refused", f"{type(error).__name__}: {error}"))
        return None


def _work(channel: Connection, tasks: queue.SimpleQueue[tuple[Assignment, Task]], stop: threading.Event) -> None:
    while True:
        assignment, task = tasks.get()
        try:
            signal.alarm(int(min(task.seconds + task.patience, LONGEST)) + ALARM)
            for event in perform(assignment, task, stop):
                channel.send(("event", event))
        except OSError:
            os._exit(0)  # nobody listens any more
        except BaseException as error:  # an answer that cannot be pickled, sys.exit in an estimator
            channel.send(("event", TaskLost(task, Status.FAILED, f"no answer: {type(error).__name__}: {error}")))
        signal.alarm(0)


def run(serve: Callable[[Connection], None]) -> NoReturn:
    """Serves the parent and ends, without the interpreter's clean-up: a search may still be in compiled code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which passes a stop on
    torch.set_num_threads(1)
    warnings.showwarning = _warned
    with contextlib.suppress(EOFError, OSError):
        serve(Connection(int(sys.argv[1])))
    os._exit(0)


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    """Prints a warning in one line: the place in the code of a process that nobody has started by hand is of no use."""
    print(f"lipreg: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    run(serve)
