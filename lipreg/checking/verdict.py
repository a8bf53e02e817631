"""The check of a certificate: both ends, and what was gone through for them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipreg.checking.cells import Cell, gradient, roots
from lipreg.checking.emptiness import empties
from lipreg.checking.file import Certificate, Leaf, Split
from lipreg.checking.integers import Array, integers
from lipreg.checking.refusal import Refused
from lipreg.checking.squares import dominates, exceeding, limit
from lipreg.checking.witness import attained, reaches

CHECKER = "1"
"""Version of this checker."""
SIGNED = 16
"""Rows whose signed sums are gone through: 2^15 of them."""


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
        mode: of the arithmetic.
    """

    lower: Fraction
    upper: Fraction
    norm: int
    functionals: int
    units: tuple[int, int]
    leaves: dict[str, int]
    mode: str = "exact"


def check(certificate: Certificate, progress: Callable[[Progress], None] | None = None) -> Verdict:
    """Checks a certificate in whole numbers.

    Args:
        certificate: as ``read`` returns it.
        progress: told after every node.

    Raises:
        Refused: an end is not proved; the message names the place.
    """
    try:
        return _checked(certificate, progress)
    except (OverflowError, MemoryError) as error:
        raise Refused(
            f"numbers or sizes beyond what there is room for: {error or type(error).__name__}", "file"
        ) from None


def _checked(certificate: Certificate, progress: Callable[[Progress], None] | None) -> Verdict:
    question, nodes = certificate.question, certificate.nodes
    asked = 2 ** (len(question.rows) - 1) if question.signs else len(question.rows)
    if asked != len(certificate.trees):
        raise Refused(f"{len(certificate.trees)} trees for {asked} functionals", "upper")
    rows = functionals(question.rows, question.signs)
    _check_lower(certificate, rows)
    told = _Told(progress, sum(map(len, certificate.trees)))
    cells = roots(nodes, question.region.center, question.region.placed(), rows)
    leaves, units = Counter[str](), (0, 0)
    for number, (cell, tree) in enumerate(zip(cells, certificate.trees, strict=True)):
        units = cell.units.count, len(cell.phase)
        leaves += _check_tree(question.norm, cell, iter(enumerate(tree)), certificate.upper, f"tree {number}", told)
    kinds = {kind: leaves[kind] for kind in sorted(leaves)}
    return Verdict(certificate.lower, certificate.upper, question.norm, len(rows[0]), units, kinds)


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
    if certificate.lower < 0 or certificate.lower > certificate.upper:
        raise Refused(f"ends {certificate.lower} and {certificate.upper}", "claim")
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
    found = attained(certificate.nodes, point, question.region.moves, (rows[0][row], rows[1]))
    if not reaches(question.norm, found, certificate.lower):
        raise Refused("the gradient at the witness is smaller than the lower end", "lower")


def _check_tree(
    norm: int, root: Cell, nodes: Iterator[tuple[int, Split | Leaf]], upper: Fraction, where: str, told: _Told
) -> Counter[str]:
    """Goes through a tree in its order: a split, then all of the part with the unit on, then all of the other."""
    open_, leaves = [root], Counter[str]()
    index = {number: unit for unit, number in enumerate(root.units.number)}
    while open_:
        cell = open_.pop()
        at, node = next(nodes, (-1, None))
        place = f"{where}, node {at}"
        if node is None:
            raise Refused("a part of the region is left out", where)
        if isinstance(node, Split):
            if node.unit not in index:
                raise Refused(f"unit {node.unit} is decided, or none of {root.units.count}", place)
            open_ += [cell.child(index[node.unit], -1), cell.child(index[node.unit], 1)]
        else:
            try:
                _check_leaf(norm, cell, node, upper, index)
            except Refused as error:
                raise Refused(error.got, f"{place}, {error.where}") from None
            leaves[node.kind] += 1
        told.one()
    if next(nodes, None) is not None:
        raise Refused("more nodes than its splits make", where)
    return leaves


def _check_leaf(norm: int, cell: Cell, leaf: Leaf, upper: Fraction, index: dict[int, int]) -> None:
    if cell.empty:
        return
    if leaf.kind == "bounds":
        raise Refused("bounds do not contradict each other", leaf.kind)
    squares = [square.over(index) for square in leaf.squares]
    if leaf.kind == "empty":
        if not empties(cell, squares[0].terms):
            raise Refused("the multipliers leave points in the cell", leaf.kind)
        return
    found = gradient(cell)
    proved = {square.entry for square in squares if dominates(norm, cell, found, upper, square)}
    left = set(exceeding(norm, found, limit(norm, cell, upper))) - proved
    if left:
        raise Refused("the gradient is not kept at or below the upper end", leaf.kind)
