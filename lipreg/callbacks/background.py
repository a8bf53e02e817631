"""Audits beside training: snapshots of the weights in a short queue, audited one after another by another process."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lipreg.auditing import PointAudit
from lipreg.auditing.background import BackgroundDied, BackgroundJob, BackgroundProcess
from lipreg.callbacks.snapshots import Snapshot
from lipreg.errors import CrossingBounds, InvalidInput, LipregError
from lipreg.records import AuditRecord

WHEN_BUSY = ("delay", "drop")
ATTEMPTS = 2
"""The number of processes that an audit may cost: one whose process dies goes on in another one, up to so many."""
STOP_SECONDS = 20.0
"""Seconds in which an audit must answer a stop; then its process is ended, and only what it has written is kept."""


@dataclass
class QueuedAudit:
    """An audit in the queue: the one that runs, or one that waits.

    Attributes:
        job: what the process gets.
        snapshot: the weights.
        began: when it was queued, on ``time.monotonic``'s clock.
        attempts: how many processes have died in it.
    """

    job: BackgroundJob
    snapshot: Snapshot
    began: float
    attempts: int = 0


@dataclass(frozen=True)
class BackgroundResult:
    """The result of an audit that is over.

    Attributes:
        epoch, step: completed epochs and steps of the audited weights.
        seconds: from its request to its end.
        points: what was proved; None if it failed.
    """

    epoch: int
    step: int
    seconds: float
    points: list[PointAudit] | None


class BackgroundAudits:
    """One audit runs, a few wait, and what comes beyond that delays training or is dropped.

    Args:
        waiting: how many may wait.
        when_busy: "delay": training stands still until one may wait; "drop": the new audit is left out, with a warning.
        where: named in errors.

    Attributes:
        dropped: epochs whose audits were left out.
        process: the process that audits.

    Raises:
        InvalidInput: a number or a policy that cannot be.
    """

    def __init__(self, waiting: int, when_busy: str, where: str) -> None:
        if not isinstance(waiting, int) or isinstance(waiting, bool) or waiting < 0:
            raise InvalidInput(f"waiting={waiting!r}", where=where, accepted="a whole number of at least 0")
        if when_busy not in WHEN_BUSY:
            raise InvalidInput(f"when_busy={when_busy!r}", where=where, accepted=", ".join(WHEN_BUSY))
        self.waiting, self.when_busy = waiting, when_busy
        self.dropped: list[int] = []
        self.process = BackgroundProcess()
        self._queue: deque[QueuedAudit] = deque()  # the first is the one that runs

    def __reduce__(self) -> tuple[type[BackgroundAudits], tuple[int, str, str]]:
        return BackgroundAudits, (self.waiting, self.when_busy, "")

    @property
    def pending(self) -> list[Snapshot]:
        """The weights that are still to be audited."""
        return [each.snapshot for each in self._queue]

    def submit(
        self, job: BackgroundJob, snapshot: Snapshot, earlier: Earlier, must: bool = False
    ) -> Iterator[BackgroundResult]:
        """Puts an audit into the queue, or drops it.

        Args:
            job: the audit.
            snapshot: the weights that it is about.
            earlier: returns what the running audit has written so far.
            must: neither drop nor delay it.

        Yields:
            The results of audits that end meanwhile.
        """
        yield from self.collect(earlier)
        if len(self._queue) > self.waiting and self.when_busy == "drop" and not must:
            self.dropped.append(job.epoch)
            running = self._queue[0].job.epoch
            warnings.warn(
                f"no audit after epoch {job.epoch}: that of epoch {running} still runs, and {self.waiting} may wait",
                stacklevel=4,
            )
            return
        while len(self._queue) > self.waiting and not must:
            yield from self.collect(earlier, 0.2)
        self.dropped = [epoch for epoch in self.dropped if epoch != job.epoch]
        self._queue.append(QueuedAudit(job, snapshot, time.monotonic()))
        self._start()

    def collect(self, earlier: Earlier, seconds: float = 0.0) -> Iterator[BackgroundResult]:
        """Yields the result of the running audit, if it ends within ``seconds``, and begins the next one.

        Args:
            earlier: returns what the running audit has written so far.
            seconds: how long to wait.

        Raises:
            CrossingBounds: two estimators contradict each other.
        """
        if not self._queue:
            return
        first, points = self._queue[0], None
        try:
            points = self.process.poll(seconds)
            if points is None:
                return
        except BackgroundDied as error:
            first.attempts += 1
            if first.attempts < ATTEMPTS:
                first.job = replace(first.job, earlier=(*first.job.earlier, *earlier()))
                self._start()
                return
            warnings.warn(f"the audit after epoch {first.job.epoch} is not finished: {error}", stacklevel=3)
        except CrossingBounds:
            raise
        except LipregError as error:  # weights that became NaN, say: an audit that fails does not end the training
            warnings.warn(f"no audit after epoch {first.job.epoch}: {error}", stacklevel=3)
        self._queue.popleft()
        yield BackgroundResult(first.job.epoch, first.snapshot.step, time.monotonic() - first.began, points)
        self._start()

    def drain(self, earlier: Earlier, limit: float) -> Iterator[BackgroundResult]:
        """Waits for all audits and yields their results.

        Args:
            earlier: returns what the running audit has written so far.
            limit: seconds after which those that are not done end with what they have proved.
        """
        end = time.monotonic() + limit
        while self._queue and time.monotonic() < end:
            yield from self.collect(earlier, min(0.2, max(0.0, end - time.monotonic())))
        for late in self._queue:
            late.job = replace(late.job, stopped=True)
            late.attempts = ATTEMPTS
        self.process.stop()
        while self._queue:
            end = time.monotonic() + STOP_SECONDS + 2 * len(self._queue[0].job.x)
            waits = len(self._queue)
            while len(self._queue) == waits:
                if time.monotonic() > end:
                    self.process.close()
                    first = self._queue.popleft()
                    warnings.warn(f"the audit after epoch {first.job.epoch} did not answer a stop", stacklevel=3)
                    yield BackgroundResult(first.job.epoch, first.snapshot.step, time.monotonic() - first.began, None)
                    self._start()
                else:
                    yield from self.collect(earlier, 0.2)

    def close(self) -> None:
        """Ends the process and forgets the queue."""
        self._queue.clear()
        self.process.close()

    def _start(self) -> None:
        if self._queue and not self.process.busy:
            self.process.submit(self._queue[0].job)


Earlier = Callable[[], list[AuditRecord]]
