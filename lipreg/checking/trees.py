"""The check of a tree, node by node: that its parts cover the region, and that each is closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lipreg.checking import rounded
from lipreg.checking.cells import Cell
from lipreg.checking.file import ImpliedSide, Leaf, Split, Step
from lipreg.checking.refusal import Refused
from lipreg.checking.squares import Square

Part = Cell | rounded.Cell
"""A part of the region, in whole numbers or in float64."""


def check_tree(
    closes: Callable[..., None],
    implied: Callable[..., bool],
    root: Part,
    tree: Sequence[Step],
    where: str,
    refusal: type[Refused],
    advance: Callable[[], None],
) -> Counter[str]:
    """Goes through a tree in its order: a split, then all of the part with the unit on, then all of the other.

    Args:
        closes: judges a leaf, in the mode's arithmetic: it raises ``Refused``.
        implied: judges the multipliers of an implied side, in the mode's arithmetic.
        root: the whole region.
        tree: the nodes in preorder.
        where: its place in the certificate, for errors.
        refusal: of a node that is not proved.
        advance: called after every node.

    Returns:
        The leaves, counted by kind.

    Raises:
        Refused: a node is missing, too many or not proved; the message names its place.
    """
    parts, leaves, nodes = list[Part]([root]), Counter[str](), iter(enumerate(tree))
    index = {number: unit for unit, number in enumerate(root.units.number)}
    while parts:
        cell = parts.pop()
        at, node = next(nodes, (-1, None))
        place = f"{where}, node {at}"
        if node is None:
            raise Refused("a part of the region is left out", where)
        try:
            match node:
                case Split(unit=unit):
                    parts += parted(cell, unit, index)[::-1]
                case ImpliedSide():
                    parts.append(sided(cell, node, index, implied))
                case Leaf():
                    closes(cell, node, index=index)
                    leaves[node.kind] += 1
        except KeyError as missing:
            raise Refused(f"unit {missing.args[0]}, and there are {root.units.count}", place) from None
        except Refused as error:
            raise refusal(error.got, f"{place}, {error.where}") from None
        advance()
    if next(nodes, None) is not None:
        raise Refused("more nodes than its splits make", where)
    return leaves


def parted(cell: Part, number: int, index: Mapping[int, int]) -> tuple[Any, Any]:
    """Where a unit is on, and where it is off. One that the region decides has all of the cell on its side.

    Args:
        cell: what is split.
        number: of the unit, among all.
        index: of the units that the region leaves unstable, by their numbers.

    Raises:
        KeyError: there is no such unit.
    """
    if number in index:
        return cell.child(index[number], 1), cell.child(index[number], -1)
    nothing = replace(cell, empty=True)
    return (cell, nothing) if cell.units.decided[number] > 0 else (nothing, cell)


def sided(cell: Any, node: ImpliedSide, index: Mapping[int, int], implied: Callable[..., bool]) -> Any:
    """A part in which a unit is shown to be on its side; as it is where it is empty, or the unit is decided already.

    Args:
        cell: the part.
        node: names the unit, its side and the multipliers.
        index: of the units that the region leaves unstable, by their numbers.
        implied: judges the multipliers, in the mode's arithmetic.

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
    return cell.with_side(unit, node.side)
