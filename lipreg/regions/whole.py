"""All of R^n: the region without an end, and the bounded boxes that stand for it where a network is written over rays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.linalg import vector_norm
from lipreg.regions.balls import Region
from lipreg.regions.draws import draws
from lipreg.regions.halfspaces import Halfspaces  # noqa: F401  the reference reads annotations of inherited fields here
from lipreg.regions.placed import PlacedRegion
from lipreg.regions.reference import check_reference_points

SCALES = (-4.0, 8.0)
"""Powers of ten between which random points are away from the reference point, in units of max(1, its largest entry)."""
THIN = 2.0**-10
"""How thick the sections of a cone are, so that no input of one is fixed."""


class WholeSpace(Region):
    """All of R^n: the region of global Lipschitz constants, the same for every reference point.

    Distances are measured in l2 where the question names no other norm. A data range would make it a ``Box``.

    Args:
        *numbers, **named: there are none: a radius or a range is refused.

    Raises:
        InvalidInput: there are some.
    """

    norm = 2.0
    bounded = False

    def __init__(self, *numbers: Any, **named: Any) -> None:
        if numbers or named:
            arguments = ", ".join([*map(repr, numbers), *(f"{name}={value!r}" for name, value in named.items())])
            todo = "For a data range ask about Box(low, high), or UnitCube()"
            raise InvalidInput(
                f"WholeSpace({arguments}), which has no data range",
                where="WholeSpace",
                accepted="WholeSpace()",
                todo=todo,
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WholeSpace)

    def __hash__(self) -> int:
        return hash(WholeSpace)

    def __repr__(self) -> str:
        return "WholeSpace()"

    def place(self, x0: Tensor) -> PlacedRegion:
        check_reference_points(x0, "WholeSpace")
        return Everywhere.around(x0, -math.inf, math.inf)

    def describe(self) -> dict[str, Any]:
        return {"kind": "WholeSpace", "norm": "2"}

    def phrase(self) -> str:
        return "all of R^n"


class Everywhere(PlacedRegion):
    """All of R^n around each reference point: what holds over its infinite ends, and points of every order of size."""

    @property
    def bounded(self) -> bool:
        return False

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x).flatten(2).all(-1)

    def project(self, x: Tensor) -> Tensor:
        largest = torch.finfo(x.dtype).max
        return x.nan_to_num(nan=0.0).clamp(-largest, largest)

    def sample(self, count: int, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
        """Points in random directions from the reference point, at distances whose logarithms are uniform."""
        center, depth = self.center.unsqueeze(1), len(self.shape)
        size = (self.batch, count, *self.shape)
        normal = draws(torch.randn, size, generator).to(center)
        direction = normal / vector_norm(normal.flatten(2), math.inf).reshape(self.batch, count, *(1,) * depth)
        low, high = SCALES
        power = low + (high - low) * draws(torch.rand, size[:2], generator).to(center)
        unit = center.flatten(2).abs().amax(-1).clamp(min=1.0)
        return self.project(center + direction * (unit * 10.0**power).reshape(self.batch, count, *(1,) * depth))


@dataclass(frozen=True)
class Cone(PlacedRegion):
    """The box |u| <= 1, 0 <= s <= 1 of displacements of a network without biases of its own, the last input being s.

    Every ray from the origin with s >= 0 ends in the surface of the box, and what the network does is the same along a ray.
    So the ``sections``, slabs along the surface, represent all of it: s >= 1 - t, and for each u_i the two with
    |u_i| >= 1 - t; t is ``THIN``.
    """

    @property
    def sections(self) -> tuple[Tensor, Tensor]:
        """Lower and upper ends, in x itself, ``(2 n + 1, n + 1)`` each."""
        low, high = self.lower[0].flatten(), self.upper[0].flatten()
        count = len(low)
        lower, upper = low.repeat(2 * count - 1, 1), high.repeat(2 * count - 1, 1)
        axis = torch.arange(count)
        lower[axis, axis] = 1.0 - THIN
        upper[count + axis[:-1], axis[:-1]] = THIN - 1.0
        return lower, upper

    @classmethod
    def at(cls, point: Tensor) -> Cone:
        """The cone about a point of it, ``(n + 1,)``, which is drawn onto its largest section."""
        center = (point / point.abs().max()).unsqueeze(0)
        low = torch.full_like(center, -1.0)
        low[0, -1] = 0.0
        placed = PlacedRegion.around(center, -math.inf, math.inf, low, torch.ones_like(center))
        return cls(**{field.name: getattr(placed, field.name) for field in fields(placed)})
