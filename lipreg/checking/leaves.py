"""What closes a leaf of a certificate's tree, in whichever arithmetic its proofs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lipreg.checking.emptiness import Term
from lipreg.checking.file import Leaf
from lipreg.checking.refusal import Refused
from lipreg.checking.squares import Square


@dataclass(frozen=True)
class Proofs:
    """The proofs about a cell in one arithmetic.

    Attributes:
        empties: whether multipliers show that no point is in a cell.
        has_empty_interior: whether a cell lies in a hyperplane, by some of its decided units.
        steep: of the norm of gradients, a cell and the upper end: the entries of J that its bounds leave above that end, and
            whether a square shows of its entry that it is not.
        implies: whether multipliers show that a unit is on one side in all of a cell.
    """

    empties: Callable[[Any, Sequence[Term]], bool]
    has_empty_interior: Callable[[Any, Sequence[int]], bool]
    steep: Callable[[int, Any, Fraction], tuple[Sequence[int], Callable[[Square], bool]]]
    implies: Callable[..., bool]


def check_leaf(proofs: Proofs, norm: int, cell: Any, leaf: Leaf, upper: Fraction, index: Mapping[int, int]) -> None:
    """Checks that a leaf closes a cell.

    Args:
        proofs: of the arithmetic that the cell is in.
        norm: of gradients, as in ``Question``.
        cell: the cell.
        leaf: that closes it.
        upper: the claim.
        index: of the units that the region leaves unstable, by their numbers.

    Raises:
        Refused: it is not shown to.
    """
    if cell.empty:
        return
    if leaf.kind == "bounds":
        raise Refused("bounds do not contradict each other", leaf.kind)
    squares = [square.over(index, cell.units.decided) for square in leaf.squares]
    if leaf.kind == "empty":
        if not proofs.empties(cell, squares[0].terms):
            raise Refused("the multipliers leave points in the cell", leaf.kind)
        return
    if leaf.kind == "flat":
        if not proofs.has_empty_interior(cell, [term.unit for term in squares[0].terms if cell.phase[term.unit]]):
            raise Refused("the sides of the units do not make the cell flat", leaf.kind)
        return
    above, shows = proofs.steep(norm, cell, upper)
    needed = [square for square in squares if square.entry in set(above)]
    if set(above) - {square.entry for square in needed if shows(square)}:
        raise Refused("the gradient is not kept at or below the upper end", leaf.kind)
