"""A Ray cluster, joined by this process: the only place that imports ray."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
from typing import Any

from lipreg.auditing.executors import CannotStart
from lipreg.auditing.process import worker_environment
from lipreg.ctrl_c import delayed_ctrl_c
from lipreg.errors import InvalidInput, MissingExtra

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""Ray's own switches, read when it is imported. The first makes a cluster that Ray starts listen on the loopback interface
alone, which is its way on Windows and macOS; without it every process of it listens on all interfaces."""
OBJECT_STORE = 200 * 2**20
"""Bytes of shared memory of a cluster that is started here: it holds one copy of the network and of the points."""
CONNECT_SECONDS = 10.0
"""Seconds in which a cluster's address must answer. Ray itself ends the whole program when it does not."""


class RayCluster:
    """A cluster given by its address, the one that the program has joined already, or a new one on this machine.

    A new one listens on loopback only, has no dashboard, reports nothing, and ends with ``leave`` or with this process.

    Args:
        slots: the number of processes of a new cluster.
        address: "HOST:PORT" of an existing one, "auto" for the one of this machine, or None.

    Raises:
        MissingExtra: ray is not installed.
        InvalidInput: nothing can be reached at the address.
        CannotStart: no cluster can be started here.
    """

    def __init__(self, slots: int, address: str | None) -> None:
        starts_one = address is None
        self.ray = _import_ray(starts_one)
        self._leaving, joined = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._foreign = self.ray.is_initialized()
        if not self._foreign:
            if address is not None:
                _check_reachable(address)
            # the system ends a cluster's processes with the thread that started them, so that thread has to stay
            arguments = (self._settings(slots, address), joined)
            self._thread = threading.Thread(target=self._hold, args=arguments, name="lipreg ray", daemon=True)
            self._thread.start()
            joined.wait()
        if self._error is not None:
            text = f"{type(self._error).__name__}: {self._error}"
            raise CannotStart(f"Ray: {text}") if starts_one else unreachable(address, text)
        self._own = starts_one and not self._foreign
        self._here = self._own or (address or "").rpartition(":")[0].strip("[]") in ("localhost", "127.0.0.1", "::1")
        if self._own and (ip := self.ray.util.get_node_ip_address()) != "127.0.0.1":
            self.leave()
            raise InvalidInput(
                f"ray was imported before lipreg could keep it to the loopback interface; it listens at {ip}",
                where="executor 'ray'",
                todo=f"Set {next(iter(LOOPBACK))}=0 before importing ray, or call ray.init yourself, or pass an address",
            )

    def cores(self) -> int:
        """The number of cores of all its machines, at least 1."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def actor(self, kind: type, control: str) -> Any:
        """Starts an actor of a class; its calls run one after another, except those of the concurrency group ``control``."""
        environment = worker_environment()
        if not self._here:  # other machines have paths of their own
            del environment["PYTHONPATH"]
        options: dict[str, Any] = {"num_cpus": 0} if self._own else {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        remote = self.ray.remote(concurrency_groups={control: 1}, max_restarts=0, max_task_retries=0)(kind)
        return remote.options(**options, runtime_env={"env_vars": environment}).remote()

    def leave(self) -> None:
        """Leaves the cluster; one that was started here ends, one that the program joined itself stays."""
        self._leaving.set()
        if not self._foreign:
            self._thread.join()

    def _settings(self, slots: int, address: str | None) -> dict[str, Any]:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is not None:
            return {"address": address, **quiet}
        new = {"num_cpus": slots, "num_gpus": 0, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
        return {"address": "local", **new, **quiet}

    def _hold(self, settings: dict[str, Any], joined: threading.Event) -> None:
        try:
            self.ray.init(**settings)
        except Exception as error:
            self._error = error
            return
        finally:
            joined.set()
        self._leaving.wait()
        self.ray.shutdown()


def require_ray() -> None:
    """Raises MissingExtra, which says how to install it, where ray is missing; does not import it."""
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra(
            "ray is not installed",
            where="executor 'ray'",
            accepted="inline, processes",
            todo="pip install 'lipreg[ray]'",
        )


def _import_ray(starts_one: bool) -> Any:
    """The package ray, confined to the loopback interface where it is to start a cluster."""
    require_ray()
    if starts_one and "ray" not in sys.modules:
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
    with delayed_ctrl_c():
        import ray

    return ray


def unreachable(address: str | None, why: str) -> InvalidInput:
    """The error for an address at which there is no cluster."""
    return InvalidInput(
        f"no Ray cluster at {address!r}: {why}",
        where="address",
        accepted='"HOST:PORT" of a cluster\'s head, "auto" for that of this machine, or None to start one here',
    )


def check_address(address: str) -> None:
    """Raises InvalidInput unless an address has the form of one: "auto" or HOST:PORT."""
    host, _, port = address.rpartition(":")
    # "ray://..." neither: its client has no streams
    if address != "auto" and (not host or "/" in host or not port.isdecimal() or int(port) > 65535):
        raise unreachable(address, "it is not HOST:PORT")


def _check_reachable(address: str) -> None:
    check_address(address)
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise unreachable(address, str(error)) from None
