"""What lets a training that was cut short go on as if nothing had happened: checkpoints, whole, with all random states."""

from __future__ import annotations

import io
import random
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from rich.console import Console

from lipreg.callbacks.checkpoints import read_checkpoint
from lipreg.errors import InvalidInput
from lipreg.options import check_count
from lipreg.whole_files import write_whole

_GRACE = 3.0
"""Seconds that a process has to end by itself."""


class LastCheckpoint(ModelCheckpoint):
    """The state of a training after every so many epochs, each in the place of the one before: ``NAME.last.ckpt``.

    There is none of the last epoch: who goes on from there comes to the end of training as others do, with its last audit.

    Args:
        folder: where it lies.
        run: name of the run.
        every: so many epochs.
    """

    def __init__(self, folder: Path, run: str, every: int) -> None:
        check_count(every, "every_n_epochs", "checkpoint")
        where = last_checkpoint(folder, run)
        options: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
        super().__init__(str(where.parent), where.stem, every_n_epochs=every, **options)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.max_epochs in (None, -1) or trainer.current_epoch + 1 < trainer.max_epochs:
            super().on_train_epoch_end(trainer, pl_module)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written at once or not at all: a full disk leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), content.getvalue())


def keep_whole(trainer: pl.Trainer) -> None:
    """Has a trainer write its checkpoints whole, where its strategy writes one file and nothing else was asked for."""
    strategy = trainer.strategy
    if isinstance(strategy, SingleDeviceStrategy | DDPStrategy) and type(strategy.checkpoint_io) is TorchCheckpointIO:
        strategy.checkpoint_io = WholeCheckpoints()


def end_spawned(trainer: pl.Trainer) -> None:
    """Ends the training processes that a trainer has spawned, which would train on while their parent waits for them.

    Lightning has them end after their step, in which each may wait for another that has ended: they get some seconds. What
    they write is whole at any moment, records line by line and checkpoints at once.
    """
    spawned = [each for each in getattr(trainer.strategy.launcher, "procs", ()) if isinstance(each, BaseProcess)]
    for process in spawned:
        process.terminate()
    for process in spawned:
        process.join(_GRACE)
        process.kill()
        process.join()


class Course(pl.Callback):
    """What a checkpoint of Lightning's leaves out: the states of torch's, NumPy's and Python's random numbers.

    They are set when a checkpoint is loaded, before its first batch is drawn. Place it last, so that what other callbacks
    draw at the end of an epoch is in them.

    Args:
        logged: id of the run at W&B, to which a resumed training adds; empty for none.
    """

    def __init__(self, logged: str = "") -> None:
        super().__init__()
        self.logged = logged

    def state_dict(self) -> dict[str, Any]:
        name, keys, *more = np.random.get_state()  # the global state is what libraries draw from
        return {
            "logged": self.logged,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [name, [int(key) for key in keys], *more],
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        torch.set_rng_state(state_dict["torch"])
        if state_dict["cuda"]:
            torch.cuda.set_rng_state_all(state_dict["cuda"])
        name, keys, *more = state_dict["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *more))
        version, state, gauss = state_dict["python"]
        random.setstate((version, tuple(state), gauss))


def last_checkpoint(folder: Path, run: str) -> Path:
    """Where the last checkpoint of a run that is under way lies."""
    return folder / f"{run}.last.ckpt"


def resumable(folder: Path, run: str, console: Console) -> tuple[Path | None, str]:
    """The checkpoint from which a run goes on, and the id of its W&B run; None where there is none that can be read.

    One that cannot be read is named: the run begins anew.
    """
    path = last_checkpoint(folder, run)
    if not path.exists():
        return None, ""
    try:
        saved = read_checkpoint(path, "callbacks", "loops")["callbacks"]
        return path, str(saved[Course.__qualname__]["logged"])
    except (InvalidInput, KeyError) as error:
        console.print(
            f"{run}: begins anew, as its last checkpoint is of no use: {error}", highlight=False, soft_wrap=True
        )
        return None, ""
