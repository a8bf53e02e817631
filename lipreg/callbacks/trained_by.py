"""The settings of a training that Lightning has: model, data, their hyperparameters, and what a step is taken on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import CombinedLoader
from torch.nn.parameter import is_lazy

from lipreg.invocation import HIDDEN, named_like_a_secret


def training_settings(trainer: pl.Trainer) -> dict[str, Any]:
    """Plain data for ``RunRecord.settings``, by which reports tell runs apart that differ in more than their seed.

    These are the classes of module and data module, their hyperparameters (``save_hyperparameters``), the number of
    parameters, the largest number of epochs, and what a step is taken on: accelerator, precision, processes (devices times
    nodes), batches that are accumulated, inputs of a batch, and of a step, their product (None where a loader does not say).
    Values with a name like a secret's are hidden; in place of a value that is not plain its class stands.
    """
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    if module is None:  # nothing runs yet
        return {}
    count = sum(p.numel() for p in module.parameters() if not is_lazy(p))
    settings: dict[str, Any] = {
        "model": {"class": type(module).__name__, "parameters": count, **_plain(module.hparams)}
    }
    if data is not None:
        settings["data"] = {"class": type(data).__name__, **_plain(data.hparams)}
    return settings | {"trainer": {"max_epochs": trainer.max_epochs, **_steps(trainer)}}


def _steps(trainer: pl.Trainer) -> dict[str, Any]:
    """The settings that decide what each step of the optimizer is taken on."""
    batch = _batch_size(trainer)
    processes, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    return {
        "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
        "precision": str(trainer.precision),
        "processes": processes,
        "accumulate_grad_batches": accumulated,
        "batch_size": batch,
        "effective_batch": None if batch is None else batch * processes * accumulated,
    }


def _batch_size(trainer: pl.Trainer) -> int | None:
    """The batch size of the only loader; None where there are several, or one without batches of a fixed size."""
    loaders = [] if trainer.train_dataloader is None else CombinedLoader(trainer.train_dataloader).flattened
    sizes = [getattr(loader, "batch_size", None) or _of_sampler(loader) for loader in loaders]
    return sizes[0] if len(sizes) == 1 and type(sizes[0]) is int else None


def _of_sampler(loader: Any) -> Any:
    """The batch size of a loader with a sampler of batches of its own."""
    return getattr(getattr(loader, "batch_sampler", None), "batch_size", None)


def _plain(noted: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k): HIDDEN if named_like_a_secret(str(k)) else _value(v) for k, v in noted.items()}


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _plain(value)
    if isinstance(value, tuple | list) and len(value) <= 100:
        return [_value(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or type(value) in (bool, int, float, str) else type(value).__name__
