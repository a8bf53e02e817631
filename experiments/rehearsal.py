"""One batch of a job that is about to begin, in a folder that is thrown away: what does not go together shows at once."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from experiments.choices import build
from experiments.fitting import check_fit
from experiments.mistakes import lacks_memory
from experiments.parts import Parts, logger_of, parts
from experiments.programs import LIGHTNING
from lipreg.callbacks import Epochs
from lipreg.errors import InvalidInput, LipregError
from lipreg.problem import LocalLipschitz

_NEVER = Epochs(every=2**31, at_start=False, at_end=False)
_ONE_BATCH: dict[str, Any] = {
    **{"max_epochs": 1, "max_steps": -1, "max_time": None, "limit_train_batches": 1, "limit_val_batches": 1},
    **{"num_sanity_val_steps": 0, "check_val_every_n_epoch": 1, "val_check_interval": 1.0, "fast_dev_run": False},
    **{"overfit_batches": 0.0, "accumulate_grad_batches": 1, "devices": 1, "num_nodes": 1, "strategy": "auto"},
    **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
}


def rehearse(cfg: DictConfig, problem: LocalLipschitz, folder: Path) -> None:
    """Makes every object of the job once, and takes one step with the penalty; what is random is seeded anew afterwards.

    The penalty is evaluated, the network captured and compared at the reference points, the question placed there, and one
    batch of the validation data read. No audit is made, and nothing is left but the folder.

    Args:
        cfg: the configuration.
        problem: the question.
        folder: of the job, in which loggers will write.

    Raises:
        LipregError: whatever would have ended the job later.
    """
    loggers = [logging.getLogger(name) for name in LIGHTNING]
    levels = [logger.level for logger in loggers]
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training itself warns of the same
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            asked = {"folder": scratch, "run": "rehearsal"}
            made = parts(cfg, problem, cfg.regularizer.weight, **asked)
            logger_of(cfg, "rehearsal", folder)
            build(cfg.trainer, "trainer", pl.Trainer, logger=False, default_root_dir=scratch)
            quick = parts(cfg, problem, cfg.regularizer.weight, **asked, executor=None, every_n_epochs=_NEVER)
            callbacks = [quick.regularizer, quick.audit]
            trainer = build(cfg.trainer, "trainer", callbacks=callbacks, default_root_dir=scratch, **_ONE_BATCH)
            _fit(trainer, quick, problem)
            made.audit.place.close()
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _fit(trainer: pl.Trainer, made: Parts, problem: LocalLipschitz) -> None:
    try:
        check_fit(made.data, made.model, problem)
        trainer.fit(made.model, datamodule=made.data)
    except LipregError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        if lacks_memory(error):
            raise
        told = " ".join(str(error).split())
        shape, classes = getattr(made.data, "input_shape", None), getattr(made.data, "classes", None)
        data = "" if shape is None else f"The data has inputs of shape {tuple(shape)} and {classes} classes"
        raise InvalidInput(f"{type(error).__name__}: {told}", where="the first batch", todo=data) from error
