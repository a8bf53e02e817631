"""The four disjoint parts of the digits: training, selection, calibration and audit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lipreg.extras import require

TRAINING, SELECTION, CALIBRATION = 800, 400, 500
"""Images of three parts; the other 97 are for audits."""
_DIVISION = 0
"""The seed that divides off calibration and audit, for all runs alike."""

Images = tuple[Tensor, Tensor]
"""Pixels ``(images, 64)`` float32 in [0, 1], and digits ``(images,)``."""


@dataclass(frozen=True)
class Parts:
    """The parts that a seed sees.

    Attributes:
        training, selection: drawn by the seed out of the same 1,200 images.
        calibration, audit: the same for all seeds.
    """

    training: Images
    selection: Images
    calibration: Images
    audit: Images

    def audited(self, seed: int, count: int) -> slice:
        """Where the points of a seed of the study are in ``audit``: no point belongs to two seeds."""
        return slice(seed * count, (seed + 1) * count)


@lru_cache(maxsize=8)
def parts(seed: int) -> Parts:
    """The parts of a seed, each with as many images of every digit as its size allows.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    require("digits", "sklearn", where="the study of penalties")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    seen, apart = train_test_split(
        range(len(digits)), train_size=TRAINING + SELECTION, random_state=_DIVISION, stratify=digits
    )
    calibration, audit = train_test_split(apart, train_size=CALIBRATION, random_state=_DIVISION, stratify=digits[apart])
    training, selection = train_test_split(seen, train_size=TRAINING, random_state=seed, stratify=digits[seen])

    def images(chosen: Any) -> Images:
        x = torch.as_tensor(pixels[chosen] / 16.0, dtype=torch.float32)
        return x, torch.as_tensor(digits[chosen], dtype=torch.int64)

    return Parts(*(images(part) for part in (training, selection, calibration, audit)))
