"""What the programs share: how they end, how they show progress, and quiet libraries."""

from __future__ import annotations

import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from experiments.groups import groups_of, list_groups_of_lipreg
from experiments.mistakes import FULL, mistake
from experiments.termination import TERMINATED, Terminated, terminable

LIGHTNING = ("pytorch_lightning", "lightning.pytorch")
"""Loggers of Lightning's two packages: whichever was imported last, its logger is that of both."""
INTERRUPTED = 130
"""The exit code of a program that a Ctrl-C ended."""


def start(program: Callable[[], object], name: str | None = None) -> None:
    """Runs a program that ``hydra.main`` has made: what is wrong with its command line is a paragraph, and exit code 1.

    With HYDRA_FULL_ERROR=1 in the environment it is a traceback. SIGTERM ends it as Ctrl-C does, and the processes of a
    sweep with it; the exit code is 143.

    Args:
        program: what is run.
        name: of its configuration, whose groups are told where a key is none; None for one without groups.
    """
    list_groups_of_lipreg()
    if os.environ.get(FULL) == "1":
        with terminable():
            program()
        return
    before = os.environ.get(FULL)
    os.environ[FULL] = "1"  # Hydra hands on what it would print
    try:
        with terminable():
            program()
    except Exception as raised:
        error = mistake(raised, groups=() if name is None else groups_of(name))
        if error is None:
            traceback.print_exc()
            raise SystemExit(1) from None
        refuse(Console(), error)
    finally:
        os.environ.pop(FULL)
        os.environ.update({} if before is None else {FULL: before})


@contextmanager
def said(console: Console, interrupted: str = "Interrupted.") -> Iterator[None]:
    """Mistakes that the user can mend are a paragraph and exit code 1 instead of a traceback; Ctrl-C ends with code 130.

    Args:
        console: where it is said.
        interrupted: what to say after a Ctrl-C.
    """
    try:
        yield
    except Exception as raised:
        error = mistake(raised)
        if error is None:
            raise
        refuse(console, error)
    except (KeyboardInterrupt, SystemExit) as over:  # Lightning turns a Ctrl-C into an exit
        console.print(interrupted)
        raise SystemExit(TERMINATED if isinstance(over, Terminated) else INTERRUPTED) from None


def refuse(console: Console, error: BaseException) -> NoReturn:
    """Says what is wrong, and ends the program."""
    console.print(Text.assemble((type(error).__name__, "bold red"), f": {error}"))
    raise SystemExit(1) from None


def progress_bar(console: Console, unit: str, before: str | None = None) -> Progress:
    """A bar with counts, time taken and time left, and the task's ``state``; nothing where there is no terminal.

    Args:
        console: where it is shown.
        unit: what is counted, in the plural.
        before: a field of the task that is shown in front of the bar.
    """
    return Progress(
        *([] if before is None else [TextColumn(f"{{task.fields[{before}]:<12}}")]),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        disable=not console.is_terminal,
    )


def quiet_libraries(level: int = logging.WARNING) -> None:
    """Keeps what the libraries say about themselves out of the way of the results, and torch on one thread.

    Layers of a few dozen units lose more to threads than they gain, and processes share the cores.
    """
    for name in LIGHTNING:
        logging.getLogger(name).setLevel(level)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    torch.set_num_threads(1)


def made(value: Any) -> Any:
    """A value of a configuration as it is meant: the object that its ``_target_`` makes, or a plain value as it is."""
    return instantiate(value) if OmegaConf.is_config(value) else value
