"""The four disjoint parts of the images of a question: training, selection, calibration and audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.exact_study.designs import Design
from lipreg.extras import require

_DIVISION = 0
"""The seed that divides off calibration and audit, for all runs alike."""

Images = tuple[Tensor, Tensor]
"""Pixels ``(images, ...)`` float32 in [0, 1], and digits ``(images,)``."""


@dataclass(frozen=True)
class Parts:
    """The parts that a seed sees.

    Attributes:
        training, selection: drawn by the seed out of the same images.
        calibration: the same for all seeds.
        audit: images at which closed forms certify; those of MNIST are the seed's own.
        place: where the points of the seed are in ``audit``: no point belongs to two seeds of the study.
    """

    training: Images
    selection: Images
    calibration: Images
    audit: Images
    place: slice


@lru_cache(maxsize=8)
def parts(seed: int, design: Design) -> Parts:
    """The parts of a seed, each with as many images of every digit as its size allows.

    Raises:
        MissingExtra: scikit-learn is not installed.
        InvalidInput: MNIST is not on this machine.
    """
    require("digits", "sklearn", where="the study of penalties")
    from sklearn.model_selection import train_test_split

    pixels, digits = _digits() if design.data == "digits" else _mnist()

    def split(of: Sequence[int], first: int, second: int | None, seed: int) -> list[Any]:
        return train_test_split(of, train_size=first, test_size=second, random_state=seed, stratify=digits[of])

    everything, own = range(len(digits)), slice(seed * design.points, (seed + 1) * design.points)
    known = design.training + design.selection
    if design.data == "digits":
        seen, apart = split(everything, known, None, _DIVISION)
        calibration, audit = split(apart, design.calibration, None, _DIVISION)
        place = own
    else:  # of the closest form at 784 pixels, a point takes a quarter of a second
        seen, apart = split(everything, known, design.calibration + 100, _DIVISION)
        calibration, audit = split(apart, design.calibration, None, _DIVISION)
        audit, place = audit[own], slice(0, design.points)
    training, selection = split(seen, design.training, None, seed)

    def images(chosen: Any) -> Images:
        x = torch.as_tensor(pixels[chosen], dtype=torch.float32).reshape(-1, *design.shape)
        return x, torch.as_tensor(digits[chosen], dtype=torch.int64)

    return Parts(images(training), images(selection), images(calibration), images(audit), place)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    return np.asarray(pixels) / 16.0, np.asarray(digits)


def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """The 60,000 training images; those of the test file are never read."""
    from experiments.data.mnist import MNISTDataModule

    module = MNISTDataModule()
    module.prepare_data()
    module.setup("fit")
    x, y = module.train_set.tensors
    return x.numpy(), y.numpy()
