"""The objects of one training of the main job, each made from its group of the configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from experiments.choices import build, check_keys
from experiments.groups import groups_of
from experiments.regularizers import Baseline
from experiments.sweeps import cut
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz

GROUPS = ("data", "model", "trainer", "problem", "audit", "regularizer", "logger")
VALUES = {"checkpoint": ("every_n_epochs",), "limits": ("minutes", "memory_gib")}
KEYS = (*GROUPS, *VALUES, "seed", "sweep")
"""All that the main job reads of its configuration."""
_GROUP = 128
"""Characters of a group's name at W&B."""


@dataclass(frozen=True)
class Parts:
    """What one training is put together from."""

    data: pl.LightningDataModule
    model: pl.LightningModule
    regularizer: LipschitzRegularizer | Baseline
    audit: LipschitzAudit


def check_values(cfg: DictConfig) -> None:
    """Refuses keys that nothing reads, and what no object of a group would refuse.

    Raises:
        InvalidInput: such a key; one without its value, a seed that is none, a training of no epochs.
    """
    check_keys(cfg, KEYS, groups=groups_of("train"))
    for key in sorted(OmegaConf.missing_keys(cfg)):
        raise InvalidInput(f"{key} has no value", where="configuration", todo=f"Pass {key}=VALUE")
    for name, known in VALUES.items():
        check_keys(cfg[name], known, name)
    seed = cfg.seed
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise InvalidInput(f"seed={seed!r}", where="configuration", accepted="a whole number from 0 to 4294967295")
    epochs, others = cfg.trainer.get("max_epochs"), ("max_steps", "max_time")
    ends = epochs == -1 and any(cfg.trainer.get(name) not in (None, -1) for name in others)
    if epochs is None or (isinstance(epochs, int) and epochs < 1 and not ends):
        accepted = "a whole number of at least 1, or -1 beside max_steps or max_time"
        raise InvalidInput(f"trainer.max_epochs={epochs!r}", where="trainer", accepted=accepted)


def question(cfg: DictConfig) -> LocalLipschitz:
    """The problem of a configuration."""
    return build(cfg.problem, "problem", LocalLipschitz)


def parts(cfg: DictConfig, problem: LocalLipschitz, weight: Any, **audit: Any) -> Parts:
    """All parts, from the seed: weights and batches are those of every training with it.

    Args:
        cfg: the configuration.
        problem: the question.
        weight: of the penalty.
        audit: arguments of the audit beside those of its group.
    """
    pl.seed_everything(cfg.seed, verbose=False)
    return Parts(
        build(cfg.data, "data", pl.LightningDataModule),
        build(cfg.model, "model", pl.LightningModule),
        build(cfg.regularizer, "regularizer", (LipschitzRegularizer, Baseline), problem=problem, weight=weight),
        build(cfg.audit, "audit", LipschitzAudit, problem=problem, **audit),
    )


def logger_of(cfg: DictConfig, run: str, folder: Path, logged: str = "") -> Any:
    """The logger of a run; None where none is asked for.

    Runs at W&B are grouped by job: day and time of its folder, or the sweep and what varies in it.

    Args:
        cfg: the configuration.
        run: name of the run.
        folder: of the job.
        logged: id of the W&B run that it goes on with.
    """
    if cfg.logger.get("_target_") is None:
        return None
    names: dict[str, Any] = {"name": f"{run}, seed {cfg.seed}"}
    if cfg.logger["_target_"].endswith("WandbLogger"):
        group = f"{folder.parent.name}/{folder.name}"
        names |= {"group": group if len(group.encode()) <= _GROUP else cut(group, _GROUP), "job_type": run}
        names |= {"id": logged, "resume": "allow"} if logged else {}
        os.environ.setdefault("WANDB_SILENT", "true")
    logger = build(cfg.logger, "logger", save_dir=str(folder), **names)
    # Lightning still sends W&B a setting that W&B warns about
    vars(logger).get("_wandb_init", {}).pop("anonymous", None)
    return logger
