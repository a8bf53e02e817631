"""Lines below and above the functions that a pass meets entry by entry, and linear forms carried through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from lipreg.curves import Curve, relaxed
from lipreg.linalg import NodeEntries, Rows, entries
from lipreg.linalg.floats import EPS, SPARE

R = TypeVar("R", bound=Rows)


@dataclass(frozen=True)
class Lines:
    """Lines around functions f: lower_slope z + lower_offset <= f(z) <= upper_slope z + upper_offset, entry by entry.

    Attributes:
        lower_slope, upper_slope: the slopes, one for each entry.
        upper_offset: of the same shape, or, where several entries share an offset, with 1 in the last place.
        lower_offset: likewise; None for 0, lines through the origin.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    upper_offset: Tensor
    lower_offset: Tensor | None = None

    def anchored(self, constant: Tensor, rounding: Tensor | None) -> Lines:
        """The lines over y, where z = constant + y up to the rounding.

        Args:
            constant: at the reference points, ``(batch, *shape)``.
            rounding: bound on |z - constant - y|; what these sums and products lose is then charged as well. None where
                rounding is left out.
        """
        off = anchoring(constant, rounding)
        lower = self.lower_slope * constant - self.lower_slope.abs() * off
        lower = lower if self.lower_offset is None else lower + self.lower_offset
        upper = self.upper_slope * constant + self.upper_slope.abs() * off
        return replace(self, lower_offset=lower, upper_offset=self.upper_offset + upper)

    @cached_property
    def flattened(self) -> Lines:
        """The lines of ``(batch, rows, ...)`` entries as those of ``batch * rows`` points."""
        parts = (self.lower_slope, self.upper_slope, self.upper_offset, self.lower_offset)
        lower, upper, *offsets = (None if part is None else part.flatten(0, 1) for part in parts)
        assert lower is not None and upper is not None and offsets[0] is not None
        return Lines(lower, upper, offsets[0], offsets[1])

    def above(self, rows: R) -> tuple[R, Tensor]:
        """row . f(z) <= slope . z + offset for each row: the slopes as rows, and the offsets, ``(batch, k)``.

        Rows take the upper line where their coefficient is positive and the lower one where it is negative.
        """
        return Lines(*rows.read(self._slopes), *rows.read(self._offsets)).above_read(rows)

    def above_read(self, rows: R) -> tuple[R, Tensor]:
        """As ``above``, where these lines' numbers already stand at the rows' coefficients (``Rows.read``)."""
        positive = torch.relu(rows.values)
        negative = rows.values - positive
        offset = positive * self.upper_offset
        if self.lower_offset is not None:
            offset = torch.addcmul(offset, negative, self.lower_offset)
        # each entry is of one sign, so one of the products is 0: choosing the slope takes ten times as long as adding it
        slope = torch.addcmul(negative * self.lower_slope, positive, self.upper_slope)
        return rows.replaced(slope), rows.sums(offset)

    @cached_property
    def _slopes(self) -> NodeEntries:
        return entries(self.lower_slope, self.upper_slope)

    @cached_property
    def _offsets(self) -> NodeEntries:
        return entries(*(offset for offset in (self.upper_offset, self.lower_offset) if offset is not None))


class LazyLines(Mapping[int, Lines]):
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
    """How far z may lie from constant + y, with what anchoring a line there loses; 0 where rounding is left out."""
    return torch.zeros_like(constant) if rounding is None else rounding + 4 * EPS * constant.abs()


def relax(lower: Tensor, upper: Tensor, negative_slope: float | Tensor) -> Lines:
    """The lines around max(z, a z) for lower <= z <= upper, a the negative slope (Zhang et al. 2018).

    Stable units are exact. An unstable one has the chord above and, below, the line through the origin that loses the
    smaller area: slope 1 where u >= -l, slope a otherwise.

    Args:
        lower, upper: pre-activation bounds, ``(batch, *shape)``.
        negative_slope: a < 1, a number or a tensor that broadcasts to the bounds.
    """
    unstable = (lower < 0) & (upper > 0)
    # the negative slope as a tensor of the bounds' own dtype: where() with two numbers would round it to float32
    one = torch.ones_like(upper)
    flat = (
        negative_slope.expand_as(upper)
        if isinstance(negative_slope, Tensor)
        else torch.full_like(upper, negative_slope)
    )
    stable = torch.where(lower >= 0, one, flat)
    upper_slope = torch.where(
        unstable, (upper - negative_slope * lower) / torch.where(unstable, upper - lower, one), stable
    )
    lower_slope = torch.where(unstable, torch.where(upper >= -lower, one, flat), stable)
    offset = torch.where(unstable, (negative_slope - upper_slope) * lower, torch.zeros_like(upper))
    return Lines(lower_slope, upper_slope, offset)


def relax_curve(curve: Curve, lower: Tensor, upper: Tensor) -> Lines:
    """The lines around a curve for lower <= z <= upper; see ``lipreg.curves.relaxation``.

    Their offsets are no multiples of z, so no bound on z covers their rounding: they contain the loss of a sum of all.

    Args:
        curve: the function.
        lower, upper: bounds on z, ``(batch, *shape)``.
    """
    lines = relaxed(curve, lower, upper)
    share = (SPARE + lower[0].numel()) * EPS
    below = lines.lower_offset - share * lines.lower_offset.abs()
    return Lines(lines.lower_slope, lines.upper_slope, lines.upper_offset + share * lines.upper_offset.abs(), below)


def relax_product(low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> Lines:
    """The tightest lines around d g for low <= g <= high and least <= d <= most; all of one shape.

    Over all d the product lies between min(least g, most g), concave in g, and max(least g, most g), convex: the chords
    between the ends where g has either sign, and the lines themselves, which are exact, where its sign is decided.

    Args:
        low, high: the ends of g.
        least, most: the ends of d.
    """
    lower, upper = chord(low, high, most, least), chord(low, high, least, most)
    return Lines(lower[0], upper[0], upper[1], lower[1])


def chord(low: Tensor, high: Tensor, below: Tensor | float, above: Tensor | float) -> tuple[Tensor, Tensor]:
    """The line through the ends of g -> (below g for g < 0, above g for g >= 0) over low <= g <= high: slope and offset.

    Where g has one sign it is the function itself.

    Args:
        low, high: the ends of g.
        below, above: the function's slopes on either side of 0.
    """
    crossing = (low < 0) & (high > 0)
    span = torch.where(crossing, high - low, torch.ones_like(high))
    slope = torch.where(crossing, (above * high - below * low) / span, torch.where(low >= 0, above, below).to(low))
    return slope, torch.where(crossing, (below - above) * low * high / span, torch.zeros_like(low))
