"""Lines below and above something that a pass meets entry by entry, and a form carried through them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lines:
    """lower_slope z + lower_offset <= what <= upper_slope z + upper_offset, entry by entry.

    A lower offset of None is 0: lines through the origin.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    upper_offset: Tensor
    lower_offset: Tensor | None = None

    def above(self, form: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """form . what <= slope . z + offset: slope and offset entry by entry, of the form's shape.

        It takes the upper line where its coefficient is positive and the lower one where it is negative.

        Args:
            form: has one dimension more than the lines, at ``at``: that of the forms.
        """
        up, down = self.upper_slope.unsqueeze(at), self.lower_slope.unsqueeze(at)
        offset = form.clamp(min=0.0) * self.upper_offset.unsqueeze(at)
        if self.lower_offset is not None:
            offset = offset + form.clamp(max=0.0) * self.lower_offset.unsqueeze(at)
        return form * torch.where(form > 0, up, down), offset


def relax(lower: Tensor, upper: Tensor, leak: float | Tensor) -> Lines:
    """The lines around max(z, leak z) for lower <= z <= upper.

    Stable units are exact. An unstable one has the chord above and, below, the line through the origin that loses the
    smaller area: slope 1 where u >= -l, the leak otherwise.
    """
    unstable = (lower < 0) & (upper > 0)
    # the leak as a tensor of the bounds' own dtype: where() with two numbers would round it to float32
    one = torch.ones_like(upper)
    flat = leak.expand_as(upper) if isinstance(leak, Tensor) else torch.full_like(upper, leak)
    stable = torch.where(lower >= 0, one, flat)
    chord = torch.where(unstable, (upper - leak * lower) / torch.where(unstable, upper - lower, one), stable)
    below = torch.where(unstable, torch.where(upper >= -lower, one, flat), stable)
    offset = torch.where(unstable, (leak - chord) * lower, torch.zeros_like(upper))
    return Lines(below, chord, offset)


def relax_product(low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> Lines:
    """The tightest lines around d g for low <= g <= high and 0 <= least <= d <= most; all of one shape.

    Over all d the product lies between min(least g, most g), concave in g, and max(least g, most g), convex: the chords
    between the ends where g has either sign, and the lines themselves, which are exact, where its sign is known.
    """
    crossing, positive = (low < 0) & (high > 0), low >= 0
    span = torch.where(crossing, high - low, torch.ones_like(high))
    # the upper chord runs from (low, least low) to (high, most high), the lower one the other way round
    upper = torch.where(crossing, (most * high - least * low) / span, torch.where(positive, most, least))
    lower = torch.where(crossing, (least * high - most * low) / span, torch.where(positive, least, most))
    offset = torch.where(crossing, (most - least) * low * high / span, torch.zeros_like(low))  # low high < 0
    return Lines(lower, upper, -offset, offset)
