"""Which executor an audit gets, from a name and a number."""

from __future__ import annotations

from typing import Any

from lipreg.auditing.ray_workers import RayWorkers
from lipreg.auditing.workers import Workers, count_workers
from lipreg.errors import InvalidInput

EXECUTORS = ("inline", "processes", "ray")
"""The places where an audit's tasks can be done: in this process, in processes of this machine, or in a Ray cluster's."""


def choose_workers(workers: Any, executor: str | None, address: str | None, where: str) -> Workers | None:
    """The workers meant by three arguments; None where the audit is to run in this process.

    Args:
        workers: a number, or "auto": one for each core.
        executor: one of ``EXECUTORS``; None is "inline" for one worker and "processes" for more.
        address: of an existing Ray cluster.
        where: named in errors.

    Raises:
        InvalidInput: an unknown executor, a number that cannot be, several workers in one process, or an address without
            Ray.
        MissingExtra: ray is not installed.
    """
    count = count_workers(workers, where)
    if executor not in (None, *EXECUTORS):
        raise InvalidInput(f"executor={executor!r}", where=where, accepted=", ".join(EXECUTORS) + ", or None")
    if address is not None and executor != "ray":
        raise InvalidInput(f"address={address!r} with executor={executor!r}", where=where, accepted='executor="ray"')
    if executor == "inline" and workers not in (1, "auto"):
        raise InvalidInput(
            f"workers={workers!r} with executor='inline'", where=where, accepted="1", todo='Or choose "processes"'
        )
    if executor == "ray":
        return RayWorkers(workers, address)
    if executor == "inline" or (executor is None and count == 1):
        return None
    return Workers(workers)
