"""What a training is made of, as far as Lightning knows it: model, data, their hyperparameters, epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch.nn.parameter import is_lazy

from lipreg.invocation import HIDDEN, named_like_a_secret


def training_settings(trainer: pl.Trainer) -> dict[str, Any]:
    """Plain data for ``RunRecord.settings``, by which reports tell runs apart that differ in more than their seed.

    The classes of module and data module, what ``save_hyperparameters`` has noted of them, the number of parameters, and the
    epochs asked for. What is named like a secret is hidden; of what is no plain value the class is told.
    """
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    if module is None:  # nothing runs yet
        return {}
    count = sum(p.numel() for p in module.parameters() if not is_lazy(p))
    found: dict[str, Any] = {"model": {"class": type(module).__name__, "parameters": count, **_plain(module.hparams)}}
    if data is not None:
        found["data"] = {"class": type(data).__name__, **_plain(data.hparams)}
    return found | {"trainer": {"max_epochs": trainer.max_epochs}}


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
