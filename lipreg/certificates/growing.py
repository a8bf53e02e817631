"""The tree of a proof that a constant is at most a given number: grown from the root, closed where the checker can.

It grows in the checker's rounded mode; where that is too coarse for a part with no unstable unit, in whole numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lipreg.certificates.choosing import best_unit
from lipreg.certificates.implied import implied
from lipreg.certificates.interior import CellPoints, Sampler
from lipreg.certificates.multipliers import Sides, codes, emptied
from lipreg.certificates.refusal import NoCertificate
from lipreg.certificates.weights import squared
from lipreg.checking import cells as exact
from lipreg.checking.cells import GradientIntervals
from lipreg.checking.emptiness import Term
from lipreg.checking.rounded import Cell, below, exceeding, gradient
from lipreg.checking.squares import exceeding as exceeding_exactly
from lipreg.checking.squares import limit
from lipreg.checking.trees import parted

TRIES, PAYS = 12, 0.02
"""Empty sides of units are sought while this share of the tries beyond the first ones finds one."""


@dataclass
class Tree:
    """A tree in preorder, as a certificate writes it.

    Attributes:
        norm: of gradients, as in ``lipreg.checking``.
        upper: what is to be proved.
        whole: makes the whole region's cell in whole numbers, when one is needed.
        spare: share of ``upper`` that squares leave to rounding.
        nodes: written so far.
        kinds: of what is written, counted.
        attempts, successes: how often a unit was thought to be on one side, and was shown to be.
    """

    norm: int
    upper: Fraction
    whole: Callable[[], exact.Cell]
    spare: float
    nodes: list[list[Any]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    successes: int = 0

    def grow(self, root: Cell, check_budget: Callable[[], None]) -> None:
        """Grows the tree of a functional, depth first.

        Args:
            root: the whole region.
            check_budget: called before every node; raises to end.

        Raises:
            NoCertificate: a part with no unstable unit can neither be bounded nor be seen to be empty.
        """
        sampler = Sampler(root)
        parts = [_Part(root, sampler.drawn())]
        while parts:
            check_budget()
            part = parts.pop()
            leaf = self._closed(part, sampler)
            if leaf is None and not len(part.cell.unstable):
                leaf = self._closed_exactly(part)
            if leaf is not None:
                self._write(leaf)
                continue
            seen = implied(part.cell) or self._one_sided(part, sampler)
            if seen is not None:
                unit, side, terms = seen
                at = "on" if side > 0 else "off"
                self._write(["known", part.cell.units.number[unit], at, codes(part.cell, terms)])
                parts.append(part.with_side(unit, side))
                continue
            unit = best_unit(part.cell, self.norm)
            self._write(["split", part.cell.units.number[unit]])
            parts += [part.child(unit, side, part.points.on(unit, side)) for side in (-1, 1)]

    def _write(self, node: list[Any]) -> None:
        self.nodes.append(node)
        self.kinds[node[0]] += 1

    def _closed(self, part: _Part, sampler: Sampler) -> list[Any] | None:
        """The leaf that closes a part, or None."""
        cell, most = part.cell, below(self.upper)
        if cell.empty:
            return ["bounds"]
        bounds = gradient(cell)
        entries = exceeding(self.norm, bounds, most)
        if not entries:
            return ["gradient"]
        squares = self._squared(cell, bounds, most, entries)
        return ["square", squares] if squares is not None else part.emptied(sampler)

    def _closed_exactly(self, part: _Part) -> list[Any]:
        """The leaf of a part with no unstable unit, where rounding stands in the way."""
        cell = self.whole()
        index = {number: unit for unit, number in enumerate(cell.units.number)}
        for step in part.path:
            if not step.implied:
                cell = parted(cell, step.number, index)[step.side < 0]
            elif step.number in index:
                cell = cell.with_side(index[step.number], step.side)
        if cell.empty:
            return ["bounds"]
        bounds = exact.gradient(cell)
        if not exceeding_exactly(self.norm, bounds, limit(self.norm, cell, self.upper)):
            return ["gradient"]
        raise NoCertificate(
            f"a linear piece steeper than {float(self.upper):.9g}, of which it is not seen that it is empty",
            where="certificate",
        )

    def _squared(
        self, cell: Cell, bounds: GradientIntervals, most: float, entries: list[int]
    ) -> list[dict[str, Any]] | None:
        """What settles all of some entries, or the norm; None where one is not settled."""
        squares = []
        for entry in entries if len(cell.unstable) else ():
            square = squared(self.norm, cell, bounds, most, entry, self.spare)
            if square is None:
                return None
            terms, weights = codes(cell, square.terms), list(square.weights)
            squares.append({"entry": entry, "alone": list(square.alone or ()), "terms": terms, "weights": weights})
        return squares or None

    def _one_sided(self, part: _Part, sampler: Sampler) -> tuple[int, int, tuple[Term, ...]] | None:
        """A unit that is on one side in all of a part, that side, and the multipliers that show it."""
        if self.attempts > TRIES + self.successes / PAYS:
            return None
        part.points = sampler.more(part.cell, part.points)
        sought = part.points.one_sided(part.cell.unstable)
        if not sought:
            return None
        sides = Sides.of(part.cell)
        for unit, side in sought:
            self.attempts += 1
            result = sides.missing(unit, side)
            if isinstance(result, tuple):
                self.successes += 1
                return unit, -side, result
            if result is not None:
                part.points = part.points + sampler.inside(part.cell, sampler.at(result[None]))
        return None


@dataclass(frozen=True)
class _Step:
    """A unit, by its number, that a split put on a side, or that is shown to be there."""

    number: int
    side: int
    implied: bool = False


@dataclass
class _Part:
    """A cell that is still to be written, points of it, and how it was come to."""

    cell: Cell
    points: CellPoints
    path: tuple[_Step, ...] = ()

    def child(self, unit: int, side: int, points: CellPoints) -> _Part:
        """The part where a unit is on or off."""
        path = (*self.path, _Step(self.cell.units.number[unit], side))
        return _Part(self.cell.child(unit, side), points, path)

    def with_side(self, unit: int, side: int) -> _Part:
        """The same part, in which a unit is shown to be on one side."""
        step = _Step(self.cell.units.number[unit], side, implied=True)
        return _Part(self.cell.with_side(unit, side), self.points, (*self.path, step))

    def emptied(self, sampler: Sampler) -> list[Any] | None:
        """The leaf that shows it to be empty; where there is none, a point of it that the program ends at is kept."""
        if self.cell.empty:
            return ["bounds"]
        if len(self.points) or not self.cell.phase.any():
            return None
        result = emptied(self.cell)
        if isinstance(result, list):
            return result
        if result is not None:
            self.points = sampler.inside(self.cell, sampler.at(result[None]))
        return None
