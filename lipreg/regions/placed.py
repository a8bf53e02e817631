"""A region around each point of a batch: a box, cut by an l1 or l2 ball about its reference point or by half-spaces."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.linalg.norms import dual_norm, vector_norm
from lipreg.regions.halfspaces import Halfspaces


@dataclass(frozen=True)
class PlacedRegion:
    """X_i = {x : lower_i <= x <= upper_i, |x - center_i|_norm <= radius, A x <= levels_i} for each i of a batch.

    Every region of lipreg is of this form, so bounds need no cases: an l_inf ball and a box have ``norm`` inf and say
    all in ``lower`` and ``upper``; l1 and l2 balls keep their ball, cut by the data range; polytopes keep their rows, which
    ``support`` and ``distance`` leave out (what holds over the box holds over X) and everything else heeds.

    Attributes:
        center: reference points x0, ``(batch, *shape)``.
        lower, upper: a box around X, ``(batch, *shape)``, with lower <= center <= upper; the smallest one, but for some
            polytopes (carried along with their point and cut by a data range, or of many coordinates).
        norm: the norm of the ball, 1, 2 or inf.
        radius: radius of the ball in that norm; inf where the box says all.
        halfspaces: the rows of a polytope; None for the others.
    """

    center: Tensor
    lower: Tensor
    upper: Tensor
    norm: float
    radius: float
    halfspaces: Halfspaces | None = None

    @property
    def batch(self) -> int:
        return self.center.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.center.shape[1:])

    @property
    def moves(self) -> Tensor:
        """Which coordinates have room at all, ``(batch, *shape)`` bool; the others are constants of the question."""
        return self.upper > self.lower

    @property
    def room(self) -> tuple[Tensor, Tensor]:
        """How far each coordinate can go down (at most 0) and up from its reference point, ``(batch, inputs)`` each."""
        return (self.lower - self.center).flatten(1), (self.upper - self.center).flatten(1)

    def __getitem__(self, index: slice) -> PlacedRegion:
        rows = None if self.halfspaces is None else self.halfspaces[index]
        parts = {"center": self.center[index], "lower": self.lower[index], "upper": self.upper[index]}
        return replace(self, **parts, halfspaces=rows)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> PlacedRegion:
        """The same region with its tensors in another dtype and on another device."""
        moved = {name: getattr(self, name).to(dtype=dtype, device=device) for name in ("center", "lower", "upper")}
        return replace(self, **moved, halfspaces=None if self.halfspaces is None else self.halfspaces.to(dtype, device))

    def support(self, rows: Tensor) -> Tensor:
        """sup over x in X of rows . (x - center), for rows ``(batch, k, *shape)``; returns ``(batch, k)``.

        Exact for boxes, for l1 balls cut by a box (a fractional knapsack) and for uncut l2 balls; for an l2 ball that
        the box cuts it is the smaller of the two separate suprema, an upper bound; for polytopes that of their box, an
        upper bound too. Differentiable in ``rows``.
        """
        flat = rows.flatten(2)
        up = (self.upper - self.center).flatten(1).unsqueeze(1)
        down = (self.lower - self.center).flatten(1).unsqueeze(1)
        gain = torch.maximum(flat * up, flat * down)  # best move of each coordinate on its own, >= 0
        box = gain.sum(-1)
        if self.norm == 1.0:
            room = torch.where(flat >= 0, up, -down).expand_as(flat)
            size, order = flat.abs().sort(-1, descending=True)
            room = room.gather(-1, order)
            spent_before = room.cumsum(-1) - room
            step = torch.minimum(room, (self.radius - spent_before).clamp(min=0.0))
            return (size * step).sum(-1)
        if self.norm == 2.0:
            # the ball cannot use coordinates without room, so its supremum runs over the others
            return torch.minimum(box, self.radius * vector_norm(flat * self.moves.flatten(1).unsqueeze(1), 2.0))
        return box

    def distance(self, p: float) -> Tensor:
        """An upper bound on sup over X of |x - center|_p, ``(batch,)``; exact where one constraint decides."""
        reach = torch.maximum(self.upper - self.center, self.center - self.lower).flatten(1)
        far = vector_norm(reach, p)
        if self.radius == math.inf:
            return far
        free = self.moves.flatten(1).sum(-1).to(far)
        # |x|_p <= n^(1/p - 1/r) |x|_r for p < r, and <= |x|_r for p >= r
        exponent = max(0.0, 1.0 / p - 1.0 / self.norm)
        return torch.minimum(far, self.radius * free.pow(exponent))

    def cone_radius(self, p: float) -> Tensor:
        """How far from the center X is a cone, ``(batch,)``: every direction that X leaves open is open to this distance.

        In |x - center|_p <= r, X is {x : x - center in a cone}, for a lower bound r on the largest such radius.
        """
        room = torch.cat([self.upper - self.center, self.center - self.lower], dim=1).flatten(1)
        radius = torch.where(room > 0, room, torch.inf).amin(-1)
        if self.radius < math.inf:
            # |x|_r <= n^(1/r - 1/p) |x|_p
            exponent = max(0.0, 1.0 / self.norm - 1.0 / p)
            radius = torch.minimum(radius, self.radius / self.center[0].numel() ** exponent * torch.ones_like(radius))
        if self.halfspaces is not None:
            left = self.halfspaces.room(self.center.flatten(1).unsqueeze(1))[:, 0]
            far = left / vector_norm(self.halfspaces.matrix, dual_norm(p))
            radius = torch.minimum(radius, torch.where(left > 0, far, torch.inf).amin(-1))
        return radius

    def contains(self, x: Tensor, tolerance: float = 0.0) -> Tensor:
        """Whether x ``(batch, k, *shape)`` lies in X up to ``tolerance`` per coordinate and in the radius.

        With tolerance 0 as the comparisons come out in x's own arithmetic.
        """
        lower, upper, center = (t.unsqueeze(1) for t in (self.lower, self.upper, self.center))
        inside = ((x >= lower - tolerance) & (x <= upper + tolerance)).flatten(2).all(-1)
        if self.halfspaces is not None:
            inside &= self.halfspaces.contains(x.flatten(2), tolerance)
        if self.radius == math.inf:
            return inside
        return inside & (vector_norm((x - center).flatten(2), self.norm) <= self.radius + tolerance)

    def project(self, x: Tensor) -> Tensor:
        """Brings x ``(batch, k, *shape)`` into X: cut to the box, then drawn towards the center into the ball, or towards
        the deep point of a polytope.

        For boxes this is the Euclidean projection; otherwise a nearby point of X (the box is convex and holds the
        center, so drawing towards the center stays inside it). Points of X stay where they are.
        """
        center = self.center.unsqueeze(1)
        x = torch.minimum(torch.maximum(x, self.lower.unsqueeze(1)), self.upper.unsqueeze(1))
        if self.halfspaces is not None:
            x = self.halfspaces.draw_inside(x.flatten(2)).reshape(x.shape)
        if self.radius == math.inf:
            return x
        step = x - center
        size = vector_norm(step.flatten(2), self.norm).clamp(min=torch.finfo(x.dtype).tiny)
        # a hair inside, so that rounding of center + step, as large as the center's own, cannot put the point outside
        hair = 4 * torch.finfo(x.dtype).eps * (self.radius + vector_norm(center.flatten(2), self.norm))
        shrink = ((self.radius - hair) / size).clamp(min=0.0, max=1.0)
        return center + step * shrink.reshape(*size.shape, *(1,) * len(self.shape))

    def generators(self, seed: int) -> list[torch.Generator]:
        """A generator for each point, from the seed and the point alone: what it draws does not depend on the batch."""
        centers = self.center.detach().to("cpu", torch.float64)
        digests = [hashlib.sha256(f"{seed} ".encode() + c.contiguous().numpy().tobytes()).digest() for c in centers]
        return [torch.Generator().manual_seed(int.from_bytes(digest[:7], "big")) for digest in digests]

    def sample(self, count: int, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
        """``count`` random points of each X, ``(batch, count, *shape)``: half spread through X, half near its border.

        Args:
            count: for each point of the batch.
            generator: of all points together, or one for each of them.
        """
        if not isinstance(generator, torch.Generator):
            return torch.cat([self[i : i + 1].sample(count, own) for i, own in enumerate(generator)])
        lower, upper, center = (t.unsqueeze(1) for t in (self.lower, self.upper, self.center))
        size = (self.batch, count, *self.shape)
        if self.halfspaces is not None:
            x = self.halfspaces.sample(count, self.lower.flatten(1), self.upper.flatten(1), generator)
            return self.project(x.reshape(size))
        unit = torch.rand(size, generator=generator, dtype=torch.float64).to(center)
        border = torch.arange(count).reshape(1, count, *(1,) * len(self.shape)).to(center.device) % 2 == 1
        if self.radius == math.inf:
            return self.project(lower + torch.where(border, unit.round(), unit) * (upper - lower))
        normal = torch.randn(size, generator=generator, dtype=torch.float64).to(center)
        if self.norm == 1.0:  # exponential magnitudes are uniform on the simplex
            normal = normal.sign() * -unit.clamp(min=1e-300).log()
        direction = normal / vector_norm(normal.flatten(2), self.norm).reshape(
            self.batch, count, *(1,) * len(self.shape)
        )
        dims = max(1, math.prod(self.shape))
        depth = torch.rand(self.batch, count, generator=generator, dtype=torch.float64).to(center).pow(1.0 / dims)
        depth = depth.reshape(self.batch, count, *(1,) * len(self.shape))
        return self.project(center + direction * self.radius * torch.where(border, torch.ones_like(depth), depth))


def check_reference_points(x0: Tensor, where: str) -> None:
    """Refuses reference points that no region can be put around: not floating, without a batch axis, or not finite."""
    if not x0.is_floating_point():
        raise InvalidInput(f"reference points of dtype {x0.dtype}", where=where, accepted="a floating point tensor")
    if x0.dim() < 2 or len(x0) == 0:
        raise InvalidInput(
            f"reference points of shape {tuple(x0.shape)}",
            where=where,
            accepted="(batch, *input shape) with at least one point",
            todo="For one point use x.unsqueeze(0)",
        )
    if not torch.isfinite(x0).all():
        bad = int((~torch.isfinite(x0)).flatten(1).any(-1).nonzero()[0])
        raise InvalidInput(
            f"reference point {bad} holds NaN or infinity", where=where, todo="Clean the data or the transform"
        )
