"""What a bias was added up from: constants, and the maps that each went through."""

from __future__ import annotations

from torch import Tensor

from lipreg.linalg import Composed, LinearMap, Shape, Sum, identity, is_proof, moves_exactly

Parts = tuple[tuple[LinearMap | None, Tensor], ...]
"""As ``Affine.bias_of``."""


def mapped(map: LinearMap, own: LinearMap | None, part: Tensor) -> tuple[LinearMap | None, Tensor]:
    """A part of a bias after another map."""
    if own is None:
        return (None, map(part)) if moves_exactly(map) else (map.exactly, part)
    return Composed(map.exactly, own), part


def added_up(parts: Parts, shape: Shape) -> Parts:
    """The parts of a bias, those of one constant together: else they would be twice as many after each x + B x."""
    found: dict[int, tuple[LinearMap | None, Tensor]] = {}
    for map, part in parts:
        if id(part) not in found:
            found[id(part)] = map, part
            continue
        own = found.pop(id(part))[0]
        if own is None and map is None:
            double = 2.0 * part
            found[id(double)] = None, double
        else:
            one, other = (identity(shape, shape, part) if each is None else each for each in (own, map))
            found[id(part)] = Sum(one, other), part
    return tuple(found.values())


def constant_parts(bias: Tensor) -> Parts:
    """A constant as the only part of a bias; none where it is 0, or nothing can be proved of it."""
    return ((None, bias),) if is_proof(bias) and bool(bias.any()) else ()
