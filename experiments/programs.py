"""What the programs share: how they end, how they show progress, and quiet libraries."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from lipreg.auditing.executors import CannotStart
from lipreg.errors import LipregError

INTERRUPTED = 130
"""The exit code of a program that a Ctrl-C ended."""


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
        error = cause(raised)
        if not isinstance(error, LipregError | CannotStart):
            raise
        refuse(console, error)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns a Ctrl-C into an exit
        console.print(interrupted)
        raise SystemExit(INTERRUPTED) from None


def cause(error: Exception) -> BaseException:
    """What a target raised, where Hydra has wrapped it; else the error itself."""
    wrapped = error.__cause__ if isinstance(error, InstantiationException) else None
    return error if wrapped is None else wrapped


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
    logging.getLogger("pytorch_lightning").setLevel(level)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    torch.set_num_threads(1)


def made(value: Any) -> Any:
    """A value of a configuration as it is meant: the object that its ``_target_`` makes, or a plain value as it is."""
    return instantiate(value) if OmegaConf.is_config(value) else value
