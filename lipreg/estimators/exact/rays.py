"""All of R^n as a question about bounded boxes: the network over rays, see ``lipreg.graph.homogeneous``.

The regional constant over R^n is that of the network over (u, s) in the cone s >= 0, distances measured in u alone; and
since its Jacobian is the same along a ray, that over the boxes which the rays of the cone meet.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.graph import homogenised, kink_unit
from lipreg.problem import PlacedProblem
from lipreg.regions import Cone


def over_rays(local: Analysis, budget: Budget | None = None) -> Analysis:
    """The analysis of the same constants as a question about rays.

    Args:
        local: the analysis of a single point, in regional scope, over all of R^n.
        budget: started; half of its remaining time is for pre-activation bounds, once they are read. None for that of the
            analysis.
    """
    return local.within(budget).memoised(_over_rays, is_cut=lambda rays: not rays.whole)


def _over_rays(local: Analysis) -> Analysis:
    placed, unit = local.placed, local.memoised(_unit)
    problem, center = placed.problem, placed.region.center[0].flatten()
    measured = range(len(center)) if problem.measured is None else problem.measured
    scale = problem.scale
    if isinstance(scale, tuple):
        scale = [*torch.tensor(scale, dtype=torch.float64).flatten().tolist(), 1.0]
    question = replace(problem, scale=scale, measured=tuple(measured))
    region = Cone.at(torch.cat([center * unit, torch.ones(1, dtype=torch.float64)]))
    with torch.no_grad():
        graph = homogenised(local.graph, unit)
        placed = PlacedProblem(question, region, placed.coefficients, placed.functional_names)
        return analyse(graph, placed, budget=partial(local.budget.share, 0.5))


def _unit(local: Analysis) -> float:
    return kink_unit(local.graph)


def onto_ray(local: Analysis, x: Tensor) -> Tensor:
    """The point ``(1, n + 1)`` of the surface of the cone's box that stands for x ``(n,)``."""
    point = torch.cat([x.flatten() * local.memoised(_unit), torch.ones(1, dtype=torch.float64)])
    return (point / point.abs().max()).unsqueeze(0)


def off_ray(local: Analysis, points: Tensor) -> Tensor:
    """The points x ``(k, *shape)`` that points (u, s) of the cone stand for; those with s = 0 stand for none."""
    points = points[points[:, -1] > 0]
    x = points[:, :-1] / points[:, -1:] / local.memoised(_unit)
    return x[torch.isfinite(x).all(-1)].reshape(-1, *local.placed.region.shape)
