"""The program of ``BackgroundProcess``: ``python -m lipreg.auditing.background_program FD``, FD as for a worker.

The main thread listens, so that a stop is heard during an audit and the end of the parent is noticed; a second one audits.
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
from multiprocessing.connection import Connection
from typing import Any

from lipreg.auditing.background import BackgroundJob, lower_priority
from lipreg.auditing.executors import Executor
from lipreg.auditing.journal import Journal
from lipreg.auditing.run import AuditProgress, audit
from lipreg.auditing.worker import messages, run
from lipreg.errors import LipregError
from lipreg.estimators.base import ESTIMATORS

PART = 1
"""The part of the journal that this process writes; part 0, the record file itself, is the parent's."""


def serve(channel: Connection) -> None:
    """Takes jobs until the parent is gone."""
    parent, stop = os.getppid(), threading.Event()
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_work, args=(channel, jobs, stop), daemon=True).start()
    for kind, content in messages(channel, parent):
        if kind == "stop":
            stop.set()
        else:
            stop.clear()
            jobs.put(content)


def _work(channel: Connection, jobs: queue.SimpleQueue[bytes], stop: threading.Event) -> None:
    executor: Executor | None = None
    while True:
        content = jobs.get()
        try:
            job: BackgroundJob = pickle.loads(content)
            executor = executor or job.executor  # that of the first job stays for the others
            answer: tuple[str, Any] = "points", _run(job, executor, stop)
        except LipregError as error:
            answer = "error", error
        except BaseException as error:
            answer = "error", f"the audit failed: {type(error).__name__}: {error}"
        try:
            channel.send(answer)
        except OSError:
            os._exit(0)  # nobody listens any more


def _run(job: BackgroundJob, executor: Executor, stop: threading.Event) -> Any:
    for label, estimator in job.estimators.items():
        ESTIMATORS.setdefault(job.plan.recipes[label].estimator, estimator)
    if job.stopped:
        stop.set()
    journal = Journal(job.records, job.run, PART, job.run_id)

    def advance(progress: AuditProgress) -> None:
        journal.advance(progress.point, job.epoch, job.penalised, job.step)

    return audit(
        job.graph, job.plan, job.x, job.y, stop=stop, executor=executor, earlier=job.earlier, on_progress=advance
    )


if __name__ == "__main__":
    lower_priority()
    run(serve)
