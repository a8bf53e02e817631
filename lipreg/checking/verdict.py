"""The check of a certificate: both ends, and counts of the parts that it went through."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from lipreg.checking import rounded
from lipreg.checking.cells import Cell, roots
from lipreg.checking.emptiness import empties, implies
from lipreg.checking.file import WrittenCertificate
from lipreg.checking.flat import flat_at
from lipreg.checking.integers import Array, integers
from lipreg.checking.leaves import Proofs, check_leaf
from lipreg.checking.network import Node
from lipreg.checking.plain import digits
from lipreg.checking.refusal import NotShown, Refused
from lipreg.checking.region import IntegerRegion
from lipreg.checking.squares import steep
from lipreg.checking.trees import check_tree
from lipreg.checking.witness import measured, reaches

CHECKER = "6"
"""Version of this checker."""
SIGNED = 16
"""Rows whose signed sums are gone through: 2^15 of them."""


@dataclass(frozen=True)
class CheckProgress:
    """How far a check is.

    Attributes:
        checked: nodes of the trees that are checked.
        nodes: of the trees.
    """

    checked: int
    nodes: int


@dataclass(frozen=True)
class Verdict:
    """What a check confirms.

    Attributes:
        lower, upper: the claimed ends, both of which hold.
        norm: of the gradients: 1, 2, or 0 for the largest entry.
        functionals: how many rows of outputs were gone through.
        units: how many ReLUs the network has, and how many of them the region leaves unstable.
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


def check(
    certificate: WrittenCertificate, progress: Callable[[CheckProgress], None] | None = None, mode: str = "exact"
) -> Verdict:
    """Checks a certificate.

    Args:
        certificate: as ``read`` returns it.
        progress: called after every node.
        mode: "exact", in whole numbers; or "rounded", the upper end in float64 with a radius for every number, which is
            faster where networks are large, and may refuse what is proved with little to spare. A claim of 0 has nothing to
            spare: what radii do not show of it, whole numbers decide.

    Returns:
        What it confirms, with the mode in which it does.

    Raises:
        Refused: an end is not proved; the message names the place. ``NotShown`` where the rounded mode does not show it:
            whole numbers may.
    """
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}, and there are {', '.join(MODES)}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                return _checked(certificate, progress, mode)
            except NotShown:
                if certificate.upper > 0:
                    raise
                return _checked(certificate, progress, "exact")
    except (OverflowError, MemoryError) as error:
        raise Refused(f"numbers or sizes beyond what memory holds: {error or type(error).__name__}", "file") from None


def _checked(certificate: WrittenCertificate, progress: Callable[[CheckProgress], None] | None, mode: str) -> Verdict:
    question, nodes = certificate.question, certificate.nodes
    needed = 2 ** (len(question.rows) - 1) if question.signs else len(question.rows)
    if needed != len(certificate.trees):
        raise Refused(f"{len(certificate.trees)} trees for {needed} functionals", "upper")
    rows = functionals(question.rows, question.signs)
    _check_lower(certificate, rows)
    reporter = _Reporter(progress, sum(map(len, certificate.trees)))
    whole, proofs, refusal = MODES[mode]
    cells = whole(nodes, question.region.center, question.region.placed(), rows)
    leaves, units = Counter[str](), (0, 0)
    for number, (cell, tree) in enumerate(zip(cells, certificate.trees, strict=True)):
        units = cell.units.count, len(cell.phase)
        closes = partial(check_leaf, proofs, question.norm, upper=certificate.upper)
        leaves += check_tree(closes, proofs.implies, cell, tree, f"tree {number}", refusal, reporter.advance)
    kinds = {kind: leaves[kind] for kind in sorted(leaves)}
    return Verdict(
        certificate.lower, certificate.upper, question.norm, len(rows[0]), units, kinds, reporter.checked, mode
    )


def functionals(rows: Array, signs: bool) -> tuple[Array, int]:
    """The rows of outputs of which the largest gradient is the question, in whole numbers times a power of two.

    With ``signs`` these are all signed sums of the rows, the first sign being +: for output distances in l1.

    Raises:
        Refused: signed sums of too many rows.
    """
    numbers, bits = integers(rows)
    if not signs:
        return numbers, bits
    if len(rows) > SIGNED:
        raise Refused(f"signed sums of {len(rows)} rows, and this checker goes through those of {SIGNED}", "rows")
    choices = [(1, *signs) for signs in itertools.product((1, -1), repeat=len(rows) - 1)]
    return np.array(choices, dtype=object) @ numbers, bits


class _Reporter:
    """Counts nodes, and reports each."""

    def __init__(self, progress: Callable[[CheckProgress], None] | None, nodes: int) -> None:
        self.progress, self.nodes, self.checked = progress, nodes, 0

    def advance(self) -> None:
        self.checked += 1
        if self.progress is not None:
            self.progress(CheckProgress(self.checked, self.nodes))


def _check_lower(certificate: WrittenCertificate, rows: tuple[Array, int]) -> None:
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
        raise Refused(f"the witness lies outside of the region, by {question.region.beyond(point):.3g}", "lower")
    gradient_there = measured(certificate.nodes, point, question.region.placed(), (rows[0][row], rows[1]))
    if not reaches(question.norm, gradient_there, certificate.lower):
        raise Refused("the gradient at the witness is smaller than the lower end", "lower")


def crossing(lower: Fraction, upper: Fraction) -> str:
    """That a lower end is above an upper one, in as many digits as distinguish them."""
    count, shown = 9, ["", ""]
    while shown[0] == shown[1]:
        shown = [digits(end, ROUND_HALF_EVEN, count) for end in (lower, upper)]
        count *= 2
    return f"the lower end {shown[0]} is above the upper end {shown[1]}"


def _flattens(cell: Cell, units: Sequence[int]) -> bool:
    places = list(units)
    return flat_at(cell.rows[places] * cell.phase[places].astype(object)[:, None], cell.units.first)


def rounded_roots(
    nodes: tuple[Node, ...], center: Array, region: IntegerRegion, functionals: tuple[Array, int]
) -> list[rounded.Cell]:
    """The whole region in float64, once for each row of functionals.

    Of a unit whose bound is 0 to the last digit, as of a maximum of two that are both off, radii hide the side, on which
    trees that were grown in whole numbers have it: there whole numbers decide.

    Args:
        nodes, center, region, functionals: as for ``rounded.roots``.
    """
    cells = list(rounded.roots(nodes, center, region, functionals))
    if not rounded.touching(cells[0]):
        return cells
    (whole, *_) = roots(nodes, center, region, functionals)
    return list(rounded.roots(nodes, center, region, functionals, whole.units.decided))


Mode = tuple[Callable[..., Iterable[Any]], Proofs, type[Refused]]
MODES: dict[str, Mode] = {
    "exact": (roots, Proofs(empties, _flattens, steep, implies), Refused),
    "rounded": (
        rounded_roots,
        Proofs(rounded.empties, rounded.has_empty_interior, rounded.steep, rounded.implies),
        NotShown,
    ),
}
