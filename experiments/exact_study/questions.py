"""The questions of the study: of which networks and in which balls constants are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from experiments.exact_study.designs import DIGITS, MIXED, MNIST, MNIST_CONV, Design
from lipreg import AllMargins, L2Ball, LinfBall, LocalLipschitz


@dataclass(frozen=True)
class Question:
    """The margins of the true class in balls of one norm, cut to the range of pixels, regional.

    Attributes:
        name: in rows.
        p: the norm of balls and of distances.
        radii: at which runs are audited; the first one is that of the penalties.
        design: of which data and network, and how much of it.
        other_twins: epochs of twins by which everything is read once more.
    """

    name: str
    p: float
    radii: tuple[float, ...]
    design: Design = DIGITS
    other_twins: int | None = None

    def problem(self, radius: float) -> LocalLipschitz:
        """The question at one radius."""
        ball = LinfBall if self.p == math.inf else L2Ball
        return LocalLipschitz(ball(radius, low=0.0, high=1.0), AllMargins(), p=self.p)


QUESTIONS = {
    each.name: each
    for each in (
        Question("linf", math.inf, (0.05, 0.15), replace(DIGITS, searched=MIXED)),
        Question("l2", 2.0, (0.2, 0.6), other_twins=320),
        Question("mnist", math.inf, (0.01, 0.04), MNIST),
        Question("mnist_conv", math.inf, (0.02, 0.08), MNIST_CONV),
    )
}
