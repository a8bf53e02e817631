"""Whether a costly step is taken: as long as it pays."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

ENOUGH, UNJUDGED = 0.15, 32
"""What a step has to gain at a node on average, and nodes after which it is judged."""
SKIPPED = 16
"""Rounds without it after which it is tried again."""
FADING = 0.9


@dataclass
class StepBenefit:
    """Whether a costly step pays for itself, by what it gains at a node: 1 for all that there is, 0 for nothing.

    Attributes:
        tried: at how many nodes it was computed; older ones count less.
        gained: what it gained at these, summed alike.
        skipped: rounds since it was last computed.
    """

    tried: float = 0.0
    gained: float = 0.0
    skipped: int = 0

    def worthwhile(self) -> bool:
        """Whether it is to be computed this time: as long as it gains enough, and now and then to see whether it does."""
        pays = self.gained >= ENOUGH * (self.tried - UNJUDGED) or self.skipped >= SKIPPED
        self.skipped = 0 if pays else self.skipped + 1
        return pays

    def lowered(self, before: Tensor, after: Tensor, cutoff: float) -> None:
        """Enters the bounds of nodes before and after a bound: by how much of the way to the cutoff it came.

        Args:
            before, after: bounds of the nodes, ``(N,)``.
            cutoff: below which a node is closed.
        """
        self.note((before - after) / (before - cutoff).clamp(min=1e-300))

    def note(self, gain: Tensor) -> None:
        """Enters what was gained at nodes, ``(N,)``; what is older counts less and less."""
        gain = gain.clamp(0.0, 1.0)
        self.tried, self.gained = FADING * self.tried + len(gain), FADING * self.gained + float(gain.sum())
