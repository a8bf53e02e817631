"""The tree of a proof that a constant is at most a given number: grown from the root, closed where the checker can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lipreg.certificates.choosing import best_unit
from lipreg.certificates.interior import Points, Sampler
from lipreg.certificates.multipliers import codes, emptied
from lipreg.certificates.refusal import NoCertificate
from lipreg.certificates.weights import squared
from lipreg.checking.cells import Cell, Gradient, gradient
from lipreg.checking.squares import exceeding, limit


@dataclass
class Tree:
    """A tree in preorder, as a certificate writes it.

    Attributes:
        norm: of gradients, as in ``lipreg.checking``.
        upper: what is to be proved.
        nodes: written so far.
        kinds: of what is written, counted.
    """

    norm: int
    upper: Fraction
    nodes: list[list[Any]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def grow(self, root: Cell, going_on: Callable[[], None]) -> None:
        """Grows the tree of a functional, depth first.

        Args:
            root: the whole region.
            going_on: called before every node; raises to end.

        Raises:
            NoCertificate: a part with all units known can neither be bounded nor be seen to be empty.
        """
        sampler = Sampler(root)
        parts = [_Part(root, sampler.drawn())]
        while parts:
            going_on()
            part = parts.pop()
            leaf = part.leaf or self._closed(part, sampler)
            if leaf is not None:
                self._write(leaf)
                continue
            cell = part.cell
            if not len(cell.open):
                raise NoCertificate(
                    f"a linear piece steeper than {float(self.upper):.9g}, of which it is not seen that it is empty",
                    where="certificate",
                )
            sides = _one_sided(part, sampler)
            if sides is None:
                unit = best_unit(cell, self.norm)
                sides = [_Part(cell.child(unit, side), part.points.on(unit, side)) for side in (-1, 1)]
            else:
                unit, sides = sides
            self._write(["split", cell.units.number[unit]])
            parts += sides

    def _write(self, node: list[Any]) -> None:
        self.nodes.append(node)
        self.kinds[node[0]] += 1

    def _closed(self, part: _Part, sampler: Sampler) -> list[Any] | None:
        """The leaf that closes a part, or None."""
        cell = part.cell
        if cell.empty:
            return ["bounds"]
        found = gradient(cell)
        entries = exceeding(self.norm, found, limit(self.norm, cell, self.upper))
        if not entries:
            return ["gradient"]
        squares = self._squared(cell, found, entries)
        return ["square", squares] if squares is not None else part.emptied(sampler)

    def _squared(self, cell: Cell, found: Gradient, entries: list[int]) -> list[dict[str, Any]] | None:
        """What settles all of some entries, or the norm; None where one is not settled."""
        squares = []
        for entry in entries if len(cell.open) else ():
            square = squared(self.norm, cell, found, self.upper, entry)
            if square is None:
                return None
            squares.append({"entry": entry, "terms": codes(cell, square.terms), "weights": list(square.weights)})
        return squares or None


@dataclass
class _Part:
    """A cell that is still to be written, points of it, and the leaf that closes it, where that is known."""

    cell: Cell
    points: Points
    leaf: list[Any] | None = None

    def emptied(self, sampler: Sampler) -> list[Any] | None:
        """The leaf that shows it to be empty; where there is none, a point that is found meanwhile is kept."""
        if self.cell.empty:
            return ["bounds"]
        if len(self.points) or not self.cell.phase.any():
            return None
        found = emptied(self.cell)
        if isinstance(found, tuple):
            return ["empty", codes(self.cell, found)]
        if found is not None:
            self.points = sampler.inside(self.cell, sampler.at(found[None]))
        return None


def _one_sided(part: _Part, sampler: Sampler) -> tuple[int, list[_Part]] | None:
    """A unit that is on one side in all of a part, with both sides as parts, the empty one with its leaf."""
    part.points = sampler.more(part.cell, part.points)
    for unit, side in part.points.one_sided(part.cell.open):
        missing = _Part(part.cell.child(unit, side), part.points[:0])
        missing.leaf = missing.emptied(sampler)
        if missing.leaf is not None:
            sides = [missing, _Part(part.cell.child(unit, -side), part.points)]
            return unit, sides if side < 0 else sides[::-1]
        part.points = part.points + missing.points
    return None
