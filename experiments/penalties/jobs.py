"""One training: its name, and the configuration that ``experiments.train`` would be given for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parents[2] / "conf"
TWIN = "none"
RADIUS = ("fgsm", "pgd")
"""Whose strength is the radius, with all of the loss there; of all others it is the weight."""


@dataclass(frozen=True)
class Job:
    """One training: of which data set and regulariser, how strong, from which seed.

    Attributes:
        weight: the strength: of FGSM and PGD training the radius, else the weight.
    """

    dataset: str
    regularizer: str
    weight: float
    seed: int

    def configuration(self, overrides: Sequence[str] = ()) -> DictConfig:
        """What ``experiments.train`` would be given for this job."""
        mine = [f"experiment=study_{self.dataset}", f"regularizer={self.regularizer}", "logger=none"]
        strength = f"regularizer.{'quantity.radius' if self.weight and self.regularizer in RADIUS else 'weight'}"
        values = [f"{strength}={self.weight!r}", f"seed={self.seed}"]
        if GlobalHydra.instance().is_initialized():
            return compose("train", [*mine, *values, *overrides])
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", [*mine, *values, *overrides])
