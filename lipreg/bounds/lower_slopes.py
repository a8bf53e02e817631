"""Alpha-CROWN: the lower lines of unstable ReLUs chosen for each bound, by ascent (Xu et al. 2021).

Below max(z, a z), a the negative slope, lies every line s z with a <= s <= 1, so every choice of slopes gives a bound, and
the least over all choices tried is one. CROWN takes the slope that loses the smaller area, one for all rows; here each row
has its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds.lines import Lines
from lipreg.linalg import Rows, entries

STEPS = 20
"""Steps of Adam."""
FIRST, LAST = 0.3, 0.02
"""Length of Adam's step at the beginning and at the end, a geometric sequence between them."""
MEMORY, VARIANCE = 0.9, 0.99
"""Decay of Adam's two moments, of the gradient and of its square."""
COPIES = 8
"""Numbers kept for each coefficient of the rows at a node: the pass's own for the gradient, slopes and their moments."""


class LowerSlopes:
    """The slopes of the lower lines for each row and each unstable unit that it meets, as leaves of a gradient.

    Attributes:
        slopes: by ReLU node, as the rows read them.
    """

    def __init__(self) -> None:
        self.slopes: dict[int, Tensor] = {}
        self._ranges: dict[int, tuple[Tensor, Tensor]] = {}
        self._moments: dict[int, tuple[Tensor, Tensor]] = {}
        self._steps = 0

    def lines(self, index: int, rows: Rows, lines: Lines, negative_slope: float) -> Lines:
        """The lines of a ReLU node over z as some rows read them, with lower slopes of each row's own.

        These start from CROWN's.

        Args:
            index: of the node.
            rows: at the node.
            lines: CROWN's.
            negative_slope: of the ReLU.
        """
        lower, upper, offset = rows.read(entries(lines.lower_slope, lines.upper_slope, lines.upper_offset))
        if index not in self.slopes:
            unstable = (upper > negative_slope) & (
                upper < 1
            )  # these have a chord; both lines of others are the function
            start = (lower + torch.zeros_like(rows.values)).detach()
            self._ranges[index] = torch.where(unstable, negative_slope, start), torch.where(unstable, 1.0, start)
            self.slopes[index] = start.requires_grad_(True)
        return Lines(self.slopes[index], upper, offset)

    def step(self, total: Tensor) -> None:
        """Moves all slopes to where a sum of bounds is less."""
        self._steps += 1
        length = FIRST * (LAST / FIRST) ** (self._steps / STEPS)
        gradients = torch.autograd.grad(total, list(self.slopes.values()), allow_unused=True)
        for (index, slope), gradient in zip(list(self.slopes.items()), gradients, strict=True):
            if gradient is None:
                continue
            with torch.no_grad():
                mean, square = self._moments.get(index, (torch.zeros_like(slope),) * 2)
                mean = torch.lerp(gradient, mean, MEMORY)
                square = torch.lerp(gradient.square(), square, VARIANCE)
                self._moments[index] = mean, square
                share = mean / (1 - MEMORY**self._steps), (square / (1 - VARIANCE**self._steps)).sqrt()
                low, high = self._ranges[index]
                moved = slope - length * share[0] / (share[1] + torch.finfo(slope.dtype).tiny)
                self.slopes[index] = moved.clamp(low, high).requires_grad_(True)
