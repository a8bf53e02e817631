"""Programs of the tests, forked from an interpreter that has loaded what takes seconds.

A Python program that uses torch and Lightning spends five seconds on importing them, most of what a test of it takes. A
``ForkServer`` is started once, imports them, and starts every further program in a fork: a process with memory, descriptors,
environment, folder and import path of its own, which is killed, waited for and ends as any other. ``modules`` says what a
server has loaded: third parties for programs, which then import this checkout, or a wheel, as a fresh interpreter does.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
WORKERS = ("lipreg.auditing.run", "lipreg.auditing.journal", "scipy.sparse", "highspy")
"""What worker processes load."""
PROGRAMS = (
    *(
        "torch._dynamo",
        "torch.distributed.fsdp",
        "torchmetrics",
        "scipy.optimize",
        "highspy",
        "pandas",
        "sklearn.datasets",
    ),
    *("matplotlib.pyplot", "hydra", "omegaconf", "rich.console", "wandb"),
)
"""What programs load before anything of lipreg and Lightning, whose two packages have to be found as users have them."""
SUBREAPER = 36
LIMIT = 600.0
"""Seconds after which a program is given up."""
LAST = 200
"""Descriptors from which none is in use."""


class Forked:
    """A forked program, with as much of ``subprocess.Popen`` as is asked for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """An interpreter that has imported ``modules``, started when the first program is.

    It and its programs are children of this process, to which the system hands them on: it can wait for them, and they
    notice its end.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules, self._lock = modules, threading.Lock()
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: Sequence[str],
        folder: Path | str,
        environment: Mapping[str, str],
        streams: Sequence[IO[Any]] = (),
        descriptors: Sequence[int] = (),
    ) -> Forked:
        """Starts ``python [-P] -m module ...`` or ``python file ...`` in a session of its own.

        Args:
            command: as for ``Popen``; the interpreter it names is the server's.
            folder: the working directory.
            environment: whole.
            streams: standard output and error; none are heard by nobody.
            descriptors: of this process, under the same numbers there.
        """
        request = json.dumps([list(command[1:]), str(folder), dict(environment), list(descriptors)]).encode()
        with self._lock, open(os.devnull, "w") as nobody:
            control, sent = self._running(), [stream.fileno() for stream in streams or (nobody, nobody)]
            _adopt(True)
            socket.send_fds(control, [len(request).to_bytes(8, "big")], [*sent, *descriptors])
            control.sendall(request)
            answer = control.recv(16)
            _adopt(False)
        if not answer:
            raise RuntimeError("the fork server has died")
        return Forked(int(answer))

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run`` with its output captured."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            program = self.start(command, folder, environment, (out, err))
            try:
                status = program.wait(LIMIT)
            finally:
                program.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(command), status, out.read(), err.read())

    def close(self) -> None:
        if self._control is not None and self._server is not None:
            self._control.close()
            self._server.wait()

    def _running(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            call = [sys.executable, "-P", __file__, str(theirs.fileno()), *self._modules]
            variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            self._server = subprocess.Popen(call, env=variables, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            theirs.close()
        return self._control


def _adopt(orphans: bool) -> None:
    """Whether the system hands orphans among the descendants on to this process; for good it would keep up Ray's, which end
    when their parent is the first process of all."""
    ctypes.CDLL(None).prctl(SUBREAPER, int(orphans), 0, 0, 0)


def _serve(control: socket.socket) -> list[str]:
    """Forks for every request until nobody asks any more; returns, in the fork alone, what is to be run."""
    while True:
        size, received, *_ = socket.recv_fds(control, 8, 16)
        if not size:
            os._exit(0)
        length = int.from_bytes(size, "big")
        request = b""
        while len(request) < length:
            request += control.recv(length - len(request))
        between = os.fork()
        if between:
            for number in received:
                os.close(number)
            os.waitpid(between, 0)
            continue
        between = os.getpid()
        if os.fork():
            os._exit(0)  # the system hands the program on to the process of the tests
        while os.getppid() == between:
            time.sleep(0.001)
        command, folder, environment, numbers = json.loads(request)
        os.setsid()
        control.sendall(str(os.getpid()).encode())
        control.close()
        high = [os.dup2(number, LAST + k) for k, number in enumerate(received)]
        for number, wanted in zip(high, (1, 2, *numbers), strict=True):
            os.dup2(number, wanted)
        for number in high:
            os.close(number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        return command


def _run(command: list[str], path: list[str]) -> None:
    """As the interpreter would run its command line."""
    safe = command[0] == "-P"
    command = command[safe:]
    module = command[0] == "-m"
    sys.argv = command[module:]
    first = [] if safe else [os.getcwd() if module else str(Path(sys.argv[0]).resolve().parent)]
    own = os.environ.get("PYTHONPATH", "")
    sys.path[:] = [*first, *filter(None, own.split(os.pathsep)), *path]
    importlib.invalidate_caches()
    try:
        if module:
            sys.modules.pop(sys.argv[0], None)
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
        status: object = 0
    except SystemExit as ended:
        status = ended.code or 0
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    _end(status)


def _end(status: int) -> None:
    """As the interpreter ends, but that it takes nothing apart: that copies all the pages that the server has filled."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status & 0xFF)


if __name__ == "__main__":
    path = list(sys.path)
    sys.path.insert(0, str(ROOT))
    for name in sys.argv[2:]:
        importlib.import_module(name)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    gc.collect()
    gc.freeze()  # what is loaded stays: neither a collection nor the end of a program has to look at it, or copy its pages
    _run(_serve(socket.socket(fileno=int(sys.argv[1]))), path)
