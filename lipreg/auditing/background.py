"""Audits in a process beside this one, which goes on meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from torch import Tensor

from lipreg.auditing.executors import Executor
from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import PointAudit
from lipreg.auditing.process import Process, packed
from lipreg.errors import LipregError
from lipreg.estimators import Estimator
from lipreg.graph import Graph
from lipreg.records import AuditRecord

START_SECONDS = 120.0
"""Seconds that the process may take to start; an audit itself has a budget of its own."""
PROGRAM = "lipreg.auditing.background_program"


@dataclass(frozen=True)
class BackgroundJob:
    """An audit for another process.

    Attributes:
        graph: the network as it was at a moment, frozen.
        plan, x, y, executor, earlier: as for ``audit``.
        estimators: the methods themselves, because the process knows only the registry of lipreg.
        records: the record file beside which what is proved is kept as it comes.
        run, epoch, penalised, run_id, step: of the records, as in ``AuditRecord``.
        stopped: the audit has been stopped: only what costs nothing is evaluated.
    """

    graph: Graph
    plan: AuditPlan
    x: Tensor
    y: Tensor | None
    executor: Executor
    estimators: Mapping[str, Estimator]
    records: Path
    run: str
    epoch: int
    penalised: str | None
    run_id: str = ""
    step: int | None = None
    earlier: tuple[AuditRecord, ...] = ()
    stopped: bool = False


class BackgroundDied(Exception):
    """The process ended in the middle of an audit; the text says why."""


class BackgroundProcess:
    """One process that does one audit after another; started with the first, and kept until ``close``.

    It is a program of its own, like a worker, and ends when this process does, however that ends. Nothing here waits for
    it, but for ``poll`` with seconds. It runs at a lower priority than this process.

    Attributes:
        busy: whether an audit has been submitted and not yet answered.
    """

    def __init__(self) -> None:
        self._process: Process | None = None
        self._sender: threading.Thread | None = None
        self.busy = False

    def __reduce__(self) -> tuple[type[BackgroundProcess], tuple[()]]:
        return BackgroundProcess, ()

    def submit(self, job: BackgroundJob) -> None:
        """Hands over an audit; the one before it has been answered.

        Raises:
            InvalidInput: it refers to what another process cannot import.
            OSError: no process can be started.
        """
        content = packed(job)
        if self._process is None or self._process.is_closed:
            self.close()
            self._process = Process(START_SECONDS, PROGRAM)
        self.busy = True
        self._send("job", content)

    def poll(self, seconds: float = 0.0) -> list[PointAudit] | None:
        """The points of the audit; None if it is not over in ``seconds``.

        Raises:
            LipregError: what the audit raised.
            BackgroundDied: there will be no answer.
        """
        if self._process is None or not self.busy:
            return None
        wait([self._process.channel], seconds)
        for kind, content in self._process.received():
            self.busy = False
            if kind == "points":
                return content
            raise content if isinstance(content, LipregError) else BackgroundDied(str(content))
        if self._process.is_closed:
            self.busy, cause = False, self._process.cause()
            self.close()
            raise BackgroundDied(f"the audit's process died: {cause}")
        return None

    def stop(self) -> None:
        """Asks the audit to end with what is proved."""
        if self._process is not None and self.busy:
            self._send("stop")

    def close(self) -> None:
        """Ends the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
        self._process, self.busy = None, False

    def _send(self, kind: str, content: bytes = b"") -> None:
        """In a thread: a network larger than the socket's buffer would hold this one up while the interpreter starts."""
        assert self._process is not None
        send, before = self._process.send, self._sender

        def in_turn() -> None:
            if before is not None:
                before.join()
            send(kind, content)

        self._sender = threading.Thread(target=in_turn, daemon=True)
        self._sender.start()

    @property
    def pid(self) -> int | None:
        """The number of the process; None where none runs."""
        return None if self._process is None else self._process.pid


def lower_priority() -> None:
    """Training comes first: an audit in the background takes what it leaves."""
    os.nice(5)
