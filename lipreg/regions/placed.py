"""A region around each point of a batch: a box, cut by an l1 or l2 ball about its reference point or by half-spaces.

A region is a set of real points. Its reference point is a float, its ends need not be: near 1.7e9 float64 numbers lie 2.4e-7
apart. So it is carried as displacements d = x - center, which keep their own precision, and every number made of it is
rounded to the side on which a bound stays a bound.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lipreg.linalg import dual_norm, vector_norm
from lipreg.linalg.floats import add_above, add_below, cast_above, cast_below, inflation, norm_above, two_sum
from lipreg.regions.ball_in_box import support_above
from lipreg.regions.draws import draws
from lipreg.regions.halfspaces import Halfspaces
from lipreg.regions.spheres import within


@dataclass(frozen=True)
class PlacedRegion:
    """X_i = {x : lower_i <= x <= upper_i, |x - center_i|_norm <= radius, A (x - origin_i) <= levels_i}, i in a batch.

    Every region of lipreg is of this form, so bounds need no cases: an l_inf ball and a box have ``norm`` inf and are
    their ends; l1 and l2 balls keep their ball, cut by the data range; polytopes keep their rows, which ``support`` and
    ``distance`` leave out (what holds over the box holds over X) and everything else uses.

    Attributes:
        center: reference points x0, ``(batch, *shape)``, in X.
        lower, upper: the real ends of a box around X, rounded outwards, ``(batch, *shape)``; the smallest box, but for some
            polytopes (carried along with their point and cut by a data range, or of many coordinates).
        down, up: the ends of {x - center : x in X}, rounded outwards, down <= 0 <= up: -radius and radius themselves for a
            ball that nothing cuts; both 0 where the real ends coincide.
        norm: the norm of the ball, 1, 2 or inf.
        radius: radius of the ball in that norm; inf where X is its box.
        halfspaces: the rows of a polytope; None for the others.
    """

    center: Tensor
    lower: Tensor
    upper: Tensor
    down: Tensor
    up: Tensor
    norm: float
    radius: float
    halfspaces: Halfspaces | None = None

    @classmethod
    def around(
        cls,
        center: Tensor,
        down: Tensor | float,
        up: Tensor | float,
        low: Tensor | float = -math.inf,
        high: Tensor | float = math.inf,
        *,
        norm: float = math.inf,
        radius: float = math.inf,
        halfspaces: Halfspaces | None = None,
    ) -> PlacedRegion:
        """{center + d : down <= d <= up} cut to low <= x <= high, which holds the center, and by the ball and the rows.

        Args:
            center: reference points, ``(batch, *shape)``.
            down, up: ends of the displacements d, numbers or tensors that broadcast with the center.
            low, high: ends of x, likewise.
            norm, radius: of the ball; radius inf for none.
            halfspaces: rows of a polytope.
        """
        down, up, low, high = (torch.as_tensor(end).to(center).expand_as(center) for end in (down, up, low, high))
        return cls(
            center,
            torch.maximum(add_below(center, down), low),
            torch.minimum(add_above(center, up), high),
            torch.maximum(down, add_below(low, -center)),
            torch.minimum(up, add_above(high, -center)),
            norm,
            radius,
            halfspaces,
        )

    @property
    def batch(self) -> int:
        """How many regions there are."""
        return self.center.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.center.shape[1:])

    @property
    def movable(self) -> Tensor:
        """Which coordinates vary over X, ``(batch, *shape)`` bool; the others are constants of the question."""
        return self.up > self.down

    @property
    def bounded(self) -> bool:
        """Whether it has ends; all of R^n alone has none."""
        return True

    @property
    def displacement_ends(self) -> tuple[Tensor, Tensor]:
        """How far each coordinate can go down (at most 0) and up from its reference point, ``(batch, inputs)`` each."""
        return self.down.flatten(1), self.up.flatten(1)

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest float of each coordinate that lie in the real box, ``(batch, *shape)`` each."""
        lowest = torch.maximum(self.lower, add_above(self.center, self.down))
        return lowest, torch.minimum(self.upper, add_below(self.center, self.up))

    @cached_property
    def cut(self) -> bool:
        """Whether anything of the ball's own box is cut away somewhere, beside inputs that are fixed."""
        return bool((self.movable & ((self.down > -self.radius) | (self.up < self.radius))).any())

    def __getitem__(self, index: slice | Tensor) -> PlacedRegion:
        rows = None if self.halfspaces is None else self.halfspaces[index]
        parts = {name: getattr(self, name)[index] for name in ("center", "lower", "upper", "down", "up")}
        return replace(self, **parts, halfspaces=rows)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> PlacedRegion:
        """The same region in another dtype and on another device: the center as it is rounded there, ends outwards."""
        if self.center.dtype == dtype and self.center.device == torch.device(device):
            return self
        center = self.center.to(dtype=dtype, device=device)
        fixed = ~self.movable.to(center.device)  # these stay constants
        lower, down = (
            torch.where(fixed, value, cast_below(end, center)) for end, value in ((self.lower, center), (self.down, 0))
        )
        upper, up = (
            torch.where(fixed, value, cast_above(end, center)) for end, value in ((self.upper, center), (self.up, 0))
        )
        rows = None if self.halfspaces is None else self.halfspaces.to(dtype, device)
        return PlacedRegion(center, lower, upper, down, up, self.norm, self.radius, rows)

    def support(self, rows: Tensor, ends: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """sup over x in X of rows . (x - center), for rows ``(batch, k, *shape)``; returns ``(batch, k)``, rounded up.

        Exact for boxes, for l1 balls cut by a box (a fractional knapsack) and for uncut l2 balls; for an l2 ball that
        the box cuts it is an upper bound that is nearly so (``support_above``), never more than box or ball alone; for
        polytopes that of their box, an upper bound too. Differentiable in ``rows``.

        Args:
            rows: linear forms, ``(batch, k, *shape)``.
            ends: least and largest displacements of the coordinates that the rows are about, where each row is about some
                coordinates of its own: rows are then ``(..., coordinates)``, and ends broadcast with them.
        """
        flat = rows.flatten(2) if ends is None else rows
        down, up = (end.unsqueeze(1) for end in self.displacement_ends) if ends is None else ends
        above = inflation(flat.shape[-1], flat)
        if self.norm == 1.0:
            most = torch.where(flat >= 0, up, -down).expand_as(flat)
            size, order = flat.abs().sort(-1, descending=True)
            most = most.gather(-1, order)
            # what the larger entries leave of the radius; a sum that is rounded down leaves no less than there is
            spent = torch.nn.functional.pad(most.cumsum(-1)[..., :-1], (1, 0)) * (2.0 - above)
            step = torch.minimum(most, (self.radius - spent).clamp(min=0.0))
            return (size * step).sum(-1) * above
        gain = torch.maximum(flat * up, flat * down)  # the most that each coordinate adds on its own, >= 0
        box = gain.sum(-1) * above
        if self.norm == 2.0:
            # fixed coordinates add nothing, so the ball's supremum runs over the others
            flat = flat * (up > down)
            ball = torch.minimum(box, self.radius * norm_above(flat, 2.0) * above)
            return torch.minimum(ball, support_above(flat, down, up, self.radius)) if self.cut else ball
        return box

    def distance(self, p: float, units: Tensor | None = None) -> Tensor:
        """An upper bound on sup over X of |x - center|_p, ``(batch,)``; up to rounding exact if one constraint decides.

        Args:
            p: the norm.
            units: ``(1, *shape)``, in which each coordinate is measured; None for 1. A ball is then as large as the smallest
                of them makes it.
        """
        down, up = self.displacement_ends
        far, least = torch.maximum(up, -down), 1.0
        if units is not None:
            least = torch.where(self.movable, units, torch.inf).flatten(1).amin(-1)
            far = far / units.flatten(1) * inflation(0, far)
        far = norm_above(far, p)
        if self.radius == math.inf:
            return far
        free = self.movable.flatten(1).sum(-1).to(far)
        # |x|_p <= n^(1/p - 1/r) |x|_r for p < r, and <= |x|_r for p >= r
        exponent = max(0.0, 1.0 / p - 1.0 / self.norm)
        ball = torch.full_like(far, self.radius) / least
        if units is not None:
            ball = ball * inflation(0, far)
        return torch.minimum(far, ball * free.pow(exponent) * inflation(0, far) if exponent else ball)

    def cone_radius(self, p: float, units: Tensor | None = None) -> Tensor:
        """How far from the center X is a cone, ``(batch,)``: a direction in which X has points is in X up to this distance.

        In |x - center|_p <= r, X is {x : x - center in a cone}, for a lower bound r on the largest such radius; p and units
        as of ``distance``.
        """
        units = torch.ones_like(self.center[:1]) if units is None else units
        down, up = (end / units.flatten(1) for end in self.displacement_ends)
        lengths = torch.cat([up, -down], dim=1)
        radius = torch.where(lengths > 0, lengths, torch.inf).amin(-1)
        if self.radius < math.inf:
            # |x|_r <= n^(1/r - 1/p) |x|_p
            exponent = max(0.0, 1.0 / self.norm - 1.0 / p)
            least = self.radius / float(units.max()) / self.center[0].numel() ** exponent
            radius = torch.minimum(radius, least * torch.ones_like(radius))
        if self.halfspaces is not None:
            slack = self.halfspaces.slack_below(self.center.flatten(1))
            far = slack / norm_above(self.halfspaces.matrix * units.flatten(1), dual_norm(p))
            radius = torch.minimum(radius, torch.where(slack > 0, far, torch.inf).amin(-1))
        return radius * (2.0 - inflation(0, radius))

    def contains(self, x: Tensor) -> Tensor:
        """Whether the floats x ``(batch, k, *shape)`` lie in the real X, ``(batch, k)`` bool, exactly."""
        lowest, highest = (end.unsqueeze(1) for end in self.ends)
        inside = ((x >= lowest) & (x <= highest)).flatten(2).all(-1)
        if self.halfspaces is not None:
            inside = self.halfspaces.contains(x.flatten(2), inside)
        if self.radius == math.inf:
            return inside
        above = torch.where(inside, self._size(x), torch.inf)
        return within(x.flatten(2), self.center.flatten(1), self.norm, self.radius, above)

    def _size(self, x: Tensor) -> Tensor:
        """An upper bound on |x - center| in the ball's norm, ``(batch, k)``."""
        step = (x - self.center.unsqueeze(1)).flatten(2)
        return norm_above(step, self.norm) * inflation(0, step)

    def project(self, x: Tensor) -> Tensor:
        """Brings x ``(batch, k, *shape)`` into X, so that ``contains`` holds: cut to the box, then drawn towards the center
        into the ball, or towards the interior point of a polytope.

        For boxes this is the Euclidean projection; otherwise a nearby point of X (the box is convex and holds the center).
        Points of X stay where they are, but for those within rounding of a polytope's rows.
        """
        center = self.center.unsqueeze(1)
        lowest, highest = (end.unsqueeze(1) for end in self.ends)
        x = torch.minimum(torch.maximum(x, lowest), highest)
        if self.halfspaces is not None:
            flat = self.halfspaces.draw_inside(x.flatten(2), lowest.flatten(2), highest.flatten(2))
            x = flat.reshape(x.shape)
        if self.radius == math.inf:
            return x
        size = self._size(x)
        step, depth = x - center, len(self.shape)
        shrink = self.radius * (2.0 - inflation(2 * math.prod(self.shape) + 16, step)) / size
        drawn = _towards(center, step * shrink.clamp(max=1.0).reshape(*size.shape, *(1,) * depth))
        return torch.where((size <= self.radius).reshape(*size.shape, *(1,) * depth), x, drawn)

    def generators(self, seed: int) -> list[torch.Generator]:
        """A generator for each point, from the seed and the point alone: what it draws does not depend on the batch."""
        centers = self.center.detach().to("cpu", torch.float64)
        digests = [hashlib.sha256(f"{seed} ".encode() + c.contiguous().numpy().tobytes()).digest() for c in centers]
        return [torch.Generator().manual_seed(int.from_bytes(digest[:7], "big")) for digest in digests]

    def sample(self, count: int, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
        """``count`` random points of each X, ``(batch, count, *shape)``: half all over X, half near its border.

        Args:
            count: for each point of the batch.
            generator: of all points together, or one for each of them.
        """
        lower, upper, center = (t.unsqueeze(1) for t in (self.lower, self.upper, self.center))
        size = (self.batch, count, *self.shape)
        if self.halfspaces is not None:
            if not isinstance(generator, torch.Generator):
                return torch.cat([self[i : i + 1].sample(count, one) for i, one in enumerate(generator)])
            lowest, highest = (end.flatten(1) for end in self.ends)
            return self.project(self.halfspaces.sample(count, lowest, highest, generator).reshape(size))
        unit = draws(torch.rand, size, generator).to(center)
        border = torch.arange(count).reshape(1, count, *(1,) * len(self.shape)).to(center.device) % 2 == 1
        if self.radius == math.inf:
            return self.project(lower + torch.where(border, unit.round(), unit) * (upper - lower))
        normal = draws(torch.randn, size, generator).to(center)
        if self.norm == 1.0:  # exponential magnitudes are uniform on the simplex
            normal = normal.sign() * -unit.clamp(min=1e-300).log()
        flat = (self.batch, count, *(1,) * len(self.shape))
        direction = normal / vector_norm(normal.flatten(2), self.norm).reshape(flat)
        depth = draws(torch.rand, size[:2], generator).to(center).pow(1.0 / max(1, math.prod(self.shape)))
        depth = torch.where(border, torch.ones(()).to(depth), depth.reshape(flat))
        return self.project(center + direction * self.radius * depth)


def _towards(center: Tensor, step: Tensor) -> Tensor:
    """center + step, each coordinate rounded towards the center where it would end up beyond the step."""
    x = center + step
    _, error = two_sum(center, step)
    beyond = torch.where(step > 0, error < 0, error > 0) & (x != center)
    return torch.where(beyond, torch.nextafter(x, center), x)
