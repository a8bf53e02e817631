"""Lines below and above something that a pass meets entry by entry, and a form carried through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from lipreg.curves import Curve, relaxed
from lipreg.linalg import Entries, Rows, entries
from lipreg.linalg.floats import EPS, SPARE

R = TypeVar("R", bound=Rows)


@dataclass(frozen=True)
class Lines:
    """lower_slope z + lower_offset <= what <= upper_slope z + upper_offset, entry by entry.

    A lower offset of None is 0: lines through the origin.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    upper_offset: Tensor
    lower_offset: Tensor | None = None

    def anchored(self, constant: Tensor, rounding: Tensor | None) -> Lines:
        """Lines of what over y, where z = constant + y up to the rounding.

        Args:
            rounding: None where nothing is charged; else what these sums and products lose is charged as well.
        """
        off = anchoring(constant, rounding)
        lower = self.lower_slope * constant - self.lower_slope.abs() * off
        lower = lower if self.lower_offset is None else lower + self.lower_offset
        upper = self.upper_slope * constant + self.upper_slope.abs() * off
        return replace(self, lower_offset=lower, upper_offset=self.upper_offset + upper)

    @cached_property
    def flattened(self) -> Lines:
        """Lines ``(batch, rows, ...)`` as those of ``batch * rows`` points."""
        parts = (self.lower_slope, self.upper_slope, self.upper_offset, self.lower_offset)
        lower, upper, *offsets = (None if part is None else part.flatten(0, 1) for part in parts)
        assert lower is not None and upper is not None and offsets[0] is not None
        return Lines(lower, upper, offsets[0], offsets[1])

    def above(self, rows: R) -> tuple[R, Tensor]:
        """row . what <= slope . z + offset for each row: the slopes as rows, and the offsets, ``(batch, k)``.

        They take the upper line where their coefficient is positive and the lower one where it is negative.
        """
        return Lines(*rows.read(self._slopes), *rows.read(self._offsets)).above_read(rows)

    def above_read(self, rows: R) -> tuple[R, Tensor]:
        """The same of lines that are read already: their numbers are where the rows' coefficients are."""
        positive = torch.relu(rows.values)
        negative = rows.values - positive
        offset = positive * self.upper_offset
        if self.lower_offset is not None:
            offset = torch.addcmul(offset, negative, self.lower_offset)
        # each entry is of one sign, so one of the products is 0: choosing the slope takes ten times as long as adding it
        slope = torch.addcmul(negative * self.lower_slope, positive, self.upper_slope)
        return rows.replaced(slope), rows.sums(offset)

    @cached_property
    def _slopes(self) -> Entries:
        return entries(self.lower_slope, self.upper_slope)

    @cached_property
    def _offsets(self) -> Entries:
        return entries(*(offset for offset in (self.upper_offset, self.lower_offset) if offset is not None))


class LinesLater(Mapping[int, Lines]):
    """The lines of nodes, each made when it is read: around curves they take longer than a pass through the network."""

    def __init__(self) -> None:
        self._made: dict[int, Lines] = {}
        self._making: dict[int, Callable[[], Lines]] = {}

    def enter(self, index: int, make: Callable[[], Lines]) -> None:
        """Enters how the lines of a node are made."""
        self._making[index] = make

    def __getitem__(self, index: int) -> Lines:
        if index not in self._made:
            self._made[index] = self._making[index]()
        return self._made[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._making)

    def __len__(self) -> int:
        return len(self._making)


def anchoring(constant: Tensor, rounding: Tensor | None) -> Tensor:
    """How far z may lie from constant + y, with what lines lose that are anchored there; 0 where nothing is charged."""
    return torch.zeros_like(constant) if rounding is None else rounding + 4 * EPS * constant.abs()


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


def relax_curve(curve: Curve, lower: Tensor, upper: Tensor) -> Lines:
    """The lines around a curve for lower <= z <= upper; see ``lipreg.curves.relaxation``.

    Their offsets are no multiples of z, for whose rounding others pay: what a sum of one from each entry loses is in them.
    """
    found = relaxed(curve, lower, upper)
    share = (SPARE + lower[0].numel()) * EPS
    below = found.lower_offset - share * found.lower_offset.abs()
    return Lines(found.lower_slope, found.upper_slope, found.upper_offset + share * found.upper_offset.abs(), below)


def relax_product(low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> Lines:
    """The tightest lines around d g for low <= g <= high and least <= d <= most; all of one shape.

    Over all d the product lies between min(least g, most g), concave in g, and max(least g, most g), convex: the chords
    between the ends where g has either sign, and the lines themselves, which are exact, where its sign is known.
    """
    lower, upper = chord(low, high, most, least), chord(low, high, least, most)
    return Lines(lower[0], upper[0], upper[1], lower[1])


def chord(low: Tensor, high: Tensor, below: Tensor | float, above: Tensor | float) -> tuple[Tensor, Tensor]:
    """The line through the ends of g -> (below g for g < 0, above g for g >= 0) over low <= g <= high: slope and offset.

    Where g has one sign it is the function itself.
    """
    crossing = (low < 0) & (high > 0)
    span = torch.where(crossing, high - low, torch.ones_like(high))
    slope = torch.where(crossing, (above * high - below * low) / span, torch.where(low >= 0, above, below).to(low))
    return slope, torch.where(crossing, (below - above) * low * high / span, torch.zeros_like(low))
