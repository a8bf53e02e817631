"""How ascents of a smoothed promise go: from smooth and far to sharp and near."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

STEPS = 24
"""Of a wide ascent; a fine one has half as many."""


@dataclass(frozen=True)
class AnnealingSchedule:
    """A geometric schedule of temperatures and step lengths.

    Attributes:
        steps: how many passes there are.
        temperature: the first and the last temperature of the smoothing.
        step: the first and the last step, as a part of the region's width.
    """

    steps: int
    temperature: tuple[float, float]
    step: tuple[float, float]

    def __iter__(self) -> Iterator[tuple[float, float]]:
        """The temperature and the step of each pass."""
        (hot, cold), (far, near) = self.temperature, self.step
        for at in range(self.steps):
            way = at / self.steps
            yield hot * (cold / hot) ** way, far * (near / far) ** way


WIDE = AnnealingSchedule(STEPS, (0.5, 0.01), (0.25, 0.01))
FINE = AnnealingSchedule(STEPS // 2, (0.1, 0.01), (0.05, 0.002))
