"""The bar of an audit: a line in the trainer's own bar, tqdm's or Rich's; nothing where nobody watches a terminal."""

from __future__ import annotations

import sys
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from tqdm import tqdm  # Lightning needs it too, and brings it

from lipreg.auditing import AuditProgress
from lipreg.lightning import classes
from lipreg.words import time_left

_TASK = "_lipreg_audit_task"  # of a Rich progress: its one line for audits, hidden between them


class AuditBar(Protocol):
    """A bar with the points done, the time taken, the time left by the pace so far, and that of the budget."""

    def advance(self, progress: AuditProgress) -> None:
        """Shows the progress of an audit."""
        ...

    def close(self) -> None:
        """Removes the bar."""
        ...


def audit_bar(trainer: pl.Trainer, points: int, epoch: int, shown: bool = True) -> AuditBar:
    """A bar over the points of an audit, made to fit the trainer's bar.

    Args:
        trainer: with Rich's or tqdm's progress bar, or none.
        points: how many there are.
        epoch: completed training epochs.
        shown: False shows nothing.
    """
    title = f"audit, epoch {epoch}"
    bar: Any = trainer.progress_bar_callback
    if shown and isinstance(bar, classes("callbacks.RichProgressBar")) and bar.is_enabled:
        return _RichBar(bar, title, points)
    if isinstance(bar, classes("callbacks.TQDMProgressBar")) and bar.is_enabled:
        below = 2 * bar.process_position + 2  # its own are for training and, under it, validation
        return _TqdmBar(title, points, shown, file=sys.stdout, position=below)
    return _TqdmBar(title, points, shown, file=sys.stderr)


class _TqdmBar:
    def __init__(self, title: str, points: int, shown: bool, **place: Any) -> None:
        disable = None if shown else True  # None: shown on a terminal alone
        self._bar = tqdm(total=points, desc=title, leave=False, dynamic_ncols=True, disable=disable, **place)

    def advance(self, progress: AuditProgress) -> None:
        self._bar.update(int(progress.finished))
        self._bar.set_postfix_str(_at_most(progress))  # drawn at once: the last of a quick audit is seen too

    def close(self) -> None:
        self._bar.close()


class _RichBar:
    def __init__(self, bar: RichProgressBar, title: str, points: int) -> None:
        from rich.progress import Progress as RichProgress

        self._title, self._own = title, None
        live = bar.progress if bar.progress is not None and bar.progress.live.is_started else None
        if live is None:  # before its first batch, or after its last, Lightning's bar is not on the screen
            live = self._own = RichProgress(*bar.configure_columns(bar.trainer), transient=True)
            live.disable = not live.console.is_terminal
            live.start()
        self._live, task = live, getattr(live, _TASK, None)
        # Lightning finds its own lines by their place among all: none is ever removed, ours is hidden and used again
        if task is None:
            task = live.add_task(title, total=points)
            setattr(live, _TASK, task)
        else:
            live.reset(task, total=points, description=title, visible=True)
        self._task = task

    def advance(self, progress: AuditProgress) -> None:
        self._live.update(self._task, completed=progress.done, description=f"{self._title}, {_at_most(progress)}")
        self._live.refresh()

    def close(self) -> None:
        self._live.update(self._task, visible=False)
        if self._own is not None:
            self._own.stop()


def _at_most(progress: AuditProgress) -> str:
    return time_left(progress.seconds_left)
