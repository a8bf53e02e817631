"""Polytopes given by half-spaces: one fixed polytope, or one carried along with the reference point."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.linalg.floats import spacing
from lipreg.regions.balls import Region, cast_outwards, plain, read
from lipreg.regions.halfspaces import Halfspaces
from lipreg.regions.placed import PlacedRegion
from lipreg.regions.ranges import Unbounded, coordinate_ranges, deepest_point
from lipreg.regions.reference import MIN_FLOATS, check_reference_points, rounding_slack

FLAT = 1e-9
"""A polytope whose largest ball is smaller than this share of its width counts as flat."""
LARGEST = 1e120
"""Magnitudes of a row up to which its products stay in the range of float64."""
WRITTEN_OUT = 256
"""Up to so many numbers A is written into descriptions; beyond, its shape and a hash."""


@dataclass(frozen=True)
class Polytope(Region):
    """{x : A x <= b, low <= x <= high}, with an interior.

    The polytope must be bounded, by its rows or by low and high, and full-dimensional over the coordinates not fixed: the
    regional constant is the largest gradient over an open set, and over a flat set only the directions inside it count,
    which is another constant. Each coordinate's range over the polytope is proved by two linear programs when the region
    is made (a few milliseconds a coordinate), so make it once.

    Closed-form bounds and penalties use that box alone, which holds the polytope: they are sound and batched, and as loose
    as the box is. ``lp``, ``mip`` and ``mip_pointed`` have the rows themselves.

    Args:
        A: rows of the half-spaces, ``(rows, n)`` or ``(rows, *input shape)``: nested sequences, an array or a tensor.
        b: their right-hand sides, ``(rows,)``.
        low, high: the box that cuts them: a number, numbers of the input's shape, or None for open. A coordinate with
            low = high is a constant of the question.
        relative: A (x - x0) <= b around each reference point x0, with b > 0; low and high stay where they are.

    Raises:
        InvalidInput: shapes that do not fit, numbers that are not finite, rows without a coordinate, a polytope that is
            empty, flat or unbounded; it names the rows or the coordinate.
    """

    A: Any
    b: Any
    low: float | Sequence[Any] | Tensor | None = None
    high: float | Sequence[Any] | Tensor | None = None
    relative: bool = False
    norm = math.inf
    _box: tuple[Tensor, Tensor] = field(init=False, repr=False, compare=False)
    _interior_point: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        matrix, right = read("A", self.A, "Polytope"), read("b", self.b, "Polytope")
        if matrix.dim() < 2 or right.dim() != 1 or len(matrix) != len(right) or not matrix.numel():
            raise InvalidInput(
                f"A of shape {tuple(matrix.shape)} and b of shape {tuple(right.shape)}",
                where="Polytope",
                accepted="A (rows, n) or (rows, *input shape), b (rows,)",
            )
        flat = matrix.flatten(1)
        ends = []
        for name, open_end in (("low", -math.inf), ("high", math.inf)):
            value = getattr(self, name)
            end = torch.tensor(open_end, dtype=torch.float64) if value is None else read(name, value, "Polytope")
            if end.dim() and end.shape != matrix.shape[1:] and end.shape != flat.shape[1:]:
                raise InvalidInput(
                    f"{name} of shape {tuple(end.shape)} beside A of shape {tuple(matrix.shape)}",
                    where="Polytope",
                    accepted=f"a number, or shape {tuple(matrix.shape[1:])}",
                )
            ends.append(end.flatten().expand(flat.shape[1]).numpy())
            object.__setattr__(self, name, None if value is None else plain(end.tolist()))
            if value is not None and not torch.isfinite(end).all():
                raise InvalidInput(f"{name} holds NaN or infinity", where="Polytope", accepted="numbers, or None")
        for name, numbers in (("A", matrix), ("b", right)):
            if not torch.isfinite(numbers).all():
                raise InvalidInput(f"{name} holds NaN or infinity", where="Polytope", accepted="finite numbers")
            object.__setattr__(self, name, plain(numbers.tolist()))
        sizes = flat.abs().sum(1)
        wild = (sizes > LARGEST) | ((sizes > 0) & (sizes < 1.0 / LARGEST)) | (right.abs() > LARGEST)
        if wild.any():
            row = int(wild.int().argmax())
            raise InvalidInput(
                f"row {row}: magnitudes of A that add up to {float(sizes[row]):.3g}, b = {float(right[row]):.3g}",
                where="Polytope",
                accepted=f"sums from {1.0 / LARGEST:g} to {LARGEST:g}, and b up to that",
                todo="Multiply the row and its b by a number",
            )
        low, high = self._checked(flat.numpy(), right.numpy(), *ends)
        object.__setattr__(self, "_box", (torch.from_numpy(low), torch.from_numpy(high)))

    def _checked(
        self, matrix: np.ndarray, right: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The box of x, or of x - x0 where relative; refuses what has no interior or no end."""
        if (low > high).any():
            raise InvalidInput(f"low above high in coordinate {int((low > high).argmax())}", where="Polytope")
        idle = (matrix[:, low < high] == 0).all(1)
        if idle.any():
            raise InvalidInput(
                f"row {int(idle.argmax())} of A is 0 in every coordinate with low < high", where="Polytope"
            )
        if self.relative:
            if (right <= 0).any():
                row = int((right <= 0).argmax())
                raise InvalidInput(
                    f"b[{row}] = {right[row]:g} leaves the reference point outside or on the border",
                    where="Polytope",
                    accepted="b > 0 with relative=True",
                )
            # wherever in [low, high] the reference point is, rounded outwards
            low, high = (
                np.where(low < high, np.nextafter(w, s * np.inf), 0.0) for w, s in ((low - high, -1), (high - low, 1))
            )
        deepest = deepest_point(matrix, right, low, high)
        rows = ", ".join(map(str, deepest.rows)) or "none"
        if deepest.depth < -FLAT * max(1.0, float(np.abs(deepest.point).max())):
            raise InvalidInput(
                f"the polytope is empty: no point satisfies rows {rows} of A and the box together",
                where="Polytope",
                todo="Check the signs: a row means A[i] . x <= b[i]",
            )
        try:
            lower, upper = coordinate_ranges(matrix, right, low, high)
        except Unbounded as error:
            raise InvalidInput(
                f"coordinate {error.coordinate} has no {'upper' if error.upwards else 'lower'} end",
                where="Polytope",
                accepted="a bounded polytope",
                todo="Give low and high",
            ) from None
        if deepest.depth <= FLAT * float((upper - lower).max()):
            raise InvalidInput(
                f"the polytope is flat, without interior: rows {rows} of A and the box hold it in a subspace, where only "
                "directions inside it count, which is another constant",
                where="Polytope",
                accepted="a polytope with interior; a single coordinate may be fixed by low = high",
                todo="Write the network over coordinates of the subspace",
            )
        object.__setattr__(self, "_interior_point", torch.from_numpy(deepest.point))
        return lower, upper

    def place(self, x0: Tensor) -> PlacedRegion:
        check_reference_points(x0, "Polytope")
        matrix, right = (torch.tensor(v, dtype=torch.float64) for v in (self.A, self.b))
        matrix = matrix.flatten(1)
        if x0[0].numel() != matrix.shape[1]:
            raise InvalidInput(
                f"A has {matrix.shape[1]} columns, the reference points {x0[0].numel()} coordinates",
                where="Polytope",
                accepted="one column a coordinate",
            )
        matrix, right = matrix.to(x0), right.to(x0).expand(len(x0), -1)
        x, placed = self._in_box(x0.flatten(1))
        if self.relative:
            inner = _off_the_walls(x, (placed.lower + placed.upper) / 2, matrix, right)
            half = Halfspaces(matrix, right, inner, x)
        else:
            half = Halfspaces(matrix, right, self._interior_point.to(x).expand_as(x), torch.zeros_like(x))
            slack = half.slack(x.unsqueeze(1))[:, 0]
            scale = float((x.abs() @ matrix.abs().T + right.abs()).max())
            wrong = slack < -rounding_slack(x0, scale)
            if wrong.any():
                i, row = wrong.nonzero()[0].tolist()
                raise InvalidInput(
                    f"reference point {i} violates row {row}: A[{row}] . x is {right[i, row] - slack[i, row]:.6g}, "
                    f"above b[{row}] = {right[i, row]:.6g}",
                    where="Polytope",
                    accepted="reference points inside the polytope",
                    todo="Or carry the polytope along with the point: relative=True",
                )
            points = x.unsqueeze(1)
            inside = half.contains(points, torch.ones_like(points[..., 0], dtype=torch.bool)).unsqueeze(-1)
            lowest, highest = (end.unsqueeze(1) for end in placed.ends)
            x = torch.where(inside, points, half.draw_inside(points, lowest, highest))[:, 0]
        self._check_resolved(half, placed)
        open_end = torch.full_like(x, math.inf)
        down, up = placed.displacement_ends if self.relative else (-open_end, open_end)
        ends = (end.reshape(x0.shape) for end in (down, up, placed.lower, placed.upper))
        return PlacedRegion.around(x.reshape(x0.shape), *ends, halfspaces=half)

    def _in_box(self, x: Tensor) -> tuple[Tensor, PlacedRegion]:
        """The points, cut by a rounding error, and their boxes; refuses points outside low and high."""
        open_ends = ((self.low, -math.inf), (self.high, math.inf))
        low, high = (
            torch.tensor(open_end if end is None else end, dtype=torch.float64).flatten().expand(x.shape[1])
            for end, open_end in open_ends
        )
        size = float(torch.cat([low, high]).nan_to_num(posinf=0.0, neginf=0.0).abs().max())
        slack = rounding_slack(x, size)
        low, high = cast_outwards(low, high, x)
        outside = (x < low - slack) | (x > high + slack)
        if outside.any():
            i, j = outside.nonzero()[0].tolist()
            raise InvalidInput(
                f"reference point {i} has coordinate {j} at {x[i, j]:.6g}, outside low and high",
                where="Polytope",
                todo="Set low and high in the units of the network's input",
            )
        ends = cast_outwards(*self._box, x)
        if self.relative:
            x = x.clamp(low, high)
            return x, PlacedRegion.around(x, *ends, low, high)
        x = x.clamp(*ends)
        return x, PlacedRegion.around(x, -math.inf, math.inf, *ends)

    @staticmethod
    def _check_resolved(half: Halfspaces, box: PlacedRegion) -> None:
        """Refuses a polytope of which float64 holds hardly a point."""
        inner, apart = half.interior_point.unsqueeze(1), spacing(box.center)
        lost = ~(half.surely_holds(inner) & box.contains(inner))[:, 0]
        lost |= (box.movable & (box.up - box.down < 2 * MIN_FLOATS * apart)).any(-1)
        if lost.any() and inner.dtype == torch.float64:
            i = int(lost.nonzero()[0])
            raise InvalidInput(
                f"the polytope is lost in rounding at reference point {i}: where its coordinate {int(apart[i].argmax())} is "
                f"{float(box.center[i, apart[i].argmax()]):.17g}, float64 numbers lie {float(apart[i].max()):.3g} apart",
                where="Polytope",
                todo="Shift or scale the inputs, and the network's first layer with them, or take a larger polytope",
            )

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "Polytope",
            "norm": "inf",
            "A": _described(self.A),
            "b": _described(self.b),
            "low": self.low,
            "high": self.high,
            "relative": self.relative,
        }

    def phrase(self) -> str:
        rows = f"{len(self.b)} half-space{'s' if len(self.b) != 1 else ''}"
        return f"a polytope of {rows}" + (" around the reference point" if self.relative else "")


def _off_the_walls(x: Tensor, middle: Tensor, matrix: Tensor, right: Tensor) -> Tensor:
    """Points between x, strictly inside the rows, and the middle of its box: at most half of the way to the nearest row."""
    used = (middle - x) @ matrix.T
    share = torch.where(used > 0, 0.5 * right / used.clamp(min=torch.finfo(x.dtype).tiny), torch.ones_like(used))
    return x + share.amin(-1, keepdim=True).clamp(max=0.5) * (middle - x)


def _described(numbers: Any) -> Any:
    """Nested numbers for a description: themselves, or where they are many their shape and a hash."""
    array = np.asarray(numbers, dtype=np.float64)
    if array.size <= WRITTEN_OUT:
        return numbers
    return {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
