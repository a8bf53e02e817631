"""The folder of a training's records: the training's own, rather than the working directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

RECORDS = "records.jsonl"
"""The name of a record file in its folder."""


def record_file(trainer: pl.Trainer, folder: str | None, program: Path | None = None) -> Path:
    """The record file of an audit, the same in all training processes; all of them call it.

    In ``folder`` if one is given; else in the first of these that there is:

    1. ``default_root_dir`` of the trainer, if it is not the working directory, which nobody may have chosen;
    2. the folder of a logger that has one for each run (``log_dir`` of CSVLogger and TensorBoardLogger);
    3. the folder that another logger saves to (``save_dir``), if it is not the working directory;
    4. the run folder of a Hydra program;
    5. the working directory.

    Args:
        trainer: of the training.
        folder: the user's choice; None without one.
        program: ``program_folder`` as the callback was made: in processes that are spawned Hydra is not set up.
    """
    if folder is not None:
        return Path(folder).absolute() / RECORDS
    # a logger counts up its versions, in each process for itself: the first one decides
    location = str(_folder(trainer, program_folder() or program)) if trainer.is_global_zero else ""
    if trainer.world_size > 1:
        location = trainer.strategy.broadcast(location)
    return Path(location) / RECORDS


def _folder(trainer: pl.Trainer, program: Path | None) -> Path:
    here, root = Path.cwd(), _local(trainer.default_root_dir)
    if root is not None and root != here:
        return root
    logs = [_local(getattr(logger, "log_dir", None)) for logger in trainer.loggers]
    saves = [_local(getattr(logger, "save_dir", None)) for logger in trainer.loggers]
    folders = [path for path in (*logs, *saves, program) if path is not None and path != here]
    return next(iter(folders), here)


def _local(path: Any) -> Path | None:
    """The path as an absolute one; None for anything else, and for one of a remote file system."""
    if not isinstance(path, str | os.PathLike) or "://" in str(path):
        return None
    return Path(path).absolute()


def program_folder() -> Path | None:
    """The run folder of this program, if Hydra has started it; else None. Hydra is not imported to find out."""
    module = sys.modules.get("hydra.core.hydra_config")
    config = getattr(module, "HydraConfig", None)
    if config is None or not config.initialized():
        return None
    return _local(config.get().runtime.output_dir)
