"""Processes on Ray: the same pool, whose processes are actors of a cluster, on this machine or on others."""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lipreg.auditing.executors import CannotStart, register_executor
from lipreg.auditing.processes import START_SECONDS, Processes
from lipreg.auditing.ray_actor import Searcher
from lipreg.auditing.ray_cluster import RayCluster, check_address, require_ray
from lipreg.auditing.tasks import Assignment, Task
from lipreg.errors import InvalidInput

CONTROL = "control"


@register_executor("ray")
@dataclass(eq=False)
class Ray(Processes):
    """Ray actors that search, each with one thread.

    Faults, limits and refilling are those of ``Processes``: Ray itself restarts nothing. Machines of a cluster need lipreg,
    and the modules of a user's own estimators, installed.

    Args:
        count: how many, or "auto": one for each core of the cluster.
        address: "HOST:PORT" of an existing cluster, "auto" for that of this machine; None starts one here, on the loopback
            interface, unless the program has joined one already.

    Raises:
        MissingExtra: ray is not installed.
        InvalidInput: a number that cannot be, something else than a text as address.
    """

    address: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.address is not None and (not isinstance(self.address, str) or not self.address):
            raise InvalidInput(f"address={self.address!r}", where="Ray", accepted='"HOST:PORT", "auto" or None')
        if self.address is not None:
            check_address(self.address)
        require_ray()
        self._cluster: RayCluster | None = None

    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        if self._cluster is None:
            self._cluster = RayCluster(self.slots, self.address)
            if self.count == "auto":
                self.slots = self._cluster.cores()
        super().begin(assignment, stop)

    def close(self) -> None:
        super().close()
        if self._cluster is not None:
            self._cluster.leave()
        self._cluster = None

    def _start(self) -> _Actor:  # type: ignore[override]
        assert self._cluster is not None
        try:
            return _Actor(self._cluster, START_SECONDS)
        except Exception as error:
            raise CannotStart(f"Ray: {type(error).__name__}: {error}") from None

    def _wait(self, processes: Sequence[Any], seconds: float) -> None:
        awaited = [reply for actor in processes for _, reply in actor.awaited]
        if not awaited or self._cluster is None:
            time.sleep(seconds)
        else:
            self._cluster.ray.wait(awaited, num_returns=1, timeout=seconds)


class _Actor:
    """An actor as its pool sees it: what ``lipreg.auditing.process.Process`` is for a process."""

    def __init__(self, cluster: RayCluster, seconds: float) -> None:
        self.ready = self.is_closed = self.has_assignment = self.began = False
        self.task: Task | None = None
        self.deadline = time.monotonic() + seconds
        self.pid = 0
        self._ray, self._number, self._why = cluster.ray, 0, ""
        self._actor = cluster.actor(Searcher, CONTROL)
        self.awaited: list[tuple[str, Any]] = [("ready", self._actor.ready.remote())]

    def send(self, kind: str, content: bytes = b"") -> bool:
        match kind:
            case "assignment":
                self.awaited.append((kind, self._actor.assign.remote(content)))
            case "task":
                self._number, self.began = self._number + 1, False
                events = self._actor.do.options(num_returns="streaming").remote(self._number, content)
                self.awaited.append((kind, events))
            case "stop":
                self._actor.stop.options(concurrency_group=CONTROL).remote(self._number)
            case "forget":
                self._actor.forget.remote()
        return not self.is_closed

    def received(self) -> list[tuple[str, Any]]:
        messages: list[tuple[str, Any]] = []
        try:
            while self.awaited:
                there, _ = self._ray.wait([self.awaited[0][1]], timeout=0)  # its replies come in the order of the calls
                if not there:
                    break
                self._read(*self.awaited[0], messages)
        except Exception as error:  # of Ray, or in reading an answer
            self.is_closed, self._why = True, _cause(error)
        return messages

    def _read(self, kind: str, reply: Any, messages: list[tuple[str, Any]]) -> None:
        if kind == "task":
            event = next(reply, None)
            if event is not None:
                content, self.began = self._ray.get(event), True
                messages += [("event", pickle.loads(content))] if content else []
                return
        else:
            answer = self._ray.get(reply)
            if kind == "ready":
                self.pid = answer
                messages.append(("ready", None))
            elif answer:
                messages.append(("refused", answer))
        del self.awaited[0]

    def end_now(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(self._actor)

    kill = end_now

    def cause(self) -> str:
        return self._why or "Ray ended it"


def _cause(error: Exception) -> str:
    """The cause of an actor's death from Ray's message, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    detail = next((line for line in reversed(lines) if "exit" in line), lines[-1] if lines else "")
    return f"{type(error).__name__}: {detail.split('. ')[0]}".rstrip(": ")
