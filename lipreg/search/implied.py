"""The phases that fixed phases imply by the pairs of sides that exclude each other (``lipreg.search.conflicts``)."""

from __future__ import annotations

import torch
from torch import Tensor


def implied(pairs: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Phases ``(N, n)`` with all that they imply by the pairs, and which of the nodes are empty by them, ``(N,)``."""
    empty = torch.zeros(len(phase), dtype=torch.bool, device=phase.device)
    if not pairs.shape[1]:
        return phase, empty
    first, second = torch.cat([pairs, pairs.flip(0)], 1)
    while True:
        holds = torch.cat([phase == 1, phase == -1], 1)
        barred = torch.zeros_like(holds, dtype=torch.float32)
        barred.index_add_(1, second, holds[:, first].float())
        no_on, no_off = (barred > 0).chunk(2, 1)
        empty = empty | ((no_on & no_off) | (no_on & (phase == 1)) | (no_off & (phase == -1))).any(-1)
        further = torch.where(phase == 0, no_off.to(phase.dtype) - no_on.to(phase.dtype), phase)
        if torch.equal(further, phase):
            return phase, empty
        phase = further
