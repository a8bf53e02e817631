"""A Ctrl-C during an import or a solver's call stays one, whatever the code that it meets makes of it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lipreg.budget import Budget
from lipreg.ctrl_c import delayed_ctrl_c, is_ctrl_c
from lipreg.errors import InvalidInput
from lipreg.extras import require
from lipreg.loading.names import named
from lipreg.milp import Found, Program, Solver
from lipreg.results import Status
from lipreg.testing import programs

SWALLOWS = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
except BaseException:
    pass
"""
TURNS = SWALLOWS.replace("    pass", "    raise ImportError('the engine is not available')")
Write = Callable[[str, str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module that can be imported, and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


class Importing(Solver):
    """Imports a package for its version, as engines do; its run raises what it was given."""

    package = "highspy"
    finest = 1e-10

    def __init__(self, package: str = "highspy", error: Exception | None = None) -> None:
        self._package, self._error, self.name = package, error, "importing"

    def version(self) -> str:
        __import__(self._package)
        return "engine"

    def run(self, program: Program, budget: Budget, options: Any) -> Found:
        assert self._error is not None
        raise self._error


@pytest.mark.parametrize("text", [SWALLOWS, TURNS])
def test_an_interrupted_import_is_interrupted(module: Write, text: str) -> None:
    kind = "swallows" if text is SWALLOWS else "turns"
    with pytest.raises(KeyboardInterrupt):
        require("views", module(f"package_that_{kind}", text), where="here")
    with pytest.raises(KeyboardInterrupt):
        Importing(module(f"engine_that_{kind}", text)).solve(programs.knapsack(), Budget(5.0))


def test_an_error_in_the_place_of_a_ctrl_c_is_no_failing_engine_and_no_broken_module(module: Write) -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("callback failed") from interrupt
    except RuntimeError as error:
        turned = error
    assert is_ctrl_c(turned) and not is_ctrl_c(RuntimeError("callback failed"))
    with pytest.raises(KeyboardInterrupt):
        Importing(error=turned).solve(programs.knapsack(), Budget(5.0))
    failed = Importing(error=RuntimeError("callback failed")).solve(programs.knapsack(), Budget(5.0))
    assert failed.status is Status.FAILED and "callback failed" in failed.detail
    with pytest.raises(KeyboardInterrupt):
        named(f"{module('user_code_that_turns', TURNS)}:net", where="network", accepted="a module")
    with pytest.raises(InvalidInput, match="cannot be imported"):
        named(f"{module('broken_user_code', 'raise ImportError(1)')}:net", where="network", accepted="a module")


def test_a_ctrl_c_is_delayed_once_and_what_is_inside_does_not_keep_the_handler() -> None:
    before, seen = signal.getsignal(signal.SIGINT), list[str]()
    with pytest.raises(KeyboardInterrupt), delayed_ctrl_c():
        signal.raise_signal(signal.SIGINT)
        seen.append("after the first")
        signal.raise_signal(signal.SIGINT)
        seen.append("after the second")
    assert seen == ["after the first"]
    with delayed_ctrl_c():
        signal.signal(signal.SIGINT, lambda number, frame: None)  # as gurobipy does
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ZeroDivisionError), delayed_ctrl_c():
        raise ZeroDivisionError


def test_other_threads_and_programs_that_ignore_it_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[Any] = []

    def work() -> None:
        with delayed_ctrl_c():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [signal.getsignal(signal.SIGINT)]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with delayed_ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
