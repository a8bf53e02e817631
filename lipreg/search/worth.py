"""Whether a bound that costs much is computed: as long as it pays."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

ENOUGH, UNJUDGED = 0.15, 32
"""Part of the way to the cutoff that a dear bound has to come, and nodes after which it is judged."""
SKIPPED = 16
"""Rounds without it after which it is tried again."""
FADING = 0.9


@dataclass
class Worth:
    """Whether a bound that costs much pays for itself: by how much of the way to the cutoff it comes on average."""

    tried: float = 0.0
    gained: float = 0.0
    skipped: int = 0

    def pays(self) -> bool:
        """Whether it is to be computed this time: as long as it gains enough, and now and then to see whether it does."""
        pays = self.gained >= ENOUGH * (self.tried - UNJUDGED) or self.skipped >= SKIPPED
        self.skipped = 0 if pays else self.skipped + 1
        return pays

    def note(self, before: Tensor, after: Tensor, cutoff: float) -> None:
        """Enters the bounds of nodes before and after; older ones count less and less."""
        gain = ((before - after) / (before - cutoff).clamp(min=1e-300)).clamp(0.0, 1.0)
        self.tried, self.gained = FADING * self.tried + len(gain), FADING * self.gained + float(gain.sum())
