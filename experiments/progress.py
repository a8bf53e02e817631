"""One bar for epochs and audits on a terminal; one line an audit elsewhere."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console

from experiments.programs import progress_bar
from lipreg.auditing import PointAudit
from lipreg.callbacks import LipschitzAudit
from lipreg.results import Status


class RunProgress(pl.Callback):
    """Shows how far one run is. Place it before the audit among the callbacks, so that it counts the epoch first.

    It goes to training processes that are spawned, of which the first one shows it.

    Args:
        run: name to show.
        console: where to show it.
    """

    def __init__(self, run: str, console: Console) -> None:
        super().__init__()
        self.run, self.console = run, console
        self._began, self._epoch, self._interrupted = time.monotonic(), 0, 0
        self._show()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("console", "_live")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.console = Console()
        self._show()

    def _show(self) -> None:
        self._live = progress_bar(self.console, "epochs", before="run")
        self._task = self._live.add_task(self.run, run=self.run, state="starting", total=None)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._live.update(self._task, total=trainer.max_epochs)
        self._live.start()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, LipschitzAudit):
                callback.listeners.append(self._on_point)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = trainer.callback_metrics.get("val_accuracy")
        state = "training" if accuracy is None else f"training, accuracy {float(accuracy):.3f}"
        self._epoch = trainer.current_epoch + 1
        self._live.update(self._task, completed=self._epoch, state=state)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._live.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._live.stop()

    def _on_point(self, point: PointAudit, points: int) -> None:
        done = point.point + 1
        self._interrupted += any(i.status is Status.INTERRUPTED for i in point.intervals.values())
        self._live.update(self._task, state=f"audit, point {done} of {points}")
        if done == points and not self.console.is_terminal:
            seconds = time.monotonic() - self._began
            cut = f", {self._interrupted} of them interrupted" if self._interrupted else ""
            what = f"{points} point{'s' * (points != 1)} after epoch {self._epoch}"
            line = f"{self.run}: audited {what}{cut}, {seconds:.0f} s since the start"
            self.console.print(line, highlight=False)
