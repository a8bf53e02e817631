"""Fast evaluations of many points of one region: what they promise, which way is uphill, which units are worth switching.

Nothing here is a proof, so float32 serves where it distinguishes the region's points. What comes of it are points, and a
witness evaluates them on the network in float64, with its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.pass_cost import signed_sums
from lipreg.budget import BYTES_PER_NUMBER, MEMORY
from lipreg.graph import node_size
from lipreg.linalg import vector_norm
from lipreg.search.precision import float32_suffices, in_dtype

BATCH_NUMBERS = 2**22
"""Most numbers that are computed at once, within the memory."""
CALL = 2**15
"""Numbers that take as long as a pass through a network without any."""
AIMS = 16
"""Points along one gradient."""
NEAREST = 1e-6
"""Of the largest distance: quotients over shorter steps count as nothing."""


class PointEvaluator:
    """One point's question, for points ``(k, *shape)`` of its region.

    A choice ``(k,)`` says which functional counts of each point; where the question takes the norm of one operator, there is
    nothing to choose.

    Args:
        local: of a single point.
        memory: bytes of what is worked on at once.

    Attributes:
        at_once: numbers of all nodes' values, and of gradients there, of the points that are evaluated together.
        work: numbers of nodes' values and gradients that were computed so far, at least ``CALL`` in every pass: what was
            done here takes time in proportion.
    """

    def __init__(self, local: Analysis, memory: int = MEMORY) -> None:
        dtype = torch.float32 if float32_suffices(local) else local.graph.dtype
        self.local, self.placed, self.graph = local, local.placed, in_dtype(local.graph, dtype)
        self.region = local.placed.region.to(dtype, local.graph.device)
        self.rows = local.placed.rows[0].to(dtype)
        self.pointed = local.placed.problem.scope == "pointed"
        self.joint = local.placed.problem.q is not None
        self.size = pass_size(local)
        self.work = 0
        self.at_once = min(BATCH_NUMBERS, memory // BYTES_PER_NUMBER)
        if self.pointed:
            self.origin = self.graph(self.region.center)
        bounds = {i: local.value_bounds[node.source] for i, node in self.graph.relus()}
        self.unstable = {i: ((r.lower < 0) & (r.upper > 0))[0] for i, r in bounds.items()}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all that is computed here: float32 where that distinguishes the region's points."""
        return self.graph.dtype

    def numbers(self, points: int) -> int:
        """What a pass of so many points counts."""
        return max(points * self.size, CALL)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Random points, half of them near the border."""
        return self.local.placed.region.sample(count, generator)[0].to(self.dtype)

    def on_faces(self, count: int, generator: torch.Generator) -> Tensor:
        """Random points on faces of every dimension of a bounded region, up to projection: of a box some coordinates are at
        an end, of a ball about the center some alone have moved, and to the border."""
        x, region = self.local.placed.region.sample(count, generator)[0], self.local.placed.region
        draw = torch.rand((2, *x.shape), generator=generator, dtype=torch.float64).to(x)
        share = torch.rand(count, generator=generator, dtype=torch.float64).to(x).reshape(-1, *(1,) * (x.dim() - 1))
        moved = draw[0] < share
        if region.radius == math.inf or region.halfspaces is not None:
            low, high = (end.reshape(1, *region.shape) for end in region.ends)
            x = torch.where(moved, torch.where(draw[1] < 0.5, low, high), x)
        else:
            step = (x - region.center) * moved
            length = vector_norm(step.flatten(1), region.norm).clamp(min=torch.finfo(x.dtype).tiny)
            x = region.center + step * (region.radius / length).reshape(share.shape)
        return region.project(x.unsqueeze(0))[0].to(self.dtype)

    def sample_interior(self, count: int, generator: torch.Generator) -> Tensor:
        """Random points spread through the region."""
        return self.local.placed.region.sample(2 * count, generator)[0, ::2].to(self.dtype)

    def inside(self, x: Tensor) -> Tensor:
        """Points of the region near x."""
        return self.region.project(x.unsqueeze(0))[0]

    def extent(self, x: Tensor) -> Tensor:
        """How far each coordinate goes, ``(1 or k, *shape)``; without ends, how far each point is out already."""
        if self.region.bounded:
            return (self.region.up - self.region.down)[:1]
        far = (x - self.region.center).flatten(1).abs().amax(-1)
        return far.reshape(-1, *(1,) * len(self.region.shape)).expand_as(x)

    def all_values(self, x: Tensor) -> Tensor:
        """What each functional promises, ``(k, rows)``; of an operator one column."""
        return torch.cat([self._promised(some, None) for some in self._parts(x, 1 + len(self.rows))])

    def values(self, x: Tensor, choice: Tensor) -> Tensor:
        """What the functional of each point promises, ``(k,)``."""
        parts = self._parts(x, 2 if not self.joint else 1 + len(self.rows))
        at = choice.split([len(some) for some in parts])
        return torch.cat([self._promised(some, own).amax(-1) for some, own in zip(parts, at, strict=True)])

    def surrogate_gradient(self, x: Tensor, choice: Tensor, temperature: float) -> Tensor:
        """Gradients at x of what is promised, ``(k, *shape)``.

        Regional promises are constant on each cell, so every derivative 1[z > 0] is taken as sigmoid(z / t), and each choice
        of a max pool as a softmax, t the temperature times the range of the pre-activation over the region. Derivatives of
        curves are what they are.

        Args:
            x: points ``(k, *shape)``.
            choice: the functional that counts of each, ``(k,)``.
            temperature: of the smoothing, relative.
        """
        return self._over(x, choice, 2, lambda some, own: self._smoothed(some, own, temperature))

    def points_along_gradient(self, x: Tensor, choice: Tensor) -> Tensor:
        """Points that lie from the reference point as the gradients at x point, ``(k AIMS, *shape)``, of the rises alone.

        If the network were affine, the steepest quotient would lie that way: along the gradient for p = 2, along its signs
        for p = inf, along its largest entry for p = 1, or some of the largest. Pointed scope alone.
        """

        def gradient(some: Tensor, own: Tensor) -> Tensor:
            some = some.requires_grad_()
            with torch.enable_grad():
                rise = self._rises(some, own)
                return (
                    torch.autograd.grad(rise.amax(-1).sum(), some)[0] if rise.requires_grad else torch.zeros_like(some)
                )

        slope = self._over(x, choice, 1, gradient) * self.placed.counts.to(x)
        size = slope.flatten(1).abs()
        unit = (slope / size.amax(1).clamp(min=torch.finfo(x.dtype).tiny).reshape(-1, *(1,) * (x.dim() - 1))).unsqueeze(
            1
        )
        tall = (1, -1, *(1,) * (x.dim() - 1))
        if self.placed.problem.p == 1.0:
            least = torch.linspace(1.0, 0.3, AIMS // 4).to(x).repeat(4).reshape(tall)
            aims = unit.sign() * (unit.abs() >= least)
        else:
            aims = (unit if self.placed.problem.p == 2.0 else unit.sign()).expand(-1, AIMS, *x.shape[1:])
        far = 0.5 ** torch.arange(AIMS if self.placed.problem.p != 1.0 else 4).to(x)
        far = far.repeat_interleave(AIMS // len(far)).reshape(tall)
        return self.inside((self.region.center.unsqueeze(1) + aims * far * self.extent(x).unsqueeze(1)).flatten(0, 1))

    def switch_gains(self, x: Tensor, choice: Tensor) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """For each Relu the signs of its units at x, and what switching each alone would add to first order, at most what it
        does; ``(k, *shape)`` each."""
        self.work += 4 * self.numbers(len(x))
        values = self.graph.values(x)
        slopes = self.graph.patterns(values)
        with torch.enable_grad():
            leaves = {i: slopes[i].requires_grad_() for i, _ in self.graph.relus()}
            whole = {i: slope.unsqueeze(1) for i, slope in slopes.items()}
            promised = self._norms(self.graph.gradients(whole, self._choice_rows(choice)))[:, 0].sum()
            # of a unit that the output does not depend on, and where it depends on none, there is no gradient
            promised = promised + 0.0 * sum(slope.sum() for slope in leaves.values())
            gradients = torch.autograd.grad(promised, list(leaves.values()))
        sign = {i: torch.where(values[node.source] > 0, 1.0, -1.0).to(x) for i, node in self.graph.relus()}
        return sign, {i: -sign[i] * gradient for i, gradient in zip(leaves, gradients, strict=True)}

    def towards(self, x: Tensor, wanted: dict[int, Tensor], margin: float, step_length: float) -> tuple[Tensor, Tensor]:
        """One step of each point towards wanted signs of its units, and what was short before, squared and summed.

        Args:
            x: points ``(k, *shape)``.
            wanted: for each Relu 1, -1, or 0 where either will do, ``(k, *shape)``.
            margin: how far from its kink a unit is wanted, as a part of its range.
            step_length: 1 for the step that would end it if what is short were linear along the gradient.
        """
        short: list[Tensor] = []

        def gradient(some: Tensor, at: Tensor) -> Tensor:
            some = some.requires_grad_()
            with torch.enable_grad():
                values, missing = self.graph.values(some), some.new_zeros(len(some))
                for i, node in self.graph.relus():
                    sign, far = wanted[i][at], self._relative(node.source, values[node.source])
                    missing = missing + (sign.abs() * (margin - sign * far).clamp(min=0.0)).square().flatten(1).sum(1)
                (gradients,) = torch.autograd.grad(missing.sum(), some)
            short.append(missing.detach())
            return gradients

        slope = self._over(x, torch.arange(len(x)), 2, gradient)
        missing = torch.cat(short)
        step = 2.0 * step_length * missing / slope.flatten(1).square().sum(1).clamp(min=torch.finfo(x.dtype).tiny)
        return self.inside(x - slope * step.reshape(-1, *(1,) * (x.dim() - 1))), missing

    # ---------------------------------------------------------------- within

    def _parts(self, x: Tensor, passes: int) -> list[Tensor]:
        self.work += passes * self.numbers(len(x))
        return list(x.split(max(1, self.at_once // (passes * self.size))))

    def _over(self, x: Tensor, choice: Tensor, passes: int, act: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """``act`` on parts of the points and of their choices; a pass that is differentiated counts twice."""
        parts = self._parts(x.detach(), 2 * passes)
        at = choice.split([len(some) for some in parts])
        return torch.cat([act(some, own).nan_to_num(0.0) for some, own in zip(parts, at, strict=True)])

    def _choice_rows(self, choice: Tensor | None) -> Tensor:
        """The rows that count at each point, ``(k or 1, rows, outputs)``."""
        every = choice is None or self.joint or self.pointed  # there further functionals cost next to nothing
        return self.rows.unsqueeze(0) if every else self.rows[choice].unsqueeze(1)

    def _promised(self, x: Tensor, choice: Tensor | None) -> Tensor:
        if self.pointed:
            values = self._quotients(x, choice)
        else:
            slopes = {i: s.unsqueeze(1) for i, s in self.graph.patterns(self.graph.values(x)).items()}
            values = self._norms(self.graph.gradients(slopes, self._choice_rows(choice).expand(len(x), -1, -1)))
        return torch.where(torch.isfinite(values), values, -torch.inf)

    def _norms(self, gradients: Tensor) -> Tensor:
        """Gradients ``(k, rows, *shape)`` in norm, ``(k, rows)``, of an operator ``(k, 1)``."""
        batch = gradients.unsqueeze(0)
        return self.placed.combine(batch)[0].unsqueeze(-1) if self.joint else self.placed.row_norms(batch)[0]

    def _quotients(self, x: Tensor, choice: Tensor | None) -> Tensor:
        step = x - self.region.center
        run = self.placed.lengths(step.unsqueeze(0))[0].unsqueeze(-1)
        rise = self._rises(x, choice)
        farthest = self.placed.farthest if self.region.bounded else self.region.center.flatten(1).abs().amax(1) + 1.0
        return torch.where(run > NEAREST * farthest, rise / run.clamp(min=torch.finfo(x.dtype).tiny), 0.0)

    def _rises(self, x: Tensor, choice: Tensor | None) -> Tensor:
        """|c . (f(x) - f(x0))| of each functional, ``(k, rows)``; of an operator its norm, ``(k, 1)``."""
        change = ((self.graph(x) - self.origin).unsqueeze(-2) * self._choice_rows(choice)).sum(-1)
        return vector_norm(change, self.placed.problem.q or 1.0).unsqueeze(-1) if self.joint else change.abs()

    def _smoothed(self, x: Tensor, choice: Tensor, temperature: float) -> Tensor:
        x = x.requires_grad_()
        with torch.enable_grad():
            if self.pointed:
                promised = self._quotients(x, choice)
            else:
                values, slopes = self.graph.values(x), {}
                for i, node in self.graph.relus():
                    share = torch.sigmoid(self._relative(node.source, values[node.source]) / temperature)
                    slopes[i] = (node.slope + (1.0 - node.slope) * share).unsqueeze(1)
                for i, node in self.graph.curves():
                    slopes[i] = node.curve.slope(values[node.source]).unsqueeze(1)
                for i, node in self.graph.pools():
                    members = node.members(values[node.source])
                    spread = node.members(self._value_range(node.source, values[node.source])).amax(-1, keepdim=True)
                    slopes[i] = torch.softmax(members / (temperature * spread), -1).unsqueeze(1)
                promised = self._norms(self.graph.gradients(slopes, self._choice_rows(choice).expand(len(x), -1, -1)))
            if not promised.requires_grad:  # an affine network: its Jacobian is the same everywhere
                return torch.zeros_like(x)
            (gradients,) = torch.autograd.grad(promised.amax(-1).sum(), x, allow_unused=True)
        return torch.zeros_like(x) if gradients is None else gradients

    def _relative(self, source: int, z: Tensor) -> Tensor:
        """A node's values in units of their range over the region."""
        return z / self._value_range(source, z)

    def _value_range(self, source: int, z: Tensor) -> Tensor:
        """The range of a node's values over the region; without ends, the size of each."""
        bounds, tiny = self.local.value_bounds[source], math.sqrt(torch.finfo(z.dtype).tiny)
        if self.region.bounded:
            return (bounds.upper - bounds.lower)[0].to(z).clamp(min=tiny)
        return (z.detach().abs() + (z.detach() - bounds.value[0]).abs()).clamp(min=tiny)


def pass_size(local: Analysis) -> int:
    """Numbers that a pass with one point computes, of values and of each row's gradients; with its part of signed sums."""
    sums = signed_sums(local.placed) if local.placed.problem.scope == "regional" else 0
    return sum(map(node_size, local.graph.nodes)) + sums // (1 + local.placed.count)
