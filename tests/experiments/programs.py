"""``python -m program``, without a process of its own.

Importing what a program needs takes several seconds, its work in these tests mostly less than one. ``run_here`` runs the
module as ``__main__`` in this process, as ``python -m`` would, and puts back what programs change in theirs. What is about
processes themselves (kills, signals, whether a program starts at all) has some of its own, by ``run_there`` or ``programs``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import torch
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

from experiments.programs import LIGHTNING
from tests.conftest import ROOT
from tests.forks import ForkServer

Done = subprocess.CompletedProcess[str]
GROUPS = (ROOT / "conf", ROOT / "lipreg" / "conf")
"""Where the programs find their configuration groups."""
QUIET = {
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "160",
    "MPLBACKEND": "agg",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a program of this checkout."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """For a program that is started in a folder of its own."""
    return {**os.environ, **QUIET, "PYTHONPATH": str(ROOT)}


def run_there(programs: ForkServer, folder: Path, module: str, *arguments: str) -> Done:
    """Runs a program in a process of its own, from a folder, which is made where it is missing.

    The process has nothing of lipreg or Lightning before the program imports it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return programs.run(command(module, *arguments), folder, environment())


def run_here(folder: Path, module: str, *arguments: str) -> Done:
    """Runs a program in this process, from a folder, and says what ``run_there`` would.

    Args:
        folder: becomes the working directory, and is made where it is missing.
        module: the program, as in ``python -m module``.
        arguments: its command line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Hydra composes every configuration twice, first for hydra.mode alone, which nothing here sets
    once = patch.object(Hydra, "get_mode", lambda *_, **__: None)
    with _as_it_was(), once, _redirected() as (out, err), contextlib.chdir(folder):
        os.environ.update(environment())
        sys.argv = [module, *arguments]
        warnings.filterwarnings("ignore", "'.*' found in sys.modules", RuntimeWarning)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            code: Any = 0
        except SystemExit as ended:
            code = ended.code
        except Exception:
            traceback.print_exc()
            code = 1
        if isinstance(code, str):
            err.write(code)
        said = [_all_of(stream) for stream in (out, err)]
    status = code if isinstance(code, int) else int(code is not None)
    return Done(command(module, *arguments), status, *said)


def _all_of(stream: IO[str]) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextlib.contextmanager
def _redirected() -> Iterator[tuple[IO[str], IO[str]]]:
    """Standard output and error, of this process and of those that it starts, go to two files."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for stream, number in ((out, 1), (err, 2)):
                os.dup2(stream.fileno(), number)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                yield out, err
        finally:
            for copy, number in zip(kept, (1, 2), strict=True):
                os.dup2(copy, number)
                os.close(copy)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Puts back the command line, environment, logging, warnings, Hydra's state and torch's threads."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, LIGHTNING)]
    handlers, levels = list(root.handlers), [logger.level for logger in loggers]
    argv, variables, threads = sys.argv, dict(os.environ), torch.get_num_threads()
    hydra = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        Singleton.set_state(hydra)
        torch.set_num_threads(threads)
        sys.argv = argv
        os.environ.clear()
        os.environ.update(variables)
        root.handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
