"""Offspring of points: of one some coordinates from another, some moved at random."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.search.screen import PointEvaluator


def offspring(
    screen: PointEvaluator, points: Tensor, spread: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Points of the region bred from others, of which the first have more offspring.

    Args:
        screen: of the question.
        points: the parents, ``(k, *shape)``, the best first.
        spread: how far the offspring of each lies, as a part of the region's width, ``(k,)``.
        count: of the offspring.
        generator: of all draws.

    Returns:
        The offspring ``(count, *shape)``, the parent of each by its place, and the spread that it was moved by, which its
        own offspring inherit.
    """
    shape = points.shape[1:]

    def uniform(*sizes: int) -> Tensor:
        return torch.rand(count, *sizes, generator=generator).to(points)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(count, *sizes, generator=generator).to(points)

    def tall(t: Tensor) -> Tensor:
        return t.reshape(-1, *(1,) * len(shape))

    first, second, other = torch.randint(len(points), (3, count), generator=generator)
    parent = torch.minimum(first, second)  # the better ones more often
    crossed = (uniform() < 0.5) * 0.5 * uniform()
    x = torch.where(uniform(*shape) < tall(crossed), points[other], points[parent])
    inherited = spread[parent] * torch.exp(0.5 * normal())
    moved = uniform(*shape) < tall(uniform() ** 2)
    x = x + normal(*shape) * tall(inherited) * screen.extent(x) * moved
    return screen.inside(x), parent, inherited
