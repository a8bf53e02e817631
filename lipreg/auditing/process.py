"""One worker process as its parent sees it: how it is started, what is sent and received, and why it ended."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from types import FunctionType
from typing import IO, Any

from lipreg.auditing.tasks import Task
from lipreg.errors import InvalidInput

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Process:
    """A new Python interpreter that runs a program of lipreg, joined to this one by a pair of sockets.

    It is neither forked nor spawned by ``multiprocessing``: the first would inherit the state of CUDA and of threads, the
    second would run the user's script again. In a session of its own it gets no Ctrl-C; this process passes it on.

    Args:
        seconds: how long it may take to start.
        program: the module that is run; it gets its end of the connection as argument.

    Attributes:
        began: whether it has certainly begun its task; True, as the death of an idle process is noticed at once.
        ready: whether it can take tasks.
        is_closed: whether its end of the connection is closed.
        task: the task that it does; None while it is idle.
        deadline: when it is to be given up, on ``time.monotonic``'s clock.
        has_assignment: whether it has the assignment that the tasks belong to.
        channel: this process's end of the connection.

    Raises:
        OSError: the interpreter cannot be started.
    """

    began = True

    def __init__(self, seconds: float, program: str = "lipreg.auditing.worker") -> None:
        self.ready = self.is_closed = self.has_assignment = False
        self.task: Task | None = None
        self.deadline = time.monotonic() + seconds
        self._unreadable = ""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self.channel, theirs = multiprocessing.Pipe()
        try:
            command = [sys.executable or "python", "-P", "-m", program, str(theirs.fileno())]
            self._popen = launch(command, theirs.fileno(), self._output)
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._popen.pid

    def send(self, kind: str, content: bytes = b"") -> bool:
        """Sends a message; False if the process is dead."""
        try:
            self.channel.send_bytes(kind.encode())
            self.channel.send_bytes(content)
        except OSError:
            self.is_closed = True
        return not self.is_closed

    def received(self) -> list[tuple[str, Any]]:
        """All messages that have come."""
        messages = []
        try:
            while self.channel.poll():
                messages.append(self.channel.recv())
        except (EOFError, OSError):
            self.is_closed = True
        except Exception as error:
            self.is_closed, self._unreadable = True, f"its answer cannot be read: {type(error).__name__}: {error}"
        return messages

    def end_now(self) -> None:
        """Sends the signal alone; the pool notices the end with its next ``collect``."""
        self._popen.kill()

    def kill(self) -> None:
        """Ends the process at once; one that is ending by itself has 2 seconds for it, so that its exit status stays."""
        if self.is_closed and not self._unreadable:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout=2.0)
        self._popen.kill()
        self._popen.wait()
        self.channel.close()

    def cause(self) -> str:
        """Why a process has ended, in words."""
        if self._unreadable:
            return self._unreadable
        code = self._popen.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        return f"exit status {code}" + (f", {lines[-1]}" if lines else "")


def launch(command: list[str], connection: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts an interpreter in a session of its own.

    Args:
        command: the program and its arguments.
        connection: a file descriptor that stays open in it.
        output: the file that its standard output and errors go to.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[connection],
        env={**os.environ, **worker_environment()},
        start_new_session=True,
    )


def packed(content: Any) -> bytes:
    """An object as bytes for a worker.

    Raises:
        InvalidInput: it cannot be pickled, or refers to something in the user's script, which workers do not run.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, protocol=5).dump(content)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise cannot_be_sent(error) from None
    return buffer.getvalue()


def cannot_be_sent(why: object) -> InvalidInput:
    """The error for what a worker cannot be given."""
    return InvalidInput(
        f"cannot be sent to worker processes: {why}",
        where="audit",
        accepted="estimators, solvers, regions, outputs and curves from modules that can be imported",
        todo='Move the class out of the script into a module, or audit with executor="inline"',
    )


class _Pickler(pickle.Pickler):
    """Refuses what a worker would look for in a script that it does not run, or in a module that it cannot import."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType):
            if obj.__module__ == "__main__":
                raise pickle.PicklingError(f"{obj.__qualname__} is defined in __main__")
            if not _importable(obj.__module__):
                raise pickle.PicklingError(
                    f"{obj.__qualname__} is defined in {obj.__module__}, and no module of that name can be imported"
                )
        return NotImplemented


def _importable(module: str) -> bool:
    """Whether another interpreter with this one's path finds a module, which may be here without a file of that name."""
    package = sys.modules.get(module.rpartition(".")[0])
    path = None if package is None else getattr(package, "__path__", None)
    return any(finder.find_spec(module, path) is not None for finder in sys.meta_path)


def worker_environment() -> dict[str, str]:
    """The variables that differ in a worker's environment: this process's import path, one thread, and no accelerator."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", **dict.fromkeys(THREADS, "1")}
