"""Sampling: lower bounds from random points and gradient ascent."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.estimators.base import Estimator, Work, lower_interval, register
from lipreg.estimators.witnesses.witness import ranked, witnesses
from lipreg.graph import Affine, MaxPool, Relu
from lipreg.linalg import vector_norm
from lipreg.results import Certificate, CertifiedInterval

RANDOM_POINTS = 512
FEW = 8
"""Random points where there is no time: they cost next to nothing."""
RESTARTS = 32
STEPS = 40


@register("sampling")
class Sampling(Estimator):
    """The best of random points and of gradient ascent from the best of them; each a witness.

    Regional: the Jacobian of a ReLU network is constant on each cell, so its norm has no useful gradient. The ascent
    follows a smoothed Jacobian, in which each derivative 1[z > 0] is sigmoid(z / t), and each choice of a max pool a
    softmax, with t shrinking from half the spread of the pre-activations to a fiftieth of it; every iterate is then
    evaluated on the network itself.
    Pointed: ascent on the quotient, which is differentiable as it is.

    Args:
        steps: of each ascent; a search that only wants a start is well served by few.

    Deterministic for a seed and a point, whatever else is in the batch. Cost: RANDOM_POINTS + RESTARTS * steps forward and
    backward passes a point, batched.
    """

    certificate = Certificate.LOWER
    weighed = True
    kinds = (Affine, Relu, MaxPool)
    branches = True
    everywhere = True
    source = "random search and projected gradient ascent"

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps

    def answer(self, work: Work) -> list[CertifiedInterval]:
        analysis, region = work.analysis, work.analysis.placed.region
        budget = work.budget
        count = RANDOM_POINTS if budget.ended() is None else FEW
        drawn = region.sample(count - 1, region.generators(work.settings.seed))
        points = torch.cat([region.center.unsqueeze(1), drawn], dim=1)
        with torch.no_grad():
            seen = ranked(analysis, points, budget)
            top = seen.topk(min(RESTARTS, seen.shape[1]), dim=1)
            kept = _take(points, top.indices)
        trail = [_take(points, top.indices[:, :1])]
        x = kept
        for step in range(self.steps):
            if budget.ended() is not None:
                break
            x = self._ascend(analysis, x, step / self.steps)
            with torch.no_grad():
                values = ranked(analysis, x)
                trail.append(_take(x, values.argmax(1, keepdim=True)))
        best = torch.cat(trail, dim=1)
        detail = f"{seen.shape[1]} random points"
        if self.steps:
            detail += f", {kept.shape[1]} ascents of {len(trail) - 1} steps"
        return [lower_interval(analysis, i, found, detail) for i, found in enumerate(witnesses(analysis, best))]

    def _ascend(self, analysis: Analysis, x: Tensor, progress: float) -> Tensor:
        """One projected step of sign ascent, its length shrinking from a quarter of the box to a hundredth."""
        region = analysis.placed.region
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            objective = self._objective(analysis, x, progress)
            if not objective.requires_grad:  # an affine network: its Jacobian is the same everywhere
                return x.detach()
            (gradient,) = torch.autograd.grad(objective.sum(), x)
        room = (region.up - region.down).unsqueeze(1)
        if not region.bounded:  # how far each point is out already
            far = (x.detach() - region.center.unsqueeze(1)).flatten(2).abs().amax(-1)
            room = far.reshape(*far.shape, *(1,) * len(region.shape))
        size = room * 0.25 * (0.04**progress)
        return region.project(x.detach() + size * gradient.sign())

    @staticmethod
    def _objective(analysis: Analysis, x: Tensor, progress: float) -> Tensor:
        graph, placed = analysis.graph, analysis.placed
        rows = placed.rows.to(graph.dtype).unsqueeze(1).expand(-1, x.shape[1], -1, -1)
        if placed.problem.scope == "pointed":
            center = placed.region.center.unsqueeze(1)
            change = ((graph(x) - graph(center)).unsqueeze(-2) * rows).sum(-1)
            joint = placed.problem.output.joint and placed.problem.q is not None
            rise = vector_norm(change, placed.problem.q or 1.0) if joint else change.abs().amax(-1)
            return rise / (placed.lengths(x - center) + 1e-12)
        values = graph.values(x)
        slopes = {}
        for i, node in graph.relus():
            z = values[node.source]
            # at an ordinary point the temperature follows the spread of the pre-activations over the region
            spread = _spread(analysis, node.source, z)
            temperature = (0.5 * 0.04**progress) * spread.clamp(min=1e-9)
            slopes[i] = (node.slope + (1 - node.slope) * torch.sigmoid(z / temperature)).unsqueeze(2)
        for i, node in graph.pools():
            z = values[node.source]
            spread = node.members(_spread(analysis, node.source, z)).amax(-1, keepdim=True)
            temperature = (0.5 * 0.04**progress) * spread.clamp(min=1e-9)
            slopes[i] = torch.softmax(node.members(z) / temperature, -1).unsqueeze(2)
        return placed.combine(graph.gradients(slopes, rows))


@register("random_points")
class RandomPoints(Sampling):
    """The best of the random points alone: what the ascents of ``sampling`` start from."""

    source = "random search"

    def __init__(self) -> None:
        super().__init__(steps=0)


def _spread(analysis: Analysis, index: int, z: Tensor) -> Tensor:
    """The spread of a node's values z ``(batch, k, *shape)`` over the region; without ends, the size of each."""
    if not analysis.placed.region.bounded:
        return z.detach().abs() + (z.detach() - analysis.reach[index].value.unsqueeze(1)).abs()
    return (analysis.reach[index].upper - analysis.reach[index].lower).unsqueeze(1)


def _take(points: Tensor, indices: Tensor) -> Tensor:
    """points ``(batch, k, *shape)`` at indices ``(batch, n)``."""
    return points[torch.arange(len(points)).unsqueeze(1), indices]
