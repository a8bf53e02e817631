"""The check of a certificate: both ends, and what was gone through for them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from lipreg.checking import rounded
from lipreg.checking.cells import Cell, gradient, roots
from lipreg.checking.emptiness import empties, implies
from lipreg.checking.file import Certificate, Known, Leaf, Split, Step
from lipreg.checking.flat import flat_at
from lipreg.checking.integers import Array, integers
from lipreg.checking.plain import digits
from lipreg.checking.refusal import Refused
from lipreg.checking.squares import Square, dominates, exceeding, limit
from lipreg.checking.witness import measured, reaches

CHECKER = "4"
"""Version of this checker."""
SIGNED = 16
"""Rows whose signed sums are gone through: 2^15 of them."""


Part = Cell | rounded.Cell


@dataclass(frozen=True)
class Progress:
    """How far a check is: nodes of the trees that are checked, of how many."""

    checked: int
    nodes: int


@dataclass(frozen=True)
class Verdict:
    """What a check confirms.

    Attributes:
        lower, upper: the claimed ends, both of which hold.
        norm: of the gradients: 1, 2, or 0 for the largest entry.
        functionals: how many rows of outputs were gone through.
        units: how many ReLUs the network has, and how many of them the region leaves undecided.
        leaves: of the trees, by their kind.
        nodes: of the trees.
        mode: of the arithmetic.
    """

    lower: Fraction
    upper: Fraction
    norm: int
    functionals: int
    units: tuple[int, int]
    leaves: dict[str, int]
    nodes: int
    mode: str = "exact"


def check(certificate: Certificate, progress: Callable[[Progress], None] | None = None, mode: str = "exact") -> Verdict:
    """Checks a certificate.

    Args:
        certificate: as ``read`` returns it.
        progress: told after every node.
        mode: "exact", in whole numbers; or "rounded", the upper end in float64 with a radius for every number, which is
            faster where networks are large, and may refuse what is proved with little to spare.

    Raises:
        Refused: an end is not proved; the message names the place.
    """
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}, and there are {', '.join(MODES)}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return _checked(certificate, progress, mode)
    except (OverflowError, MemoryError) as error:
        raise Refused(
            f"numbers or sizes beyond what there is room for: {error or type(error).__name__}", "file"
        ) from None


def _checked(certificate: Certificate, progress: Callable[[Progress], None] | None, mode: str) -> Verdict:
    question, nodes = certificate.question, certificate.nodes
    asked = 2 ** (len(question.rows) - 1) if question.signs else len(question.rows)
    if asked != len(certificate.trees):
        raise Refused(f"{len(certificate.trees)} trees for {asked} functionals", "upper")
    rows = functionals(question.rows, question.signs)
    _check_lower(certificate, rows)
    told = _Told(progress, sum(map(len, certificate.trees)))
    whole, closes, implied = MODES[mode]
    cells = whole(nodes, question.region.center, question.region.placed(), rows)
    leaves, units = Counter[str](), (0, 0)
    for number, (cell, tree) in enumerate(zip(cells, certificate.trees, strict=True)):
        units = cell.units.count, len(cell.phase)
        leaf = partial(closes, question.norm, upper=certificate.upper)
        leaves += _check_tree(leaf, implied, cell, iter(enumerate(tree)), f"tree {number}", told)
    kinds = {kind: leaves[kind] for kind in sorted(leaves)}
    return Verdict(certificate.lower, certificate.upper, question.norm, len(rows[0]), units, kinds, told.checked, mode)


def functionals(rows: Array, signs: bool) -> tuple[Array, int]:
    """The rows of outputs of which the largest gradient is asked, in whole numbers times a power of two.

    With ``signs`` these are all signed sums of the given rows, the first sign being +: for output distances in l1.
    """
    numbers, bits = integers(rows)
    if not signs:
        return numbers, bits
    if len(rows) > SIGNED:
        raise Refused(f"signed sums of {len(rows)} rows, and this checker goes through those of {SIGNED}", "rows")
    choices = [(1, *signs) for signs in itertools.product((1, -1), repeat=len(rows) - 1)]
    return np.array(choices, dtype=object) @ numbers, bits


class _Told:
    def __init__(self, progress: Callable[[Progress], None] | None, nodes: int) -> None:
        self.progress, self.nodes, self.checked = progress, nodes, 0

    def one(self) -> None:
        self.checked += 1
        if self.progress is not None:
            self.progress(Progress(self.checked, self.nodes))


def _check_lower(certificate: Certificate, rows: tuple[Array, int]) -> None:
    if certificate.lower < 0:
        raise Refused(f"the lower end {digits(certificate.lower, ROUND_FLOOR)} is below 0", "claim")
    if certificate.lower > certificate.upper:
        raise Refused(crossing(certificate.lower, certificate.upper), "claim")
    if certificate.witness is None:
        if certificate.lower > 0:
            raise Refused("a lower end above 0 without a witness", "lower")
        return
    row, point = certificate.witness
    question = certificate.question
    if not 0 <= row < len(rows[0]):
        raise Refused(f"row {row} of {len(rows[0])}", "lower")
    if not question.region.holds(point):
        raise Refused("the witness lies outside of the region", "lower")
    found = measured(certificate.nodes, point, question.region.placed(), (rows[0][row], rows[1]))
    if not reaches(question.norm, found, certificate.lower):
        raise Refused("the gradient at the witness is smaller than the lower end", "lower")


def crossing(lower: Fraction, upper: Fraction) -> str:
    """That a lower end is above an upper one, in as many digits as tell them apart."""
    count, shown = 9, ["", ""]
    while shown[0] == shown[1]:
        shown = [digits(end, ROUND_HALF_EVEN, count) for end in (lower, upper)]
        count *= 2
    return f"the lower end {shown[0]} is above the upper end {shown[1]}"


def _check_tree(
    closes: Callable[..., None],
    implied: Callable[..., bool],
    root: Part,
    nodes: Iterator[tuple[int, Step]],
    where: str,
    told: _Told,
) -> Counter[str]:
    """Goes through a tree in its order: a split, then all of the part with the unit on, then all of the other."""
    open_, leaves = list[Part]([root]), Counter[str]()
    index = {number: unit for unit, number in enumerate(root.units.number)}
    while open_:
        cell = open_.pop()
        at, node = next(nodes, (-1, None))
        place = f"{where}, node {at}"
        if node is None:
            raise Refused("a part of the region is left out", where)
        try:
            match node:
                case Split(unit=unit):
                    open_ += parted(cell, unit, index)[::-1]
                case Known():
                    open_.append(sided(cell, node, index, implied))
                case Leaf():
                    closes(cell, node, index=index)
                    leaves[node.kind] += 1
        except KeyError as missing:
            raise Refused(f"unit {missing.args[0]}, and there are {root.units.count}", place) from None
        except Refused as error:
            raise Refused(error.got, f"{place}, {error.where}") from None
        told.one()
    if next(nodes, None) is not None:
        raise Refused("more nodes than its splits make", where)
    return leaves


def parted(cell: Part, number: int, index: Mapping[int, int]) -> tuple[Any, Any]:
    """Where a unit is on, and where it is off. One that the region decides has all of the cell on its side.

    Args:
        cell: what is split.
        number: of the unit, among all.
        index: of the units that the region leaves undecided, by their numbers.

    Raises:
        KeyError: there is no such unit.
    """
    if number in index:
        return cell.child(index[number], 1), cell.child(index[number], -1)
    nothing = replace(cell, empty=True)
    return (cell, nothing) if cell.units.decided[number] > 0 else (nothing, cell)


def sided(cell: Any, node: Known, index: Mapping[int, int], implied: Callable[..., bool]) -> Any:
    """A part in which a unit is shown to be on its side; as it is where it is empty, or the unit is known already.

    Raises:
        KeyError: there is no such unit.
        Refused: it is not shown.
    """
    terms = Square(0, node.terms).over(index, cell.units.decided).terms
    unit = index.get(node.unit)
    if unit is None and node.unit not in cell.units.decided:
        raise KeyError(node.unit)
    if unit is None or cell.empty or cell.phase[unit]:
        return cell
    if not implied(cell, unit, node.side, terms):
        raise Refused(f"the multipliers leave points on the other side of unit {node.unit}", "known")
    return cell.known(unit, node.side)


def check_leaf(norm: int, cell: Cell, leaf: Leaf, upper: Fraction, index: dict[int, int]) -> None:
    """Checks that a leaf closes a cell.

    Raises:
        Refused: it is not shown to.
    """
    if cell.empty:
        return
    if leaf.kind == "bounds":
        raise Refused("bounds do not contradict each other", leaf.kind)
    squares = [square.over(index, cell.units.decided) for square in leaf.squares]
    if leaf.kind == "empty":
        if not empties(cell, squares[0].terms):
            raise Refused("the multipliers leave points in the cell", leaf.kind)
        return
    if leaf.kind == "flat":
        units = [term.unit for term in squares[0].terms if cell.phase[term.unit]]
        if not flat_at(cell.rows[units] * cell.phase[units].astype(object)[:, None], cell.units.first):
            raise Refused("the units leave room on their sides", leaf.kind)
        return
    found = gradient(cell)
    left = set(exceeding(norm, found, limit(norm, cell, upper)))
    needed = [square for square in squares if square.entry in left]
    if left - {square.entry for square in needed if dominates(norm, cell, found, upper, square)}:
        raise Refused("the gradient is not kept at or below the upper end", leaf.kind)


MODES: dict[str, tuple[Callable[..., Iterator[Any]], Callable[..., None], Callable[..., bool]]] = {
    "exact": (roots, check_leaf, implies),
    "rounded": (rounded.roots, rounded.check_leaf, rounded.implies),
}
