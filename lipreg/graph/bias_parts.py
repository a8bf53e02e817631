"""The exact parts of a bias: the constants that it is the sum of, and the map that each went through."""

from __future__ import annotations

from torch import Tensor

from lipreg.linalg import Composed, LinearMap, Shape, Sum, identity, is_proof, is_signed_selection

Parts = tuple[tuple[LinearMap | None, Tensor], ...]
"""Maps, None for the identity, and the constants that they act on; see ``Affine.bias_of``."""


def mapped(map: LinearMap, inner: LinearMap | None, part: Tensor) -> tuple[LinearMap | None, Tensor]:
    """A part of a bias once another map has acted on it.

    Args:
        map: the map.
        inner: the map that the part has gone through before; None for the identity.
        part: the constant.

    Returns:
        A part whose exact value is map(own(part)). A map that only moves entries acts on a plain constant at once.
    """
    if inner is None:
        return (None, map(part)) if is_signed_selection(map) else (map.exact_form, part)
    return Composed(map.exact_form, inner), part


def added_up(parts: Parts, shape: Shape) -> Parts:
    """The parts of a bias, with those of one constant added up to one part.

    Without that a sum x + B x would double their number each time.
    """
    merged: dict[int, tuple[LinearMap | None, Tensor]] = {}
    for map, part in parts:
        if id(part) not in merged:
            merged[id(part)] = map, part
            continue
        own = merged.pop(id(part))[0]
        if own is None and map is None:
            double = 2.0 * part
            merged[id(double)] = None, double
        else:
            one, other = (identity(shape, shape, part) if each is None else each for each in (own, map))
            merged[id(part)] = Sum(one, other), part
    return tuple(merged.values())


def constant_parts(bias: Tensor) -> Parts:
    """A constant as the only part of a bias; no parts where it is 0, or where nothing can be proved of it."""
    return ((None, bias),) if is_proof(bias) and bool(bias.any()) else ()
