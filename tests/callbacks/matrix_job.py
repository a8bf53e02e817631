"""Two processes train again and again with the callbacks in every order, beside every kind of logging, and with errors.

    python -m tests.callbacks.matrix_job DIR            under strategy="ddp": all cells, then an error that nobody catches
    python -m tests.callbacks.matrix_job DIR notebook   one training under strategy="ddp_notebook", of lightning.pytorch

Each process writes what it saw of a cell to DIR/CELL.RANK.pt as soon as that is over. One that is at a cell for longer than
LIMIT seconds prints where it waits, and ends.
"""

from __future__ import annotations

import copy
import faulthandler
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

import lipreg.callbacks.places
from lipreg.callbacks import Beside, LipschitzAudit, LipschitzRegularizer
from lipreg.errors import CrossingBounds
from lipreg.problem import LocalLipschitz
from lipreg.records import RecordFile
from lipreg.regions import LinfBall
from lipreg.training import LipschitzPenalty
from tests.given import composed
from tests.sampling import sampled

pl: Any = import_module("lightning.pytorch" if __name__ == "__main__" and len(sys.argv) > 2 else "pytorch_lightning")
LIMIT = 300.0
PROBLEM = LocalLipschitz(LinfBall(0.1))
ORDERS = ("audit", "regularizer", "both", "both reversed")
LOGS = ("no log", "sync_dist", "on_epoch with sync_dist", "torchmetrics")
CELLS = [
    (order, logs)
    for turn, order in enumerate(ORDERS)
    for place, logs in enumerate(LOGS)
    if sampled(2, turn, place) or (order, logs) == ("regularizer", "no log")
]
"""Each order beside two kinds of logging or more, and without a log each set of callbacks, with which they are compared."""


class Module(pl.LightningModule):
    """Logs a figure that differs from process to process: 1 on the first, 3 on the second."""

    def __init__(self, logs: str) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        self.metric, self.logs = MeanMetric(), logs

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        value = 1.0 + 2.0 * self.global_rank
        if self.logs == "sync_dist":
            self.log("mine", value, sync_dist=True)
        elif self.logs == "on_epoch with sync_dist":
            self.log("mine", value, on_step=False, on_epoch=True, sync_dist=True)
        elif self.logs == "torchmetrics":
            self.metric(value)
            self.log("mine", self.metric, on_step=False, on_epoch=True)
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """There are data to draw reference points from."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def callbacks(order: str, folder: Path, **settings: Any) -> list[Any]:
    defaults = {"points": 2, "estimators": ("fastlip", "random_points"), "progress": False, "folder": str(folder)}
    audit = LipschitzAudit(PROBLEM, **composed(**{**defaults, **settings}))
    regularizer = LipschitzRegularizer(PROBLEM, weight=0.1)
    made = {"audit": [audit], "regularizer": [regularizer], "both": [regularizer, audit]}
    return made.get(order) or [audit, regularizer]


def train(strategy: Any, module: Any, added: list[Any], **settings: Any) -> Any:
    draw = torch.Generator().manual_seed(2)
    data = TensorDataset(torch.rand(8, 4, generator=draw), torch.randint(3, (8,), generator=draw))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    defaults: dict[str, Any] = {"max_epochs": 2, "accelerator": "cpu", "devices": 2, **quiet, **settings}
    trainer = pl.Trainer(strategy=strategy, callbacks=added, num_sanity_val_steps=0, **defaults)
    trainer.fit(module, DataLoader(data, batch_size=2), DataLoader(data, batch_size=4))
    return trainer


def saw(trainer: Any) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def cell(folder: Path, name: str, order: str, logs: str = "no log", **settings: Any) -> None:
    """One training; what it logged, or what ended it."""
    own = {key: settings.pop(key) for key in ("batch_to_inputs", "reference_points", "executor") if key in settings}
    added = callbacks(order, folder / name, **own)
    torch.manual_seed(0)
    faulthandler.dump_traceback_later(LIMIT, exit=True)  # anew for each
    try:
        seen: Any = saw(train(DDPStrategy(process_group_backend="gloo"), Module(logs), added, **settings))
    except Exception as error:
        seen = {"error": f"{type(error).__name__}: {error}", "notes": getattr(error, "__notes__", [])}
    torch.save(seen, folder / f"{name}.{torch.distributed.get_rank()}.pt")


def plain_loop(folder: Path) -> None:
    """Without Lightning: gradients of a step on the wrapped network, and those of this process alone on a copy of it."""
    rank, draw = torch.distributed.get_rank(), torch.Generator().manual_seed(3)
    x, y = torch.rand(2, 6, 4, generator=draw)[rank], torch.randint(3, (2, 6), generator=draw)[rank]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    gradients = []
    for network in (copy.deepcopy(net), nn.parallel.DistributedDataParallel(net)):
        loss = F.cross_entropy(network(x), y) + LipschitzPenalty(network, PROBLEM, weight=0.5)(x, y)
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    torch.save(dict(zip(("alone", "together"), gradients, strict=True)), folder / f"plain loop.{rank}.pt")


# ---------------------------------------------------------------- errors in one process


class Unreadable(Exception):
    """Can be pickled, and not read back."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class FailingLogger(DummyLogger):
    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        if torch.distributed.get_rank() == 0:
            raise ConnectionError("the server of the logger is gone")


def raising(error: Exception, rank: int, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def work(*args: Any, **kwargs: Any) -> Any:
        if torch.distributed.get_rank() == rank:
            raise error
        return otherwise(*args, **kwargs)

    return work


def errors(folder: Path) -> None:
    """Each is raised in one process alone."""
    real = lipreg.callbacks.places.audit
    for name, error in (
        ("bounds that cross", CrossingBounds("lp lies below a witness", where="point 1")),
        ("no memory", MemoryError("of 9 GiB")),
        ("unreadable", Unreadable("this", "that")),
    ):
        lipreg.callbacks.places.audit = raising(error, 1, real)
        cell(folder, name, "both")
    lipreg.callbacks.places.audit = real
    read = raising(ValueError("no inputs in this batch"), 1, lambda batch: (batch[0], batch[1]))
    cell(folder, "batches that cannot be read", "audit", batch_to_inputs=read)
    append = RecordFile.append
    RecordFile.append = raising(OSError(28, "No space left on device"), 0, append)  # type: ignore[method-assign]
    cell(folder, "no space on the disk", "both")
    RecordFile.append = append  # type: ignore[method-assign]
    cell(folder, "a logger that fails", "both", logger=FailingLogger())
    (folder / "no folder").touch()
    cell(folder, "no folder", "both")


def main(folder: Path) -> None:
    for order, logs in CELLS:
        cell(folder, f"{order}, {logs}", order, logs)
    for order in ("both", "both reversed"):  # the second epoch ends after one of its two batches
        cell(folder, f"{order}, cut short", order, "on_epoch with sync_dist", max_epochs=-1, max_steps=3)
    cell(folder, "beside training", "both", "on_epoch with sync_dist", executor=Beside())
    plain_loop(folder)
    errors(folder)
    lipreg.callbacks.places.audit = raising(MemoryError("that nobody catches"), 1, lipreg.callbacks.places.audit)
    train(DDPStrategy(process_group_backend="gloo"), Module("no log"), callbacks("audit", folder / "uncaught"))


def notebook(folder: Path) -> None:
    """Callbacks live in processes that are gone when ``fit`` returns: the records, and the trainer's metrics, stay."""
    torch.manual_seed(0)
    trainer = train("ddp_notebook", Module("on_epoch with sync_dist"), callbacks("both", folder / "notebook"))
    torch.save(saw(trainer), folder / "notebook.0.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    notebook(Path(sys.argv[1])) if len(sys.argv) > 2 else main(Path(sys.argv[1]))
