"""How much of everything a question of the study has: its data, its network, what is tried and what is run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

TWIN = "none"
EARLY = "early_stopping"
BOUNDS = ("affine_relu", "spectral", "abs_chain", "fastlip", "fastlip_wide")
ESTIMATES = ("jacobian", "jacobian_frobenius", "gradient", "weight_decay", "pgd", "small_box", "witnesses")
PENALTIES = (*BOUNDS, *ESTIMATES, "jacobian_fastlip", EARLY)
MIXED = ("jacobian_fastlip_half", "jacobian_fastlip_wide")
"""Other mixtures, that were looked for in the search for a penalty that is best in everything."""
CLAIMS = 5
"""Seeds without which nothing is claimed."""


@dataclass(frozen=True)
class Rule:
    """What is tried on selection data for each penalty.

    Attributes:
        seeds: none of the study's.
        scanned: learning rate and epochs of the scan.
        rates, epochs: that are tried at the strength that the scan finds.
        limits: the question whose limits are taken, with the first rate and epochs, so that nothing is tried.
    """

    seeds: tuple[int, ...]
    scanned: tuple[float, int]
    rates: tuple[float, ...]
    epochs: tuple[int, ...]
    limits: str | None = None


@dataclass(frozen=True)
class Design:
    """All of a question but its balls.

    Attributes:
        data: which images; also which file of results.
        shape: of an image.
        training, selection, calibration: images of three parts.
        audit: images at which closed forms certify: all that are left, or a seed's own.
        network: makes one, with the initial weights of a seed.
        penalties: that are trained.
        searched: that are trained by the same rule and told in a table of their own.
        ladder: strengths of the runs over the limit.
        points: that are audited, of each seed.
        seconds: CPU seconds of the exact engine at the points of a run, at each radius.
        seeds: of the whole study.
        rule: of the choices.
    """

    data: Literal["digits", "mnist"]
    shape: tuple[int, ...]
    training: int
    selection: int
    calibration: int
    audit: int
    network: Callable[[int], nn.Sequential]
    penalties: tuple[str, ...]
    searched: tuple[str, ...]
    ladder: tuple[float, ...]
    points: int
    seconds: float
    seeds: int
    rule: Rule

    @property
    def held(self) -> int:
        """Images by which nothing was chosen."""
        return self.calibration + self.audit


def mlp(seed: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLUs between them, with the initial weights of a seed."""
    layers: list[Callable[[], nn.Module]] = []
    for before, after in pairwise(widths):
        layers += [lambda m=before, n=after: nn.Linear(m, n), nn.ReLU]
    return _seeded(seed, layers[:-1])


def small_conv(seed: int) -> nn.Sequential:
    """Two convolutions, of 4 channels at 7 x 7 and of 8 at 3 x 3 places, and a linear layer: 268 ReLUs on 28 x 28 pixels."""
    return _seeded(
        seed,
        [
            *(lambda: nn.Conv2d(1, 4, 4, stride=4), nn.ReLU, lambda: nn.Conv2d(4, 8, 3, stride=2), nn.ReLU),
            *(nn.Flatten, lambda: nn.Linear(72, 10)),
        ],
    )


def _seeded(seed: int, layers: list[Callable[[], nn.Module]]) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(*(layer() for layer in layers))


DIGITS = Design(
    "digits",
    (64,),
    training=800,
    selection=400,
    calibration=500,
    audit=97,
    network=lambda seed: mlp(seed, (64, 32, 32, 10)),
    penalties=PENALTIES,
    searched=(),
    ladder=(1 / 9, 1 / 3, 1 / math.sqrt(3), 1.0, math.sqrt(3)),
    points=8,
    seconds=80.0,
    seeds=5,
    rule=Rule((100, 101, 102), (0.03, 80), (0.01, 0.03), (80, 160, 320)),
)
MNIST = Design(
    "mnist",
    (784,),
    training=4000,
    selection=2000,
    calibration=1000,
    audit=8,
    network=lambda seed: mlp(seed, (784, 32, 32, 10)),
    penalties=(
        "affine_relu",
        "fastlip",
        "jacobian",
        "jacobian_frobenius",
        "weight_decay",
        "pgd",
        "jacobian_fastlip",
        EARLY,
    ),
    searched=(),
    ladder=(1 / 3, 1.0, math.sqrt(3)),
    points=8,
    seconds=60.0,
    seeds=3,
    rule=Rule((100, 101), (0.03, 10), (0.01, 0.03), (10, 30)),
)
MNIST_CONV = Design(
    "mnist",
    (1, 28, 28),
    training=4000,
    selection=2000,
    calibration=1000,
    audit=4,
    network=small_conv,
    penalties=("affine_relu", "fastlip", "jacobian", "weight_decay"),
    searched=(),
    ladder=(1 / 9, 1 / 3, 1.0),
    points=4,
    seconds=24.0,
    seeds=2,
    rule=Rule((), (0.03, 20), (0.03,), (20,), limits="mnist"),
)
